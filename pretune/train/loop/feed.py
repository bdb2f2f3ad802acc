"""What a pretraining run reads: the rows of one token store or of several, and those it is validated on. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.errors import BadReference, EmptyInput, NotSupported
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.encode.tokenizer import load_tokenizer
from pretune.tokens.rows import Row
from pretune.tokens.store.mixture import mixed
from pretune.tokens.store.packing import Packing, RowForm, Rows
from pretune.tokens.store.store import Store
from pretune.train.loop.sources import VALIDATION_ROWS, SourceRows, beginnings, parts
from pretune.train.loop.stream import rows_of


@dataclass(frozen=True)
class Feed:
    """What a run reads.

    Args:
        rows: of the training split, endless.
        num_tokens: of the training split.
        validation: at most 128 rows of the validation split, evenly spread.
        held_out: tokens, documents and num_bytes of the whole validation split.
        sources: of the validation split by the name of their store or source; empty where there is one.
        beginnings: the first tokens of a few documents of the validation split.
    """

    rows: Rows
    num_tokens: int
    validation: list[Row]
    held_out: dict[str, int]
    sources: dict[str, SourceRows] = field(default_factory=dict)
    beginnings: list[list[int]] = field(default_factory=list)


def open_feed(
    stores: Mapping[str, Artifact],
    form: RowForm,
    packing: Packing,
    mixture: Proportions,
    *,
    seed: int,
    tokenizer: Path | None = None,
) -> Feed:
    """The rows of these stores, by name.

    Args:
        form: what the objective reads.
        tokenizer: its folder, where it is not that of the stores.

    Raises:
        EmptyInput: nothing to train on; NotSupported: the packing does not suit the objective or the tokenizer.
    """
    train = {name: Store.open(artifact.path, "train") for name, artifact in stores.items()}
    held = {name: Store.open(artifact.path, "validation") for name, artifact in stores.items()}
    if not any(store.num_tokens > 1 for store in train.values()):
        raise EmptyInput("the training split holds no tokens", hint="give more text")
    form = packing.completed(form, tokenizer or tokenizer_folder(next(iter(stores.values()))))
    rows = {name: packing.rows(store, form, seed + k) for k, (name, store) in enumerate(train.items())}
    for name, found in rows.items():
        packing.check(found, form, name)
    facts = {name: sum(getattr(s, f"num_{name}") for s in held.values()) for name in ("tokens", "documents")}
    there = {name: store for name, store in held.items() if store.num_tokens > 1}
    return Feed(
        rows=mixed(rows, mixture),
        num_tokens=sum(store.num_tokens for store in train.values()),
        validation=_validation(packing, there, form),
        held_out=facts | {"num_bytes": sum(store.num_bytes for store in held.values())},
        sources=parts({name: (stores[name].path, store) for name, store in there.items()}, packing, form),
        beginnings=[first for store in there.values() for first in beginnings(store)],
    )


def _validation(packing: Packing, held: Mapping[str, Store], form: RowForm) -> list[Row]:
    rows = {name: packing.rows(store, form, 0) for name, store in held.items()}
    rows = {name: found for name, found in rows.items() if len(found)}
    return rows_of(mixed(rows, Proportions()).sample(VALIDATION_ROWS)) if rows else []


def tokenizer_folder(tokens: Artifact) -> Path:
    """The tokenizer that made these tokens, found through the card and known by its id."""
    found = tokens.source("tokenizer") if "tokenizer" in tokens.card.inputs else None
    if found is None:
        hint = "keep the tokenizer next to its tokens, or run the tokens stage again"
        raise BadReference(f"the tokenizer of {tokens.path.as_posix()} is not to be found", hint=hint)
    return found.verify().path


def one_tokenizer(stores: Mapping[str, Artifact]) -> Path:
    """The tokenizer that made all of these stores; raises NotSupported when they were made by two."""
    folders = {name: tokenizer_folder(artifact) for name, artifact in stores.items()}
    for one, other in pairwise(stores):
        if not _same(stores[one], folders[one], stores[other], folders[other]):
            hint = "tokenise the text of both with one tokenizer: pretune tokens CORPUS TOKENIZER --out TOKENS"
            raise NotSupported(f"the tokens of {one} and of {other} were made by two tokenizers", hint=hint)
    return next(iter(folders.values()))


def _same(one: Artifact, folder: Path, other: Artifact, other_folder: Path) -> bool:
    """One id, or (a tokenizer and a model that carries it) the same ids for every text and the same end."""
    if one.card.inputs["tokenizer"]["id"] == other.card.inputs["tokenizer"]["id"]:
        return True
    tokenizers = load_tokenizer(folder), load_tokenizer(other_folder)
    ends = Store.open(one.path, "train").end_id, Store.open(other.path, "train").end_id
    return tokenizers[0].to_str() == tokenizers[1].to_str() and ends[0] == ends[1]
