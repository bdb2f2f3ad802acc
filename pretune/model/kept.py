"""Outputs of the frozen lower blocks, computed once for each row and kept on disk: later epochs begin above them.

    embeddings -> block 1 .. k -> | kept: states of each token, without padding | -> block k+1 .. n -> head
    frozen, in eval mode                                                             train

What lies in the file is found by what a row says (its tokens, the types and positions that are given), so whoever
calls the model - a step, a validation, the predictor that answers - begins at block k+1 without knowing of it, and a
row that is not there is computed as always. The class's own forward pass runs, with its own masks and positions: only
the frozen blocks hand on what is kept instead of computing it. Price: 4 bytes x width for each token.

B rows, L positions, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from pretune.base.digest import bytes_digest, digest, read_digest
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.staging import fsync, write_durably
from pretune.model.families import family_of, plain_model

Place = tuple[int, int]
"""The first token of a row in the file, and the number of its tokens."""


@dataclass
class States:
    """States [tokens, D] of rows, one after the other in a raw file.

    Args:
        places: of each row, by its key.
    """

    path: Path
    dtype: torch.dtype
    width: int
    places: dict[str, Place] = field(default_factory=dict)
    num_tokens: int = 0

    @property
    def bytes_of_token(self) -> int:
        return self.width * self.dtype.itemsize

    def read(self, keys: list[str], length: int) -> Tensor:
        """States [B, L, D] of these rows, zeros where they are padded."""
        states_BLD = torch.zeros(len(keys), length, self.width, dtype=self.dtype)
        raw = states_BLD.view(torch.uint8).numpy()
        with self.path.open("rb") as file:
            for number, key in enumerate(keys):
                first, count = self.places[key]
                file.seek(first * self.bytes_of_token)
                got = file.readinto(raw[number, :count].data)
                assert got == count * self.bytes_of_token, f"{self.path} is shorter than it was"
        return states_BLD

    def add(self, file: BinaryIO, key: str, states_LD: Tensor) -> None:
        """Put a row at the end of the open file, if it is not there."""
        assert states_LD.shape[1] == self.width, "states are as wide as the config says"
        if key not in self.places:
            file.write(states_LD.contiguous().cpu().view(torch.uint8).numpy().tobytes())
            self.places[key] = self.num_tokens, len(states_LD)
            self.num_tokens += len(states_LD)

    @property
    def manifest(self) -> Path:
        return self.path.with_suffix(".json")

    def seal(self, mark: str) -> None:
        """Say of the finished file what it came from; until then it counts for nothing."""
        fsync(self.path)
        facts = {"mark": mark, "digest": read_digest(self.path), "num_tokens": self.num_tokens, "rows": self.places}
        write_durably(self.manifest, json.dumps({"facts": facts, "digest": digest(facts)}))

    def found(self, mark: str, log: Log) -> bool:
        """Whether the file is there, whole, and came from the same; then its rows are known."""
        if not self.manifest.is_file():
            return False
        if (facts := self._facts()) is None:
            log.warn(f"{self.path.as_posix()} is damaged: what the frozen blocks give is computed again")
            return False
        if facts["mark"] != mark:
            log.info(f"    {self.path.name} was kept of another model: computed again")
            return False
        self.places = {key: (first, count) for key, (first, count) in facts["rows"].items()}
        self.num_tokens = facts["num_tokens"]
        return True

    def _facts(self) -> Json | None:
        """What the manifest says; None where it, or the file, is not what was written."""
        with suppress(OSError, ValueError, KeyError):
            said = json.loads(self.manifest.read_text(encoding="utf-8"))
            facts: Json = said["facts"]
            if digest(facts) == said["digest"] and read_digest(self.path) == facts["digest"]:
                return facts
        return None


class Keeper:
    """Stands between the frozen blocks of a model and those above them, until it is closed."""

    def __init__(self, model: Any, depth: int):
        core = plain_model(model)
        self.depth, self.body = depth, core.base_model
        self.blocks: list[Any] = family_of(core).stacks(core)[0]
        self.stores: list[States] = []
        self.adding: tuple[States, BinaryIO] | None = None
        self.heard: set[str] | None = None
        self._given_BLD: Tensor | None = None
        self._keys: list[tuple[str, int]] = []
        for number, block in enumerate(self.blocks):
            block.forward = partial(self._block, number, block.forward)
        self._hooks = [
            self.body.register_forward_pre_hook(self._begins, with_kwargs=True),
            self.body.register_forward_hook(self._ends, always_call=True),
        ]

    def close(self) -> None:
        """The model is as it was."""
        for hook in self._hooks:
            hook.remove()
        for block in self.blocks:
            del block.forward

    @property
    def dtype(self) -> torch.dtype:
        """The type that the model computes in now."""
        found: torch.dtype = next(p for p in self.body.parameters() if p.dim() > 1).dtype
        return found

    def mark(self) -> str:
        """What the outputs of the frozen blocks come from: weights, depth, type, kind of attention."""
        frozen = [(n, p) for n, p in self.body.named_parameters() if not p.requires_grad]
        weights = {n: bytes_digest(p.detach().cpu().reshape(-1).view(torch.uint8).numpy().data) for n, p in frozen}
        return digest([weights, self.depth, str(self.dtype), self.body.config._attn_implementation])

    @contextmanager
    def recording(self, store: States) -> Iterator[None]:
        """The rows that the model is called with are added to a store; nothing above the frozen blocks is computed."""
        with store.path.open("ab") as file:
            self.adding = store, file
            try:
                yield
            finally:
                self.adding = None

    @contextmanager
    def listening(self) -> Iterator[set[str]]:
        """Keys of the rows that the model is called with; nothing but embeddings and head is computed."""
        self.heard = set()
        try:
            yield self.heard
        finally:
            self.heard = None

    def _begins(self, body: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._given_BLD, self._keys = None, []
        names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
        keys = keys_of(**{name: kwargs.get(name) for name in names} | dict(zip(names, args, strict=False)))
        if not keys or kwargs.get("use_cache") or kwargs.get("past_key_values") is not None:
            return
        if self.heard is not None:
            self.heard.update(key for key, _ in keys)
        if self.adding is not None:
            self._keys = keys
            return
        alone = [key for key, _ in keys]
        for store in self.stores:
            if store.dtype == self.dtype and all(key in store.places for key in alone):
                ids_BL: Tensor = args[0] if args else kwargs["input_ids"]
                self._given_BLD = store.read(alone, ids_BL.shape[1]).to(ids_BL.device)
                return

    def _ends(self, body: Any, args: Any, output: Any) -> None:
        self._given_BLD, self._keys = None, []

    def _block(self, number: int, plain: Any, hidden_BLD: Tensor, *args: Any, **kwargs: Any) -> Any:
        """A block computes, or hands on what is kept, or (above the frozen ones, while rows are added) does nothing."""
        if self.heard is not None:
            return hidden_BLD
        if self._given_BLD is not None and number < self.depth:
            return self._given_BLD if number == self.depth - 1 else hidden_BLD
        if self._keys and number >= self.depth:
            return hidden_BLD
        found = plain(hidden_BLD, *args, **kwargs)
        if self._keys and number == self.depth - 1:
            assert self.adding is not None
            store, file = self.adding
            for (key, count), states_LD in zip(self._keys, found, strict=True):
                store.add(file, key, states_LD[:count])
        return found


def keys_of(
    input_ids: Tensor | None, attention_mask: Any, token_type_ids: Tensor | None, position_ids: Tensor | None
) -> list[tuple[str, int]]:
    """A key for each row of a call of a body, and its tokens without padding; none where they do not say it all.

    Rows with a mask of their own end where it does. Packed rows have positions that begin again with each document,
    which says of them what their mask says.
    """
    is_plain = isinstance(attention_mask, Tensor) and attention_mask.dim() == 2
    if input_ids is None or not (is_plain or position_ids is not None):
        return []
    ids_BL = input_ids.cpu().numpy()
    lengths = attention_mask.sum(1).tolist() if is_plain else [ids_BL.shape[1]] * len(ids_BL)
    said = {"types": token_type_ids, "positions": position_ids}
    others = {name: np.broadcast_to(t.cpu().numpy(), ids_BL.shape) for name, t in said.items() if t is not None}
    rows = []
    for row, count in enumerate(lengths):
        mine = {"ids": ids_BL[row, :count], **{name: array[row, :count] for name, array in others.items()}}
        told = {name: part for name, part in mine.items() if name != "types" or part.any()}  # zeros are the default
        parts = [name.encode() + part.astype(np.int64).tobytes() for name, part in told.items()]
        rows.append((bytes_digest(b"".join(parts)), int(count)))
    return rows
