"""How fast a decoder writes on a CPU: our graphs in every precision, next to transformers' `generate`, llama.cpp and
onnxruntime-genai (decode_peers.py says what these need).

    python benchmarks/decode_cpu.py                       both shapes, all rows, one thread
    python benchmarks/decode_cpu.py --shapes 26M --rounds 3 --rows int4 transformers

All rows read the same random ids (32 tokens) with the same random weights, and write 64 tokens greedily, alone and 16
rows together. The rows take turns, so that all meet the same neighbours on the machine; the medians of the rounds are
printed: tokens a second at batch 1 and 16, seconds to the first token, megabytes of the file, and how far the logits of
the prompt are from those of torch, with the standard deviation of these. A row here is a name in ROWS.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from decode_peers import genai, llama_cpp

from pretune.infer.engine import Decoder

SHAPES = {
    "26M": {"layers": 8, "width": 512, "heads": 8, "kv_heads": 2, "hidden": 1408, "vocab": 6400},
    "93M": {"layers": 12, "width": 768, "heads": 12, "kv_heads": 4, "hidden": 2048, "vocab": 22528},
}
PROMPT, WRITTEN, TOGETHER = 32, 64, 16
BATCHES = (1, TOGETHER)


def model_of(shape: dict[str, int]) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=shape["vocab"], hidden_size=shape["width"], intermediate_size=shape["hidden"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["kv_heads"],
        head_dim=shape["width"] // shape["heads"], max_position_embeddings=1024, tie_word_embeddings=True,
        eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


# ---- rows ---------------------------------------------------------------------------------------


class Row(Protocol):
    """What writes."""

    megabytes: float

    def logits(self, ids_BL: np.ndarray) -> np.ndarray:
        """[B, V], of the last position of a prompt."""

    def write(self, ids_BL: np.ndarray, tokens: int) -> tuple[float, float]:
        """Seconds to the first token, and to all."""


class Engine:
    """One of our engines: a graph on onnxruntime, or the model on torch."""

    def __init__(self, engine: Decoder, megabytes: float):
        self.engine, self.megabytes = engine, megabytes

    def logits(self, ids_BL: np.ndarray) -> np.ndarray:
        return self.engine.feed(self.engine.start(), ids_BL)[0]

    def write(self, ids_BL: np.ndarray, tokens: int) -> tuple[float, float]:
        start, state, first, fresh_BL = time.perf_counter(), self.engine.start(), 0.0, ids_BL
        for _ in range(tokens):
            logits_BV, state = self.engine.feed(state, fresh_BL)
            fresh_BL = logits_BV.argmax(axis=1)[:, None]
            first = first or time.perf_counter() - start
        return first, time.perf_counter() - start


class Generate:
    """transformers' own loop."""

    def __init__(self, model: Any):
        self.model, self.megabytes = model, 4e-6 * sum(p.numel() for p in model.parameters())

    def logits(self, ids_BL: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return np.asarray(self.model(torch.from_numpy(ids_BL)).logits[:, -1].numpy())

    def write(self, ids_BL: np.ndarray, tokens: int) -> tuple[float, float]:
        took = []
        for number in (1, tokens):
            start = time.perf_counter()
            self._generate(ids_BL, number)
            took.append(time.perf_counter() - start)
        return took[0], took[1]

    def _generate(self, ids_BL: np.ndarray, tokens: int) -> None:
        import torch

        ids = torch.from_numpy(ids_BL)
        with torch.inference_mode():
            self.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens
            )


def on_torch(model: Any, folder: Path, threads: int) -> Row:
    from pretune.model.generate import TorchDecoder

    return Engine(TorchDecoder(model), 4e-6 * sum(p.numel() for p in model.parameters()))


def generating(model: Any, folder: Path, threads: int) -> Row:
    return Generate(model)


