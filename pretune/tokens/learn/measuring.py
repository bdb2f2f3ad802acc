"""How good a tokenizer is, on text that was not learnt from, beside others.

characters per token    by language; more is shorter
coverage                characters that are tokens of their own or part of larger ones, not bytes or unknown
round trip              texts that come back exactly
unknown                 unknown tokens among all
fertility               tokens per word; in Chinese, Japanese and Korean text per character of theirs
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.json import Json, JsonMap
from pretune.text.read.shards import read_rows
from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer
from pretune.tokens.learn.algorithm import BYTE_TOKENS, UNKNOWN

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECE = 1 << 14
WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
Group = tuple[str, str]


def measure(tokenizer: Tokenizer, folder: Path, beside: Mapping[str, Path] | None = None) -> Json:
    """Figures on texts that were not learnt from (validation; train where that is empty), by source and language.

    Args:
        beside: other tokenizers by name, their folders.
    """
    split = "validation" if next(read_rows(folder, "validation", ["id"]), None) else "train"
    counts = count(tokenizer, folder, split)
    whole = Counter[str]()
    for facts in counts.values():
        whole.update(facts)
    told: Json = {
        "bytes_per_token": _ratio(whole["bytes"], whole["tokens"]),
        "measured_on": split,
        "sources": {name: _ratio(c["bytes"], c["tokens"]) for name, c in sorted(_by(counts, 0).items())},
        "languages": {name: figures(c) for name, c in sorted(_by(counts, 1).items())},
        **{name: value for name, value in figures(whole).items() if name != "characters_per_token"},
    }
    for name, other in sorted((beside or {}).items()):
        theirs = _by(count(load_tokenizer(other), folder, split), 1)
        told.setdefault("beside", {})[name] = {language: figures(c) for language, c in sorted(theirs.items())}
    return told


def figures(counts: Mapping[str, int]) -> dict[str, float]:
    """The figures of one group from its counts."""
    return {
        "characters_per_token": _ratio(counts["characters"], counts["tokens"]),
        "fertility": _ratio(counts["tokens"], counts["words"]),
        "coverage": round(1 - counts["uncovered"] / max(1, counts["characters"]), 6),
        "round_trip": _ratio(counts["same"], counts["texts"]),
        "unknown": _ratio(counts["unknown"], counts["tokens"]),
    }


def count(tokenizer: Tokenizer, folder: Path, split: str, max_bytes: int = 2_000_000) -> dict[Group, Counter[str]]:
    """What `figures` divides, by (source, language); of each at most about `max_bytes`."""
    counts: dict[Group, Counter[str]] = {}
    known = _Bytes(tokenizer)
    for group, text in _texts(folder, split, max_bytes):
        counts.setdefault(group, Counter()).update(_facts(tokenizer, known, text))
    return counts


def _texts(folder: Path, split: str, most: int) -> Iterator[tuple[Group, str]]:
    """Texts, long ones by a part; of each source and language until there is enough."""
    read: dict[Group, int] = {}
    for row in read_rows(folder, split, ["text", "source", "language"]):
        group = (row["source"], row["language"] or "")
        if read.get(group, 0) < most:
            text = row["text"][:most]
            read[group] = read.get(group, 0) + len(text.encode())
            yield group, text


class _Bytes:
    """Which tokens stand for a byte that a character fell back on, and which for what is unknown."""

    def __init__(self, tokenizer: Tokenizer):
        ids = {token: tokenizer.token_to_id(token) for token in (*BYTE_TOKENS, UNKNOWN, "[UNK]", "<unk>")}
        self.fallen = {ids[token]: int(token[3:5], 16) for token in BYTE_TOKENS if ids[token] is not None}
        self.unknown = {ids[token] for token in (UNKNOWN, "[UNK]", "<unk>")} - {None}


def _facts(tokenizer: Tokenizer, known: _Bytes, text: str) -> dict[str, int]:
    (ids,) = encode_texts(tokenizer, [text])
    unknown = sum(i in known.unknown for i in ids)
    fallen = sum(known.fallen[i] & 0xC0 != 0x80 for i in ids if i in known.fallen)  # the first byte of a character
    return {
        "bytes": len(text.encode()),
        "characters": len(text),
        "words": len(WORD.findall(text)),
        "tokens": len(ids),
        "unknown": unknown,
        "uncovered": unknown + fallen,
        "texts": 1,
        "same": int(tokenizer.decode(ids, skip_special_tokens=False) == text),
    }


def _by(counts: Mapping[Group, Counter[str]], part: int) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for group, facts in counts.items():
        found.setdefault(group[part], Counter()).update(facts)
    return found


def _ratio(above: float, below: float) -> float:
    return round(above / max(1, below), 4)


def as_text(told: JsonMap) -> str:
    """The figures as a small table: a line for each language and tokenizer."""
    lines = [f"    {'':20} {'language':10} characters/token  fertility  coverage  round trip"]
    for name, by_language in {"this one": told["languages"], **told.get("beside", {})}.items():
        for language, f in by_language.items():
            row = (
                f"{f['characters_per_token']:16.3f} {f['fertility']:10.3f} {f['coverage']:9.4f} {f['round_trip']:11.3f}"
            )
            lines.append(f"    {name[:20]:20} {language[:10]:10} {row}")
    return "\n".join(lines)
