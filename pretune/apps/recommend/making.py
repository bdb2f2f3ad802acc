"""The work of the stages recommend and together.

    tables ─▶ items, events ─▶ train | validation | test
    train                 ─▶ systems ─▶ weights that validation chooses
    train and validation  ─▶ systems, with these weights ─▶ the report, on test
    everything            ─▶ systems, with these weights ─▶ what is served

*N items, B users, D width of a vector.*
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretune.apps.app import giving
from pretune.apps.recommend.learning import Asked, Learner, asked_of
from pretune.apps.recommend.measuring import Measured, alike, measured, rank_group, shown_to
from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.ordering import CHOSEN_BY, Ordering, query_of, text_of, weighed
from pretune.apps.recommend.page import write_report
from pretune.apps.recommend.picking import excluded
from pretune.apps.recommend.settings import OfEvents, RecommendSettings, TogetherSettings
from pretune.apps.recommend.shop import Facts, Shop
from pretune.apps.recommend.split import Parts, Seen, divided
from pretune.apps.recommend.systems import Scores, nearest, units, word_vectors
from pretune.apps.recommend.tables import Events, Items, Notes, Sheet, events_of, is_events, items_of, read_sheet
from pretune.base.artifact import Artifact, below
from pretune.base.errors import BadCommand, NotSupported
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context
from pretune.evaluate.findings import rounded
from pretune.infer.answers import Ranking, Vector
from pretune.infer.embed import Embedder
from pretune.infer.load import open_model
from pretune.text.read.sources import named_files

MEASURED = 5000
"""Users of the test that are asked, at most."""
TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Read:
    """What the tables hold, and what of it is learnt from."""

    items: Items
    events: Events
    parts: Parts
    notes: Notes


def read(stage: OfEvents, inputs: Mapping[str, Artifact], log: Log) -> Read:
    """Items and events, divided. Raises BadCommand: no table of events; what reading raises."""
    given, notes = stage.columns, Notes()
    unnamed = _sheets(inputs, "read")
    items = [*_sheets(inputs, "items"), *(one for one in unnamed if not is_events(one, given))]
    events = [*_sheets(inputs, "events"), *(one for one in unnamed if is_events(one, given))]
    if not events:
        names = ", ".join(f"{one.name} ({', '.join(one.columns)})" for one in items) or "nothing"
        hint = "events=FILE names it; columns.user=COLUMN and columns.item=COLUMN its columns"
        raise BadCommand(f"there is no table of events, with a user and an item, among: {names}", hint=hint)
    found = items_of(items, given, notes)
    happened = events_of(events, found, given, notes, min_rating=stage.min_rating)
    for name, read_as in notes.read_as.items():
        log.info(f"    {name}: read as {read_as}")
    for what, number in notes.left_out.items():
        log.warn(f"{number} {what}")
    parts = divided(happened, found, how=stage.split, validation=stage.validation, test=stage.test, cold=stage.cold)
    return Read(found, happened, parts, notes)


def _sheets(inputs: Mapping[str, Artifact], place: str) -> list[Sheet]:
    return [read_sheet(path, name) for one in below(inputs, place) for name, path in named_files(one)]


# ---- recommend ----------------------------------------------------------------------------------


def make(stage: RecommendSettings, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
    """The recommender into `out`; returns its figures on the test events."""
    log = context.log
    found = read(stage, inputs, log)
    items, parts = found.items, found.parts
    out_N = excluded(items, stage.exclude)
    learner = Learner(
        num_items=len(items.ids),
        neighbours=stage.neighbours,
        shrinkage=stage.shrinkage,
        ridge=stage.ridge,
        most_items=stage.most_items,
        unit_ND=vectors_of(items, inputs.get("embed"), log),
    )
    log.info(f"    {len(found.events)} events, {len(found.events.users)} users, {len(items.ids)} items")
    mixture, quality = learner.mixture(parts)
    told = " + ".join(f"{weight:g} {name}" for name, weight in mixture.weights.items() if weight)
    log.info(f"    chosen on validation: {told}, half-life {mixture.half_life:g} events: nDCG@10 {quality:.3f}")
    ordering = _ordering(stage, inputs, items)
    if ordering:
        ordering = weighed(ordering, mixture, asked_of(parts.validation, parts.train, most=CHOSEN_BY))
        log.info(f"    the ranking model has weight {ordering.weight:g} next to them")
    tested = Mixture(learner.learnt(parts.before), mixture.weights, mixture.half_life)
    asked = asked_of(parts.test, parts.before, most=MEASURED)
    report = _report(tested, ordering, asked, parts.before, items, seed=context.seed)
    facts = Facts(
        {name: float(weight) for name, weight in mixture.weights.items()},
        mixture.half_life,
        out_N,
        stage.diversity,
        stage.repeat,
        ordering.weight if ordering else 0.0,
        stage.rank_candidates,
    )
    Shop(items, found.events, learner.learnt(found.events), facts).write(out)
    lists_BK = shown_to(tested, asked.seen)
    cosine = alike(lists_BK, learner.unit_ND)
    metrics = rounded({**report.metrics(), **_counts(found), **({} if cosine is None else {"alike": cosine})})
    metrics |= {"weights": facts.weights, "half_life": facts.half_life}
    metrics |= {"rank_weight": ordering.weight} if ordering else {}
    write_report(out / "report.html", context, report, tested, asked, items, metrics=metrics)
    return metrics


def _counts(found: Read) -> Json:
    counts = dict(sorted(found.notes.left_out.items()))
    told = {"items": len(found.items.ids), "users": len(found.events.users), "events": len(found.events)}
    return told | {"split": found.parts.how, "left_out": counts}


def _report(
    tested: Mixture, ordering: Ordering | None, asked: Asked, before: Events, items: Items, *, seed: int
) -> Measured:
    count_N = np.bincount(before.item_E, minlength=len(items.ids))
    report = measured(tested, asked, count_N, num_users=len(before.users), seed=seed)
    if ordering and ordering.weight:
        report.groups.append(rank_group(ordering, tested, asked, seed=seed))
    return report


def _ordering(stage: RecommendSettings, inputs: Mapping[str, Artifact], items: Items) -> Ordering | None:
    if "rank" not in inputs:
        return None
    model = giving(open_model(inputs["rank"].path), "rank", Ranking)
    return Ordering(model, items, stage.rank_candidates)


def vectors_of(items: Items, embed: Artifact | None, log: Log) -> Scores | None:
    """[N, D] unit vectors of the items' texts, 0 where there is none; None where no item has one."""
    filled = [number for number, text in enumerate(items.texts) if text]
    if not filled:
        return None
    if embed is None:
        return word_vectors(items.texts)
    model = giving(open_model(embed.path), "embed", Vector)
    if not isinstance(model, Embedder):
        raise NotSupported("embed must be a model that gives vectors of texts")
    parts = []
    with log.progress("reading items", total=len(filled), unit="texts") as bar:
        for start in range(0, len(filled), TEXTS_AT_ONCE):
            some = filled[start : start + TEXTS_AT_ONCE]
            parts.append(model.vectors([items.texts[k] for k in some]))
            bar.advance(len(some))
    vectors_FD = np.concatenate(parts)
    found = np.zeros((len(items.texts), vectors_FD.shape[1]), dtype=np.float32)
    found[filled] = units(vectors_FD)
    return found


