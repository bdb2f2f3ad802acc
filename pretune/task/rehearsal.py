"""Trainings inside a fine-tuning, each on a part of its examples or on more of them, in a folder of its own.

    folds            every example is answered by a model that has not learnt from it, nor from a copy of it
    self-training    texts without labels get those of which the model is sure, and the next model learns from them too

What one of them found is kept when it is over, so a run that was cut short goes on with the one it was at.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context
from pretune.infer.answers import Label
from pretune.task.choosing import Best
from pretune.task.labelled_data import LabelledData
from pretune.text.dataset.example import Labelled
from pretune.text.read.shards import read_rows
from pretune.train.loop.runtime import Runtime, evaluating
from pretune.train.loop.session import begin
from pretune.train.loop.spec import Choices, TrainSpec
from pretune.train.run.resolve import resolve

if TYPE_CHECKING:
    from pretune.infer.predictor import Predictor
    from pretune.task.settings import FinetuneSettings

OUT_OF_FOLD, TAKEN = "out_of_fold.jsonl", "self_training.jsonl"
SHOWN = 3
"""Examples of what a round took in, on the card."""


@dataclass(frozen=True)
class Rehearsal:
    """What the trainings inside have in common with the one around them.

    Args:
        folder: of the model that they begin with.
        spec: what a training is made of, for data.
        rows: examples as rows of the task.
        every: steps between two looks, for data.
    """

    settings: FinetuneSettings
    folder: Path
    runtime: Runtime
    context: Context
    spec: Callable[[LabelledData, Context], TrainSpec]
    rows: Callable[[Sequence[Any]], list[Any]]
    every: Callable[[LabelledData], int]

    def found(self, name: str, data: LabelledData, ask: Callable[[Predictor], Any]) -> Any:
        """Train on these examples and return what `ask` makes of the model (JSON); what is known already is read."""
        home = self.context.scratch / name
        if (home / "found.json").is_file():
            return json.loads((home / "found.json").read_text(encoding="utf-8"))
        home.mkdir(exist_ok=True)
        told = json.loads(json.dumps(self._trained(home, data, ask)))
        shutil.rmtree(home / "checkpoints", ignore_errors=True)
        for weights in home.glob("best-*.safetensors"):
            weights.unlink()
        (home / "found.part").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        (home / "found.part").replace(home / "found.json")
        return told

    def _trained(self, home: Path, data: LabelledData, ask: Callable[[Predictor], Any]) -> Any:
        outer = self.context
        log = Log(quiet=True, metrics_file=home / "metrics.jsonl")
        inner = replace(outer, scratch=home, log=log, choose=lambda n, r: outer.choose(f"{home.name} {n}", r))
        spec = self.spec(data, inner)
        choices: Choices = inner.choose("run", lambda: resolve(spec, log, outer.started))
        session = begin(spec, choices, self.runtime, inner)
        data.task.start(session, data.rows, data.dev_rows)
        session.resume()
        best = Best(self.settings, session, data, self.folder, self.every(data), spec.objective)
        session.run(best.after)
        best.restore()
        best.choose()
        model = session.state.model
        with session.state.update.exact_weights(), evaluating(model):
            return ask(data.task.ready(model, self.folder, data.labels, max_length=self.settings.max_length))


def rehearsed(
    rehearsal: Rehearsal, data: LabelledData, unlabelled: Artifact | None, out: Path
) -> tuple[LabelledData, Json]:
    """What is learnt from after the trainings inside this one, and what they found. Raises NotSupported on ranks."""
    folds, found = rehearsal.settings.folds, Json()
    if (folds or unlabelled) and rehearsal.runtime.world > 1:
        hint = "run it on one, or without folds and unlabelled"
        raise NotSupported("folds and self-training run on one process", hint=hint)
    if folds:
        found |= cross_validated(rehearsal, data, folds, out)
    if unlabelled is not None:
        data, told = self_trained(rehearsal, data, texts_without_labels(unlabelled.path), out)
        found |= told
    return data, found


# ---- folds --------------------------------------------------------------------------------------


def cross_validated(rehearsal: Rehearsal, data: LabelledData, folds: int, out: Path) -> Json:
    """Metrics of the card: the score of each fold's examples by the model that did not learn from them, mean and
    spread. `out_of_fold.jsonl` has every example's answer. Raises WrongValue for more folds than examples."""
    examples, of = data.examples, fold_numbers(data.examples, folds, seed=rehearsal.context.seed)
    if len({*of}) < folds:
        problem = f"folds={folds} are more than the {len({*of})} training examples"
        raise WrongValue(problem, hint="5 is usual; as many folds as examples leave one out each")
    lines, scores = [], []
    for k in range(folds):
        kept = [e for e, fold in zip(examples, of, strict=True) if fold != k]
        held = [e for e, fold in zip(examples, of, strict=True) if fold == k and e.origin == own_origin(e.origin)]
        part = replace(data, examples=kept, rows=rehearsal.rows(kept))
        told = rehearsal.found(f"fold-{k}", part, partial(_judged, data, held))
        rehearsal.context.log.info(f"    fold {k + 1} of {folds}: {told['scores']}")
        lines += [{"fold": k, **line} for line in told["lines"]]
        scores.append(told["scores"])
    _write_note(rehearsal.context, out / OUT_OF_FOLD, lines)
    names = scores[0].keys()
    table = {name: [one[name] for one in scores] for name in names}
    spread = {
        name: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1)), "each": v} for name, v in table.items()
    }
    return {"folds": spread}


