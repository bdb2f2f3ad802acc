"""From a token back to the text it was made from: its document, and the bytes in it.

    token 12,345 of train -> document 17 -> id, source, path#record; bytes 204 ... 207, characters 68 ... 69, "狐"

The document is found by its end in the store, its text in the corpus that the card names. It is encoded once more,
which tells the characters of every token. In a byte-level tokenizer a token may be a part of a character: then
the bytes are counted through the tokens before it, and the characters are those that they touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.base.artifact import Artifact
from pretune.base.errors import Changed, WrongKind, WrongValue
from pretune.base.json import Json
from pretune.text.read.values import mend_surrogates
from pretune.tokens.encode.tokenizer import load_tokenizer
from pretune.tokens.rows import Ids
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AROUND = 30


@dataclass(frozen=True)
class Lineage:
    """Where a token comes from.

    Args:
        document: its number in the split; `id` and `source` are the store's, `origin` (path#record) the corpus's.
        place: the token's number in its document, from 0.
        bytes, characters: (begin, end) in the document's text; None where the corpus or the tokenizer is gone,
            and of the end token, which stands for no text.
        text: the characters that the token touches; `before` and `after` are some of those around it.
    """

    split: str
    token: int
    token_id: int
    document: int
    place: int
    id: str
    source: str
    origin: str | None = None
    bytes: tuple[int, int] | None = None
    characters: tuple[int, int] | None = None
    text: str | None = None
    before: str | None = None
    after: str | None = None
    note: str | None = None


def lineage_of(tokens: Artifact, token: int, split: str = "train") -> Lineage:
    """The document, the bytes and the characters that a token of a split stands for.

    Raises:
        WrongKind: no tokens; WrongValue: the split has no such token.
        Changed: the corpus or the tokenizer gives other tokens than the store holds.
    """
    if tokens.card.kind != "tokens":
        raise WrongKind(f"{tokens.path.as_posix()!r} is a {tokens.card.kind}, but tokens are needed here")
    store = Store.open(tokens.path, split)
    if not 0 <= token < store.num_tokens:
        hint = "another split: --split validation" if split == "train" else "the first token is number 0"
        raise WrongValue(f"{split} has no token {token:,}: it holds {store.num_tokens:,}", hint=hint)
    number = store.number_of(token)
    begin = int(store.spans(np.array([number]))[0][0])
    found = {
        "split": split,
        "token": token,
        "token_id": int(store.ids[token]),
        "document": number,
        "place": token - begin,
        **_row(tokens.path, f"{split}.documents", number, ["id", "source"]),
    }
    return Lineage(**found, **_text_of(tokens, store, found))


def _text_of(tokens: Artifact, store: Store, found: Json) -> Json:
    """What the corpus and the tokenizer add, as far as they are still there."""
    corpus, words = (tokens.source(place) if place in tokens.card.inputs else None for place in ("corpus", "tokenizer"))
    if corpus is None:
        return {"note": "the corpus that these tokens were made from is not to be found"}
    row = _row(corpus.path, found["split"], found["document"], ["id", "origin", "text"])
    if row["id"] != found["id"]:
        raise Changed(f"{corpus.path.as_posix()}: document {found['document']} is not the one that was tokenised")
    if words is None:
        return {"origin": row["origin"], "note": "the tokenizer of these tokens is not to be found"}
    place, text, ids = found["place"], mend_surrogates(row["text"]), store.document(found["document"])[:-1]
    if place == len(ids):
        return {"origin": row["origin"], "note": "the end of the document"}
    spans, is_exact = byte_spans(words.path, text, ids)
    begin, end = (int(at) for at in spans[place])
    first, last = _characters(text, begin, end)
    around = {"before": text[max(0, first - AROUND) : first], "after": text[last : last + AROUND]}
    note = None if is_exact else "the tokenizer does not tell parts of a character: bytes are those of whole ones"
    return {
        "origin": row["origin"],
        "bytes": (begin, end),
        "characters": (first, last),
        "text": text[first:last],
        **around,
        "note": note,
    }


def _row(folder: Path, stem: str, number: int, columns: list[str]) -> Json:
    """One row of `STEM.parquet` or of its shards; of the others only the number of rows is read."""
    import pyarrow.parquet as pq

    whole = folder / f"{stem}.parquet"
    for path in [whole] if whole.exists() else sorted(folder.glob(f"{stem}-[0-9]*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if number < size:
                    row: Json = file.read_row_group(group, columns).slice(number, 1).to_pylist()[0]
                    return row
                number -= size
    raise Changed(f"{(folder / stem).as_posix()} has fewer rows than the store has documents")


def byte_spans(folder: Path, text: str, ids: Sequence[int] | Ids) -> tuple[NDArray[np.int64], bool]:
    """(first byte, one past the last) of each token in the text's UTF-8, [N, 2]; and whether they are exact.

    Raises:
        Changed: the tokenizer gives other ids.
    """
    tokenizer = load_tokenizer(folder)
    tokenizer.encode_special_tokens = True  # what looks like a control token is text
    again = tokenizer.encode(text, add_special_tokens=False)
    if again.ids != np.asarray(ids).tolist():
        raise Changed(f"{folder.as_posix()} gives this document other tokens than the store holds")
    if (table := token_bytes(tokenizer)) is not None:
        sizes = table[np.asarray(ids, np.int64)]
        if sizes.sum() == _size(text):  # nothing was normalised away
            return np.stack([np.cumsum(sizes) - sizes, np.cumsum(sizes)], axis=1), True
    at = np.concatenate([[0], np.cumsum([_size(character) for character in text])])
    return at[np.array(again.offsets, np.int64).reshape(-1, 2)], False


def token_bytes(tokenizer: Tokenizer) -> NDArray[np.int64] | None:
    """Bytes of text that each token stands for, [V], in a byte-level tokenizer; None in another one.

    There every character of a token's name is one byte. An added token stands for its content, as text.
    """
    from tokenizers import decoders

    if not isinstance(tokenizer.decoder, decoders.ByteLevel):
        return None
    added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}
    sizes = np.zeros(max(tokenizer.get_vocab().values(), default=-1) + 1, np.int64)
    for name, number in tokenizer.get_vocab().items():
        sizes[number] = _size(added[number]) if number in added else len(name)
    return sizes


def document_bytes(tokenizer: Tokenizer, ids: Ids, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of the text that each document's ids stand for, [D]; where tokens have no bytes, of what they decode to."""
    if (table := token_bytes(tokenizer)) is not None:
        before = np.concatenate([[0], np.cumsum(table[ids])])
        return np.asarray(np.diff(before[np.concatenate([[0], ends])]), np.int64)
    documents = [part.tolist() for part in np.split(ids, ends)[:-1]]
    texts = tokenizer.decode_batch(documents, skip_special_tokens=False)
    return np.array([_size(text) for text in texts], np.int64)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _characters(text: str, begin: int, end: int) -> tuple[int, int]:
    """The characters that bytes begin ... end touch."""
    ends = np.cumsum([_size(character) for character in text])
    first = int(np.searchsorted(ends, begin, "right"))
    return first, max(first, int(np.searchsorted(ends, end - 1, "right")) + 1) if end > begin else first


def lineage_text(found: Lineage) -> str:
    """For the terminal."""
    lines = [
        f"token {found.token:,} of {found.split}: id {found.token_id}",
        f"  document {found.document:,}, its token {found.place:,}: {found.id}",
        f"  source   {found.source}",
    ]
    lines += [f"  origin   {found.origin}"] if found.origin else []
    if found.bytes and found.characters:
        lines.append(f"  bytes    {found.bytes[0]:,} ... {found.bytes[1]:,} of its text")
        lines.append(f"  characters {found.characters[0]:,} ... {found.characters[1]:,}: {found.text!r}")
        lines.append(f"  around   {(found.before or '') + '[' + (found.text or '') + ']' + (found.after or '')!r}")
    return "\n".join([*lines, *([f"  note     {found.note}"] if found.note else [])])