# ---- together -----------------------------------------------------------------------------------


def write_together(stage: TogetherSettings, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
    """`pairs.jsonl` or `lists.jsonl`; returns how many records it has."""
    found = read(stage, inputs, context.log)
    seen = Seen.of(found.parts.train)
    if stage.shape == "pairs":
        records: Sequence[Json] = [*pairs_of(found.items, seen, most=stage.most)]
    else:
        rng = np.random.default_rng(context.seed)
        records = [*lists_of(found.items, seen, rng, most=stage.most, others=stage.others)]
    if not records:
        hint = "together needs items with texts, and users who have seen two of them"
        raise NotSupported(f"the events give no {stage.shape}", hint=hint)
    with (out / f"{stage.shape}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return {"records": len(records), **_counts(found)}


def pairs_of(items: Items, seen: Seen, *, most: int) -> Iterator[Json]:
    """Of each item with a text the texts of those that most often were seen by the same people, the nearest first."""
    for item, near in nearest(seen, len(items.ids), most=most, shrinkage=10.0):
        texts = dict.fromkeys(items.texts[k] for k in near)
        targets = [text for text in texts if text and text != items.texts[item]]
        if items.texts[item] and targets:
            yield {"source": items.texts[item], "targets": targets}


def lists_of(items: Items, seen: Seen, rng: np.random.Generator, *, most: int, others: int) -> Iterator[Json]:
    """Of each user what was seen last before each of `most` events, with that one (score 1) and others (0)."""
    everything = np.unique(seen.item_E)
    for user in range(len(seen)):
        history = seen[user]
        for place in range(max(1, len(history) - most), len(history)):
            unseen = np.setdiff1d(rng.choice(everything, size=min(2 * others, len(everything))), history)
            candidates = [int(history[place]), *map(int, rng.permutation(unseen)[:others])]
            if len(candidates) > 1:
                scores = [1.0, *[0.0] * (len(candidates) - 1)]
                texts = [text_of(items, item) for item in candidates]
                yield {"query": query_of(items, history[:place]), "candidates": texts, "scores": scores}
