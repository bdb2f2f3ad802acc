"""A tokenizer's folder, read without transformers (whose AutoTokenizer imports torch: 2.3 s).

Raw text is always text: `<|endoftext|>` written by a user becomes the characters it is made of, never the
control token. Only the chat renderer asks for control tokens, by `encode_with_controls`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tokenizers import Tokenizer

from pretune.base.errors import BadFile, NotSupported
from pretune.base.json import Json
from pretune.text.read.values import mend_surrogates

Place = tuple[int, int]
"""Characters of a text: from, and one past the last."""
_mode = Lock()  # text or control tokens is a switch of the tokenizer itself, so one call at a time


@dataclass(frozen=True, slots=True)
class Specials:
    """Ids of the special tokens; None where the tokenizer has no such token."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    unk: int | None = None
    cls: int | None = None
    sep: int | None = None
    mask: int | None = None


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a folder, without the padding and truncation its file may carry.

    Raises:
        NotSupported: there is no tokenizer.json; BadFile: it cannot be read.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        hint = "convert it: transformers' AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one"
        raise NotSupported(f"{Path(folder).as_posix()!r} has no tokenizer.json", hint=hint)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise BadFile(f"{path.as_posix()!r} is no tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a raw text; no specials are added and control tokens inside it are encoded as text."""
    return encode_texts(tokenizer, [text])[0]


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each raw text, on all cores."""
    return _encode(tokenizer, texts, controls=False)


def encode_with_controls(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text written by a template: control tokens in it are control tokens. Never for a user's text."""
    return _encode(tokenizer, [text], controls=True)[0]


def _encode(tokenizer: Tokenizer, texts: Sequence[str], *, controls: bool) -> list[list[int]]:
    whole = [mend_surrogates(text) for text in texts]
    with _reading(tokenizer, controls=controls):
        return [e.ids for e in tokenizer.encode_batch_fast(whole, add_special_tokens=False)]


def encode_with_places(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[list[int], list[Place]]]:
    """Ids of each raw text as `encode_texts` gives them, and the characters that each token stands for.

    Tokens that are parts of one character (bytes of an emoji) all stand for the whole of it.
    """
    whole = [mend_surrogates(text) for text in texts]
    with _reading(tokenizer, controls=False):
        return [(e.ids, e.offsets) for e in tokenizer.encode_batch(whole, add_special_tokens=False)]


@contextmanager
def _reading(tokenizer: Tokenizer, *, controls: bool) -> Iterator[None]:
    with _mode:
        before, tokenizer.encode_special_tokens = tokenizer.encode_special_tokens, not controls
        try:
            yield
        finally:
            tokenizer.encode_special_tokens = before


def tokenizer_config(folder: str | Path) -> Json:
    """The settings in tokenizer_config.json, completed by special_tokens_map.json; {} if neither is there."""
    config: Json = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = Path(folder) / name
        if path.is_file():
            config |= json.loads(path.read_text(encoding="utf-8"))
    return config


def special_ids(folder: str | Path, tokenizer: Tokenizer | None = None) -> Specials:
    """Ids of the special tokens that the folder's configuration names."""
    tokenizer = tokenizer or load_tokenizer(folder)
    config = tokenizer_config(folder)
    return Specials(**{name: _id_of(config.get(f"{name}_token"), tokenizer) for name in Specials.__slots__})


def _id_of(token: object, tokenizer: Tokenizer) -> int | None:
    content = token.get("content") if isinstance(token, dict) else token
    return tokenizer.token_to_id(content) if isinstance(content, str) else None


def chat_template(folder: str | Path) -> str | None:
    """The Jinja template of the folder's chat format, or None."""
    path = Path(folder) / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = tokenizer_config(folder).get("chat_template")
    if isinstance(found, list):  # several, by name
        found = next((t["template"] for t in found if t.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def end_id(specials: Specials) -> int:
    """The token that ends a document: eos, in BERT's family sep. Raises NotSupported if there is neither."""
    found = specials.eos if specials.eos is not None else specials.sep
    if found is None:
        raise NotSupported("the tokenizer names neither an eos nor a sep token, so documents have no end")
    return found
