"""The sides of benchmarks/pretrain_cpu.py: each trains the same rows and gives seconds and losses by step.

A Llama of 6 x 384 with a vocabulary of 8,192 (16.9 million parameters; the encoder is a BERT of the same size) that
starts from the same weights; nanoGPT and litgpt have models of their own. AdamW at 1e-3, falling linearly, gradients
clipped to 1. The rows are ids [N, L]; the target of each position is the next one, and the last has none.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

VOCABULARY, LAYERS, WIDTH, HEADS, HIDDEN = 8192, 6, 384, 6, 1024
TOKENS = 4096
RATE, BETAS = 1e-3, (0.9, 0.999)
Ids = np.ndarray[Any, Any]
Found = dict[str, Any]


def matrix_parameters(*, encoder: bool) -> int:
    """Parameters that take part in products at every position; the head apart."""
    block = 4 * WIDTH**2 + (2 * WIDTH * 4 * WIDTH if encoder else 3 * WIDTH * HIDDEN)
    return LAYERS * block


def flops_per_token(length: int, *, encoder: bool) -> float:
    """DESIGN's formula; of an encoder's head (a matrix D x D and the vocabulary) only the 15 % that are targets."""
    head = 0.15 * (WIDTH**2 + VOCABULARY * WIDTH) if encoder else VOCABULARY * WIDTH
    return 6.0 * (matrix_parameters(encoder=encoder) + head) + 12.0 * LAYERS * WIDTH * length


def llama(length: int, attention: str = "sdpa") -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=length,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM._from_config(config, attn_implementation=attention)


def bert(length: int, attention: str = "sdpa") -> Any:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    return BertForMaskedLM._from_config(config, attn_implementation=attention)


def rows_of_step(ids: Ids, step: int) -> Ids:
    batch = TOKENS // ids.shape[1]
    return ids[step * batch : (step + 1) * batch]


def rate(step: int, steps: int) -> float:
    return RATE * (1 - step / steps)


# ---- ours ---------------------------------------------------------------------------------------


def ours(ids: Ids, steps: int, *, encoder: bool, compiled: bool, precision: str | None = None) -> Found:
    """What a run of ours settles on: precision by the matrix product, attention by the device."""
    import torch

    from pretune.train.forecast.choosing import attention_for
    from pretune.train.forecast.speed import best_precision
    from pretune.train.loop.runtime import Runtime

    attention = attention_for(torch.device("cpu"))
    runtime, started = Runtime.start("cpu"), time.perf_counter()
    precision = precision or best_precision(torch.device("cpu"))
    settling = time.perf_counter() - started
    reports = _ours(ids, steps, encoder, compiled, precision, attention, runtime)
    return {
        "seconds": [report.seconds for report in reports],
        "losses": [report.loss["loss"] for report in reports],
        "norms": [report.gradient_norm for report in reports],
        "note": f"{precision}, {attention}, settled in {settling:.0f} s",
    }


def _ours(
    ids: Ids, steps: int, encoder: bool, compiled: bool, precision: str, attention: str, runtime: Any
) -> list[Any]:
    import torch

    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.rows import Vocabulary
    from pretune.train.loop.state import compile_blocks
    from pretune.train.loop.step import Scored, TrainState
    from pretune.train.loop.steps import steps as loop
    from pretune.train.loop.stream import MicroBatches
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    net = (bert if encoder else llama)(ids.shape[1], attention)
    objective = OBJECTIVE("masked" if encoder else "causal")
    optim = OPTIM({"kind": "adamw", "learning_rate": RATE, "betas": BETAS, "weight_decay": 0.0, "warmup": 0.0})
    update = Update(net, optim, compute_dtype=torch.bfloat16 if precision == "bfloat16" else None)
    if compiled:
        compile_blocks(net)
    state = TrainState(net, Scored(net, objective), update, total=steps)
    cut = MicroBatches(Fixed(ids, causal=not encoder), objective, Vocabulary(VOCABULARY, pad=1, mask=1), 0, 128)
    return list(loop(state, objective, cut, runtime, until=steps))


class Fixed:
    """Rows of one document each, in the order of all sides; the last position of a causal row has no target."""

    def __init__(self, ids: Ids, *, causal: bool):
        length = ids.shape[1]
        self.ids = np.pad(ids, ((0, 0), (0, 1))) if causal else ids
        self.segments = np.where(np.arange(self.ids.shape[1]) < length, 0, -1)
        self.all = ids

    def rows(self, step: int) -> list[dict[str, Any]]:
        batch = TOKENS // self.all.shape[1]
        return [{"ids": row, "segments": self.segments} for row in self.ids[step * batch : (step + 1) * batch]]

    def where(self, step: int) -> str:
        return ""


# ---- peers ---------------------------------------------------------------------------------------


def trainer(ids: Ids, steps: int, folder: str, *, bf16: bool) -> Found:
    rows = TOKENS // ids.shape[1]
    settings = {"learning_rate": RATE, "max_steps": steps, "per_device_train_batch_size": rows, "bf16": bf16}
    net, place = llama(ids.shape[1]), f"{folder}/trainer"
    return trained_by_transformers(net, ids[: rows * steps], place, {**settings, "use_cpu": True})


def trained_by_transformers(net: Any, ids: Ids, folder: str, settings: dict[str, Any]) -> Found:
    """The Trainer over these rows, in their order; seconds and loss of each step."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(ids)

        def __getitem__(self, i: int) -> dict[str, Any]:
            row = torch.from_numpy(ids[i].astype("int64"))
            return {"input_ids": row, "labels": row}

    class Clock(TrainerCallback):
        seconds: list[float] = []

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.started)

    clock = Clock()
    quiet = {"logging_steps": 1, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    asked = TrainingArguments(output_dir=folder, train_sampling_strategy="sequential", **quiet, **settings)
    work = Trainer(model=net, args=asked, train_dataset=Rows(), callbacks=[clock])
    work.train()
    history = [row for row in work.state.log_history if "loss" in row]
    norms = [float(row["grad_norm"]) for row in history]
    return {"seconds": clock.seconds, "losses": [float(row["loss"]) for row in history], "norms": norms}


def plain(ids: Ids, steps: int) -> Found:
    """A loop as a tutorial writes it: float32, eager, torch's AdamW."""
    net = llama(ids.shape[1])
    return _loop(net, lambda x: net(input_ids=x, labels=x).loss, ids, steps)


def nanogpt(ids: Ids, steps: int) -> Found:
    """nanoGPT's loop with its model (layer norm without bias, GELU, learned positions), bf16 autocast and compile."""
    import torch
    from pretrain_nanogpt import GPT

    torch.manual_seed(0)
    net: Any = torch.compile(GPT(VOCABULARY, ids.shape[1], LAYERS, HEADS, WIDTH))

    def loss(x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x, _next(x))

    return _loop(net, loss, ids, steps)


def litgpt(ids: Ids, steps: int) -> Found:
    """litgpt's pretraining step: Fabric in bf16-mixed, its own GPT compiled, its chunked cross-entropy."""
    import lightning
    import torch
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    config = Config(
        block_size=ids.shape[1],
        vocab_size=VOCABULARY,
        padded_vocab_size=VOCABULARY,
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        intermediate_size=HIDDEN,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    torch.manual_seed(0)
    net = GPT(config)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.02)
    wrapped: Any = fabric.setup(torch.compile(net))

    def loss(x: Any) -> Any:
        return chunked_cross_entropy(wrapped(x), _next(x), chunk_size=0)

    return _loop(wrapped, loss, ids, steps, backward=fabric.backward)


def _next(ids_BL: Any) -> Any:
    """The targets of each position; -100 is none."""
    import torch

    return torch.nn.functional.pad(ids_BL[:, 1:], (0, 1), value=-100)


def _loop(net: Any, loss_of: Any, ids: Ids, steps: int, backward: Any = None) -> Found:
    import torch

    optim = torch.optim.AdamW(net.parameters(), lr=RATE, betas=BETAS, weight_decay=0.0)
    found: Found = {"seconds": [], "losses": [], "norms": []}
    net.train()
    for step in range(steps):
        started = time.perf_counter()
        optim.param_groups[0]["lr"] = rate(step, steps)
        loss = loss_of(torch.from_numpy(rows_of_step(ids, step).astype("int64")))
        backward(loss) if backward else loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0))
        optim.step()
        optim.zero_grad(set_to_none=True)
        found["losses"].append(loss.item())
        found["norms"].append(norm)
        found["seconds"].append(time.perf_counter() - started)
    assert all(map(math.isfinite, found["losses"])), "the loss is not finite"
    return found
