"""Tiny worlds: models of two layers, rows by hand, one step of training."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from pretune.model.build import build_from, build_model
from pretune.model.chain import NAME, chain_of
from pretune.model.families import Head, family_named, plain_model, tops
from pretune.model.folder import without_pooler
from pretune.model.held import HeldHead, hold_head
from pretune.model.methods.method import METHOD
from pretune.model.methods.own import frozen_modules
from pretune.model.several import ManyHeads
from pretune.model.shape import SHAPE, Shape
from pretune.objective.beside import Beside
from pretune.objective.blocks import projected
from pretune.objective.chain import ChainTags
from pretune.objective.contrast import Contrast
from pretune.objective.cosines import Cosines
from pretune.objective.distil import Taught
from pretune.objective.label_sets import LabelSets
from pretune.objective.labels import Labels
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.objective.preference import LOSS
from pretune.objective.rankings import Rankings
from pretune.objective.rewards import Rewards
from pretune.objective.said_before import SaidBefore
from pretune.objective.scores import Scores
from pretune.objective.several import SeveralObjectives
from pretune.objective.several_texts import joined_row
from pretune.objective.spans import Spans, hold_bias
from pretune.objective.tags import TokenTags
from pretune.objective.written import Written
from pretune.tokens.encode.tokenizer import Specials
from pretune.tokens.rows import IGNORE, Row, Vocabulary
from pretune.train.loop.penalty import Penalty
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update

MARKS = {**{f"<extra_id_{k}>": 39 - k for k in range(8)}, "[R]": 31, "[X]": 30, "[S]": 29}
VOCABULARY = Vocabulary(size=40, pad=0, mask=1, cls=2, specials=(0, 1, 2, 3), controls=MARKS, end=3)
SPECIALS = Specials(bos=None, eos=3, pad=0, unk=None, cls=2, sep=3, mask=1)
LENGTH = 12


SIZES = {
    **{"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48},
    **{"window": 4, "pattern": 2, "global_every": 2, "windows": (2, 3), "filters": 4, "generator": 0.5},
    **{"experts": 4, "balance": 0.5, "router_z": 0.2},  # terms that weigh enough to be seen
}


def tiny_shape(kind: str, **settings: Any) -> Shape:
    """A shape of two layers; where some see a window only, one of them does, four tokens."""
    known = SHAPE.find(kind).model_fields
    return SHAPE({"kind": kind, **{name: size for name, size in SIZES.items() if name in known}, **settings})


def head_of(kind: str) -> Head:
    """What a shape is pretrained to predict."""
    family = SHAPE.find(kind).family
    if special := {"electra": "replaced", "t5": "text"}.get(family):
        return cast(Head, special)
    return "next" if family_named(family).architecture_of(family) == "decoder" else "masked"


def tiny(kind: str, *, attention: str = "eager", seed: int = 0, head: Head | None = None, words: int = 40) -> Any:
    """A random model in float64 whose every parameter matters (no zeros left)."""
    model = build_model(
        tiny_shape(kind),
        head or head_of(kind),
        vocab_size=words,
        max_length=32,
        specials=SPECIALS,
        seed=seed,
        attention=attention,
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.double()


def tiny_classifier(kind: str = "bert", outputs: int = 3, dropout: float = 0.0) -> Any:
    from transformers import AutoModelForSequenceClassification

    config = tiny(kind).config
    if dropout:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    config.num_labels, config.pad_token_id = outputs, 0
    torch.manual_seed(1)
    # Not eager: there Qwen3 takes its softmax in float32, which rounds by the length of the padding.
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa").double()


def tiny_baseline(kind: str) -> Any:
    shape = tiny_shape(kind, dropout=0.0)
    sizes = shape.config(vocab_size=40, max_length=32, specials=SPECIALS)
    config = {**sizes, "model_type": shape.family, "num_labels": 3}
    return build_from(config, "label", shape, seed=1).double()


def tiny_finder(kind: str = "bert") -> Any:
    from transformers import AutoModelForQuestionAnswering

    config = tiny(kind).config
    config.num_labels, config.pad_token_id = 2, 0
    torch.manual_seed(1)
    model = AutoModelForQuestionAnswering.from_config(config, attn_implementation="sdpa").double()
    hold_bias(model)
    if kind == "bert":
        # It adds the same to the score of every position, so its gradient is 0 by arithmetic: Adam would divide
        # rounding by rounding, which is other rounding on another processor.
        model.bert.encoder.layer[-1].output.LayerNorm.bias.requires_grad_(False)
    return model


def tiny_tagger(kind: str) -> Any:
    from transformers import AutoModelForTokenClassification

    config = tiny(kind).config
    config.num_labels, config.pad_token_id, config.classifier_dropout = 3, 0, 0.0
    torch.manual_seed(1)
    return AutoModelForTokenClassification.from_config(config, attn_implementation="sdpa").double()


def tiny_translator() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": 40, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0, dropout_rate=0.0)).double()


def packed_rows(number: int, length: int, *, targets: bool = False, seed: int = 0) -> list[Row]:
    """Rows of several documents each, of uneven lengths, some with padding."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(number):
        borders = np.sort(rng.choice(np.arange(2, length - 1), size=2, replace=False))
        segments = np.searchsorted(borders, np.arange(length), side="right").astype(np.int64)
        segments[length - i % 4 :] = -1
        row: Row = {"ids": rng.integers(4, 40, length), "segments": segments}
        if targets:
            row["targets"] = rng.random(length) < (0.1 + 0.1 * i)
        rows.append(row)
    return rows


