"""llama.cpp as one more engine: what reads a GGUF file is compared with the model by the code that compares ONNX.

Needs the package cyllama (extra `llamacpp`), whose wheels hold llama.cpp for any Linux, macOS and Windows. Keys and
values are kept as float32, and attention is the plain one, so that what differs comes from the file.

*B rows (one here), L positions, V vocabulary.*
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pretune.base.errors import NoParity
from pretune.base.extras import need

FLOAT32 = 0
"""ggml's number of the type."""
PLAIN_ATTENTION = 0


def has_llama_cpp() -> bool:
    return find_spec("cyllama") is not None


@dataclass(frozen=True)
class LlamaCpp:
    """A GGUF file in llama.cpp. One row is read at a time: `feed` goes on with the row that `start` began last."""

    context: Any
    vocab: Any
    max_length: int

    @classmethod
    def open(cls, file: Path, max_length: int) -> LlamaCpp:
        """Raises NoParity: llama.cpp does not read the file; MissingExtra."""
        need(["llamacpp"])
        from cyllama.llama import llama_cpp as library

        class Sized(library.LlamaModel):  # type: ignore[misc]
            """get_logits_ith of cyllama 0.2.18 asks for a length that its LlamaModel does not have."""

            @property
            def n_vocab(self) -> int:
                return int(self.get_vocab().n_vocab)

        library.disable_logging()
        settings = library.LlamaContextParams()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = max_length
        settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = FLOAT32
        settings.flash_attn_type = PLAIN_ATTENTION
        try:
            model = Sized(str(file))
            return cls(library.LlamaContext(model, settings), model.get_vocab(), max_length)
        except (RuntimeError, ValueError) as error:
            raise NoParity(f"llama.cpp does not read {file.name}: {error}", hint="please report it") from None

    @property
    def vocab_size(self) -> int:
        return int(self.vocab.n_vocab)

    def start(self) -> int:
        self.context.kv_cache_clear()
        return 0

    def feed(self, state: int, ids_BL: np.ndarray) -> tuple[np.ndarray, int]:
        """float32 logits_BV of the last position, and how many positions were read."""
        from cyllama.llama.llama_cpp import LlamaBatch

        assert len(ids_BL) == 1, "one row at a time"
        ids = [int(token) for token in ids_BL[0]]
        batch = LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
        for k, token in enumerate(ids):
            batch.add(token, state + k, [0], k == len(ids) - 1)
        self.context.decode(batch)
        return np.array(self.context.get_logits_ith(-1), np.float32)[None], state + len(ids)

    def select(self, state: int, rows: np.ndarray) -> int:
        raise AssertionError("beams are searched by engines that keep many rows")

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        raise AssertionError("the reference of a comparison reads whole rows, and this is never it")

    def encode(self, text: str, *, controls: bool = False, start: bool = False) -> list[int]:
        """Its ids of a text.

        Args:
            controls: control tokens in the text are control tokens; start: with bos, where the file says so.
        """
        return list(self.vocab.tokenize(text, start, controls))

    def piece(self, token: int) -> str:
        """What it writes for a token; nothing for a control token."""
        return str(self.vocab.token_to_piece(token, 0, False))

    def ends(self) -> set[int]:
        """Tokens with which it ends an answer."""
        return {token for token in range(self.vocab_size) if self.vocab.is_eog(token)}