def _judged(data: LabelledData, held: Sequence[Any], ready: Predictor) -> Json:
    asked, _ = data.task.judge.asked(held, (), ready.facts.said)
    answers = ready.answer([one.input for one in asked])
    lines = [
        {"origin": one.origin, "wanted": one.wanted, **answer.to_json()}
        for one, answer in zip(asked, answers, strict=True)
    ]
    return {"scores": data.task.score(ready, held), "lines": lines}


def own_origin(origin: str) -> str:
    """The origin of the example that a copy or an augmentation was made of: FILE#7/eda 1 is of FILE#7."""
    file, mark, place = origin.rpartition("#")
    return f"{file}{mark}{place.partition('/')[0]}" if mark else origin


def fold_numbers(examples: Sequence[Any], folds: int, *, seed: int) -> list[int]:
    """The fold of each example: that of its own origin, so that no copy is learnt from while it is held out; of each
    label as many in every fold as can be."""
    groups: dict[str, list[str]] = {}
    for e in examples:
        name = own_origin(e.origin)
        groups.setdefault(str(getattr(e, "label", "")), []).append(name)
    number: dict[str, int] = {}
    for label in sorted(groups):
        names = [name for name in dict.fromkeys(groups[label]) if name not in number]
        for k in np.random.default_rng(seed).permutation(len(names)):
            number[names[k]] = len(number) % folds
    return [number[own_origin(e.origin)] for e in examples]


# ---- self-training ------------------------------------------------------------------------------


def self_trained(
    rehearsal: Rehearsal, data: LabelledData, texts: Sequence[tuple[str, str]], out: Path
) -> tuple[LabelledData, Json]:
    """The examples with those texts (origin, text) of which the last round was sure, and metrics of the card.

    Each round labels all texts anew, so a mistake is not kept for good (Yarowsky 1995).
    """
    how, grown, told, lines = rehearsal.settings.self_training, data, [], []
    known = {e.text for e in [*data.examples, *data.dev_examples]}
    asked = [(origin, text) for origin, text in texts if text not in known]
    for k in range(1, how.rounds + 1):
        taken = rehearsal.found(
            f"round-{k}", grown, partial(sure_of, texts=asked, least=how.confidence, most=how.per_label)
        )
        new = [Labelled(one["text"], one["label"], origin=f"{one['origin']}/round {k}") for one in taken]
        examples = [*data.examples, *new]
        grown = replace(data, examples=examples, rows=rehearsal.rows(examples))
        counts = dict(sorted(Counter(one["label"] for one in taken).items()))
        rehearsal.context.log.info(f"    round {k}: {len(taken)} of {len(asked)} texts taken in, {counts}")
        told.append({"round": k, "taken": counts, "examples": taken[:SHOWN]})
        lines += [{"round": k, **one} for one in taken]
        if not taken:
            rehearsal.context.log.warn("self-training took nothing in: no text is told with that confidence")
            break
    _write_note(rehearsal.context, out / TAKEN, lines)
    return grown, {"self_training": told}


def sure_of(ready: Predictor, texts: Sequence[tuple[str, str]], *, least: float, most: int) -> list[Json]:
    """The texts whose label has at least this probability, the surest first, at most so many of each label."""
    answers = ready.answer([text for _, text in texts])
    both = zip(texts, answers, strict=True)
    sure = [
        (a.score, place, a.name) for place, a in both if isinstance(a, Label) and a.score >= least and not a.rejected
    ]
    found, counts = [], Counter[str]()
    for score, (origin, text), label in sorted(sure, key=lambda one: (-one[0], one[1])):
        counts[label] += 1
        if counts[label] <= most:
            found.append({"origin": origin, "text": text, "label": label, "score": round(score, 6)})
    return found


def texts_without_labels(folder: Path) -> list[tuple[str, str]]:
    """(origin, text) of the training split of a corpus."""
    return [(row["id"], row["text"]) for row in read_rows(folder, "train", ["id", "text"])]


def _write_note(context: Context, path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", newline="\n")
    context.notes.add(path.name)
