"""A pretrained tokenizer with more words, or with only those that a corpus uses. Ids of other texts stay.

    extend   new words are matched before anything else is cut: a text without them has the ids it had
    cut      what the corpus's texts are encoded to, what that was merged from, bytes and special tokens are kept

The model's rows follow by `pretune compress MODEL TOKENIZER method=vocabulary`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pretune.base.config import Input
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.tokens.encode.tokenizer import encode_text, encode_texts, load_tokenizer
from pretune.tokens.learn.algorithm import BYTE_TOKENS, Algorithm, Learning

if TYPE_CHECKING:
    from tokenizers import Tokenizer


BATCH = 256
SPACED = re.compile(r"(?<!\w)[^\W\d_]{3,}(?!\w)")
Merge = str | list[str]
"""Two pieces of a tokenizer.json: older ones write them as one text with a space."""
HAN = re.compile(r"[\u3400-\u9fff]{2,}")


class Extend(Algorithm):
    """Another tokenizer and the words of this corpus that it cuts into the most pieces."""

    kind: str = "extend"
    base: Annotated[str, Input("tokenizer|model")]
    """The tokenizer, or the model whose tokenizer it is."""
    words: int = Field(default=500, ge=1)
    """New words at most."""

    def learn(self, learning: Learning) -> Tokenizer:
        from tokenizers import AddedToken

        tokenizer = load_tokenizer(_base(learning))
        chosen = missed_words(tokenizer, learning, self.words)
        # A word in letters is matched between other signs only, never inside of a longer word.
        tokenizer.add_tokens([AddedToken(w, normalized=False, single_word=not HAN.match(w)) for w in chosen])
        _check_spaces(load_tokenizer(_base(learning)), tokenizer, chosen)
        return tokenizer


class Cut(Algorithm):
    """Another tokenizer without the tokens that this corpus never needs."""

    kind: str = "cut"
    base: Annotated[str, Input("tokenizer|model")]
    """The tokenizer, or the model whose tokenizer it is."""
    round_trips: ClassVar[bool] = True

    def learn(self, learning: Learning) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = load_tokenizer(_base(learning))
        used: set[int] = set()
        for texts in _batched((learning.whole or learning.texts)()):
            used.update(*encode_texts(tokenizer, texts))
        return Tokenizer.from_str(json.dumps(without_unused(json.loads(tokenizer.to_str()), used), ensure_ascii=False))


def _base(learning: Learning) -> Path:
    assert learning.inputs is not None and "base" in learning.inputs, "the setting `base` is an input"
    return learning.inputs["base"].path


def _batched(texts: Iterator[str]) -> Iterator[list[str]]:
    held: list[str] = []
    for text in texts:
        held.append(text)
        if len(held) >= BATCH:
            yield held
            held = []
    if held:
        yield held


# ---- more words ---------------------------------------------------------------------------------


def missed_words(tokenizer: Tokenizer, learning: Learning, most: int) -> list[str]:
    """Words whose own tokens would spare the most: how often times how many pieces fewer, the largest first."""
    counts = _words_of(learning)
    words = sorted(word for word, n in counts.items() if n >= learning.min_frequency)
    pieces = encode_texts(tokenizer, words)
    # Between spaces a word's first piece mostly held the space before it, which is a token of its own then.
    spared = {w: counts[w] * (len(ids) - (1 if HAN.match(w) else 2)) for w, ids in zip(words, pieces, strict=True)}
    ranked = sorted((w for w in words if spared[w] > 0), key=lambda w: (-spared[w], w))
    return [w for w in ranked if _comes_back(tokenizer, w)][:most]


def _words_of(learning: Learning) -> Counter[str]:
    counts: Counter[str] = Counter()
    cut = _chinese(learning)
    for text in learning.texts():
        counts.update(SPACED.findall(HAN.sub(" ", text)))
        counts.update(word for clause in HAN.findall(text) for word in cut(clause) if len(word) > 1)
    return counts


def _chinese(learning: Learning) -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError:
        learning.warn('Chinese words are not looked for without rjieba: pip install "pretune[words]"')
        return lambda clause: []
    return rjieba.cut


def _comes_back(tokenizer: Tokenizer, word: str) -> bool:
    """Whether a decoder gives the word as it is: byte-level ones read some accented letters as bytes."""
    from tokenizers import Tokenizer, models

    lone = Tokenizer(models.WordLevel({word: 0}, unk_token=word))
    lone.decoder = tokenizer.decoder
    return tokenizer.decoder is None or str(lone.decode([0])).strip() == word


def _check_spaces(base: Tokenizer, extended: Tokenizer, words: Sequence[str]) -> None:
    """Refuse a tokenizer that takes what stands behind a new word for the beginning of a text.

    Those of Llama 2's form put a space in front of every text. A new word cuts the text around it in two, so a space
    that nobody wrote would stand behind each: "zebra, zebra" would come back as "zebra , zebra".

    Raises:
        NotSupported: texts with a new word come back otherwise than they did.
    """
    for word in words:
        text = f"{word}{word}, {word} {word}." if HAN.match(word) else f"the {word} is {word}, {word}."
        if _returned(base, text) == text != _returned(extended, text):
            raise NotSupported(
                f"this tokenizer cannot be extended by words: with {word!r} as one, {text!r} would come back as "
                f"{_returned(extended, text)!r}",
                hint="it puts a space in front of every piece of text; learn one from the corpus: algorithm=bpe",
            )


def _returned(tokenizer: Tokenizer, text: str) -> str:
    return str(tokenizer.decode(encode_text(tokenizer, text), skip_special_tokens=False))


# ---- fewer tokens -------------------------------------------------------------------------------


def without_unused(told: Json, used: set[int]) -> Json:
    """A tokenizer.json with the tokens that are used, in their old order, and what those are made of."""
    model, added = told["model"], {token["id"] for token in told["added_tokens"]}
    tokens = _in_order(model)
    kept = used | added | {number for number, token in tokens.items() if _is_basic(token)}
    merges = model.get("merges", [])
    if model["type"] == "BPE":
        kept = _with_parts(model["vocab"], merges, kept)
    order = {old: new for new, old in enumerate(sorted(kept))}
    if model["type"] == "Unigram":
        kept |= {model["unk_id"]} - {None}
        order = {old: new for new, old in enumerate(sorted(kept))}
        model["vocab"] = [model["vocab"][old] for old in sorted(kept) if old < len(model["vocab"])]
        model["unk_id"] = order.get(model["unk_id"])
    elif model["type"] in ("BPE", "WordPiece", "WordLevel"):
        kept |= {model["vocab"][model["unk_token"]]} if model.get("unk_token") in model["vocab"] else set()
        order = {old: new for new, old in enumerate(sorted(kept))}
        model["vocab"] = {token: order[number] for token, number in model["vocab"].items() if number in order}
    else:
        raise NotSupported(f"a tokenizer of kind {model['type']!r} cannot be cut")
    if merges:
        inside = model["vocab"]
        model["merges"] = [m for m in merges if all(part in inside for part in (*_parts(m), "".join(_parts(m))))]
    told["added_tokens"] = [{**token, "id": order[token["id"]]} for token in told["added_tokens"]]
    _renumber(told.get("post_processor"), order)
    return told


def _in_order(model: Json) -> dict[int, str]:
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        return {number: token for token, number in vocab.items()}
    return {number: token for number, (token, _) in enumerate(vocab)}


def _is_basic(token: str) -> bool:
    return len(token) == 1 or token in BYTE_TOKENS or (len(token) == 3 and token.startswith("##"))


def _parts(merge: Merge) -> tuple[str, str]:
    left, right = merge if not isinstance(merge, str) else merge.split(" ", 1)
    return left, right


def _with_parts(vocab: dict[str, int], merges: list[Merge], kept: set[int]) -> set[int]:
    """The tokens and all that they were merged from, in every way that gives them."""
    found = set(kept)
    for merge in reversed(merges):  # what a token is made of was learnt before it
        left, right = _parts(merge)
        if vocab.get(left + right) in found:
            found |= {vocab[left], vocab[right]}
    return found


def _renumber(part: Json | None, order: dict[int, int]) -> None:
    """New ids in a post-processor's templates."""
    if isinstance(part, dict):
        for token in (
            (part.get("special_tokens") or {}).values() if isinstance(part.get("special_tokens"), dict) else ()
        ):
            token["ids"] = [order[number] for number in token["ids"]]
        for name in ("cls", "sep"):
            if isinstance(part.get(name), list):
                part[name][1] = order[part[name][1]]
        for inner in part.get("processors") or ():
            _renumber(inner, order)
