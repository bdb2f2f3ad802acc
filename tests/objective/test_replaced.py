"""ELECTRA: what is drawn, what is judged, and the discriminator that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from pretune.base.artifact import Artifact
from pretune.base.config import build
from pretune.base.errors import NotSupported, SettingsError, WrongValue
from pretune.model.families import States, family_of
from pretune.model.folder import load_with_new
from pretune.model.shape import SHAPE
from pretune.objective.cross_entropy import drawn_ids
from pretune.objective.objective import OBJECTIVE
from pretune.testing.worlds import VOCABULARY, case, packed_rows, tiny
from pretune.tokens.rows import IGNORE
from pretune.train.loop import checkpoint
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from pretune.train.run.settings import PretrainSettings, resolved_shape
from tests.train.test_watching import lines_of, made

ELECTRA = {"kind": "electra", "layers": 1, "width": 32, "heads": 4, "hidden": 48, "generator": 0.5}


def prepared(number: int, **settings: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    objective = OBJECTIVE({"kind": "replaced", "rate": 0.4, **settings})
    rows = [
        objective.prepare(
            {**row, "segments": np.where(row["segments"] < 0, -1, 0)}, VOCABULARY, np.random.default_rng(k)
        )
        for k, row in enumerate(packed_rows(number, 12))
    ]
    return tiny("electra", attention="sdpa").eval(), objective, objective.collate(rows, VOCABULARY)


def test_a_number_picks_the_token_in_whose_part_of_the_sum_it_falls() -> None:
    """By hand: chances .5 .25 .25; the sums end at .5, .75 and 1."""
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]] * 6, dtype=torch.float64))
    numbers = torch.tensor([0.0, 0.49, 0.51, 0.74, 0.76, 0.999999999], dtype=torch.float64)
    assert drawn_ids(States(logits), numbers).tolist() == [0, 0, 1, 1, 2, 2]
    assert drawn_ids(States(logits.float()), torch.full((6,), np.nextafter(1.0, 0.0))).tolist() == [2] * 6
    many = drawn_ids(States(logits[:1].expand(20_000, 3)), torch.from_numpy(np.random.default_rng(0).random(20_000)))
    assert abs(np.bincount(many) / 20_000 - [0.5, 0.25, 0.25]).max() < 0.01


def test_both_terms_are_those_of_plain_transformers_on_the_drawn_text() -> None:
    model, objective, batch = prepared(6)
    there, hidden = batch["segments"] >= 0, batch["labels"] != IGNORE
    assert (batch["input_ids"][hidden] == VOCABULARY.mask).all()
    logits_BLV = model.generator(batch["input_ids"], attention_mask=there.long()).logits
    ids = batch["input_ids"].clone()
    ids[hidden] = drawn_ids(States(logits_BLV[hidden]), batch["draws"])
    wrong = hidden & (ids != batch["labels"])
    assert 0 < wrong.sum() < hidden.sum(), "one was drawn as it had been: no replacement"
    told = model(ids, attention_mask=there.long()).logits
    sums, counts = objective.sums(model, batch), objective.counts(batch)
    assert counts == {"generator": hidden.sum(), "discriminator": there.sum()}
    generator = F.cross_entropy(logits_BLV[hidden], batch["labels"][hidden], reduction="sum")
    assert sums["generator"].item() == pytest.approx(generator.item(), abs=1e-10)
    judged = F.binary_cross_entropy_with_logits(told[there], wrong[there].double(), reduction="sum")
    assert sums["discriminator"].item() == pytest.approx(judged.item(), abs=1e-10)
    found = objective.measured(model, batch)
    says = (told > 0) & there
    assert found["generator_accuracy"] == ((logits_BLV.argmax(-1) == batch["labels"])[hidden].sum(), hidden.sum())
    assert found["discriminator_accuracy"] == (((says == wrong) & there).sum(), there.sum())
    assert found["discriminator_recall"] == ((says & wrong).sum(), wrong.sum())
    assert found["discriminator_precision"] == ((says & wrong).sum(), says.sum())


def test_no_gradient_of_the_discriminator_reaches_the_generators_own_weights() -> None:
    model, objective, batch = prepared(4)
    objective.sums(model, batch)["discriminator"].backward()
    own = [n for n, p in model.named_parameters() if n.startswith("generator.") and p.grad is not None]
    assert own == []
    assert model.electra.embeddings.word_embeddings.weight.grad is not None


def test_a_rank_without_rows_gives_every_weight_a_gradient_of_nothing() -> None:
    model, objective, _ = prepared(1)
    row = objective.prepare(packed_rows(1, 12)[0], VOCABULARY, np.random.default_rng(0))
    batch = objective.idle(row, VOCABULARY)
    assert objective.counts(batch) == {"generator": 0.0, "discriminator": 0.0}
    sum(objective.sums(model, batch).values()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_a_run_that_is_taken_up_has_both_models_and_the_bits_of_one_left_alone(tmp_path: Path) -> None:
    def begun(seed: int) -> tuple[TrainState, Callable[[int], None]]:
        model, objective, rows = case("replaced")
        for weight in model.parameters():
            weight.data.mul_(1 + seed)
        update = Update(model, OPTIM("muon"))
        state = TrainState(model, Scored(model, objective), update, total=4)
        cut = MicroBatches(RowStream(rows, 4, seed=5), objective, VOCABULARY, 5, 2, total=4)
        return state, lambda step: take_step(state, objective, cut.batches(step), Runtime()) and None

    (whole, go), (again, go_on) = begun(0), begun(1)
    for step in range(2):
        go(step)
    checkpoint.save(whole, tmp_path)
    checkpoint.load(again, tmp_path / "step-00000002")
    for step in (2, 3):
        go(step)
        go_on(step)
    names = dict(whole.model.named_parameters())
    assert any(name.startswith("generator.") for name in names)
    assert all(torch.equal(weight, names[name]) for name, weight in again.model.named_parameters())


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_generator_is_a_share_as_wide_and_reads_the_same_table(share: float) -> None:
    shape = SHAPE({"kind": "electra", "layers": 2, "width": 64, "heads": 4, "hidden": 128, "generator": share})
    from pretune.model.build import build_model, num_parameters
    from pretune.testing.worlds import SPECIALS

    model: Any = build_model(shape, "replaced", vocab_size=4000, max_length=32, specials=SPECIALS, seed=0)
    config = model.generator.config
    assert (config.hidden_size, config.num_attention_heads) == (64 * share, 4 * share)
    table = model.electra.embeddings.word_embeddings.weight
    assert model.generator.generator_lm_head.weight is table
    assert model.generator.electra.embeddings is model.electra.embeddings
    assert num_parameters(model) == pytest.approx(shape.layout().parameters(4000, 32), rel=0.03)
    assert [len(stack) for stack in family_of(model).stacks(model)] == [2, 2]


def test_other_architectures_and_widths_that_do_not_divide_are_refused_before_anything_is_built() -> None:
    tree = {"tokens": "-", "objective": "replaced"}
    settings = build(PretrainSettings, {**tree, "model": "bert-mini"}, source="here")
    with pytest.raises(
        WrongValue, match=r"(?s)bert model has no head for replaced tokens.*take model=electra or electra-mini"
    ):
        resolved_shape(settings, tokens=1000, vocab_size=100, flops=1e9)
    auto = build(PretrainSettings, tree, source="here")
    assert resolved_shape(auto, tokens=1000, vocab_size=100, flops=1e9).kind == "electra-mini"
    odd = {"kind": "electra", "width": 64, "heads": 8, "generator": 0.3}
    with pytest.raises(SettingsError, match=r"generator=0.3 gives a width of 19, which 2 heads do not divide"):
        build(PretrainSettings, {**tree, "model": odd}, source="here")


# ---- the folder ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    settings = {"model": ELECTRA, "objective": "replaced", "evaluate_every": 3, "precision": "float32"}
    return made(tmp_path_factory.mktemp("replaced"), **settings)


def test_the_discriminator_is_kept_as_plain_transformers_reads_it(model: Artifact) -> None:
    from transformers import ElectraForPreTraining

    weights = load_file(model.path / "model.safetensors")
    plain, info = ElectraForPreTraining.from_pretrained(model.path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert sum(w.size for w in weights.values()) == model.card.metrics["parameters"]
    assert not any("generator" in name for name in weights)
    assert plain(torch.tensor([[5, 6, 7]])).logits.shape == (1, 3)
    _, new = load_with_new(model.path, "label", num_labels=2)
    assert new == ("classifier",)


def test_terms_and_accuracies_are_in_the_metrics(model: Artifact) -> None:
    last = lines_of(model.path / "metrics.jsonl")[-1]
    assert last["validation_loss"] == pytest.approx(
        last["validation_generator"] + 50 * last["validation_discriminator"]
    )
    assert {f"validation_{n}_accuracy" for n in ("generator", "discriminator")} <= last.keys()


def test_going_on_with_it_says_that_the_generator_is_gone(model: Artifact) -> None:
    electra, _ = load_with_new(model.path, "replaced")
    _, objective, batch = prepared(1)
    with pytest.raises(NotSupported, match="it is not kept after pretraining"):
        objective.sums(electra, batch)
