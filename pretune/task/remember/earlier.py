"""What a model knew before: tasks of earlier data sets, each by its own saved head, and general text.

data set   the head is that of the model, among the base and what it was made from, that learnt from this data set
model      the head is its own, the data set the one that it learnt from
tokens     the base's own pretraining: the next token of a decoder, masked tokens of an encoder
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import BadReference, NotSupported
from pretune.base.log import Log
from pretune.infer.load import head_of, open_model
from pretune.infer.predictor import Predictor
from pretune.infer.several import Several
from pretune.model.families import Head, family_named, plain_model
from pretune.model.folder import config_of, load_with_new
from pretune.model.generate import module_of
from pretune.model.held import hold_head
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.task.labelled_data import LabelledData, read_data
from pretune.task.task import judging
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.rows import Vocabulary, vocabulary_of
from pretune.tokens.store.packing import PACKING
from pretune.train.loop.feed import Feed, open_feed, tokenizer_folder
from pretune.train.run.starting import tokenizer_for

TEXT: dict[str, tuple[str, Head]] = {"decoder": ("causal", "next"), "encoder": ("masked", "masked")}
"""Of each architecture the objective that it was pretrained with, and the head of that."""


OnBody = Callable[[Any], Any]
"""The model that trains -> the module that answers for an earlier task."""


@dataclass(frozen=True)
class Past:
    """The model that a fine-tuning begins with, and where it came from.

    Args:
        folder: of its weights and tokenizer.
        max_length: tokens of a row.
        seed: of what is drawn of general text.
        given: what `remember.data` names.
    """

    base: Artifact
    folder: Path
    max_length: int
    seed: int
    log: Log
    given: Sequence[Artifact] = ()

    @property
    def vocabulary(self) -> Vocabulary:
        return vocabulary_of(self.folder)

    def models(self) -> Iterator[Artifact]:
        """The base, the model that it was made from, and so on."""
        seen: set[str] = set()
        one: Artifact | None = self.base
        while one is not None and one.card.id not in seen:
            seen.add(one.card.id)
            yield one
            places = (place for place in ("model", "base") if place in one.card.inputs)
            one = next((found for place in places if (found := one.source(place)) and found.card.kind == "model"), None)


@dataclass(frozen=True)
class EarlierHead:
    """The head of a model that learnt something before.

    Args:
        predictor: that model, as it answers.
    """

    name: str
    predictor: Predictor

    def on(self, model: Any) -> OnBody:
        """What answers with it on the body of a model; the earlier model is used up by that."""
        return on_body(module_of(self.predictor), model, name=self.name)


@dataclass(frozen=True)
class EarlierTask:
    """A task that was learnt before.

    Args:
        data: what it learnt from, its rows for the body that trains now.
    """

    head: EarlierHead
    data: LabelledData

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def objective(self) -> Objective:
        return self.data.task.objective(self.data.class_weights)

    def on(self, model: Any) -> OnBody:
        """What answers it; the earlier model is used up by that."""
        return self.head.on(model)


def on_body(earlier: Any, model: Any, *, name: str) -> OnBody:
    """The earlier head on the body of a model; the model itself where it writes, and the earlier one did."""
    heads = {head_of([type(plain_model(one)).__name__]) for one in (earlier, model)}
    return (lambda same: same) if heads in ({"next"}, {"text"}) else hold_head(earlier, model, name=name)


def earlier_head(past: Past, given: Artifact) -> EarlierHead:
    """The head of an earlier data set, or of an earlier model. Raises NotSupported where it is not to be found."""
    learner = _learner(past, given)
    predictor = open_model(learner.path)
    place = next((p for p, one in learner.card.inputs.items() if one["id"] == given.card.id), "")
    if isinstance(predictor, Several) and "." in place:
        predictor = predictor.parts[place.partition(".")[2]]
    return EarlierHead(given.path.name, predictor)


def earlier_task(past: Past, given: Artifact) -> EarlierTask:
    """The task of an earlier data set, or of an earlier model.

    Raises:
        NotSupported: no model on the way to the base learnt from it; BadReference: its data set is gone.
    """
    head, data = earlier_head(past, given), _data_of(given)
    task, predictor = judging(head.predictor, data.path, name=head.name)
    read = read_data(task, data.path, past.folder, past.max_length, past.log)
    return EarlierTask(EarlierHead(data.path.name, predictor), read)


def _learner(past: Past, given: Artifact) -> Artifact:
    if given.card.kind == "model":
        return given
    for model in past.models():
        if any(one["id"] == given.card.id for place, one in model.card.inputs.items() if place.startswith("data")):
            return model
    told = f"neither {past.base.path.as_posix()} nor what it was made from has learnt from {given.path.as_posix()}"
    raise NotSupported(told, hint="name a data set that one of them was fine-tuned on; or the model that learnt it")


def _data_of(given: Artifact) -> Artifact:
    """Raises BadReference where the data set of a model is gone, NotSupported where it has several or none."""
    if given.card.kind != "model":
        return given
    if "data" not in given.card.inputs:
        raise NotSupported(f"{given.path.as_posix()} was not fine-tuned on one data set", hint="name the data set")
    found = given.source("data")
    if found is None:
        raise BadReference(f"the data set of {given.path.as_posix()} is not to be found", hint="name it by its path")
    return found


# ---- general text --------------------------------------------------------------------------------


@dataclass(frozen=True)
class EarlierText:
    """General text, and what the base was pretrained to say of it.

    Args:
        module: a model with that head, its folder's own.
    """

    name: str
    feed: Feed
    objective: Objective
    module: Any

    def on(self, model: Any) -> OnBody:
        """What predicts it; the module is used up by that."""
        return on_body(self.module, model, name=self.name)


def earlier_text(past: Past, tokens: Artifact) -> EarlierText:
    """General text as rows of the base's own pretraining.

    Raises:
        NotSupported: the tokens are another tokenizer's, or no model on the way to the base has the head.
    """
    tokenizer_for(past.folder, tokenizer_folder(tokens))
    kind = str(config_of(past.folder)["model_type"])
    name, head = TEXT[family_named(kind).architecture_of(kind)]
    objective = OBJECTIVE(name)
    form = objective.form(past.max_length, past.vocabulary)
    read = partial(open_feed, {tokens.path.name: tokens}, form, PACKING("blocks"), Proportions())
    feed = read(seed=past.seed, tokenizer=past.folder)
    return EarlierText(tokens.path.name, feed, objective, _with_head(past, head))


def _with_head(past: Past, head: Head) -> Any:
    """The nearest model with weights of this head."""
    for one in past.models():
        if (one.path / "config.json").is_file():
            model, new = load_with_new(one.path, head)
            if not new:
                return model
    told = f"neither {past.base.path.as_posix()} nor what it was made from has a head for text ({head})"
    raise NotSupported(told, hint="remember an earlier data set instead; or begin with a model that has that head")
