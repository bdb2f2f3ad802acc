"""A tokenizer.json in the words of GGUF, or the reason why there are none.

    bytes        pattern, bytes as letters, merges       tokenizer.ggml.model = gpt2, tokenizer.ggml.pre = the pattern's name
    pieces       `▁` for a space, bytes as <0xE4>        tokenizer.ggml.model = llama, a score for each token

llama.cpp knows patterns by name alone; transformers keeps their table (GGUF_PRE_TOKENIZER_SPLITS), which is read
backwards here. It knows no merges of pieces: it joins the two neighbours whose token has the highest score, so the
score of a token is minus the rank of its merge. What it cannot do (normalisers, other patterns, scores of Unigram) is
refused, for it would give other ids without an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.tokens.encode.tokenizer import load_tokenizer
from pretune.tokens.encode.words import BYTE

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTES = range(1, 7)
"""llama.cpp's kinds of tokens, as its header numbers them."""
SPACE = "▁"
WHOLE_WORDS = frozenset({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"})
WHOLE_WORDS |= {"jina-v5-nano", "tekken", "youtu", "llama4"}
"""Names with which llama.cpp takes a word that is a token as it is, before any merge (llama-vocab.cpp, ignore_merges)."""
DIFFERS = {
    "nfc": "a text that is not in Unicode's form NFC (é as two characters) may get other ids",
    "space": "a text that begins with a space gets one token more",
}
"""What is known to be otherwise in llama.cpp, and is rare enough to be told and not refused."""
HINT = "serve it as to=onnx; algorithm=bpe makes a tokenizer that GGUF knows"


@dataclass(frozen=True)
class Vocabulary:
    """What `tokenizer.ggml` says of a tokenizer.

    Args:
        model: gpt2 (bytes) or llama (pieces); pre: the name of the pattern of words.
        tokens, types: by id; merges: of bytes; scores: of pieces.
        space_prefix: whether a text begins with a space that it has not.
        differs: texts of which llama.cpp gives other ids than the tokenizer: a key of DIFFERS, or "".
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    space_prefix: bool = False
    differs: str = ""


def vocabulary_of(folder: Path, size: int) -> Vocabulary:
    """The vocabulary of a folder's tokenizer, filled up to `size` ids with tokens that are never used.

    Raises:
        NotSupported: GGUF has no words for it.
    """
    tokenizer = load_tokenizer(folder)
    tree = json.loads(tokenizer.to_str())
    model = tree["model"]
    if model["type"] != "BPE":
        raise _refusal(f"a {model['type']} tokenizer whose words are cut by a pattern")
    odd = [name for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout") if model.get(name)]
    if odd:
        raise _refusal(f"a BPE with {odd[0]}={model[odd[0]]!r}")
    tokens, types = _tokens(tokenizer, size)
    return _of_pieces(tree, tokens, types) if model["byte_fallback"] else _of_bytes(tree, tokens, types)


def _refusal(what: str) -> NotSupported:
    return NotSupported(f"GGUF has no equivalent of this tokenizer: {what}", hint=HINT)


def _tokens(tokenizer: Tokenizer, size: int) -> tuple[list[str], list[int]]:
    """Tokens and their kinds by id."""
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    if by_id and max(by_id) >= size:
        raise NotSupported(f"the tokenizer has ids up to {max(by_id)}, and the model has a vocabulary of {size}")
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(size)]
    if ended := [token for token in tokens if "\0" in token]:
        raise _refusal(f"the token {ended[0]!r} has a NUL, which ends a text in llama.cpp")
    if len(set(tokens)) < size:  # llama.cpp ends the process over it
        raise _refusal("it names a token as ids without a token are named, [PAD1]")
    types = [NORMAL if number in by_id else UNUSED for number in range(size)]
    for number, token in tokenizer.get_added_tokens_decoder().items():
        if token.lstrip or token.rstrip or token.single_word:
            raise _refusal(f"the added token {token.content!r} takes spaces with it, or stands alone only")
        types[number] = CONTROL if token.special else USER
    return tokens, types


# ---- bytes --------------------------------------------------------------------------------------


def _of_bytes(tree: JsonMap, tokens: list[str], types: list[int]) -> Vocabulary:
    normalizer = tree["normalizer"]
    if normalizer and normalizer["type"] != "NFC":
        raise _refusal(f"it has the normalizer {normalizer['type']}")
    merges = [" ".join(one) if isinstance(one, list) else one for one in tree["model"]["merges"]]
    return Vocabulary("gpt2", _pre(tree), tokens, types, merges, differs="nfc" if normalizer else "")


def _pre(tree: JsonMap) -> str:
    """llama.cpp's name of how a byte-level tokenizer finds words."""
    parts: Sequence[JsonMap] = (tree["pre_tokenizer"] or {}).get("pretokenizers", [tree["pre_tokenizer"] or {}])
    *splits, last = parts
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        raise _refusal(f"its words come from {last.get('type')}, not from ByteLevel(add_prefix_space=False)")
    if not splits and last["use_regex"]:
        return "gpt-2"
    regular = len(splits) == 1 and splits[0]["type"] == "Split" and splits[0]["behavior"] == "Isolated"
    if not regular or last["use_regex"] or splits[0]["invert"] or "Regex" not in splits[0]["pattern"]:
        raise _refusal("its words are cut in more than one step")
    return _name_of(splits[0]["pattern"]["Regex"], tree["model"])


def _name_of(pattern: str, model: JsonMap) -> str:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    names = [name for name, known in GGUF_PRE_TOKENIZER_SPLITS.items() if known == pattern]
    if not names:
        raise _refusal(f"llama.cpp has no name for its pattern {pattern}")
    whole = bool(model.get("ignore_merges"))
    same = [name for name in names if (name in WHOLE_WORDS) == whole]
    if same or _reaches_all(model):
        return (same or names)[0]
    raise _refusal(f"it has ignore_merges={whole}, and llama.cpp reads its pattern otherwise")


def _reaches_all(model: JsonMap) -> bool:
    """Whether merges alone make each token of its characters, so that it is the same to take it whole."""
    plain = Tokenizer.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], "model": {**model, "ignore_merges": False}})
    )
    made = {left + right for left, right in map(_pair, model["merges"])}
    rows = plain.encode_batch_fast(sorted(made))
    return all(len(row.ids) == 1 for row in rows)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