def paired_rows(number: int) -> list[Row]:
    """Rows of two parts, a third of which do not follow each other, with padding of uneven lengths."""
    rows = packed_rows(number, LENGTH)
    for i, row in enumerate(rows):
        there = row["segments"] >= 0
        row["segments"] = np.where(there, 0, -1)
        row["parts"] = (there & (np.arange(LENGTH) > 3 + i % 3)).astype(np.int64)
        row["is_next"] = i % 3 != 0
    return rows


def labelled_rows(number: int) -> list[Row]:
    rng = np.random.default_rng(3)
    return [{"ids": rng.integers(4, 40, 3 + 2 * i).tolist(), "label": i % 3} for i in range(number)]


def sets_of(number: int) -> list[Row]:
    """Rows with none to all of three labels."""
    return [
        {"ids": r["ids"], "holds": (np.arange(3) < i % 4).astype(np.float64)}
        for i, r in enumerate(labelled_rows(number))
    ]


def span_rows(number: int) -> list[Row]:
    return [{**row, "span": (0, 0) if k % 3 == 0 else (1, 1 + k % 2)} for k, row in enumerate(labelled_rows(number))]


def tagged_rows(number: int) -> list[Row]:
    """Rows in which every second token has a tag, the last row only one."""
    rows: list[Row] = []
    for i, row in enumerate(labelled_rows(number)):
        labels = np.array([k % 3 if k % 2 else IGNORE for k in range(len(row["ids"]))])
        labels[2 if i == number - 1 else len(labels) :] = IGNORE
        rows.append({"ids": row["ids"], "labels": labels})
    return rows


def scored_rows(number: int) -> list[Row]:
    """Two texts each; the second has parts of its own."""
    rows: list[Row] = [{"ids": r["ids"], "score": 0.5 - i} for i, r in enumerate(labelled_rows(number))]
    for i, row in enumerate(rows[1:], 1):
        row["parts"] = (np.arange(len(row["ids"])) > i).astype(np.int64)
    return rows


def tiny_body(kind: str, pooling: str) -> Any:
    from transformers import AutoModel

    config = tiny(kind).config
    config.pad_token_id, config.pretune = 0, {"pooling": pooling, "normalize": True}
    torch.manual_seed(1)
    return without_pooler(AutoModel.from_config(config, attn_implementation="sdpa").double())


