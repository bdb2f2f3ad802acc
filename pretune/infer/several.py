"""A model of several tasks: one body, a head for each; every head is asked what it can read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pretune.base.errors import NotSupported
from pretune.infer.answers import Answer, Many
from pretune.infer.predictor import Advance, Facts, Predictor, unheard

if TYPE_CHECKING:
    from pretune.infer.engine import Decoder, Encoder

FILE = "several.json"
"""The file that names the heads of a folder."""


@dataclass(frozen=True)
class Several:
    """A predictor for each task, by name."""

    parts: Mapping[str, Predictor]

    @property
    def facts(self) -> Facts:
        return Facts("several", Many.kind, min(part.facts.max_length for part in self.parts.values()))

    @property
    def gives(self) -> type[Answer]:
        return Many

    @property
    def engine(self) -> Decoder | Encoder:
        self._refuse()

    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """The answers of every head that reads what is given: all of them texts, or the roles of one."""
        found: list[dict[str, Answer]] = [{} for _ in inputs]
        reading = {name: [k for k, one in enumerate(inputs) if _reads(part, one)] for name, part in self.parts.items()}
        if strict and any(all(k not in numbers for numbers in reading.values()) for k in range(len(inputs))):
            wanted = "; ".join(f"{name}: {', '.join(part.gives.reads)}" for name, part in self.parts.items())
            raise NotSupported("no head reads such an input", hint=f"give what one of them reads ({wanted})")
        for name, part in self.parts.items():
            numbers = reading[name]
            answers = part.answer([inputs[k] for k in numbers], max_tokens=max_tokens, strict=strict)
            for k, answer in zip(numbers, answers, strict=True):
                found[k][name] = answer
        advance(len(inputs))
        return [Many(parts) for parts in found]

    def head_for(self, answers: Collection[type[Answer]], labels: Sequence[str] | None) -> Predictor:
        """The head that gives such answers, and these labels if several do. Raises NotSupported."""
        found = [part for part in self.parts.values() if part.gives in answers]
        same = [part for part in found if labels is not None and set(part.facts.said or ()) >= set(labels)]
        if len(same) == 1 or len(found) == 1:
            return (same if len(same) == 1 else found)[0]
        self._refuse()

    def compare(self, other: Any, inputs: Sequence[Any], *, most_written: int, num_tokens: int) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        names = ", ".join(self.parts)
        raise NotSupported("this is a model of several tasks", hint=f"name one of its folders: FOLDER/NAME ({names})")


def apart(models: Mapping[str, Predictor]) -> dict[str, Predictor]:
    """Models by name; one of several tasks as one for each of its heads, NAME/HEAD."""
    found: dict[str, Predictor] = {}
    for name, model in models.items():
        found |= (
            {f"{name}/{head}": part for head, part in model.parts.items()}
            if isinstance(model, Several)
            else {name: model}
        )
    return found


def _reads(part: Predictor, given: Any) -> bool:
    """Whether a head reads this: by its roles, or a text (or two) where it reads one."""
    roles = part.gives.reads
    return set(given) >= set(roles) if isinstance(given, Mapping) else roles == ("text",)
