"""What answers: evaluate, parity, the server, `api` and the command line know nothing else of a model.

    folder ──▶ Facts, engine ──▶ Predictor ──▶ answers        the tables are in pretune.infer.load

A predictor that writes text token by token is a `Streams` as well; whoever needs that asks with isinstance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pretune.base.json import Json, JsonMap
from pretune.infer.answers import Answer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.infer.chat import ChatFormat, Message, Talk
    from pretune.infer.draft import Draft
    from pretune.infer.engine import Decoder, Encoder
    from pretune.infer.grammar import Guides
    from pretune.infer.sampling import Sampling
    from pretune.infer.streaming import Piece

Advance = Callable[[int], object]
"""Hears of inputs that are answered."""


def unheard(number: int) -> None:
    """An `Advance` for nobody."""


@dataclass(frozen=True)
class Facts:
    """What must be known of a model to answer with it, next to its weights and tokenizer.

    Args:
        task: what it was made for: the name of a task (`pretune.task`), or complete.
        answers: the kind of its answers, `Answer.kind`.
        max_length: tokens of a row at most.
        before, after, between: control tokens around a text, and between two that are compared.
        more: what a kind of answer needs besides, JSON: of a score `scale` (mean and standard deviation of the numbers
            that were learnt), of labels `temperature` (by which logits are divided), of one label `reject` (the
            probability below which a text gets no label), `rejected` (what it gets instead, perhaps "") and
            `thresholds` (by what each probability is divided before the largest is taken), of several `thresholds`
            (the probability from which each of them holds), of spans `stride` and `no_answer`; of tags `crf`, the
            scores of first, last and neighbouring tags; of texts how they are looked for (`beams` ...), and with what
            the row of an answer begins, where its source is another row (`apart`).
    """

    task: str
    answers: str
    max_length: int
    labels: tuple[str, ...] | None = None
    eos_ids: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    more: JsonMap = field(default_factory=dict)

    @property
    def said(self) -> tuple[str, ...] | None:
        """Every label that it may say: its own, and that of texts that it rejects."""
        rejected = self.more.get("rejected")
        return (*self.labels, rejected) if self.labels and rejected else self.labels

    @classmethod
    def of(cls, tree: JsonMap) -> Facts:
        """From `bundle.json`; raises KeyError."""
        lists = {name: tuple(tree[name]) for name in ("eos_ids", "before", "after")}
        lists["between"] = tuple(tree.get("between", ()))
        labels, more = tree["labels"], tree.get("more", {})
        return cls(tree["task"], tree["answers"], tree["max_length"], labels and tuple(labels), **lists, more=more)

    def to_json(self) -> Json:
        """For `bundle.json`."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("between", "more")}


@dataclass(frozen=True)
class Difference:
    """What was compared of two engines of one model, and what came out.

    Args:
        compared: labels, scores, or greedy tokens.
        decisions: how many of them; `different`: that differ, ties aside.
        longest: tokens of the longest input.
        first: where a decision first differs, what each of both gave there, and JSON's other facts of it.
        worst: the same of where logits lie furthest apart.
    """

    compared: str
    texts: int
    decisions: int
    different: int
    ties: int
    max_logit_difference: float
    longest: int = 0
    first: JsonMap | None = None
    worst: JsonMap | None = None

    @property
    def agreement(self) -> float:
        return 1 - self.different / self.decisions


class Predictor(Protocol):
    """A model with all that it takes to answer."""

    @property
    def facts(self) -> Facts:
        """What a bundle must say of it."""

    @property
    def gives(self) -> type[Answer]:
        """What its answers are."""

    @property
    def engine(self) -> Decoder | Encoder:
        """What turns rows of tokens into arrays."""

    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """An answer to each input, in order.

        Args:
            max_tokens: of an answer that is written.
            strict: an input that cannot be answered is an error before the first answer; else its answer is empty.
        """

    def compare(self, other: Any, inputs: Sequence[Any], *, most_written: int, num_tokens: int) -> Difference:
        """How far the answers of another engine are from this one's, which is the reference.

        Args:
            most_written: inputs that are answered in writing; where an answer is short, all are compared.
            num_tokens: of an answer that is written.

        Raises:
            NoParity: the other cannot read what this one reads; NotSupported: inputs that it does not read.
        """


@runtime_checkable
class Streams(Predictor, Protocol):
    """A predictor that writes text, token by token."""

    @property
    def engine(self) -> Decoder:
        """What reads tokens and scores the next."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Of prompts and answers."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""

    @property
    def chat(self) -> ChatFormat | None:
        """How messages are written; None for a model that only completes text."""

    @property
    def guides(self) -> Guides:
        """What its tokenizer can write under a grammar."""

    def prompt(self, asked: Talk) -> list[int]:
        """The tokens of a text or of messages, as `answer` reads them."""

    def chat_prompt(self, messages: Sequence[Message], tools: Sequence[Json] | None = None) -> list[int]:
        """The tokens that ask for a reply. Raises NotSupported without a chat template, and BadMessages."""

    def text_prompt(self, text: str) -> list[int]:
        """The tokens of a text to go on with."""

    def room(self, prompt_ids: Sequence[int]) -> int:
        """How many tokens an answer may have. Raises TooLong when it is none."""

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Pieces of the answer, one per token; close the iterator to stop early."""

    def draft(self, prompt_ids: Sequence[int], sampling: Sampling) -> Draft:
        """The answer to a prompt before its first token. Raises TooLong."""

    def searches(self, sampling: Sampling) -> bool:
        """Whether such an answer is whole before its first token is known."""

    def generate_many(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """Greedy tokens for every prompt, without the end token."""

    def text_of(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
        """The text of tokens that were written after a prompt."""