def rows_of_texts(number: int, most: int) -> list[Row]:
    """Two to `most` texts each, of uneven lengths; the right text of the second row is that of the first."""
    rng, rows = np.random.default_rng(4), list[tuple[list[Row], list[int]]]()
    for i in range(number):
        texts: list[Row] = [
            {"ids": rng.integers(4, 40, 3 + (i + 2 * k) % 7).tolist()} for k in range(2 + i % (most - 1))
        ]
        names = [100 * i + k + 1 for k in range(len(texts))]
        if i == 1:
            texts[1], names[1] = rows[0][0][1], rows[0][1][1]
        rows.append((texts, names))
    return [{**joined_row(t), "names": np.array(n), "score": 0.1 * i} for i, (t, n) in enumerate(rows)]


def ranked_rows(number: int) -> list[Row]:
    """Queries with two to four candidates, whose second texts have parts of their own."""
    rows = rows_of_texts(number, 4)
    for i, row in enumerate(rows):
        count = len(row["lengths"])
        row["gains"] = np.arange(count) / (count * (count - 1) / 2)
        row["parts"] = (np.arange(len(row["ids"])) % 3 > i % 2).astype(np.int64)
    return rows


def preference_rows(number: int) -> list[Row]:
    """Two replies of uneven lengths each, behind a prompt of three; every second is good; some have a reference."""
    rng = np.random.default_rng(5)
    rows: list[Row] = []
    for i in range(number):
        sizes = [5 + i % 4, 9 - i % 3]
        targets = np.concatenate([np.arange(size) >= 3 for size in sizes])
        ids, reference = rng.integers(4, 40, sum(sizes)), -rng.random(2) * 10
        liked, segments = i % 2 == 0, np.repeat([0, 1], sizes)
        rows.append({"ids": ids, "segments": segments, "targets": targets, "good": liked, "reference": reference})
    return rows


def adapted(model: Any, method: str, *, heads: tuple[str, ...] = ()) -> Any:
    """A tiny model with a method of ADAPTERS applied, in float64; what begins at zero does not stay there."""
    torch.manual_seed(2)
    found: Any = METHOD(ADAPTERS[method]).apply(model.float(), heads=heads).double()
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return found


Case = tuple[Any, Objective, list[Row]]
"""A model, an objective, and eight rows."""


def case(name: str) -> Case:
    """(model, objective, eight rows) of a kind of training."""
    method, _, task = name.partition(" by ")[::-1]
    if method in ADAPTERS:
        return _by_adapter(method, task)
    table = next((t for t in (_TEXT, _LABELLED, _TEXTS) if name in t), None)
    if table is not None:
        return table[name]()
    if name in OF_LABELS:
        rows = sets_of(8) if name.startswith("multilabel") else labelled_rows(8)
        return tiny_classifier(dropout=0.1 if "r-drop" in name else 0.0), OF_LABELS[name], rows
    if name in OF_TEXT:
        return tiny("qwen3"), OBJECTIVE(OF_TEXT[name]), packed_rows(8, LENGTH + 1)
    if name in OF_TWO:
        return tiny("t5"), OBJECTIVE(OF_TWO[name]), packed_rows(8, 2 * LENGTH, seed=1)
    if name in PREFERENCES:
        return tiny("qwen3", attention="sdpa"), LOSS(PREFERENCES[name]), preference_rows(8)
    if name in ("bag", "cnn", "lstm"):
        return tiny_baseline(name), Labels(kind="labels"), labelled_rows(8)
    return tiny_classifier(), Labels(kind="labels"), labelled_rows(8)


def _by_adapter(method: str, task: str) -> Case:
    if task == "chat":
        rows = packed_rows(8, LENGTH + 1, targets=True)
        return adapted(tiny("qwen3", attention="sdpa"), method), OBJECTIVE("causal"), rows
    return adapted(tiny_classifier(), method, heads=("classifier",)), Labels(kind="labels"), labelled_rows(8)


def _windows() -> Case:
    model = tiny("gemma3")
    for place, parameter in model.named_parameters():
        parameter.requires_grad_("norm" not in place)  # transformers adds their gradients up in float32, always
    return model, OBJECTIVE("causal"), packed_rows(8, LENGTH + 1)


