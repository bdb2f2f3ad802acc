"""A text made of another: a translation, a summary.

    decoder            [bos] source \\n target eos     packed into rows as dialogues are; the target alone is learnt
    with a template    the source is what the user says, the target is the reply
    encoder-decoder    source eos  |  target eos       the one is read, the other is written

Of several targets, all of which are right, the first is learnt; all of them count as right when answers are judged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, PrivateAttr

from pretune.base.errors import NoTarget, NotSupported
from pretune.base.sample import evenly
from pretune.infer.answers import Answer, Text
from pretune.infer.classify import Frame
from pretune.infer.searching import PLAIN, Search
from pretune.model.families import Topped
from pretune.objective.objective import Objective
from pretune.objective.pretraining.causal import Causal
from pretune.objective.written import Written
from pretune.task.chat import chat_format, load_writer, outline_writer, packed_row, said_to, sampled
from pretune.task.judge.judge import Judge
from pretune.task.judge.texts import TextJudge
from pretune.task.task import Task
from pretune.tokens.rows import Row

if TYPE_CHECKING:
    from pretune.infer.language import LanguageModel
    from pretune.infer.predictor import Predictor
    from pretune.text.dataset.example import Pair

ASKED = 200
"""Pairs of the validation split that are answered while a model is trained."""
TARGET_END, SOURCE_END = "the end of their target", "the end of their source"
Coded = tuple[list[int], list[int]]
"""Tokens of a source and of its target."""


class Seq2Seq(Task):
    """Make a text of another, as in pairs: translate, summarise."""

    shape: ClassVar[str] = "pair"
    holds: ClassVar[str] = "pairs of a source and a target"
    answers: ClassVar[type[Answer]] = Text
    judge: ClassVar[Judge] = TextJudge()
    new_head: ClassVar[bool] = False
    better: ClassVar[str] = "rouge_l"
    epochs: ClassVar[float] = 3.0

    beams: int = Field(1, ge=1)
    """Texts that are gone on with at once when answers are looked for; 1 always takes the likeliest token."""
    length_penalty: float = 1.0
    """With beams: log p of an answer is divided by its length to this power; above 0 longer ones win."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No run of so many tokens stands twice in an answer (of a decoder: or in its source); 0 allows any."""

    _apart: bool = PrivateAttr(False)

    def for_model(self, config: Mapping[str, Any]) -> Self:
        """With whether the model has an encoder of its own."""
        found = self.model_copy()
        found._apart = bool(config.get("is_encoder_decoder"))
        return found

    @property
    def search(self) -> Search:
        """How answers are looked for."""
        return Search(self.beams, self.length_penalty, self.no_repeat_ngram)

    def load(self, folder: Path, labels: Sequence[str] | None, *, seed: int) -> Topped:
        from pretune.infer.language import source_frame
        from pretune.infer.searching import NAMES
        from pretune.model.folder import keep, load_model

        model: Any = load_model(folder, "text") if self._apart else load_writer(folder)
        if not self._apart and not _has_template(folder):
            frame = source_frame(folder, apart=False)
            keep(model.config, {"source": {"before": list(frame.before), "after": list(frame.after)}})
        for name in NAMES.values():
            setattr(model.generation_config, name, self.search.generation().get(name))
        return model, ()

    def outline(self, config: Any) -> Topped:
        from pretune.model.build import outline_with

        return outline_with(config, "text")[0] if self._apart else outline_writer(config), ()

    def check(self, examples: Sequence[Pair], labels: Sequence[str] | None) -> None:
        """Raise NotSupported where some have no target."""
        if alone := [e for e in examples if not any(text.strip() for text in e.targets)]:
            problem = f"{len(alone)} of {len(examples)} pairs have no target, {alone[0].origin} first"
            raise NotSupported(problem, hint="complete them or leave them out")

    def rows(
        self,
        examples: Sequence[Any],
        folder: Path,
        labels: Sequence[str] | None,
        *,
        max_length: int,
        warn: Callable[[str], None] = lambda told: None,
    ) -> list[Row]:
        """Packed rows of `max_length` + 1 ids, segments and targets; of an encoder-decoder `ids` and `labels`.

        Raises:
            NoTarget: no target fits.
        """
        if self._apart:
            return self._two_rows(examples, folder, max_length, warn)
        from pretune.task.fitting import fit_all
        from pretune.tokens.store.packing import pack_rows

        room = max_length + 1
        if _has_template(folder):
            dialogues = [said_to(e.source, first(e), e.origin) for e in examples]
            coded = fit_all(chat_format(folder), dialogues, room, warn=warn)
        else:
            coded = _one_row(examples, folder, room, warn)
        packs = pack_rows([len(ids) for ids, _ in coded], room)
        return [packed_row([coded[i] for i in pack], room) for pack in packs]

    def _two_rows(
        self, examples: Sequence[Pair], folder: Path, max_length: int, warn: Callable[[str], None]
    ) -> list[Row]:
        around, ending, pairs = pairs_coded(examples, folder, apart=True)
        there = _with_target(pairs, len(examples), max_length, warn)
        counts, rows = Counter[str](), list[Row]()
        for source, target in there:
            written = [*ending.before, *target, *ending.after]
            too_long = len(source) + len(around.before) + len(around.after) > max_length, len(written) > max_length
            counts.update(what for what, is_cut in zip((SOURCE_END, TARGET_END), too_long, strict=True) if is_cut)
            labels = np.array(written[:max_length], dtype=np.int64)
            rows.append({"ids": around.row(source, max_length), "labels": labels})
        _tell_cut(counts, len(examples), max_length, warn)
        return rows

    def objective(self, class_weights: Sequence[float] | None = None) -> Objective:
        return Written(kind="written") if self._apart else Causal(kind="causal")

    def ready(self, model: Any, folder: Path, labels: Sequence[str] | None, *, max_length: int) -> Predictor:
        from pretune.model.generate import from_objects

        return from_objects(model, folder)

    def score(self, ready: Predictor, examples: Sequence[Pair]) -> dict[str, float]:
        """ROUGE-L and exact matches of greedy answers to at most 200 pairs, evenly spread; no longer than twice the
        longest target."""
        from pretune.infer.language import LanguageModel
        from pretune.tokens.encode.tokenizer import encode_texts

        assert isinstance(ready, LanguageModel)
        asked, _ = self.judge.asked(evenly(examples, ASKED), (), None)
        longest = max(map(len, encode_texts(ready.tokenizer, [text for one in asked for text in one.wanted])))
        quick: LanguageModel = replace(ready, search=PLAIN)
        answers = quick.answer([one.input for one in asked], max_tokens=2 * longest + 1, strict=False)
        marks = [self.judge.marks(answer, one) for answer, one in zip(answers, asked, strict=True)]
        return {name: sum(m[name] for m in marks) / len(marks) for name in ("rouge_l", "exact")}

    def questions(self, examples: Sequence[Pair]) -> list[str]:
        return [example.source for example in examples[:2]]

    def texts(self, ready: Predictor, prompts: Sequence[str]) -> list[tuple[str, str]]:
        return sampled(ready, prompts)


