"""What a fine-tuning forgets: earlier tasks and general text, looked at before the first step and after the last one.

earlier task    its score on its validation split, by the head it was saved with on the body that trains now
general text    bits per byte of a decoder, the loss at masked tokens of an encoder
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pretune.base.artifact import Artifact, unlike
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.report.numbers import is_lower_better
from pretune.task.labelled_data import LabelledData
from pretune.task.remember.earlier import EarlierTask, EarlierText, OnBody, Past, earlier
from pretune.train.loop.runtime import evaluating
from pretune.train.loop.session import Session
from pretune.train.watch.validate import loss_over
from pretune.train.watch.watching import DOMAIN


@dataclass(frozen=True)
class Watched:
    """One thing that was known before, on the body that trains."""

    name: str
    known: EarlierTask | EarlierText
    module: OnBody

    def figures(self, session: Session) -> dict[str, float]:
        """How well the model does it, with its exact weights; the first figure is the main one."""
        known, vocabulary = self.known, session.spec.vocabulary
        with session.state.update.exact_weights(), evaluating(session.state.model):
            module = self.module(session.state.model)
            asked = (module, known.objective, known.dev_rows, vocabulary, session.runtime)
            return known.figures(module, loss_over(*asked, batch=session.micro))


def watched(past: Past, given: Sequence[Artifact], session: Session, *, taken: Collection[str] = ()) -> list[Watched]:
    """What a run looks at: of text nothing where no head for it is there, and of a task where nothing can be scored.

    Args:
        taken: names of other data of the run.
    """
    found: list[Watched] = []
    for one in given:
        try:
            known = earlier(past, one)
        except NotSupported as error:
            if one.card.kind != "tokens":
                raise
            past.log.warn(f"watch: what is forgotten of {one.path.name} is not told: {error.problem}")
            continue
        if known.dev_rows:
            name = unlike(known.name, [*taken, *(one.name for one in found)])
            found.append(Watched(name, known, known.on(session.state.model)))
        else:
            past.log.warn(f"watch: {known.name} has no validation split to look at")
    return found


def before(things: Sequence[Watched], session: Session) -> Json:
    """The figures of the start, by name; looked at once, also of a run that is resumed."""
    return (
        session.context.choose("before", lambda: {one.name: one.figures(session) for one in things}) if things else {}
    )


def forgotten(things: Sequence[Watched], session: Session, before: Mapping[str, Mapping[str, float]]) -> Json:
    """For the card: figures before and after, and what was lost of the main one of each, in its own unit."""
    if not things:
        return {}
    after = {one.name: one.figures(session) for one in things}
    lost: dict[str, float] = {}
    for name, figures in after.items():
        main = next(iter(figures))
        worse, better = (figures, before[name]) if is_lower_better(main) else (before[name], figures)
        lost[name] = worse[main] - better[main]
        session.context.log.info(
            f"    {name}: {main.replace('_', ' ')} {before[name][main]:.4f} -> {figures[main]:.4f}"
        )
    return {"before": dict(before), "after": after, "forgotten": lost}


def of_pretraining(base: Artifact, given: Sequence[Artifact], session: Session) -> Callable[[], Json]:
    """The start of a model that learns on from text is looked at; call what is given back when it is trained."""
    context, length = session.context, session.spec.length
    things = watched(Past(base, base.path, length, context.seed, context.log), given, session, taken=[DOMAIN])
    return partial(forgotten, things, session, before(things, session))


def knows(read: LabelledData, data: Mapping[str, Artifact], metrics: Json) -> Json:
    """The score of each task that the model can do now, by the name of its data set: its own first, then those that are
    watched. Scores of which less is better are left out."""
    better = read.task.better
    own = {one.path.name: metrics[f"validation_{better}"] for one in data.values() if f"validation_{better}" in metrics}
    mains = {name: next(iter(figures.items())) for name, figures in metrics.get("after", {}).items()}
    earlier = {name: value for name, (main, value) in mains.items() if not is_lower_better(main)}
    return {"knows": {**own, **earlier}} if len(data) == 1 and not is_lower_better(better) else {}
