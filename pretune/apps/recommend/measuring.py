"""What the report says: the mixture next to each of its systems, then new users and new items by themselves.

*B users, N items, K places of a list.*
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pretune.apps.recommend.figures import PLACES, Figures, best, figures_of, hide, place_among
from pretune.apps.recommend.learning import Asked
from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.ordering import Lists, Ordering
from pretune.apps.recommend.systems import Numbers, Scores, Vectors, recent
from pretune.base.json import Json
from pretune.evaluate.findings import Compared, Group, drawn_again, margin_of

WORDS = {
    "popularity": "what most have seen",
    "neighbours": "items that the same people have seen (ItemKNN)",
    "ease": "EASE, the best linear weights between items",
    "text": "items alike in text",
    "without_rank": "the same list before the ranking model",
    "chance": "chance",
}
REMEDY = "more events, texts that say more, or an embed model fine-tuned on what was seen together"
RANKED = 200
"""Users of the test whose lists the ranking model puts in order."""
FEW_SEEN = 5
"""A user who has seen less is new."""


@dataclass(frozen=True)
class Measured:
    """Groups of figures, and what must be said of them."""

    groups: list[Group]
    notes: list[str] = field(default_factory=list)

    def metrics(self) -> Json:
        found: Json = {}
        for group in self.groups:
            found |= group.flat("" if group.name == "all" else f"{group.name}_")
        return found


def shown_to(mixture: Mixture, seen: Sequence[Numbers]) -> Numbers:
    """[B, 10], the lists of users who have seen these."""
    parts = [
        best(hide(np.stack([mixture.scores(items) for items in some]), some), PLACES)
        for some in (seen[k : k + 256] for k in range(0, len(seen), 256))
    ]
    return np.concatenate(parts)


def measured(mixture: Mixture, asked: Asked, count_N: Numbers, *, num_users: int, seed: int) -> Measured:
    """All groups.

    Args:
        count_N: how many users have seen each item, in what was learnt from.
    """
    used = [name for name, weight in mixture.weights.items() if weight]
    others = [name for name in mixture.systems if used != [name]]  # what is the mixture is no baseline of it
    names = {"this": mixture, **{name: mixture.alone(name) for name in others}}
    found = {
        name: figures_of(shown_to(one, asked.seen), asked.wanted, count_N, num_users) for name, one in names.items()
    }
    mine = found.pop("this")
    everyone = np.arange(len(asked))
    new_B = np.flatnonzero([len(items) < FEW_SEEN for items in asked.seen])
    groups = [group_of("all", mine, found, everyone, seed=seed)]
    notes = []
    if len(new_B) and len(new_B) < len(asked):
        groups.append(group_of("new_users", mine, found, new_B, seed=seed))
    else:
        notes.append(f"{'all' if len(new_B) else 'none'} of the users had seen fewer than {FEW_SEEN} items")
    groups += new_items(mixture, asked, count_N, seed=seed)
    if groups[-1].name != "new_items":
        notes.append("nothing is said of new items: none that was wanted was unseen before, or items have no text")
    return Measured(groups, notes)


def group_of(name: str, mine: Figures, others: Mapping[str, Figures], places: Numbers, *, seed: int) -> Group:
    """The figures of some users next to those of the other systems; coverage and novelty are those of all."""
    intervals = {
        "ndcg_10": drawn_again(mine.ndcg_B[places], seed=seed),
        "recall_10": drawn_again(mine.recall_B[places], seed=seed),
    }
    compared = []
    for system, one in others.items():
        margin, sure = margin_of(mine.ndcg_B[places].tolist(), one.ndcg_B[places].tolist(), seed=seed)
        compared.append(Compared(system, WORDS[system], _means(one, places), margin, sure))
    return Group(name, len(places), _means(mine, places), intervals, compared, "ndcg_10", REMEDY)


def _means(one: Figures, places: Numbers) -> dict[str, float]:
    said = {"ndcg_10": float(one.ndcg_B[places].mean()), "recall_10": float(one.recall_B[places].mean())}
    return one.means() | said


def new_items(mixture: Mixture, asked: Asked, count_N: Numbers, *, seed: int) -> list[Group]:
    """Items that nobody had seen: where text places one that was wanted among all of them, 0.5 being chance.

    A list for each of the users who wanted one; no group where there is nothing to ask.
    """
    text, fresh = mixture.systems.get("text"), np.flatnonzero(count_N == 0)
    if not isinstance(text, Vectors) or len(fresh) < 2:
        return []
    place_B = []
    for seen, wanted in zip(asked.seen, asked.wanted, strict=True):
        new = wanted[count_N[wanted] == 0]
        if len(new) and len(seen):
            scores = text.scores(seen, recent(len(seen), mixture.half_life))
            place_B.append(float(np.mean([place_among(scores, int(item), fresh) for item in new])))
    if not place_B:
        return []
    place = np.array(place_B)
    margin, sure = margin_of(place_B, [0.5] * len(place_B), seed=seed)
    chance = Compared("chance", WORDS["chance"], {"auc": 0.5}, margin, sure)
    figures = {"auc": float(place.mean()), "items": float(len(fresh))}
    return [Group("new_items", len(place_B), figures, {"auc": drawn_again(place, seed=seed)}, [chance], "auc", REMEDY)]


def alike(shown_BK: Numbers, unit_ND: Scores | None) -> float | None:
    """Mean cosine of any two items of a list; less is more diverse. None without texts."""
    if unit_ND is None or shown_BK.shape[1] < 2:
        return None
    number = shown_BK.shape[1]
    sums = [float((unit @ unit.T).sum() - np.einsum("kd,kd->", unit, unit)) for unit in (unit_ND[k] for k in shown_BK)]
    mean: float = sum(sums) / len(sums) / (number * (number - 1))
    return mean


def rank_group(ordering: Ordering, mixture: Mixture, asked: Asked, *, seed: int) -> Group:
    """The lists with the ranking model next to those without it, of some users: it reads every candidate."""
    some = asked.only(np.linspace(0, len(asked) - 1, min(RANKED, len(asked))).astype(np.int64))
    lists = Lists.of(ordering, mixture, some)
    mine, plain = lists.quality(ordering.weight), lists.quality(0.0)
    margin, sure = margin_of(mine, plain, seed=seed)
    before = Compared("without_rank", WORDS["without_rank"], {"ndcg_10": float(np.mean(plain))}, margin, sure)
    figures, spread = {"ndcg_10": float(np.mean(mine))}, {"ndcg_10": drawn_again(np.array(mine), seed=seed)}
    return Group("with_rank", len(some), figures, spread, [before], "ndcg_10", REMEDY)