def first(pair: Pair) -> str:
    """The target that is learnt."""
    return next(text for text in pair.targets if text.strip())


def pairs_coded(examples: Sequence[Pair], folder: Path, *, apart: bool) -> tuple[Frame, Frame, list[Coded]]:
    """The frames of a source and of a target, and the tokens of both texts of every pair."""
    from pretune.infer.language import source_frame
    from pretune.tokens.encode.tokenizer import encode_texts, end_id, load_tokenizer, special_ids

    around, tokenizer = source_frame(folder, apart=apart), load_tokenizer(folder)
    ending = around if apart else Frame((), (end_id(special_ids(folder)),))
    sources = encode_texts(tokenizer, [e.source for e in examples])
    targets = encode_texts(tokenizer, [first(e) for e in examples])
    return around, ending, list(zip(sources, targets, strict=True))


def _one_row(
    examples: Sequence[Pair], folder: Path, room: int, warn: Callable[[str], None]
) -> list[tuple[list[int], list[bool]]]:
    """Source and target one behind the other, with the tokens that are learnt; the end of the target is cut."""
    around, ending, pairs = pairs_coded(examples, folder, apart=False)
    frame = len(around.before) + len(around.after)
    there = _with_target(pairs, len(examples), room - 1, warn, room=room - frame)
    rows = [([*around.before, *source, *around.after], [*target, *ending.after]) for source, target in there]
    _tell_cut({TARGET_END: sum(len(a) + len(b) > room for a, b in rows)}, len(examples), room - 1, warn)
    return [([*a, *b][:room], [*[False] * len(a), *[True] * len(b)][:room]) for a, b in rows]


def _with_target(
    pairs: Sequence[Coded], total: int, max_length: int, warn: Callable[[str], None], *, room: float = math.inf
) -> list[Coded]:
    """The pairs of whose target something is left, behind their source in `room` tokens.

    Raises:
        NoTarget: there is none.
    """
    there = [(source, target) for source, target in pairs if target and len(source) < room]
    if not there:
        raise NoTarget(f"no target fits into max_length={max_length} tokens", hint="raise max_length")
    if left_out := total - len(there):
        warn(f"{left_out:,} of {total:,} pairs are left out: nothing of their target fits into max_length={max_length}")
    return there


def _tell_cut(counts: Mapping[str, int], total: int, max_length: int, warn: Callable[[str], None]) -> None:
    if cut := [f"{count:,} lose {what}" for what, count in sorted(counts.items()) if count]:
        warn(f"of {total:,} pairs {', '.join(cut)}: they are longer than max_length={max_length}")


def _has_template(folder: Path) -> bool:
    from pretune.tokens.encode.tokenizer import chat_template

    return chat_template(folder) is not None
