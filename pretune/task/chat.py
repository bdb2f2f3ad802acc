"""Answer in dialogues: only the replies, and the token that ends each, are targets.

Dialogues are packed into rows of one length, as in pretraining; a mask keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pretune.base.errors import BadMessages, NoTarget, NotSupported
from pretune.base.sample import evenly
from pretune.infer.answers import Answer, Text
from pretune.infer.predictor import Streams
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.pretraining.causal import Causal
from pretune.task.judge.judge import Judge
from pretune.task.judge.replies import ReplyJudge, asked_of, is_unfinished, never_ends
from pretune.task.task import Task
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.chat import ChatFormat
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Dialogue, Preference


SAMPLE_TOKENS = 40
"""Of an answer that is only looked at while a model is trained."""
ENDINGS, ENDING_TOKENS = 16, 4096
"""The most replies by which it is seen whether a model stops, and the most tokens of all of them."""
SLACK = 8
"""Tokens by which a reply may be longer than the longest wanted."""


class Chat(Task):
    """Reply as in the dialogues."""

    shape: ClassVar[str] = "dialogue"
    holds: ClassVar[str] = "dialogues"
    new_head: ClassVar[bool] = False
    answers: ClassVar[type[Answer]] = Text
    judge: ClassVar[Judge] = ReplyJudge()
    better: ClassVar[str] = "loss"
    epochs: ClassVar[float] = 3.0

    loss_on: Literal["all", "last"] = "all"
    """Which replies of a dialogue are learnt: all of them, or the last one alone."""

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        return load_chat(folder)

    def outline(self, config: Any) -> Topped:
        return outline_writer(config), ()

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Packed rows of `max_length` + 1 ids, segments and targets.

        Raises:
            NoTarget: no reply of any dialogue fits; BadMessages: the template refuses all of them.
        """
        from pretune.task.fitting import fit_all
        from pretune.tokens.store.packing import pack_rows

        chat = chat_format(folder)
        _tell_tools(chat, examples, warn)
        learnt = examples if self.loss_on == "all" else [last_alone(e) for e in examples]
        coded = fit_all(chat, learnt, max_length + 1, warn=warn)
        packs = pack_rows([len(ids) for ids, _ in coded], max_length + 1)
        return [packed_row([coded[i] for i in pack], max_length + 1) for pack in packs]

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Causal(kind="causal")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Predictor:
        from pretune.model.generate import from_objects

        return from_objects(model, folder)

    def score(self, ready: Predictor, examples: Sequence[Dialogue]) -> dict[str, float]:
        """Training chooses by the loss alone; stage evaluate reads the answers."""
        return {}

    def looked_at(
        self, ready: Predictor, examples: Sequence[Any], *, warn: Callable[[str], None] = lambda told: None
    ) -> dict[str, float]:
        """`unfinished`: of some replies, the share that did not end by themselves."""
        return ending(ready, examples, warn)

    def questions(self, examples: Sequence[Dialogue]) -> list[str]:
        return first_questions(examples)

    def texts(self, ready: Predictor, prompts: Sequence[str]) -> list[tuple[str, str]]:
        return sampled(ready, prompts)


def sampled(ready: Predictor, prompts: Sequence[str]) -> list[tuple[str, str]]:
    """The beginnings of the answers to prompts, each with its prompt; one that fills the window is left out."""
    pairs = zip(prompts, ready.answer(prompts, max_tokens=SAMPLE_TOKENS, strict=False), strict=True)
    return [(text, a.text) for text, a in pairs if isinstance(a, Text) and a.finish in ("stop", "length", "window")]


def load_chat(folder: Path) -> Topped:
    """A model that replies, in float32; it has no new module."""
    model = load_writer(folder)
    # Whoever generates with this folder stops where a reply ends, and where a document does.
    model.generation_config.eos_token_id = sorted(chat_format(folder).ends)
    return model, ()


def load_writer(folder: Path) -> Any:
    """A decoder, in float32, with the attention of ours."""
    from pretune.model.attention import register_attention
    from pretune.model.folder import load_model

    return load_model(folder, "next", attention=register_attention())