def graph(**settings: Any) -> Callable[[Any, Path, int], Row]:
    """A row for one precision of exporter onnx."""

    def make(model: Any, folder: Path, threads: int) -> Row:
        import onnxruntime

        from pretune.export.graph import graph_of
        from pretune.export.onnx_bundle import Onnx, rounded_copy
        from pretune.infer.ort import OrtDecoder

        exporter = Onnx(kind="onnx", **settings)
        source, scales = rounded_copy(model) if exporter.precision == "dynamic" else (model, {})
        found = graph_of(source, scales, dynamic=exporter.precision == "dynamic", blocks=exporter.blocks)
        path = folder / f"{'-'.join(map(str, settings.values())) or 'float32'}.onnx"
        path.write_bytes(found.content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        sizes = (found.facts[name] for name in ("num_layers", "num_kv_heads", "head_dim"))
        return Engine(OrtDecoder(session, model.config.vocab_size, 1024, *sizes), len(found.content) / 1e6)

    return make


ROWS: dict[str, Callable[[Any, Path, int], Row]] = {
    "transformers": generating,
    "torch": on_torch,
    "float32": graph(),
    "dynamic": graph(precision="dynamic"),
    "int8": graph(precision="int8"),
    "int4": graph(precision="int4"),
    "int4-128": graph(precision="int4", block=128),
    "int4-exact": graph(precision="int4", activations="float32"),
    "llama.cpp-q4_0": llama_cpp("q4_0"),
    "llama.cpp-q8_0": llama_cpp("q8_0"),
    "genai-int4": genai("int4"),
}


# ---- measuring ----------------------------------------------------------------------------------


def measured(shape: str, names: list[str], *, rounds: int, threads: int) -> dict[str, Any]:
    model = model_of(SHAPES[shape])
    ids_BL = np.random.default_rng(0).integers(1, SHAPES[shape]["vocab"], (TOGETHER, PROMPT)).astype(np.int64)
    wanted = Generate(model).logits(ids_BL)
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: ROWS[name](model, Path(folder), threads) for name in names}
        found: dict[str, Any] = {name: {batch: [] for batch in BATCHES} for name in names}
        gaps = {name: float(np.abs(row.logits(ids_BL) - wanted).max()) for name, row in rows.items()}
        for batch in BATCHES:
            for row in rows.values():
                row.write(ids_BL[:batch], 4)  # the first run of a shape plans its memory
            for _ in range(rounds):
                for name, row in rows.items():
                    found[name][batch].append(row.write(ids_BL[:batch], WRITTEN))
    told = {
        name: {**_speeds(found[name]), "megabytes": rows[name].megabytes, "logit_difference": gaps[name]}
        for name in names
    }
    return {"parameters": sum(p.numel() for p in model.parameters()), "logit_std": float(wanted.std()), "rows": told}


def _speeds(took: dict[int, list[tuple[float, float]]]) -> dict[str, float]:
    speeds = {
        f"tokens_per_second_{batch}": statistics.median(batch * WRITTEN / one[1] for one in took[batch])
        for batch in took
    }
    return {**speeds, "first_token_seconds": statistics.median(one[0] for one in took[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    import onnxruntime
    import torch
    import transformers

    torch.set_num_threads(given.threads)
    versions = {one.__name__: one.__version__ for one in (torch, transformers, onnxruntime)}
    print(json.dumps({"threads": given.threads, "machine": platform.machine(), **versions}))
    for shape in given.shapes:
        found = measured(shape, given.rows, rounds=given.rounds, threads=given.threads)
        print(f"\n{shape}: {found['parameters'] / 1e6:.1f}M parameters, logits with std {found['logit_std']:.2f}\n")
        print("| row | tokens/s, 1 | tokens/s, 16 | first token, ms | MB | largest logit difference |")
        print("|---|---|---|---|---|---|")
        for name, one in found["rows"].items():
            speeds = " | ".join(f"{one[f'tokens_per_second_{batch}']:.0f}" for batch in BATCHES)
            rest = f"{1e3 * one['first_token_seconds']:.0f} | {one['megabytes']:.1f} | {one['logit_difference']:.1e}"
            print(f"| {name} | {speeds} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
