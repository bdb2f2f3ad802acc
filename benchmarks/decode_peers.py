"""Other engines as rows of decode_cpu.py: llama.cpp (cyllama) and onnxruntime-genai, on the same weights.

    pip install 'pretune[llamacpp,gguf]'                llama.cpp-q4_0, llama.cpp-q8_0: our own GGUF file
    pip install --no-deps onnxruntime-genai             genai-int4: its own builder makes the graph of the folder

Keys and values are float16 in llama.cpp and attention is what it chooses, as its users have it.

*B rows, L positions, V vocabulary.*
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOM = 128
"""Positions of a row."""


def folder_of(model: Any, folder: Path) -> Path:
    """The model as a folder, with a tokenizer of bytes; written once."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from pretune.model.folder import save_model

    out = folder / "model"
    if out.is_dir():
        return out
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<pad>": 0, "<eos>": 1} | {c: k + 2 for k, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = folder / "words"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(words)
    out.mkdir()
    save_model(model, out, tokenizer=words)
    return out


class LlamaCpp:
    """llama.cpp, B sequences in one batch."""

    def __init__(self, file: Path, threads: int, batch: int):
        from cyllama.llama import llama_cpp as library

        library.disable_logging()
        settings = library.LlamaContextParams()
        settings.n_ctx, settings.n_seq_max = batch * ROOM, batch
        settings.n_batch = settings.n_ubatch = batch * ROOM
        settings.n_threads = settings.n_threads_batch = threads
        self.library, self.megabytes = library, file.stat().st_size / 1e6

        class Sized(library.LlamaModel):  # type: ignore[misc]
            """get_logits_ith of cyllama 0.2.18 asks for a length that its LlamaModel does not have."""

            @property
            def n_vocab(self) -> int:
                return int(self.get_vocab().n_vocab)

        self.context = library.LlamaContext(Sized(str(file)), settings)

    def _feed(self, ids_BL: np.ndarray, before: int) -> np.ndarray:
        rows, length = ids_BL.shape
        batch = self.library.LlamaBatch(n_tokens=rows * length, embd=0, n_seq_max=rows)
        for row, ids in enumerate(ids_BL.tolist()):
            for k, token in enumerate(ids):
                batch.add(token, before + k, [row], k == length - 1)
        self.context.decode(batch)
        ends = [(row + 1) * length - 1 for row in range(rows)]
        return np.array([self.context.get_logits_ith(end) for end in ends], np.float32)

    def logits(self, ids_BL: np.ndarray) -> np.ndarray:
        self.context.kv_cache_clear()
        return self._feed(ids_BL, 0)

    def write(self, ids_BL: np.ndarray, tokens: int) -> tuple[float, float]:
        start, first, fresh_BL, read = time.perf_counter(), 0.0, ids_BL, 0
        self.context.kv_cache_clear()
        for _ in range(tokens):
            logits_BV = self._feed(fresh_BL, read)
            read += fresh_BL.shape[1]
            fresh_BL = logits_BV.argmax(axis=1)[:, None]
            first = first or time.perf_counter() - start
        return first, time.perf_counter() - start


def llama_cpp(type: str) -> Callable[[Any, Path, int], LlamaCpp]:
    """A row for one type of GGUF."""

    def make(model: Any, folder: Path, threads: int) -> LlamaCpp:
        from pretune.export.exporter import Job
        from pretune.export.gguf_bundle import FILE, Gguf
        from pretune.model.generate import open_folder

        source, out = folder_of(model, folder), folder / f"gguf-{type}"
        out.mkdir()
        Gguf(kind="gguf", type=type).write(Job(source, open_folder(source), None, out))
        return LlamaCpp(out / FILE, threads, 16)

    return make


class GenAi:
    """onnxruntime-genai's generator."""

    def __init__(self, folder: Path):
        import onnxruntime_genai

        self.library, self.model = onnxruntime_genai, onnxruntime_genai.Model(str(folder))
        self.megabytes = sum(one.stat().st_size for one in folder.glob("*.onnx*")) / 1e6

    def _begun(self, ids_BL: np.ndarray, tokens: int) -> Any:
        rows, length = ids_BL.shape
        settings = self.library.GeneratorParams(self.model)
        asked = {"batch_size": rows, "max_length": length + tokens, "min_length": length + tokens, "do_sample": False}
        settings.set_search_options(**asked)
        generator = self.library.Generator(self.model, settings)
        generator.append_tokens(ids_BL.astype(np.int32))
        return generator

    def logits(self, ids_BL: np.ndarray) -> np.ndarray:
        found = np.asarray(self._begun(ids_BL, 1).get_logits())
        return found.reshape(len(ids_BL), -1, found.shape[-1])[:, -1]

    def write(self, ids_BL: np.ndarray, tokens: int) -> tuple[float, float]:
        start, first = time.perf_counter(), 0.0
        generator = self._begun(ids_BL, tokens)
        for _ in range(tokens):
            generator.generate_next_token()
            first = first or time.perf_counter() - start
        return first, time.perf_counter() - start


def genai(precision: str) -> Callable[[Any, Path, int], GenAi]:
    """A row for one precision of its builder."""

    def make(model: Any, folder: Path, threads: int) -> GenAi:
        source, out = folder_of(model, folder), folder / f"genai-{precision}"
        words = ["-i", str(source), "-o", str(out), "-p", precision, "-e", "cpu", "-c", str(folder / "cache")]
        subprocess.run(
            [sys.executable, "-m", "onnxruntime_genai.models.builder", *words], check=True, capture_output=True
        )
        path = out / "genai_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
        path.write_text(json.dumps(config), encoding="utf-8")
        return GenAi(out)

    return make