def outline_writer(config: Any) -> Any:
    """The same of a transformers config alone, with random weights."""
    from pretune.model.attention import register_attention
    from pretune.model.families import family_named

    family = family_named(config.model_type)
    maker = family.class_for("next", config.model_type)
    return maker.from_config(config, attn_implementation=register_attention(), **family.made_with())


def said_to(asked: str, reply: str, origin: str) -> Dialogue:
    """What a user says and the reply to it."""
    from pretune.text.dataset.example import Dialogue, Message

    return Dialogue((Message("user", asked), Message("assistant", reply)), origin)


def first_questions(examples: Sequence[Dialogue | Preference]) -> list[str]:
    """What is said first in two dialogues."""
    first = [m.said for dialogue in examples[:2] for m in dialogue.messages if m.role == "user"]
    return list(dict.fromkeys(first))[:2]


def ending(ready: Predictor, examples: Sequence[Dialogue], warn: Callable[[str], None]) -> dict[str, float]:
    """The share of greedy replies to some questions that did not end, though longer than the longest wanted reply.

    What the window cut is not counted; empty where nothing is left.
    """
    asked = [(a.input, e) for e in evenly(examples, ENDINGS) if (a := asked_of(e))]
    assert isinstance(ready, Streams), "a model that chats writes"
    if not (limit := _enough(ready, [e for _, e in asked])):
        return {}
    some = [talk for talk, _ in evenly(asked, max(1, ENDING_TOKENS // limit))]
    answers = [a for a in ready.answer(some, max_tokens=limit, strict=False) if isinstance(a, Text)]
    for text in never_ends(answers):
        warn(text)
    ended = [one for a in answers if (one := is_unfinished(a)) is not None]
    return {"unfinished": sum(ended) / len(ended)} if ended else {}


def _enough(ready: Streams, examples: Sequence[Dialogue]) -> int:
    """Tokens in which a reply to these should end; 0 where none of them can be told."""
    from pretune.task.fitting import fit_all

    assert ready.chat is not None, "a model that chats has a template"
    try:
        coded = fit_all(ready.chat, [last_alone(e) for e in examples], ready.facts.max_length)
    except (NoTarget, BadMessages):
        return 0
    return max(sum(targets) for _, targets in coded) + SLACK


def last_alone(dialogue: Dialogue) -> Dialogue:
    """The dialogue with no reply to learn but the last of those that are learnt."""
    last = max((k for k, m in enumerate(dialogue.messages) if m.role == "assistant" and m.learnt), default=None)
    return replace(dialogue, messages=tuple(replace(m, learnt=k == last) for k, m in enumerate(dialogue.messages)))


def _tell_tools(chat: ChatFormat, examples: Sequence[Dialogue], warn: Callable[[str], None]) -> None:
    """Warn of tools and calls that the chat template does not write."""
    shown = {
        "calls, which are learnt as text": not chat.knows_calls and any(m.calls for e in examples for m in e.messages),
        "tools, so the model does not see them": not chat.knows_tools and any(e.callable for e in examples),
    }
    for what, is_so in shown.items():
        if is_so:
            warn(f"the chat template does not write {what}")
    if broken := sum(bool(e.tools and not e.callable) for e in examples):
        warn(f"the tools of {broken:,} dialogues are no JSON list of objects, so the model does not see them")


def chat_format(folder: Path) -> ChatFormat:
    """The chat format of a model folder; raises NotSupported when it has no template."""
    from pretune.infer.chat import ChatFormat
    from pretune.tokens.encode.tokenizer import chat_template, load_tokenizer, special_ids

    template = chat_template(folder)
    if template is None:
        hint = "use a model with a chat template, or one whose tokenizer was trained by pretune"
        raise NotSupported(f"{folder.as_posix()} has no chat template", hint=hint)
    return ChatFormat(template, load_tokenizer(folder), special_ids(folder))


def packed_row(parts: Sequence[tuple[list[int], list[bool]]], length: int) -> Row:
    """Dialogues one after another; segments number them, -1 is padding."""
    ids, targets = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=bool)
    segments = np.full(length, -1, dtype=np.int64)
    at = 0
    for number, (part, scored) in enumerate(parts):
        end = at + len(part)
        ids[at:end], targets[at:end], segments[at:end] = part, scored, number
        at = end
    return {"ids": ids, "segments": segments, "targets": targets}
