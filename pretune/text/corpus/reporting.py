"""The report of a corpus: what came in, what was left out and why, languages and lengths, for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretune.base.json import Json, JsonMap
from pretune.base.stage import Context
from pretune.report.drawing import Bar, length_bars
from pretune.report.numbers import count, share, size
from pretune.report.pages import write_page

EXAMPLES = 3
MOST_LANGUAGES = 12
SHOWN_QUARANTINE = 50


class Seen:
    """What the page shows besides the card: lengths before and after, a few examples of what was left out."""

    def __init__(self) -> None:
        self.before: Counter[int] = Counter()
        self.after: Counter[int] = Counter()
        self.characters = 0, 0
        self.examples: dict[str, list[dict[str, str]]] = {}

    def add(self, lengths: NDArray[np.int64], kept: NDArray[np.bool_]) -> None:
        """Count documents by the binary digits of their length in characters."""
        digits = np.frexp(lengths.astype(np.float64))[1]
        self.before.update(digits.tolist())
        self.after.update(digits[kept].tolist())
        there, stays = self.characters
        self.characters = there + int(lengths.sum()), stays + int(lengths[kept].sum())

    def wants(self, reason: str) -> bool:
        """Whether another example of this rule is shown."""
        return len(self.examples.get(reason.partition(":")[0], [])) < EXAMPLES

    def show(self, row: JsonMap, reason: str) -> None:
        shown = {"reason": reason, "from": row["origin"], "text": row["text"]}
        self.examples.setdefault(reason.partition(":")[0], []).append(shown)


def write_report(out: Path, facts: JsonMap, seen: Seen, context: Context) -> None:
    """The page report.html, a note; `facts` are the card's metrics."""
    dropped = sorted(facts["dropped"].items(), key=lambda item: -item[1])
    counted = [(name or "unknown", number) for name, number in facts["languages"].items()]
    rest = sum(number for _, number in counted[MOST_LANGUAGES:])
    write_page(
        out / "report.html",
        context,
        "corpus",
        "Corpus",
        verdict=verdict(facts, seen),
        sources=_shares([{"source": name, **of} for name, of in facts["sources"].items()]),
        splits=[{"split": name, **of} for name, of in facts["splits"].items()],
        mixture=[_taken(group) for group in _shares(facts.get("mixture", []))],
        lengths=length_bars({"before": seen.before, "after": seen.after}),
        languages=[Bar(*one) for one in [*counted[:MOST_LANGUAGES], ("others", rest)] if one[1]],
        dropped=[Bar(*one) for one in dropped],
        examples=[one for shown in seen.examples.values() for one in shown],
        held_out=facts.get("held_out"),
        repairs=_repairs(facts),
        quarantined=facts.get("quarantined", 0),
        quarantine=facts.get("quarantine", [])[:SHOWN_QUARANTINE],
    )


def _shares(groups: Sequence[JsonMap]) -> list[Json]:
    """Each with its share of all bytes."""
    total = sum(group["bytes"] for group in groups) or 1
    return [{**group, "share": group["bytes"] / total} for group in groups]


def _taken(group: JsonMap) -> Json:
    """A group of the mixture, with how often what was there is taken."""
    plain = {name: group[name] for name in ("source", "language", "documents", "bytes", "share")}
    there = group["bytes_there"]
    return plain | {
        "language": group["language"] or "unknown",
        "taken": f"× {group['bytes'] / there:.2f}" if there else "",
    }


def verdict(facts: JsonMap, seen: Seen) -> str:
    """How much text was kept, and the main reason for what was not."""
    there, kept = seen.characters
    dropped = facts["dropped"]
    number = facts["documents"]
    said = f"{size(facts['bytes'])} of text in {count(number)} document{'s' if number > 1 else ''}"
    if not dropped:
        return f"{said}: all that was read is kept."
    most = max(dropped, key=lambda reason: dropped[reason])
    part = f"{count(dropped[most])} of {count(sum(dropped.values()))} documents"
    kept_share = share(kept / there if there else 1)
    return f"{said}: {kept_share} of what was read is kept; the main reason for the rest is {most} ({part})."


def _repairs(facts: JsonMap) -> dict[str, int]:
    """What was mended -> texts."""
    counted = {f"{kind} changed": number for kind, number in facts["changed"].items()}
    counted |= {f"repeated {kind} removed": number for kind, number in facts.get("repeats_removed", {}).items()}
    counted |= {"broken pieces replaced": facts["repaired"], "surrogates mended": facts["surrogates_mended"]}
    return {name: number for name, number in (counted | facts["mended"]).items() if number}
