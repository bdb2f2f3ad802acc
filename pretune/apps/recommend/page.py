"""The report of a recommender, as a page."""

from __future__ import annotations

from pathlib import Path

from pretune.apps.recommend.learning import Asked
from pretune.apps.recommend.measuring import Measured, shown_to
from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.picking import because
from pretune.apps.recommend.tables import Items
from pretune.base.json import Json
from pretune.base.stage import Context
from pretune.evaluate.page import EMPTY, group_part, mood
from pretune.report.pages import write_page

TITLE = "Recommendations"
SHOWN_USERS, SHOWN_ITEMS = 6, 5


def write_report(
    file: Path, context: Context, report: Measured, mixture: Mixture, asked: Asked, items: Items, *, metrics: Json
) -> None:
    """The figures next to those of each system, what was chosen, and the lists of a few users."""
    groups = [group_part(group.name, group.tree()) for group in report.groups]
    weights = [{"system": name, "weight": weight} for name, weight in mixture.weights.items()]
    data = [{"": name, "number": metrics[name]} for name in ("items", "users", "events")]
    data += [{"": what, "number": number} for what, number in metrics["left_out"].items()]
    half = f"What was seen counts half after {mixture.half_life:g} further events." if mixture.half_life else ""
    part = EMPTY | {
        "title": TITLE,
        "about": f"held out: {metrics['split']}; {len(asked)} users were asked",
        "groups": groups,
        "charts": [],
        "tables": {"Weights that validation chose": weights, "What was read": data},
        "examples": [("Some lists", _examples(mixture, asked, items), None)],
        "notes": [*report.notes, *([half] if half else [])],
    }
    write_page(
        file,
        context,
        "report",
        TITLE,
        verdict=groups[0]["verdict"],
        mood=mood(groups[0]["beaten"]),
        text="Test events were read once, for this page; what is served has learnt from them, too.",
        parts=[part],
        doctor=(),
    )


def _examples(mixture: Mixture, asked: Asked, items: Items) -> list[Json]:
    """What some users had seen, what they are shown and because of what, and what they saw next."""
    some = range(min(SHOWN_USERS, len(asked)))
    rows = []
    for number, shown_K in zip(some, shown_to(mixture, [asked.seen[k] for k in some]), strict=True):
        seen, wanted = asked.seen[number], set(asked.wanted[number].tolist())
        reasons = because(mixture, seen, shown_K[:SHOWN_ITEMS])
        shown = [
            items.titles[item] + ("" if reason is None else f" (because of {items.titles[reason]})")
            for item, reason in zip(shown_K[:SHOWN_ITEMS], reasons, strict=True)
        ]
        rows.append(
            {
                "had seen last": "; ".join(items.titles[k] for k in seen[:-4:-1]),
                "is shown": "; ".join(shown),
                "of ten, seen next": len(wanted & set(shown_K.tolist())),
            }
        )
    return rows