# ---- pieces -------------------------------------------------------------------------------------


def _of_pieces(tree: JsonMap, tokens: list[str], types: list[int]) -> Vocabulary:
    model = tree["model"]
    types = [BYTES if kind == NORMAL and BYTE.fullmatch(t) else kind for t, kind in zip(tokens, types, strict=True)]
    unknown = model["vocab"].get(model["unk_token"])
    if unknown is not None:
        types[unknown] = UNKNOWN
    scores = _scores(model)
    prefix, differs = _spaces(tree)
    by_id = [scores.get(token, 0.0) for token in tokens]
    return Vocabulary("llama", "default", tokens, types, scores=by_id, space_prefix=prefix, differs=differs)


def _spaces(tree: JsonMap) -> tuple[bool, str]:
    """Whether a space is put first, and the key of DIFFERS.

    Raises:
        NotSupported: spaces become `▁` in another way than llama.cpp's.
    """
    normalizer, words = tree["normalizer"] or {}, tree["pre_tokenizer"] or {}
    steps = [_step(one) for one in normalizer.get("normalizers", [normalizer] if normalizer else [])]
    if words.get("type") == "Metaspace" and not (steps or words["split"]) and words["replacement"] == SPACE:
        if words["prepend_scheme"] == "first":
            raise _refusal("it puts a space before the first piece of a text alone")
        is_put = words["prepend_scheme"] == "always"  # but not where there is one
        return is_put, "space" if is_put else ""
    if words or steps not in (["prepend", "replace"], ["replace"]):
        raise _refusal(f"it writes spaces by {words.get('type') or normalizer or 'nothing'}")
    return "prepend" in steps, ""


def _step(part: JsonMap) -> str:
    if part == {"type": "Prepend", "prepend": SPACE}:
        return "prepend"
    return "replace" if part == {"type": "Replace", "pattern": {"String": " "}, "content": SPACE} else part["type"]


def _scores(model: JsonMap) -> dict[str, float]:
    """Minus the place of each token's merges.

    Raises:
        NotSupported: llama.cpp would join others than these, or in another order: it joins whatever makes a token.
    """
    merges = [_pair(one) for one in model["merges"]]
    known, vocab = set(merges), model["vocab"]
    groups = _groups([left + right for left, right in merges])
    cuts = ((token[:k], token[k:]) for group in groups for token in group for k in range(1, len(token)))
    missed = any(cut not in known and cut[0] in vocab and cut[1] in vocab for cut in cuts)
    # Tokens of one score are joined from the left, as runs of spaces are by any order of their merges.
    if missed or any(len(set("".join(group))) > 1 for group in groups if len(group) > 1):
        raise _refusal("its merges are not what the scores of its pieces say")
    return {token: -float(place) for place, group in enumerate(groups, 1) for token in group}


def _groups(made: Sequence[str]) -> list[set[str]]:
    """Tokens in the order of their merges; those whose merges are mixed are one group.

    Args:
        made: what each merge makes, by rank.
    """
    last = {token: rank for rank, token in enumerate(made)}
    groups: list[set[str]] = []
    end = -1
    for rank, token in enumerate(made):
        if rank > end:
            groups.append(set())
        groups[-1].add(token)
        end = max(end, last[token])
    return groups


def fields_of(words: Vocabulary) -> dict[str, Any]:
    """The keys of `tokenizer.ggml` that hold lists or flags of the vocabulary."""
    found: Json = {"model": words.model, "pre": words.pre, "tokens": words.tokens, "token_type": words.types}
    found |= {"merges": words.merges} if words.model == "gpt2" else {"scores": words.scores}
    return found | ({"add_space_prefix": words.space_prefix} if words.model == "llama" else {})
