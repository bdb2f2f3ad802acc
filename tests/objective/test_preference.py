"""Losses on preferences: what they are before training, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pretune.objective.objective import StepWide
from pretune.objective.preference import LOSS, Preference, Said, both, reply_log_probs
from pretune.objective.rewards import Rewards
from pretune.testing.worlds import VOCABULARY, preference_rows, tiny, tiny_classifier
from pretune.tokens.rows import Row

KINDS = ("dpo", "ipo", "kto", "orpo", "simpo")
REFERRED = ("dpo", "ipo", "kto")


def said_of(model: Any, rows: list[Row]) -> np.ndarray:
    """The log-probabilities of both replies of each row, one at a time, by the class's own forward pass."""
    found = []
    for row in rows:
        for k in (0, 1):
            ids, scored = (torch.tensor(row[name][row["segments"] == k]) for name in ("ids", "targets"))  # type: ignore[literal-required]
            with torch.no_grad():
                logits = model(ids[None, :-1]).logits[0].log_softmax(-1)
            told = logits[torch.arange(len(ids) - 1), ids[1:]]
            found.append(float(told[scored[1:]].sum()))
    return np.array(found).reshape(-1, 2)


def scores(loss: Preference, model: Any, rows: list[Row]) -> dict[str, float]:
    """Means over the rows, as the loop makes them."""
    batch = loss.collate(rows, VOCABULARY)
    wide = StepWide(loss.gather(model, batch), 0) if loss.gathers else None
    sums, counts = loss.sums(model, batch, wide), loss.counts(batch)
    return {name: float(value.detach()) / counts[name] for name, value in sums.items()}


def started(model: Any, rows: list[Row]) -> list[Row]:
    """The rows with the model's own reference."""
    for row, sums in zip(rows, said_of(model, rows), strict=True):
        row["reference"] = sums
    return rows


def test_a_batch_of_padded_replies_has_the_log_probabilities_of_each_alone() -> None:
    model, rows = tiny("qwen3", attention="sdpa"), preference_rows(5)
    sums, lengths = reply_log_probs(model, both(LOSS("dpo").collate(rows, VOCABULARY)))
    assert np.abs(sums.detach().numpy().reshape(2, -1).T - said_of(model, rows)).max() < 1e-12
    assert lengths.tolist() == [int(r["targets"][r["segments"] == k].sum()) for k in (0, 1) for r in rows]


@pytest.mark.parametrize(
    ("kind", "wanted"), [("dpo", math.log(2)), ("ipo", 1 / (4 * 0.1**2)), ("kto", 0.5 * (0.7 + 1.3) / 2)]
)
def test_at_the_first_step_a_loss_that_counts_from_the_start_is_known(kind: str, wanted: float) -> None:
    weights = {"desirable": 0.7, "undesirable": 1.3} if kind == "kto" else {}
    model = tiny("qwen3", attention="sdpa")
    found = scores(LOSS({"kind": kind, **weights}), model, started(model, preference_rows(8)))
    assert found["loss"] == pytest.approx(wanted, abs=1e-12)
    assert abs(found["margin"]) < 1e-12


@pytest.mark.parametrize("kind", ["dpo", "ipo", "orpo", "simpo"])
def test_a_swapped_pair_negates_the_margin(kind: str) -> None:
    start, model, rows = (
        tiny("qwen3", attention="sdpa"),
        tiny("qwen3", attention="sdpa", seed=1),
        preference_rows(6),
    )
    started(start, rows)
    swapped: list[Row] = [
        {
            "ids": np.concatenate([row["ids"][row["segments"] == k] for k in (1, 0)]),
            "segments": np.repeat([0, 1], [(row["segments"] == k).sum() for k in (1, 0)]),
            "targets": np.concatenate([row["targets"][row["segments"] == k] for k in (1, 0)]),
            "reference": row["reference"][::-1].copy(),
        }
        for row in rows
    ]
    one, other = scores(LOSS(kind), model, rows), scores(LOSS(kind), model, swapped)
    assert abs(one["margin"]) > 1e-3 and one["margin"] == pytest.approx(-other["margin"], abs=1e-12)
    assert one["accuracy"] == pytest.approx(1 - other["accuracy"])
    assert (one["chosen"], one["rejected"]) == pytest.approx((other["rejected"], other["chosen"]))


