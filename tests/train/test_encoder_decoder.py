"""Encoder-decoders from raw text: what their folders do in plain transformers, and what pretune does with them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.infer.answers import Text
from pretune.infer.load import open_model
from pretune.model.build import build_model, num_parameters
from pretune.model.shape import SHAPE
from pretune.objective.objective import OBJECTIVE
from pretune.tokens.encode.tokenizer import Specials
from pretune.tokens.rows import Vocabulary

EATS = {"cat": "fish", "dog": "meat", "cow": "grass", "mouse": "cheese"}
SMALL = {"kind": "t5", "layers": 2, "width": 32, "heads": 2, "head_width": 16, "hidden": 64}
RUN = {"kind": "pretrain", "model": SMALL, "length": 64, "batch": 8, "micro_batch": 8, "precision": "float32"}
FAST = {"kind": "muon", "learning_rate": 1e-2}
SPANS = {"kind": "span", "rate": 0.3, "mean_length": 1.5, "sentinels": 30}
TUNE = {"kind": "finetune", "task": "seq2seq", "steps": 100, "batch": 8, "precision": "float32", "optim": FAST}
CORPUS = {"kind": "corpus", "filters": [], "dedup": "none", "max_overlap": None, "validation": 0.1, "test": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A model that fills holes, one that goes on with texts, and one that was fine-tuned."""
    root = tmp_path_factory.mktemp("encoder-decoder")
    times = ["today", "now", "here", "soon"]
    whole = product(times, EATS.items(), ["sleeps", "rests", "plays", "walks"])
    texts = [{"text": f"{when} the {a} eats {b} and {then}"} for when, (a, b), then in whole]
    pairs = [{"source": f"the {a} eats what {when}?", "target": b} for a, b in EATS.items() for when in times]
    for name, rows in {"text": texts, "pairs": pairs}.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stages = {
        "text": {**CORPUS, "read": [str(root / "text.jsonl")]},
        "words": {"kind": "tokenizer", "corpus": "$text", "vocab_size": 400},
        "tokens": {"kind": "tokens", "corpus": "$text", "tokenizer": "$words"},
        "span": {**RUN, "tokens": "$tokens", "steps": 200, "objective": SPANS},
        "prefix": {**RUN, "tokens": "$tokens", "steps": 60, "objective": "prefix"},
        "pairs": {"kind": "dataset", "read": [str(root / "pairs.jsonl")], "test": 0, "validation": 0.25},
        "tuned": {**TUNE, "model": "$span", "data": "$pairs"},
    }
    return Recipe.build({"work": str(root / "out"), "stages": stages}).run(log=Log(quiet=True))


def test_plain_transformers_fill_a_hole(made: dict[str, Artifact]) -> None:
    from transformers import AutoTokenizer, T5ForConditionalGeneration

    folder = made["span"].path
    tokenizer, model = AutoTokenizer.from_pretrained(folder), T5ForConditionalGeneration.from_pretrained(folder)
    for animal, food in EATS.items():
        text = f"now the {animal} eats<extra_id_0> and rests{tokenizer.eos_token}"
        written = model.generate(tokenizer(text, return_tensors="pt").input_ids, max_new_tokens=12)[0]
        assert tokenizer.decode(written) == f"<|pad|><extra_id_0> {food}<extra_id_1><|endoftext|>"


def test_a_model_of_prefixes_goes_on_with_a_text_and_a_fine_tuned_one_answers(made: dict[str, Artifact]) -> None:
    goes_on, answers = open_model(made["prefix"].path), open_model(made["tuned"].path)
    for animal, food in EATS.items():
        (rest,) = goes_on.answer([f"now the {animal} eats"])
        (answer,) = answers.answer([f"the {animal} eats what now?"])
        assert isinstance(rest, Text)
        assert isinstance(answer, Text)
        assert (rest.text.split()[0], answer.text) == (food, food)


def test_bits_per_byte_are_not_told_of_it_and_its_perplexity_is_refused(
    made: dict[str, Artifact], tmp_path: Path
) -> None:
    assert not any("bits" in name for name in made["span"].card.metrics)
    report = {"kind": "evaluate", "model": str(made["span"].path), "data": str(made["tokens"].path)}
    with pytest.raises(NotSupported, match="gives text and predicts no text"):
        Recipe.build({"work": str(tmp_path), "stages": {"report": report}}).run(log=Log(quiet=True))


@pytest.mark.parametrize("objective", [SPANS, {"kind": "prefix"}, {"kind": "denoise", "sentinels": 90}])
def test_a_shape_knows_its_parameters_and_how_much_it_computes(objective: Any) -> None:
    """Two thirds of the work of forward and backward passes are the backward ones."""
    from torch.utils.flop_counter import FlopCounterMode

    words, length, scorer = 1000, 60, OBJECTIVE(objective)
    shape = SHAPE({"kind": "t5", "layers": 2, "width": 64, "heads": 2, "head_width": 48, "hidden": 96})
    model = build_model(shape, "text", vocab_size=words, max_length=512, specials=Specials(eos=3, pad=0), seed=0)
    layout = shape.layout()
    assert layout.parameters(words, 512) == pytest.approx(num_parameters(model), rel=0.01)
    controls = {text: 900 + k for k, text in enumerate(scorer.controls)}
    vocabulary = Vocabulary(size=words, pad=0, specials=(0, 3), controls=controls, end=3)
    rows = [scorer.blank(length, vocabulary, np.random.default_rng([seed])) for seed in range(400)]
    passed = [(len(row["ids"]) / length, len(row["labels"]) / length) for row in rows]
    assert scorer.passed == pytest.approx(np.mean(passed, axis=0), abs=0.05)  # and a few tokens that frame them
    with FlopCounterMode(display=False) as counter:
        scorer.sums(model, scorer.collate(rows[:1], vocabulary))
    assert layout.flops_per_token(words, length, passed[0]) == pytest.approx(
        3 * counter.get_total_flops() / length, rel=1e-3
    )
