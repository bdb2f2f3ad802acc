"""How likely a text is to a language model, behind a context or alone: what minimal pairs and multiple choice ask.

    causal    bos a b c            log p(a) + log p(b | a) + log p(c | a b)
    masked    [cls] _ b c [sep]    log p(a | b c) + log p(b | a c) + log p(c | a b): each token hidden in turn
              [cls] a _ c [sep]
              [cls] a b _ [sep]    pseudo-log-likelihood, Salazar et al. 2020, arXiv:1910.14659, equation 1
    5-gram    a b c                the baseline, counted on the tokens that the model was trained on

A causal model reads every text behind the bos that its tokenizer names, if it names one; else a text without a context
behind the end token, the only mark between documents in a token store. (Training here never asks for a document's first
token. What a model says of one behind the end token is no trained figure; most pairs begin alike, and it falls out.)

Everything is computed in float32, rows of one length at a time, so nothing is padded; a text that is asked twice is
scored once.

B rows, K targets, L positions, V vocabulary, N targets of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.errors import NotFinite, NotSupported
from pretune.base.json import Json
from pretune.evaluate.ngram import NGram, ngram_nats
from pretune.infer.language import equal_lengths, own_start
from pretune.infer.predictor import Advance, Predictor, Streams, unheard
from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer, special_ids
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from pretune.infer.engine import Decoder

LOGITS_AT_ONCE = 1 << 24
"""Numbers in one batch of logits: 64 MiB in float32."""
MASKED_AT_ONCE = 64
"""Rows of a masked model at once."""
TIED = 1e-6
"""Scores whose difference is a smaller share of them are equal: float32 has seven digits."""

Tokens = tuple[int, ...]
Asked = tuple[Tokens, Tokens]
"""A context, perhaps empty, and the tokens behind it that are scored."""


@dataclass(frozen=True)
class Said:
    """What a model says of one text.

    Args:
        nats: of each token that is scored, float64 [K].
        is_greedy: each of them is the likeliest at its place.
    """

    nats: NDArray[np.float64]
    is_greedy: bool = False

    @property
    def total(self) -> float:
        """The log-probability of the text."""
        return -float(self.nats.sum())


class Scorer(Protocol):
    """What scores texts."""

    def room(self, context: bool) -> int:
        """Tokens of a context and what is behind it, at most; or of a text without a context."""

    def said(self, asked: Sequence[Asked], advance: Advance = unheard) -> list[Said]:
        """The score of each text, in order. Raises NotFinite."""


@dataclass(frozen=True)
class CausalScorer:
    """A model that predicts the next token, on any engine.

    Args:
        begin: what stands before every context.
        alone: what stands before a text without a context.
    """

    engine: Decoder
    tokenizer: Tokenizer
    begin: Tokens
    alone: Tokens
    what: str = "log-probability"

    def room(self, context: bool) -> int:
        return self.engine.max_length + 1 - len(self.begin if context else self.alone)  # the last is no input

    def said(self, asked: Sequence[Asked], advance: Advance = unheard) -> list[Said]:
        return once(asked, self._said, advance)

    def _said(self, asked: Sequence[Asked], advance: Advance) -> list[Said]:
        rows = [[*(self.begin if before else self.alone), *before, *after] for before, after in asked]
        found: list[Said | None] = [None] * len(asked)
        for group in equal_lengths(rows):
            for part in self._batches(group, asked, len(rows[group[0]])):
                scored = self._batch([rows[k] for k in part], [len(asked[k][1]) for k in part])
                for k, said in zip(part, scored, strict=True):
                    found[k] = said
            advance(len(group))
        return [one for one in found if one is not None]

    def _batches(self, group: Sequence[int], asked: Sequence[Asked], length: int) -> Iterator[list[int]]:
        """Parts of a group whose logits fit into memory; texts of like length together."""
        order = sorted(group, key=lambda k: len(asked[k][1]))
        most = max(1, LOGITS_AT_ONCE // (length * self.engine.vocab_size))
        yield from (order[i : i + most] for i in range(0, len(order), most))

    def _batch(self, rows: Sequence[Sequence[int]], sizes: Sequence[int]) -> Iterator[Said]:
        import torch

        ids_BL, keep = np.asarray(rows, dtype=np.int64), max(sizes)
        logits_BKV = torch.from_numpy(self.engine.whole(ids_BL[:, :-1], keep))
        nats_BK, best_BK = _judged(logits_BKV, torch.from_numpy(ids_BL[:, -keep:]))
        for nats_K, best_K, size in zip(nats_BK, best_BK, sizes, strict=True):
            yield Said(nats_K[keep - size :], bool(best_K[keep - size :].all()))


@dataclass(frozen=True)
class MaskedScorer:
    """A model that predicts hidden tokens: each token that is scored is hidden in turn."""

    model: Any
    tokenizer: Tokenizer
    before: Tokens
    after: Tokens
    mask: int
    max_length: int
    what: str = "pseudo-log-likelihood"

    def room(self, context: bool) -> int:
        return self.max_length - len(self.before) - len(self.after)

    def said(self, asked: Sequence[Asked], advance: Advance = unheard) -> list[Said]:
        return once(asked, self._said, advance)

    def _said(self, asked: Sequence[Asked], advance: Advance) -> list[Said]:
        rows = [[*self.before, *before, *after, *self.after] for before, after in asked]
        found: list[Said | None] = [None] * len(asked)
        for group in equal_lengths(rows):
            places = [self._places(asked[k]) for k in group]
            hidden = [(row, place) for row, some in enumerate(places) for place in some]
            parts = [hidden[i : i + MASKED_AT_ONCE] for i in range(0, len(hidden), MASKED_AT_ONCE)]
            scored = [self._batch(np.asarray([rows[k] for k in group], dtype=np.int64), part) for part in parts]
            nats, best = (np.concatenate([one[i] for one in scored]) for i in (0, 1))
            ends = np.cumsum([len(some) for some in places])
            for k, end, some in zip(group, ends, places, strict=True):
                found[k] = Said(nats[end - len(some) : end], bool(best[end - len(some) : end].all()))
            advance(len(group))
        return [one for one in found if one is not None]

    def _places(self, asked: Asked) -> range:
        first = len(self.before) + len(asked[0])
        return range(first, first + len(asked[1]))

    def _batch(self, ids_BL: NDArray[np.int64], hidden: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
        """Nats of the tokens at these (row, place), and whether each is the likeliest there."""
        import torch

        from pretune.model.families import family_of

        row, place = np.asarray(hidden).T
        ids_NL, labels_N = ids_BL[row], torch.from_numpy(ids_BL[row, place])
        ids_NL[np.arange(len(hidden)), place] = self.mask
        at = torch.from_numpy(np.arange(len(hidden)) * ids_BL.shape[1] + place)
        with torch.inference_mode():
            inputs = {"input_ids": torch.from_numpy(ids_NL).to(self.model.device)}
            states = family_of(self.model).states(self.model, inputs, at.to(self.model.device))
            logits_NV = states.hidden_ND if states.last is None else states.last(states.hidden_ND)
        return _judged(logits_NV.float().cpu(), labels_N)


class OfAnyLength:
    """A scorer without a window."""

    def room(self, context: bool) -> int:
        return 1 << 30


@dataclass(frozen=True)
class NGramScorer(OfAnyLength):
    """Counted tokens; what is likeliest is not asked."""

    counted: NGram

    def said(self, asked: Sequence[Asked], advance: Advance = unheard) -> list[Said]:
        rows = [[*before, *after, 0] for before, after in asked]  # of the end token nothing is taken
        ends = np.cumsum([len(row) for row in rows])
        ids = np.fromiter((token for row in rows for token in row), np.uint32, ends[-1])
        nats = ngram_nats(self.counted, Store(ids, ends.astype(np.uint64), 0, self.counted.vocab_size, 0))
        advance(len(asked))
        return [Said(nats[end - 1 - len(after) : end - 1]) for end, (_, after) in zip(ends, asked, strict=True)]


@dataclass(frozen=True)
class UniformScorer(OfAnyLength):
    """A model to which every token is as likely as any other: what a score says of nothing but lengths."""

    vocab_size: int

    def said(self, asked: Sequence[Asked], advance: Advance = unheard) -> list[Said]:
        return [Said(np.full(len(after), np.log(self.vocab_size))) for _, after in asked]


def once(
    asked: Sequence[Asked], score: Callable[[Sequence[Asked], Advance], list[Said]], advance: Advance
) -> list[Said]:
    """Each text by its own score, equal ones scored once: the same sentence never gets two scores."""
    unique = dict.fromkeys(asked)
    advance(len(asked) - len(unique))
    found = dict(zip(unique, score(list(unique), advance), strict=True))
    return [found[one] for one in asked]


def _judged(logits: Tensor, labels: Tensor) -> tuple[Any, Any]:
    """Nats of each label, float64, and whether it is the likeliest; in the shape of the labels. Raises NotFinite."""
    nats = nats_of(logits, labels)
    return nats, (logits.argmax(-1) == labels).numpy()


def nats_of(logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Nats of each label (0 for IGNORE), in the shape of the labels, computed in float32.

    Args:
        logits: of every label, [..., V].

    Raises:
        NotFinite: the model's weights are damaged.
    """
    from torch.nn import functional

    from pretune.tokens.rows import IGNORE

    flat = functional.cross_entropy(
        logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    found = flat.double().cpu().numpy().reshape(labels.shape)
    if not np.isfinite(found).all():
        raise NotFinite("the model's loss on this text is not a number", hint="its weights are damaged; train it again")
    return np.asarray(found)


# ---- opening ------------------------------------------------------------------------------------


def open_scorer(model: Artifact, opened: Predictor | None = None) -> CausalScorer | MaskedScorer:
    """What scores texts with a model folder or a bundle.

    Raises:
        NotSupported: the model has no head for the next token or for masked ones.
    """
    from pretune.infer.load import head_of, open_model

    about = _config(model)
    names, kind = about.get("architectures") or [], about.get("model_type", "")
    if opened is None and kind and head_of(names) in (None, "vector"):
        return _masked(model, names)
    opened = opened or open_model(model.path)
    if not isinstance(opened, Streams) or opened.facts.more.get("apart"):
        problem = f"{model.path.as_posix()} gives {opened.gives.plural} and predicts no text"
        raise NotSupported(problem, hint="pairs and choices are for models that predict the next token or masked ones")
    bos = special_ids(model.path).bos
    begin = own_start(opened.tokenizer, opened.eos_ids) or (() if bos is None or bos in opened.eos_ids else (bos,))
    alone = begin or opened.eos_ids[:1]
    if not alone:
        raise NotSupported(f"the tokenizer of {model.path.as_posix()} names neither a bos nor an end token")
    return CausalScorer(opened.engine, opened.tokenizer, begin, alone)


def _config(model: Artifact) -> Json:
    from pretune.infer.trusted import read_json

    path = model.path / "config.json"
    return dict(read_json(path)) if model.card.kind == "model" and path.is_file() else {}


def _masked(model: Artifact, names: Sequence[str]) -> MaskedScorer:
    """A folder with a head for masked tokens."""
    from pretune.model.folder import load_with_new
    from pretune.model.generate import framing, longest_of

    folder = model.path
    hint = "pairs and choices are for models that predict the next token or masked ones"
    nothing = f"{folder.as_posix()} ({', '.join(names) or 'unknown'}) has no head for tokens"
    if not (folder / "tokenizer.json").is_file():
        raise NotSupported(f"{folder.as_posix()} has no tokenizer.json", hint="convert the tokenizer to tokenizer.json")
    try:
        found, new = load_with_new(folder, "masked")
    except NotSupported as error:
        raise NotSupported(f"{nothing}: {error.problem}", hint=hint) from None
    mask = special_ids(folder).mask
    if new or mask is None:
        raise NotSupported(nothing if new else f"the tokenizer of {folder.as_posix()} has no mask token", hint=hint)
    frame, _ = framing(found.config.to_dict(), folder)
    tokenizer = load_tokenizer(folder)
    return MaskedScorer(found.eval(), tokenizer, frame.before, frame.after, mask, longest_of(found.config))


# ---- comparing ----------------------------------------------------------------------------------


def ahead(mine: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where mine is more, 0 where it is less, 0.5 where they are equal but for what float32 cannot tell."""
    tied = np.abs(mine - other) <= TIED * np.maximum(np.abs(mine), np.abs(other))
    return np.where(tied, 0.5, (mine > other).astype(np.float64))


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """The tokens of each text."""
    return [tuple(ids) for ids in encode_texts(tokenizer, texts)]


def encoded_behind(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[Asked]:
    """(context, text) as tokens; they are encoded as one, and a token that reaches over the border is of the text."""
    contexts = encoded(tokenizer, [context for context, _ in pairs])
    wholes = encoded(tokenizer, [context + text for context, text in pairs])
    found = []
    for context, whole in zip(contexts, wholes, strict=True):
        same = next((k for k, (a, b) in enumerate(zip(context, whole, strict=False)) if a != b), len(context))
        same = min(same, len(whole) - 1)
        found.append((whole[:same], whole[same:]))
    return found


def fitted(before: Sequence[int], after: Sequence[int], room: int) -> Asked:
    """A context and what follows it: as many of the last tokens as there is room for, one of them of the context."""
    after = after[max(0, len(after) + 1 - room) :]
    return tuple(before[max(0, len(before) + len(after) - room) :]), tuple(after)
