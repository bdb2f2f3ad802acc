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
from pretune.tokens.rows import Row, Vocabulary, vocabulary_of
from pretune.tokens.store.packing import PACKING
from pretune.train.loop.feed import Feed, open_feed, tokenizer_folder
from pretune.train.loop.stream import RowStream, StoreStream, Stream
from pretune.train.run.starting import tokenizer_for
from pretune.train.watch.validate import Loss, bits_per_byte

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

    past: Past
    head: EarlierHead
    data: LabelledData

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def objective(self) -> Objective:
        return self.data.task.objective(self.data.class_weights)

    @property
    def dev_rows(self) -> Sequence[Row]:
        return self.data.dev_rows

    def on(self, model: Any) -> OnBody:
        """What answers it; the earlier model is used up by that."""
        return self.head.on(model)

    def stream(self, number: int, seed: int) -> Stream:
        """So many of its training rows at each step."""
        return RowStream(self.data.rows, number, seed, group=self.data.task.grouped)

    def figures(self, module: Any, loss: Loss) -> dict[str, float]:
        """What a module with its head is worth on the validation split, the main figure first."""
        task, examples = self.data.task, self.data.dev_examples
        ready = task.ready(module, self.past.folder, self.data.labels, max_length=self.past.max_length)
        scores = {**task.score(ready, examples), "loss": loss.per_target}
        return {task.better: scores[task.better], **scores}


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
    return EarlierTask(past, EarlierHead(data.path.name, predictor), read)


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

    @property
    def dev_rows(self) -> Sequence[Row]:
        return self.feed.validation

    def on(self, model: Any) -> OnBody:
        """What predicts it; the module is used up by that."""
        return on_body(self.module, model, name=self.name)

    def stream(self, number: int, seed: int) -> Stream:
        """So many of its rows at each step; their order is the feed's, whatever the seed."""
        return StoreStream(self.feed.rows, number)

    def figures(self, module: Any, loss: Loss) -> dict[str, float]:
        """What the loss says of the validation split, the main figure first."""
        if (term := self.objective.tells_bits) is None:
            return {"loss": loss.per_target}
        return {"bits_per_byte": bits_per_byte(loss.terms[term], **self.feed.held_out), "loss": loss.per_target}


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


def earlier(past: Past, given: Artifact) -> EarlierTask | EarlierText:
    """What the model knew of tokens, or of a data set or model."""
    return earlier_text(past, given) if given.card.kind == "tokens" else earlier_task(past, given)


def _with_head(past: Past, head: Head) -> Any:
    """The nearest model with weights of this head."""
    for one in past.models():
        if (one.path / "config.json").is_file():
            model, new = load_with_new(one.path, head)
            if not new:
                return model
    told = f"neither {past.base.path.as_posix()} nor what it was made from has a head for text ({head})"
    raise NotSupported(told, hint="remember an earlier data set instead; or begin with a model that has that head")
