"""Back-translation: a text goes to another language and comes back in other words, with its label.

    "A lovely film."  ──there──▶  "一部可爱的电影。"  ──back──▶  "A charming film."

Any two model folders that chat, or one that does both; what they are asked is a setting. Both answer greedily, so
the same models give the same rows.

Source: Sennrich, Haddow and Birch 2016, arXiv:1511.06709 (translation); Yu et al. 2018, arXiv:1804.09541 (paraphrase).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, field_validator

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import NotSupported
from pretune.infer.answers import Text
from pretune.infer.predictor import Predictor, Streams
from pretune.text.dataset.augment.augment import Augment, Work, with_texts
from pretune.text.dataset.example import Example

Translate = Callable[[Sequence[str]], list[str]]
"""Texts to texts, one for each, in order; "" where nothing came."""
WITH = "{text}"


class BackTranslation(Augment):
    """Each text is translated by one model and back by another."""

    kind: str = "back-translation"
    there: Annotated[str, Input("model|bundle")]
    """The model that translates to the other language."""
    back: Annotated[str, Input("model|bundle")]
    """The model that translates back; it may be the same folder."""
    ask_there: str = "Translate into Chinese. Answer with the translation alone.\n\n{text}"
    """What the first model is asked; {text} is the text."""
    ask_back: str = "Translate into English. Answer with the translation alone.\n\n{text}"
    """What the second model is asked."""
    max_tokens: int = Field(default=256, gt=0)
    """Tokens of a translation; a longer one is left out."""

    @field_validator("ask_there", "ask_back")
    @classmethod
    def _holds_the_text(cls, value: str) -> str:
        if WITH not in value:
            raise ValueError("must hold {text}, where the text goes")
        return value

    def changed(self, work: Work) -> list[Example]:
        """Raises NotSupported for tags (they would not fit the new words), and what opening a model raises."""
        if work.shape == "tags":
            raise NotSupported("tags do not fit the words of a translation", hint="augment with eda instead")
        texts = _texts_of(work.rows, work.shape)
        between = translator(work.inputs["there"], self.ask_there, self.max_tokens)(texts)
        after = translator(work.inputs["back"], self.ask_back, self.max_tokens)(between)
        return _said(work.rows, work.shape, dict(zip(texts, after, strict=True)))


def translator(model: Artifact, ask: str, max_tokens: int) -> Translate:
    """A folder's chat model as a translator.

    Raises:
        NotSupported: a model that does not chat.
    """
    from pretune.infer.load import open_model

    opened = open_model(model.path)
    if not isinstance(opened, Streams) or opened.chat is None:
        hint = "fine-tune it on translations first: pretune finetune MODEL PAIRS task=chat"
        raise NotSupported(f"{model.path.as_posix()} does not chat, so it cannot be asked to translate", hint=hint)
    return lambda texts: _answers(opened, [ask.replace(WITH, text) if text else "" for text in texts], max_tokens)


def _answers(model: Predictor, asked: Sequence[str], max_tokens: int) -> list[str]:
    """Greedy answers; "" for an empty question, a prompt that is too long and an answer that does not end."""
    wanted = [k for k, text in enumerate(asked) if text]
    found = [""] * len(asked)
    for k, answer in zip(
        wanted, model.answer([asked[k] for k in wanted], max_tokens=max_tokens, strict=False), strict=True
    ):
        if isinstance(answer, Text) and answer.finish == "stop":
            found[k] = answer.text.strip()
    return found


def _texts_of(rows: Sequence[Example], shape: str) -> list[str]:
    """Every text that may change, once, in order."""
    seen: dict[str, None] = {}
    for row in rows:
        with_texts(row, shape, lambda text: seen.setdefault(text) or text)
    return [text for text in seen if text.strip()]


def _said(rows: Sequence[Example], shape: str, after: Mapping[str, str]) -> list[Example]:
    return [with_texts(row, shape, lambda text: after.get(text, text)) for row in rows]