def _chain() -> Case:
    model = tiny_tagger("bert")
    setattr(model, NAME, chain_of([[0, 1, 2], [2, 0, 0]], 3).double())
    return model, ChainTags(kind="chain-tags"), tagged_rows(8)


def _ranked(loss: str) -> Case:
    model = tiny_classifier(outputs=1)
    hold_bias(model)
    return model, Rankings(kind="rankings", loss=loss), ranked_rows(8)


def _written() -> Case:
    rows = labelled_rows(8)
    pairs = [Row(ids=r["ids"], labels=np.asarray(r["ids"])[1 + i % 3 :]) for i, r in enumerate(rows)]
    return tiny_translator(), Written(kind="written"), pairs


def _several(mixup: float) -> Case:
    heads = ManyHeads({"mood": tiny_classifier(), "names": tiny_tagger("bert")})
    parts = {"mood": Labels(kind="labels", mixup=mixup), "names": TokenTags(kind="token-tags")}
    both = {"mood": labelled_rows(8), "names": tagged_rows(8)}
    mixed: list[Row] = [{**both[of][k], "of": of} for k, of in enumerate(["mood", "names", "mood", "names"] * 2)]
    return heads, SeveralObjectives(kind="several", of=parts, shares={"names": 0.5}), mixed


class Earlier:
    """A model that learnt something before."""

    def __init__(self, model: Any):
        self.model = model

    def on(self, model: Any) -> HeldHead:
        return hold_head(self.model, model, name="earlier")


def beside() -> tuple[Any, Objective, list[Row]]:
    """Labels, next to tags and text that are replayed and what another head said before."""
    parts = {"task": Labels(kind="labels"), "tags": TokenTags(kind="token-tags"), "text": OBJECTIVE("masked")}
    heads = {"tags": Earlier(tiny_tagger("bert")), "text": Earlier(tiny("bert")), "kept": Earlier(tiny_classifier())}
    objective = Beside(
        kind="beside",
        of={**parts, "kept": SaidBefore(kind="said-before")},
        shares={"task": 0.7, "tags": 0.3, "text": 0.2, "kept": 2.0},
    ).coming(heads)
    model = tiny_classifier()
    objective.hold(model)
    said = np.random.default_rng(6).normal(size=(2, 3))
    rows: list[Row] = [{**row, "of": "task"} for row in labelled_rows(3)]
    rows += [{**row, "of": "tags"} for row in tagged_rows(2)]
    rows += [{**packed_rows(1, LENGTH)[0], "of": "text"}]
    rows += [Row(ids=row["ids"], said=s, of="kept") for row, s in zip(labelled_rows(2), said, strict=True)]
    return model, objective, rows


def distilled(name: str) -> tuple[Any, Objective, list[Row]]:
    """A student next to a teacher that says something else: of tokens, whole or a few; of labels, and by its blocks, to
    whose width the student is projected; and what a teacher said, kept."""
    if name == "distil":
        model, of, rows = case("causal")
        how, teacher = Taught(kind="distil", teacher="t", top_k=5), tiny("qwen3", seed=1)
    elif name == "distil-kept":
        model, of, rows = case("chat")
        how, teacher = Taught(kind="distil", teacher="t", top_k=3, divergence="reverse"), tiny("qwen3", seed=1)
    elif name == "distil-own":
        model, of, rows = case("chat")
        how, teacher = Taught(kind="distil", teacher="t", on_policy=0.6), tiny("qwen3", seed=1)
    else:
        model, of, rows = case("classify")
        how = Taught(kind="distil", teacher="t", hidden=0.5, attention=0.5)
        settings = {**model.config.to_dict(), "hidden_size": 48, "num_labels": 3}
        teacher = build_from(settings, "label", tiny_shape("bert"), seed=4).double()
        model.set_attn_implementation("eager"), teacher.set_attn_implementation("eager")
        torch.manual_seed(6)
        projected(model, teacher)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1)
    objective = how.around(of).hold(teacher.eval().requires_grad_(False))
    if name == "distil-kept":
        for place, parts in objective.told_by_row(rows, VOCABULARY).items():
            for row, part in zip(rows, parts, strict=True):
                row[place] = part.numpy()  # type: ignore[literal-required]
        objective.hold(None)
    return model, objective, rows