@pytest.mark.parametrize("kind", REFERRED)
def test_a_kept_reference_a_copy_of_the_start_and_an_adapter_that_is_switched_off_are_one(kind: str) -> None:
    from pretune.model.methods.lora import Lora

    rows = preference_rows(8)
    found = {}
    for name in ("kept", "copy", "off"):
        model = tiny("qwen3", attention="sdpa")
        loss = LOSS({"kind": kind, "reference": "kept" if name == "kept" else "live"})
        if name == "kept":
            started(model, rows)
        torch.manual_seed(3)
        adapted: Any = Lora(kind="lora", rank=2, dropout=0.1).apply(model, heads=()).double()
        if name == "copy":
            loss.hold(tiny("qwen3", attention="sdpa"))
        elif name == "off":
            loss.hold(adapted)
        torch.manual_seed(4)
        with torch.no_grad():
            for parameter_name, parameter in adapted.named_parameters():
                if "lora_" in parameter_name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        found[name] = scores(loss, adapted.eval(), rows)
    assert abs(found["kept"]["margin"]) > 1e-3
    assert found["kept"] == pytest.approx(found["copy"], abs=1e-10)
    assert found["kept"] == pytest.approx(found["off"], abs=1e-10)


SUMS, REFERENCE, LENGTHS = [[-6.0, -4.0]], [[-7.0, -3.5]], [[3, 2]]


@pytest.mark.parametrize(
    ("kind", "margin", "loss"),
    [
        # Gains 1.0 and -0.5, of which 0.1 (1.5) is the margin.
        ("dpo", 0.15, math.log(1 + math.exp(-0.15))),
        # Per token 1 / 3 and -1 / 4; what is aimed at is 5.
        ("ipo", 7 / 12, (7 / 12 - 5) ** 2),
        # Both have -2 per token: odds are equal, so what is left is the likelihood of the chosen one and 0.1 ln 2.
        ("orpo", 0.0, 2.0 + 0.1 * math.log(2)),
        ("simpo", 0.0, math.log(1 + math.e)),
    ],
)
def test_losses_of_one_pair_by_hand(kind: str, margin: float, loss: float) -> None:
    said = Said(*(torch.tensor(values, dtype=torch.float64) for values in (SUMS, REFERENCE, LENGTHS)))
    found: Any = LOSS(kind)
    margin_B = found.margin(said)
    assert margin_B.tolist() == pytest.approx([margin], abs=1e-12)
    assert found.loss(said, margin_B).tolist() == pytest.approx([loss], abs=1e-12)


def test_odds_by_hand() -> None:
    """p per token 1 / 4 and 1 / 2: odds 1 / 3 and 1, log ratio -ln 3; -log sigmoid of that is ln 4."""
    values = [[2 * math.log(0.25), 3 * math.log(0.5)]], [[0.0, 0.0]], [[2, 3]]
    said, orpo = Said(*(torch.tensor(v, dtype=torch.float64) for v in values)), LOSS("orpo")
    margin_B = orpo.margin(said)  # type: ignore[attr-defined]
    assert margin_B.tolist() == pytest.approx([-math.log(3)])
    assert orpo.loss(said, margin_B).tolist() == pytest.approx([math.log(4) + 0.1 * math.log(4)])  # type: ignore[attr-defined]


def test_kto_by_hand() -> None:
    """Own gains 2 and 1, gains of strange replies 0.5 and 1.5: kl is 1, so the margins are 0.1 and 0."""
    model, rows = tiny("qwen3", attention="sdpa"), preference_rows(2)
    said = said_of(model, rows)
    for row, sums, gains, good in zip(rows, said, ([2.0, 0.5], [1.0, 1.5]), (True, False), strict=True):
        row["reference"], row["good"] = sums - np.array(gains), good
    found = scores(LOSS("kto"), model, rows)
    assert found["kl"] == pytest.approx(1.0)
    assert found["loss"] == pytest.approx((1 / (1 + math.exp(0.1)) + 0.5) / 2)


def test_replies_of_equal_scores_have_a_reward_loss_of_ln_2_and_its_gradient_is_that_of_the_difference() -> None:
    model, rows, loss = tiny_classifier("qwen3", outputs=1), preference_rows(4), Rewards(kind="rewards")
    batch = loss.collate(rows, VOCABULARY)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    numbers = model(**given).logits[:, 0].view(2, -1).T
    wanted = -(numbers[:, 0] - numbers[:, 1]).sigmoid().log().sum()
    assert float(loss.sums(model, batch)["loss"].detach()) == pytest.approx(float(wanted.detach()))
    torch.nn.init.zeros_(model.score.weight)
    assert float(loss.sums(model, batch)["loss"].detach()) / loss.counts(batch)["loss"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_without_rows_adds_nothing_to_a_step_and_reaches_every_weight(kind: str) -> None:
    model, (row,), loss = tiny("qwen3", attention="sdpa"), preference_rows(1), LOSS(kind)
    idle, busy = loss.idle(row, VOCABULARY), loss.collate(preference_rows(3), VOCABULARY)
    wide = None
    if loss.gathers:
        parts = [loss.gather(model, batch) for batch in (busy, idle)]
        wide = StepWide({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, 3)
        assert parts[1]["there"].tolist() == [0.0]
    sums = loss.sums(model, idle, wide)
    sums["loss"].backward()
    assert {float(value.detach()) for value in sums.values()} == {0.0} == set(loss.counts(idle).values())
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
