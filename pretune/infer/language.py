"""A language model that answers: prompt tokens in, text out, as a stream or at once.

The plain answer is the stream joined, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import BadGrammar, BadMessages, NotSupported, TooLong
from pretune.base.json import Json
from pretune.infer.answers import Answer, Text
from pretune.infer.batching import Batching
from pretune.infer.chat import ChatFormat, Message, Talk
from pretune.infer.classify import Frame
from pretune.infer.compare import compare_written, longest_prompt, prompts_of
from pretune.infer.draft import Draft, finish
from pretune.infer.engine import ROWS_AT_ONCE, Decoder
from pretune.infer.grammar import Guides
from pretune.infer.predictor import Advance, Difference, Facts, Predictor, Streams, unheard
from pretune.infer.sampling import GREEDY, Sampling, check_finite
from pretune.infer.searching import PLAIN, Search, likeliest
from pretune.infer.streaming import Characters, Piece, behind
from pretune.tokens.encode.tokenizer import chat_template, encode_text, end_id, load_tokenizer, special_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.infer.grammar import Grammar, Guide

PROMPTS_AT_ONCE = 64
NO_CAP = 1 << 62
"""Bytes of a cache whose rows are no more than may be together anyway."""


@dataclass(frozen=True)
class LanguageModel:
    """A predictor that writes text: a decoder with its tokenizer.

    Args:
        eos_ids: tokens that end an answer.
        chat: how messages are written; None for a model that only completes text.
        search: how the likeliest answer is looked for.
        source: the control tokens around a text that is answered with another; None: it is gone on with.
        apart: with what the row of an answer begins, where such a text and its answer are rows of their own.
        form: what every answer must be, where its sampling does not say another.
    """

    decoder: Decoder
    tokenizer: Tokenizer
    eos_ids: tuple[int, ...]
    chat: ChatFormat | None = None
    search: Search = PLAIN
    source: Frame | None = None
    apart: tuple[int, ...] = ()
    form: Grammar | None = None

    @property
    def facts(self) -> Facts:
        task = "seq2seq" if self.source else "chat" if self.chat else "complete"
        frame = self.source or Frame()
        more = {**self.search.to_json(), **({"apart": list(self.apart)} if self.apart else {})}
        return Facts(task, Text.kind, self.decoder.max_length, eos_ids=self.eos_ids, **vars(frame), more=more)

    @property
    def gives(self) -> type[Answer]:
        return Text

    @property
    def engine(self) -> Decoder:
        return self.decoder

    def answer(
        self,
        inputs: Sequence[Talk],
        *,
        max_tokens: int = 256,
        strict: bool = True,
        advance: Advance = unheard,
    ) -> list[Answer]:
        """The likeliest answers to texts (a message of the user where the model chats), to messages, or to
        `{"messages": [...], "tools": [...]}`.

        Raises:
            TooLong, BadMessages: with `strict`, a prompt fills the window, or the template refuses it.
        """
        prompts = [self.prompt(one) for one in inputs] if strict else [self._prompt_or_none(one) for one in inputs]
        if strict:
            self._check_room(prompts)
        found = [Text("", "too-long" if prompt else "refused", len(prompt)) for prompt in prompts]
        fits = [k for k, prompt in enumerate(prompts) if prompt and self._room(len(prompt)) > 0]
        fits.sort(key=lambda k: len(prompts[k]))
        advance(len(prompts) - len(fits))
        for start in range(0, len(fits), PROMPTS_AT_ONCE):
            part = fits[start : start + PROMPTS_AT_ONCE]
            for k, text in zip(part, self._likeliest([prompts[k] for k in part], max_tokens), strict=True):
                found[k] = text
            advance(len(part))
        return list(found)

    def _likeliest(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> Iterator[Text]:
        """The likeliest answers: of all prompts together, or, where each has a form to keep to, one after the other."""
        if self.form is not None:
            yield from (self.write(prompt, Sampling(max_tokens=max_tokens)) for prompt in prompts)
            return
        for prompt, ids in zip(prompts, self.generate_many(prompts, max_tokens), strict=True):
            why = finish(len(ids), max_tokens, self._room(len(prompt)))
            yield Text(self.text_of(prompt, ids), why, len(prompt), len(ids))

    def compare(
        self,
        other: LanguageModel,
        inputs: Sequence[Talk],
        *,
        most_written: int = 20,
        num_tokens: int = 32,
    ) -> Difference:
        prompts = prompts_of(self, inputs, most=most_written, num_tokens=num_tokens)
        return compare_written(self, other, [*prompts, longest_prompt(self)], num_tokens=num_tokens)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Pieces of the answer, one per token, the last of which says why it ended; close the iterator to stop early.

        Raises:
            TooLong: the prompt fills the model's window.
        """
        draft = self.draft(prompt_ids, sampling)
        if draft.most < 1:
            yield draft.last("", "length")
        else:
            yield from self._searched(draft) if self.searches(sampling) else self._fed(draft)

    def draft(self, prompt_ids: Sequence[int], sampling: Sampling) -> Draft:
        """The answer to a prompt before its first token.

        Raises:
            TooLong: the prompt fills the model's window; what `Guides.start` raises, where there is a grammar.
        """
        room, guide = self.room(prompt_ids), self._guide(prompt_ids, sampling)
        return Draft(list(prompt_ids), sampling, self._characters(prompt_ids), self.eos_ids, room, guide)

    def _guide(self, prompt_ids: Sequence[int], sampling: Sampling) -> Guide | None:
        grammar = sampling.grammar or self.form
        if grammar is None:
            return None
        if sampling.stop:
            problem = "a stop text could end an answer before it is what the schema or pattern says"
            raise BadGrammar(problem, hint="leave stop out: such an answer ends by itself")
        lead = self.chat.lead(prompt_ids) if self.chat else ""
        return self.guides.start(grammar, lead=lead or self._space(prompt_ids))

    def _space(self, prompt_ids: Sequence[int]) -> str:
        """The space in front of an answer that is not shown, where this tokenizer takes one away."""
        token = self.guides.spaced
        shown = " " if token is None else self._characters(prompt_ids).push(token)
        return "" if shown.startswith(" ") else " "

    @cached_property
    def guides(self) -> Guides:
        """What this tokenizer can write under a grammar."""
        return Guides(self.tokenizer, self.eos_ids)

    def searches(self, sampling: Sampling) -> bool:
        """Whether such an answer is whole before its first token is known: the likeliest, by the model's own search."""
        return self.search != PLAIN and sampling.is_plain and self.form is None

    def _fed(self, draft: Draft) -> Iterator[Piece]:
        state, fresh = self.decoder.start(), list(draft.written)
        while True:
            logits_BV, state = self.decoder.feed(state, np.asarray([fresh], dtype=np.int64))
            yield (piece := draft.take(logits_BV[0]))
            if piece.finish:
                return
            fresh = draft.written[-1:]

    def _searched(self, draft: Draft) -> Iterator[Piece]:
        (found,) = self.generate_many([draft.written], draft.sampling.max_tokens)
        ends = self.eos_ids[:1] if len(found) < draft.most else ()
        for token in (*found, *ends):
            yield (piece := draft.push(token))
            if piece.finish:
                return

    def _room(self, num_tokens: int) -> int:
        """How many tokens an answer to a prompt of so many may have; less than 1 where there is no room."""
        most = self.decoder.max_length
        return most - num_tokens if not self.apart else most if num_tokens <= most else 0

    def room(self, prompt_ids: Sequence[int]) -> int:
        """How many tokens an answer may have. Raises TooLong when it is none."""
        room = self._room(len(prompt_ids))
        if room < 1:
            problem = f"the prompt has {len(prompt_ids)} tokens, and this model reads {self.decoder.max_length} in all"
            raise TooLong(problem, hint="shorten the prompt, or drop the oldest messages")
        return room

    def prompt(self, asked: Talk) -> list[int]:
        """The tokens of a text or of messages, as `answer` reads them. Raises NotSupported for two texts to compare."""
        if isinstance(asked, Mapping):
            return self.chat_prompt(asked["messages"], asked.get("tools"))
        if isinstance(asked, tuple):
            hint = "give it one text at a time: of a table, --column COLUMN"
            raise NotSupported("a model that writes does not compare two texts", hint=hint)
        if not isinstance(asked, str):
            return self.chat_prompt(asked)
        is_turn = self.chat is not None and self.source is None
        return self.chat_prompt([{"role": "user", "content": asked}]) if is_turn else self.text_prompt(asked)

    def _prompt_or_none(self, asked: Talk) -> list[int]:
        """No tokens where the template refuses the messages (two turns of one side, say)."""
        try:
            return self.prompt(asked)
        except BadMessages:
            return []

    def _check_room(self, prompts: Sequence[Sequence[int]]) -> None:
        """Raise TooLong for the first prompt that leaves no room for an answer."""
        for number, prompt in enumerate(prompts, 1):
            try:
                self.room(prompt)
            except TooLong as error:
                hint = "shorten it or leave it out; nothing was answered"
                raise TooLong(f"text {number} of {len(prompts)}: {error.problem}", hint=hint) from None

    def chat_prompt(self, messages: Sequence[Message], tools: Sequence[Json] | None = None) -> list[int]:
        """The tokens that ask for a reply. Raises NotSupported without a chat template, and BadMessages."""
        if self.chat is None:
            hint = "complete text with it, or fine-tune it: pretune finetune MODEL DIALOGUES task=chat"
            raise NotSupported("this model has no chat template", hint=hint)
        return self.chat.prompt_ids(messages, tools)

    def text_prompt(self, text: str) -> list[int]:
        """The tokens of a text to go on with, behind what the model was trained to see first.

        That is the tokenizer's own bos where it puts one; an empty prompt is the end of another text. A source
        stands in its frame.
        """
        frame = self.source or Frame(own_start(self.tokenizer, self.eos_ids))
        ids = [*frame.before, *encode_text(self.tokenizer, text), *frame.after]
        return ids or list(self.eos_ids[:1])

    def write(self, prompt_ids: Sequence[int], sampling: Sampling) -> Text:
        """The stream, joined."""
        pieces = list(self.stream(prompt_ids, sampling))
        why = pieces[-1].finish
        assert why is not None, "the last piece of a stream says why it ended"
        return Text("".join(piece.text for piece in pieces), why, len(prompt_ids), pieces[-1].num_tokens)

    def reply(self, messages: Sequence[Message], sampling: Sampling = GREEDY) -> Text:
        """The next turn of a dialogue."""
        return self.write(self.chat_prompt(messages), sampling)

    def complete(self, text: str, sampling: Sampling = GREEDY) -> Text:
        """How a text goes on; the text itself is not repeated."""
        return self.write(self.text_prompt(text), sampling)

    def text_of(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
        """The text of tokens that were written behind a prompt, as `stream` gives it."""
        characters = self._characters(prompt_ids)
        return "".join([*(characters.push(token) for token in ids), characters.finish()])

    def _characters(self, prompt_ids: Sequence[int]) -> Characters:
        if self.source:  # the targets of training stood alone
            return Characters(self.tokenizer)
        return behind(self.tokenizer, prompt_ids, lead=self.chat.lead(prompt_ids) if self.chat else "")

    def generate_many(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """The likeliest tokens for every prompt, without the end token.

        All go together where the decoder's rows join; else those of one length do. Each answer is the one it gets
        alone, but for ties that float32 may order either way.

        Raises:
            TooLong: a prompt fills the model's window.
        """
        together = Batching(self, NO_CAP, own_thread=False, keeps=False)
        if together.joining and self.search == PLAIN:
            return together.likeliest(prompts, max_tokens)
        answers: list[list[int]] = [[] for _ in prompts]
        for group in equal_lengths(prompts):
            rows, room = [list(prompts[k]) for k in group], min(max_tokens, self.room(prompts[group[0]]))
            ids = np.asarray(rows, dtype=np.int64)
            found = likeliest(self.decoder, ids, self.search, ends=self.eos_ids, room=room, apart=self.apart)
            for k, answer in zip(group, found, strict=True):
                answers[k] = answer
        return answers


def of_facts(decoder: Decoder, folder: Path, facts: Facts) -> LanguageModel:
    """An engine with the tokenizer, the end tokens and the chat template of a folder."""
    tokenizer, specials, template = load_tokenizer(folder), special_ids(folder), chat_template(folder)
    own = () if specials.eos is None else (specials.eos,)
    chat = ChatFormat(template, tokenizer, specials, facts.eos_ids) if template else None
    ends = tuple(sorted({*own, *facts.eos_ids, *(chat.ends if chat else ())}))
    source = Frame(facts.before, facts.after) if facts.after else None
    search, apart = Search.of(facts.more), tuple(facts.more.get("apart", ()))
    return LanguageModel(decoder, tokenizer, ends, chat, search, source, apart)


def kept_to(model: Predictor, form: Grammar) -> Predictor:
    """The same model, every answer of which keeps to a form.

    Raises:
        NotSupported: a model that does not write; what `Guides.start` raises.
    """
    if not isinstance(model, LanguageModel):
        hint = "a schema, choices or a pattern are for models that write"
        raise NotSupported(f"this model gives {model.gives.plural}, which have their form already", hint=hint)
    kept = replace(model, form=form)
    kept.guides.start(form)
    return kept


def own_start(tokenizer: Tokenizer, ends: Sequence[int]) -> tuple[int, ...]:
    """The bos that a tokenizer puts first by itself, if it does."""
    return tuple(token for token in tokenizer.encode("", add_special_tokens=True).ids[:1] if token not in ends)


def source_frame(folder: Path, *, apart: bool) -> Frame:
    """The control tokens around a text that is answered with another, by the tokenizer of a folder.

    source \n target eos    a decoder; [sep] or eos where the tokenizer knows no line end
    source eos              `apart`: an encoder reads it, in the frame that the tokenizer has

    Raises:
        NotSupported: the tokenizer has no token that ends a text.
    """
    tokenizer, specials = load_tokenizer(folder), special_ids(folder)
    end = (end_id(specials),)
    if apart:
        own = tuple(tokenizer.encode("", add_special_tokens=True).ids)
        return Frame(own[:-1], own[-1:]) if own[-1:] == end else Frame(own, end)
    line = tuple(encode_text(tokenizer, "\n"))
    known = specials.unk not in line and tokenizer.decode(list(line)).endswith("\n")
    between = (specials.sep,) if specials.sep is not None else end
    return Frame(own_start(tokenizer, end), line if known else between)


def told_reply(model: Streams, messages: Sequence[Message]) -> tuple[float, int]:
    """The log-probability of a dialogue's last reply and its end token, and how many tokens that is.

    Raises:
        TooLong: nothing of it is within the model's window; BadMessages, NotSupported: as `chat_prompt`.
    """
    assert model.chat is not None, "a model that replies has a chat template"
    ids, targets = model.chat.dialogue_ids(messages, learnt=[False] * (len(messages) - 1) + [True])
    places = np.flatnonzero(targets[: model.facts.max_length])
    if not len(places):
        problem = f"the prompt of {len(ids)} tokens leaves no room in {model.facts.max_length}"
        raise TooLong(problem, hint="shorten the prompt, or drop the oldest messages")
    first, last = int(places[0]), int(places[-1])
    logits_LV = model.engine.whole(np.array([ids[:last]]), last - first + 1)[0].astype(np.float64)
    check_finite(logits_LV)
    top_L = logits_LV.max(axis=1)
    sums_L = top_L + np.log(np.exp(logits_LV - top_L[:, None]).sum(axis=1))
    said_L = logits_LV[np.arange(len(logits_LV)), ids[first : last + 1]] - sums_L
    return float(said_L.sum()), len(said_L)


def equal_lengths(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of rows that have one length, at most 32 together, the longest first."""
    by_length: dict[int, list[int]] = {}
    for k, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(k)
    for length in sorted(by_length, reverse=True):
        group = by_length[length]
        yield from (group[i : i + ROWS_AT_ONCE] for i in range(0, len(group), ROWS_AT_ONCE))