PREFERENCES: dict[str, Any] = {
    **{name: name for name in ("dpo", "ipo", "orpo", "simpo")},
    "kto": {"kind": "kto", "undesirable": 1.3},
}
WEIGHTS = (0.3, 1.1, 7.0)
"""Of three labels."""
FOCAL: dict[str, Any] = {"loss": "focal", "focal_gamma": 1.5, "label_smoothing": 0.1, "class_weights": WEIGHTS}
OF_LABELS: dict[str, Objective] = {
    "classify-focal": Labels(kind="labels", **FOCAL),
    "classify-r-drop": Labels(kind="labels", r_drop=4.0, class_weights=WEIGHTS),
    "classify-mixup": Labels(kind="labels", mixup=0.4, class_weights=WEIGHTS),
    "multilabel-focal": LabelSets(kind="label-sets", **FOCAL),
    "multilabel-r-drop": LabelSets(kind="label-sets", r_drop=4.0),
    "multilabel-mixup": LabelSets(kind="label-sets", mixup=0.4, class_weights=WEIGHTS),
}
"""What keeps a classifier from learning its rows by heart."""
OF_TEXT: dict[str, Any] = {
    "masked-next": {"kind": "masked-next", "rate": 0.4, "last_rate": 0.2},
    "hybrid": {"kind": "hybrid", "share_masked": 0.2, "last_share_masked": 0.7},
    "input-mask": {"kind": "causal", "input_mask": 0.3},
}
"""Objectives over the same rows as `causal`."""
OF_TWO: dict[str, Any] = {
    "span": {"kind": "span", "rate": 0.3, "mean_length": 2, "sentinels": 8},
    "prefix": "prefix",
    "denoise": {"kind": "denoise", "sentinels": 8},
}
"""Objectives of encoder-decoders over the same rows."""
DISTILLED = ("distil", "distil-kept", "distil-own", "distil-states")
_MORE_PAIRS = {"kind": "masked", "pairs": "next", "spans": 2}
_TEXT: dict[str, Callable[[], Case]] = {
    "causal": lambda: (tiny("qwen3"), OBJECTIVE("causal"), packed_rows(8, LENGTH + 1)),
    "gpt2": lambda: (tiny("gpt2"), OBJECTIVE("causal"), packed_rows(8, LENGTH + 1)),
    "moe": lambda: (tiny("qwen3-moe"), OBJECTIVE("causal"), packed_rows(8, LENGTH + 1)),
    "moe-hybrid": lambda: (tiny("qwen3-moe"), OBJECTIVE(OF_TEXT["hybrid"]), packed_rows(8, LENGTH + 1)),
    "chat": lambda: (tiny("qwen3"), OBJECTIVE("causal"), packed_rows(8, LENGTH + 1, targets=True)),
    "masked": lambda: (tiny("bert"), OBJECTIVE("masked"), packed_rows(8, LENGTH)),
    "windows": _windows,
    "windows-masked": lambda: (tiny("modernbert"), OBJECTIVE("masked"), packed_rows(8, LENGTH)),
    "masked-pairs": lambda: (tiny("bert", head="pair"), OBJECTIVE(_MORE_PAIRS), paired_rows(8)),
    "replaced": lambda: (tiny("electra"), OBJECTIVE({"kind": "replaced", "rate": 0.3}), packed_rows(8, LENGTH)),
}
_LABELLED: dict[str, Callable[[], Case]] = {
    "tag": lambda: (tiny_tagger("bert"), TokenTags(kind="token-tags"), tagged_rows(8)),
    "crf": _chain,
    "tag-decoder": lambda: (tiny_tagger("qwen3"), TokenTags(kind="token-tags"), tagged_rows(8)),
    "classify-decoder": lambda: (tiny_classifier("qwen3"), Labels(kind="labels"), labelled_rows(8)),
    "regress": lambda: (tiny_classifier(outputs=1), Scores(kind="scores"), scored_rows(8)),
    "multilabel": lambda: (tiny_classifier(), LabelSets(kind="label-sets", class_weights=WEIGHTS), sets_of(8)),
    "classify-weights": lambda: (
        tiny_classifier(),
        Labels(kind="labels", class_weights=WEIGHTS, label_smoothing=0.1),
        labelled_rows(8),
    ),
    "several": lambda: _several(0.0),
    "several-mixup": lambda: _several(0.4),
    "answer": lambda: (tiny_finder(), Spans(kind="spans"), span_rows(8)),
    "seq2seq": _written,
    "beside": beside,
    **{name: partial(distilled, name) for name in DISTILLED},
}
_TEXTS: dict[str, Callable[[], Case]] = {
    "embed": lambda: (
        tiny_body("bert", "mean"),
        Contrast(kind="contrast", negatives=2, temperature=0.5),
        rows_of_texts(8, 4),
    ),
    "few-shot": lambda: (tiny_classifier(), Cosines(kind="cosines", of_classifier=True), rows_of_texts(8, 2)),
    "embed-decoder": lambda: (
        tiny_body("qwen3", "last"),
        Contrast(kind="contrast", temperature=0.5),
        rows_of_texts(8, 2),
    ),
    "embed-scores": lambda: (tiny_body("bert", "cls"), Cosines(kind="cosines"), rows_of_texts(8, 2)),
    "listwise": lambda: _ranked("listwise"),
    "pairwise": lambda: _ranked("pairwise"),
    "reward": lambda: (tiny_classifier("qwen3", outputs=1), Rewards(kind="rewards"), preference_rows(8)),
}
ADAPTERS: dict[str, Any] = {
    "adalora": {"kind": "adalora", "first_rank": 3, "rank": 2, "every": 1},
    "ia3": "ia3",
    "p-tuning": {"kind": "p-tuning", "tokens": 3},
    "prefix": {"kind": "prefix", "tokens": 3},
    "prompt": {"kind": "prompt", "tokens": 3},
    **{v: {"kind": "bottleneck", "variant": v, "width": 5} for v in ("houlsby", "pfeiffer", "parallel")},
    **{v: {"kind": "lora", "variant": v, "rank": 2} for v in ("plain", "rslora", "dora", "pissa", "lora+")},
}
"""Methods next to a base, as tiny models take them."""
CASES = (
    *(f"chat by {method}" for method in ADAPTERS),
    *("classify by prefix", "classify by prompt", "classify by parallel"),
    *(*OF_TEXT, *OF_TWO),
    *("causal", "gpt2", "moe", "moe-hybrid", "chat", "windows"),
    *("masked", "windows-masked", "masked-pairs", "replaced"),
    *("classify", "classify-decoder", "classify-weights", "bag", "cnn", "lstm"),
    *("few-shot", "several-mixup", *OF_LABELS),
    *("regress", "multilabel", "tag", "tag-decoder", "answer", "several", "crf", "seq2seq"),
    *("beside", *DISTILLED),
    *("embed", "embed-decoder", "embed-scores", "listwise", "pairwise", *PREFERENCES, "reward"),
)

