"""From what files and rows say of their splits to train, validation and test.

    near-exact text -> cluster -> with its near copies, a group -> a keyed hash of the group's first cluster -> split

Given splits stay as they are. What has no split, or a split that is missing, is split by the hash (split.py): text
that is added later moves nothing, and near copies (Jaccard similarity 0.7 and more, each verified) are in one split.
Every label that has three groups or more is in every split that is wanted: where the hash left one out, the label's
group with the lowest place goes to validation, the one with the highest to test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from pretune.base.log import Bar, Log
from pretune.text.dataset.example import SHAPES, Example, said_by, shape_named
from pretune.text.dataset.reading import Splits
from pretune.text.dedup import near
from pretune.text.read.split import SPLITS, cluster_of, place_of, split_all

THRESHOLD = 0.7
LARGE = 0.25
"""Share of all texts in one group of near copies from which there is a warning: the shares cannot be met then."""


def divide(
    given: Mapping[str, list[Example]],
    *,
    validation: float,
    test: float,
    scratch: Path,
    log: Log,
) -> tuple[Splits, int]:
    """The three splits, and how many examples were found to be near copies of another one.

    Args:
        given: examples by split; "" for none.
        validation: share of what is split, 0 ... 1; not taken where that split is given.
        test: likewise; taken only where no split at all is given.
        scratch: folder for what is sorted on the way.
    """
    train, held, tested = (given[s] for s in SPLITS)
    loose, takes_test = given[""], not (train or held or tested)
    if not (takes_test or loose or train) and held and tested:
        log.warn("there is no train file: examples to learn from are taken out of the validation file")
        loose, held = held, []
    elif not loose and train:
        loose, train, takes_test = train, [], not (held or tested)
    shares = {"validation": 0.0 if held else validation, "test": test if takes_test else 0.0}
    more, num_near = _split(loose, shares, scratch, log)
    if made := [f"{len(more[split])} for {split}" for split in shares if more[split]]:
        log.info(f"    of {len(loose)} examples without a split are kept back: {', '.join(made)}")
    return {split: [*own, *more[split]] for split, own in zip(SPLITS, (train, held, tested), strict=True)}, num_near


def _split(examples: Sequence[Example], shares: Mapping[str, float], scratch: Path, log: Log) -> tuple[Splits, int]:
    if not any(shares.values()) or not examples:
        return {"train": list(examples), "validation": [], "test": []}, 0
    known = cache(cluster_of)  # many questions have one context
    own = [known(said_by(e)) for e in examples]
    group_of = _groups(examples, own, scratch, log)
    groups = [group_of[cluster] for cluster in own]
    _warn_if_large(groups, log)
    split = split_all(groups, validation=shares["validation"], test=shares["test"])
    _spread(split, _labels_of(examples, groups), shares)
    found: Splits = {s: [] for s in SPLITS}
    for example, group in zip(examples, groups, strict=True):
        found[split[group]].append(example)
    joined = {cluster for cluster, group in group_of.items() if group != cluster}
    return found, sum(cluster in joined for cluster in own)


def _groups(examples: Sequence[Example], own: Sequence[str], scratch: Path, log: Log) -> dict[str, str]:
    """Cluster -> the first cluster among its near copies."""
    first: dict[str, Example] = {}
    for cluster, example in zip(own, examples, strict=True):
        first.setdefault(cluster, example)
    texts = [said_by(e) for e in first.values()]
    with log.progress("near copies", total=len(texts), unit="texts") as bar:
        signatures = near.sign(_watched(texts, bar))
    found = near.clusters(
        signatures, lambda numbers: [texts[n] for n in numbers], threshold=THRESHOLD, scratch=scratch
    ).cluster
    names = list(first)
    return {name: names[root] for name, root in zip(names, found.tolist(), strict=True)}


def _watched(texts: Sequence[str], bar: Bar) -> Iterator[str]:
    for k, text in enumerate(texts, 1):
        yield text
        if k % 1000 == 0:
            bar.advance(1000)


def _warn_if_large(groups: Sequence[str], log: Log) -> None:
    [(_, largest)] = Counter(groups).most_common(1)
    if len(groups) >= 100 and largest > LARGE * len(groups):
        log.warn(f"{largest} of {len(groups)} examples are near copies of one another and are in one split")


# ---- every label in every split ------------------------------------------------------------------


def _labels_of(examples: Sequence[Example], groups: Sequence[str]) -> dict[str, set[str]]:
    """Label -> the groups in which it occurs; empty for shapes without labels."""
    names = SHAPES[shape_named(examples[0])].names
    found: dict[str, set[str]] = defaultdict(set)
    if names is not None:
        for example, group in zip(examples, groups, strict=True):
            for label in names(example):
                found[label].add(group)
    return found


def _spread(split: dict[str, str], labels: Mapping[str, set[str]], shares: Mapping[str, float]) -> None:
    """Move groups, in place, until each label with three of them is in every wanted split; rare labels first."""
    wanted = [s for s in ("validation", "test", "train") if s == "train" or shares[s]]
    of_group: dict[str, list[str]] = defaultdict(list)
    for label, groups in labels.items():
        for group in groups:
            of_group[group].append(label)
    counts = {label: Counter(split[g] for g in groups) for label, groups in labels.items()}
    for label in sorted(labels, key=lambda name: (len(labels[name]), name)):
        missing = [s for s in wanted if not counts[label][s]] if len(labels[label]) >= 3 else []
        ordered = sorted(labels[label], key=lambda g: (place_of(g), g)) if missing else []
        for target in missing:
            # Not out of a split in which a label would be lost.
            free = [g for g in ordered if all(counts[name][split[g]] > 1 for name in of_group[g])]
            if free:
                group = free[0] if target == "validation" else free[-1] if target == "test" else free[len(free) // 2]
                for name in of_group[group]:
                    counts[name][split[group]] -= 1
                    counts[name][target] += 1
                split[group] = target
