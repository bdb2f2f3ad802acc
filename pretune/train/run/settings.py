"""The settings of stage pretrain. No torch here: a wrong setting is reported before torch is loaded."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pretune.base.config import Free, Input, chosen
from pretune.base.errors import NotSupported, WrongValue, did_you_mean
from pretune.model.families import Head, family_named
from pretune.model.shape import SHAPE, USUAL, Auto, Shape, size_for
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.store.packing import PACKING, Packing
from pretune.train.optim.settings import OPTIM, Optim
from pretune.train.settings import TrainSettings


class PretrainSettings(TrainSettings):
    """What a user sets of pretraining."""

    tokens: Annotated[str | dict[str, str], Input("tokens")]
    """The tokens to learn from; several stores by name (`{en: $en, zh: $zh}`) are read as a mixture."""
    base: Annotated[str | None, Input("model")] = None
    """A model that learns on from this text, in the place of a new one; its own tokenizer made the tokens."""
    take_layers: int | tuple[int, ...] | None = None
    """Of the base's blocks so many are taken, evenly spread from the first to the last, or these (numbers from 0): a
    student of the same width."""
    watch: Annotated[list[str], Input("tokens|dataset|model", by_name=True)] = []
    """What a model that learns on may forget, measured on validation splits: tokens of general text, data sets that it
    was fine-tuned on (scored by the head that was saved for each), or such models."""
    mixture: Proportions = Proportions()
    """Of several stores, how many rows of each: by weights, or as they are; nothing is tokenised again."""
    packing: Annotated[Packing, *chosen(PACKING)] = PACKING("blocks")
    """How documents become rows: blocks, best-fit, document (one a row), or pairs (for next-sentence prediction)."""
    model: Annotated[Shape, *chosen(SHAPE)] = Auto(kind="auto")
    """Shape of the model: a preset, or `auto` to choose from the data and the budget."""
    objective: Annotated[Objective, *chosen(OBJECTIVE)] = OBJECTIVE("causal")
    """What to predict: causal (GPT), masked (BERT), replaced (ELECTRA), span (T5) ..."""
    optim: Annotated[Optim, *chosen(OPTIM)] = OPTIM("muon")
    """Optimizer and schedule."""
    length: int = Field(256, gt=1)
    """Tokens of a row."""
    new_words: bool = True
    """Whether control tokens that the objective needs and the tokenizer lacks (mask, sentinels, marks of infilling) are
    added behind its last id, in the tokenizer that the model saves; no: such a run is refused."""
    batch_ramp: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the batch grows, from an eighth over a quarter and a half of its rows; 0: none."""
    compile: Annotated[Literal["auto", "yes", "no"], Free] = "auto"
    """Compile the model: pays on long runs in a narrow type; auto compiles from twenty minutes of steps on."""

    @model_validator(mode="before")
    @classmethod
    def _gentle_on_a_base(cls, tree: Any) -> Any:
        """A model that learns on moves by AdamW, unless something else is asked for."""
        if isinstance(tree, dict) and tree.get("base") is not None:
            optim = tree.get("optim", {})
            return {**tree, "optim": {"kind": "adamw", **optim} if isinstance(optim, dict) else optim}
        return tree

    @model_validator(mode="after")
    def _one_model(self) -> Any:
        if self.optim.private is not None:
            raise ValueError("rows of tokens hold parts of several documents; optim.private is for fine-tuning")
        if self.base is not None and "model" in self.model_fields_set:
            raise ValueError("model is the shape of a new model, and base is one that learns on; give one of them")
        if self.take_layers is not None and self.base is None:
            raise ValueError("take_layers takes blocks of a base; name the model as base=MODEL")
        if self.watch and self.base is None:
            raise ValueError("watch measures what a base forgets; name the model as base=MODEL")
        return self

    @model_validator(mode="after")
    def _weights_of_stores(self) -> Any:
        names = set(self.tokens) if isinstance(self.tokens, dict) else set()
        if unknown := sorted(set(self.mixture.weights) - names):
            hint = did_you_mean(unknown[0], names) if names else "name the stores: `tokens: {en: $en, zh: $zh}`"
            raise ValueError(f"mixture.weights names {unknown[0]!r}, which is none of `tokens`; {hint}")
        if self.mixture.weights and (missing := sorted(names - set(self.mixture.weights))):
            raise ValueError(f"mixture.weights says nothing of {missing[0]!r}; give every store a weight")
        return self

    @model_validator(mode="after")
    def _rows_of_the_objective(self) -> Any:
        needed = self.objective.packing
        if needed and "packing" not in self.model_fields_set:
            vars(self)["packing"] = PACKING(needed)  # past the guard of frozen settings, which are not yet in use
        if needed not in (None, self.packing.kind):
            raise ValueError(f"objective={self.objective.kind} reads rows of packing={needed}, not {self.packing.kind}")
        return self

    @property
    def mean_share(self) -> float:
        """Rows of a step over those of a whole batch, on the average: a ramp has 1/8, 1/4 and 1/2 of them."""
        return 1 - self.batch_ramp * (1 - (1 / 8 + 1 / 4 + 1 / 2) / 3)


def kinds_with(head: Head) -> list[str]:
    """The shapes whose family has a head."""
    found = []
    for kind in SHAPE.kinds():
        with suppress(NotSupported):
            if kind != "auto" and family_named(SHAPE(kind).family).class_for(head, SHAPE(kind).family):
                found.append(kind)
    return found


def resolved_shape(settings: PretrainSettings, *, tokens: int, vocab_size: int, flops: float) -> Shape:
    """The shape, chosen from data and budget when it is `auto`.

    Raises:
        WrongValue: its family has no head for the objective.
    """
    shape, head = settings.model, settings.objective.head
    if not isinstance(shape, Auto):
        try:
            family_named(shape.family).class_for(head, shape.family)
        except NotSupported as error:
            problem = f"the objective {settings.objective.kind!r} does not suit a {shape.kind}: {error.problem}"
            raise WrongValue(problem, hint=f"take model={' or '.join(kinds_with(head))}") from None
        return shape
    if head in USUAL:
        return SHAPE(USUAL[head])
    if head != "next":
        hint = f"name it: model.kind={' or '.join(kind for kind in SHAPE.kinds() if kind != 'auto')}"
        raise WrongValue(f"no shape is chosen by itself for objective={settings.objective.kind}", hint=hint)
    if settings.steps:
        tokens = settings.steps * settings.batch * settings.length
    elif settings.tokens_read:
        tokens = int(settings.tokens_read)
    else:
        tokens = int(tokens * (settings.epochs or (8.0 if settings.minutes else 1.0)))
    return size_for(tokens, (settings.minutes or 0) * 60, flops, vocab_size=vocab_size, length=settings.length)