BY_METHOD = (
    *("classify by head", "classify by freeze", "classify by unfreeze", "classify by bitfit", "classify by layernorm"),
    *(
        "gpt2 by freeze",
        "gpt2 by unfreeze",
        "gpt2 by bitfit",
        "gpt2 by layernorm",
        "several by freeze",
        "embed by layernorm",
    ),
)
"""Cases by another method than training all."""


def trained(
    name: str,
    *,
    micro: int,
    optim: str = "adamw",
    steps: int = 3,
    runtime: Runtime | None = None,
    batch: int = 8,
    kind: torch.dtype = torch.float64,
    penalty: float = 0.0,
    rate: float | None = 1e-2,
    method: Any = None,
) -> dict[str, torch.Tensor]:
    """The weights after some steps, cut into micro-batches of `micro` rows.

    Args:
        name: a case, or "CASE by METHOD".
        penalty: weight of what holds the weights near a place off their start, the matrices more than the rest.
        rate: of the optimizer; None: its usual one.
    """
    base, _, by = name.partition(" by ")
    runtime, method = runtime or Runtime(), method or by or None
    model, objective, rows = case(name if by in ADAPTERS else base)
    state = begun(model.to(kind), objective, method, steps=steps, runtime=runtime, optim=optim, rate=rate)
    state.train()
    if penalty:
        masters = state.update.masters
        matrices = {n: torch.full_like(t, 3.0) for n, t in masters.items() if t.dim() > 1}
        state.penalty = Penalty(penalty, {n: t + 0.1 for n, t in masters.items()}, matrices)
    ranks = {"rank": runtime.rank, "world": runtime.world, "total": steps}
    cut = MicroBatches(RowStream(rows, batch, seed=5), objective, VOCABULARY, 5, micro, **ranks)  # type: ignore[arg-type]
    for step in range(steps):
        take_step(state, objective, cut.batches(step), runtime)
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def begun(
    model: Any,
    objective: Objective,
    method: Any,
    *,
    steps: int,
    runtime: Runtime | None = None,
    optim: str = "adamw",
    rate: float | None = 1e-2,
) -> TrainState:
    """A model before its first step, adapted by a method; None: what trains stays as it is, as with those of ADAPTERS,
    which `case` has applied."""
    known = ADAPTERS.get(method) if isinstance(method, str) else None
    adapting = METHOD(known or method or "full")
    if method is not None and known is None:
        core = plain_model(model)
        adapting.apply(model, heads=tops(core) if core.base_model is not core else ())
    update = Update(model, OPTIM({"kind": optim, "learning_rate": rate, "clip": 0.5}))
    scored = (runtime or Runtime()).wrap(Scored(model, objective))
    moving = partial(adapting.trained_at, list(update.weights), total=steps)
    still = frozen_modules(model) if adapting.eval_frozen else ()
    return TrainState(model, scored, update, total=steps, trained_at=moving, still=still, around=adapting.around)


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max()) for n in a)


RANK_PROGRAM = """
import sys
import torch
from pretune.train.loop.runtime import Runtime
from pretune.testing.worlds import batch_of_ranks, trained
from safetensors.torch import save_file
torch.set_num_threads(1)
runtime = Runtime.start("cpu")
for name in sys.argv[2:]:
    held = {"penalty": 0.1} if name == "classify" else {}
    weights = trained(name, micro=2, steps=2, runtime=runtime, batch=batch_of_ranks(name), **held)
    save_file({n: t.contiguous() for n, t in weights.items()}, f"{sys.argv[1]}/{name}-{runtime.rank}.safetensors")
torch.distributed.barrier()  # the ranks leave together
"""


def batch_of_ranks(name: str) -> int:
    """Rows of a step that two ranks cannot share evenly; with one row the second rank has none."""
    return 1 if name in ("causal", "several") else 7


def ranks_apart(names: Sequence[str], folder: Path) -> dict[str, float]:
    """How far the weights of two processes are from those of one, by the name of the case."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root, processes = Path(__file__).parents[2], []
    for rank in range(2):
        settings = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-c", RANK_PROGRAM, str(folder), *names]
        processes.append(subprocess.Popen(command, env={**os.environ, **settings, "PYTHONPATH": str(root)}, cwd=root))
    assert [p.wait(timeout=240) for p in processes] == [0, 0]
    found = {}
    for name in names:
        alone = trained(name, micro=8, steps=2, batch=batch_of_ranks(name), penalty=0.1 if name == "classify" else 0.0)
        both = (load_file(folder / f"{name}-{rank}.safetensors") for rank in range(2))
        found[name] = max(largest_difference(alone, one) for one in both)
    return found
