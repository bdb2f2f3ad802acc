"""Losses of labels beyond cross-entropy: closed forms, and what is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretune.base.errors import NotSupported
from pretune.model.row_dropout import RowDropout, forward_and_again, numbers
from pretune.objective.label_sets import LabelSets
from pretune.objective.labels import Labels
from pretune.task.classify import Classify
from pretune.testing.worlds import OF_LABELS, VOCABULARY, WEIGHTS, labelled_rows, sets_of, tiny_classifier

HOW: dict[str, Any] = {"label_smoothing": 0.1, "class_weights": WEIGHTS}
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.2, 0.1], [40.0, -40.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("how", [{}, HOW])
def test_focal_at_gamma_0_is_cross_entropy_as_torch_has_it(how: dict[str, Any]) -> None:
    labels = torch.tensor([0, 2, 1])
    focal = Labels(kind="labels", loss="focal", focal_gamma=1e-300, **how).losses(LOGITS, labels)
    weights = torch.tensor(how["class_weights"], dtype=torch.float64) if how else None
    theirs = F.cross_entropy(LOGITS, labels, weights, reduction="none", label_smoothing=how.get("label_smoothing", 0.0))
    assert torch.allclose(focal, theirs, rtol=1e-12, atol=1e-12)
    assert torch.equal(Labels(kind="labels", loss="focal", focal_gamma=0.0, **how).losses(LOGITS, labels), theirs)


def test_focal_sets_at_gamma_0_are_binary_cross_entropy() -> None:
    holds = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)
    plain, focal = (
        LabelSets(kind="label-sets", loss="focal", focal_gamma=gamma, **HOW).losses(LOGITS, holds)
        for gamma in (0.0, 1e-300)
    )
    assert torch.allclose(plain, focal, rtol=1e-12, atol=1e-12)


def test_smoothed_sets_are_torchs_binary_cross_entropy_of_targets_that_lean_towards_one_half() -> None:
    holds = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = LabelSets(kind="label-sets", **HOW).losses(LOGITS, holds)
    leaning = holds * 0.9 + 0.05
    theirs = F.binary_cross_entropy_with_logits(LOGITS, leaning, weights, reduction="none").sum(-1)
    assert torch.allclose(found, theirs, rtol=1e-12)


def test_focal_sets_by_hand() -> None:
    # One label holds, with p = 0.9; the other does not, and has p = 0.2: errors of 0.1 and 0.2, squared.
    logits = torch.tensor([[math.log(9), -math.log(4)]], dtype=torch.float64)
    loss = LabelSets(kind="label-sets", loss="focal").losses(logits, torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(-0.01 * math.log(0.9) - 0.04 * math.log(0.8), rel=1e-12)


def test_focal_of_a_row_by_hand() -> None:
    # Two labels, p = 0.9 of the right one: (1 - 0.9) ** 2 * -ln 0.9.
    logits = torch.tensor([[math.log(0.9), math.log(0.1)]], dtype=torch.float64)
    loss = Labels(kind="labels", loss="focal").losses(logits, torch.tensor([0]))
    assert loss.item() == pytest.approx(-0.01 * math.log(0.9), rel=1e-12)


def test_the_slope_of_focal_stays_finite_where_the_model_is_sure() -> None:
    logits = torch.tensor([[800.0, -800.0]], dtype=torch.float64, requires_grad=True)
    Labels(kind="labels", loss="focal", focal_gamma=0.5, label_smoothing=0.1).losses(
        logits, torch.tensor([0])
    ).sum().backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_smoothed_weighted_loss_over_its_count_is_torchs_mean() -> None:
    objective, model = Labels(kind="labels", **HOW), tiny_classifier()
    batch = objective.collate(labelled_rows(6), VOCABULARY)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    theirs = F.cross_entropy(logits, batch["labels"], weights, label_smoothing=0.1)
    ours = objective.sums(model, batch)["loss"] / objective.counts(batch)["loss"]
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parametrize("name", ["classify-r-drop", "multilabel-r-drop"])
def test_two_equal_readings_cost_what_one_costs(name: str) -> None:
    objective, model = OF_LABELS[name], tiny_classifier()
    rows = sets_of(6) if name.startswith("multilabel") else labelled_rows(6)
    drawn = [objective.prepare(row, VOCABULARY, np.random.default_rng(k)) for k, row in enumerate(rows)]
    twice = objective.sums(model.train(), objective.collate(drawn, VOCABULARY))["loss"].item()
    once = objective.sums(model.eval(), objective.collate(drawn, VOCABULARY))["loss"].item()
    assert twice == pytest.approx(once, rel=1e-12), "without dropout nothing disagrees"


@pytest.mark.parametrize("name", ["classify-r-drop", "multilabel-r-drop"])
def test_two_readings_cost_their_mean_and_half_the_weight_times_how_far_they_are_apart(name: str) -> None:
    objective, model = OF_LABELS[name], tiny_classifier(dropout=0.3).train()
    assert isinstance(objective, Labels | LabelSets) and objective.r_drop == 4.0
    rows = sets_of(6) if name.startswith("multilabel") else labelled_rows(6)
    drawn = [objective.prepare(row, VOCABULARY, np.random.default_rng(k)) for k, row in enumerate(rows)]
    batch, heard = objective.collate(drawn, VOCABULARY), []
    assert bool((batch["readings"][:, 0] != batch["readings"][:, 1]).all()), "other dropout each time"
    for number in range(2):
        with RowDropout(batch["readings"][:, number]):
            heard.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits)
    losses = [objective.losses(logits, batch["labels"]) for logits in heard]
    apart = objective.apart(*heard, batch["labels"])
    assert apart.min() > 1e-6
    found = objective.sums(model, batch)["loss"].item()
    assert found == pytest.approx((sum(losses) / 2 + 4 / 2 * apart).sum().item(), rel=1e-12)


def test_disagreement_on_sets_is_that_of_each_label_alone() -> None:
    one, other = LOGITS[:2], LOGITS[1:].flip(0) / 3
    log_p, log_q = (torch.stack([F.logsigmoid(x), F.logsigmoid(-x)], -1) for x in (one, other))
    pairs = ((log_q, log_p), (log_p, log_q))
    theirs: Any = sum(F.kl_div(a, b, reduction="none", log_target=True).sum(-1) for a, b in pairs) / 2
    weighed = LabelSets(kind="label-sets", class_weights=WEIGHTS).apart(one, other, torch.ones(2, 3))
    assert torch.allclose(weighed, (theirs * torch.tensor(WEIGHTS, dtype=torch.float64)).sum(-1), rtol=1e-12)


def test_disagreement_is_the_mean_of_both_divergences() -> None:
    one, other = LOGITS[:2], LOGITS[1:].flip(0) / 3
    log_p, log_q = one.log_softmax(-1), other.log_softmax(-1)
    pairs = ((log_q, log_p), (log_p, log_q))
    theirs = sum(F.kl_div(a, b, reduction="none", log_target=True).sum(-1) for a, b in pairs) / 2
    ours = Labels(kind="labels").apart(one, other, torch.tensor([0, 1]))
    assert torch.allclose(ours, theirs, rtol=1e-12)


def test_a_rows_dropout_depends_on_neither_its_neighbours_nor_its_padding() -> None:
    model = tiny_classifier(dropout=0.3).train()
    ids, mask = torch.randint(4, 40, (3, 9), generator=torch.Generator().manual_seed(0)), torch.ones(3, 9)
    mask[0, 5:] = 0
    draws = torch.tensor([7, 8, 9])
    with RowDropout(draws):
        together = model(input_ids=ids, attention_mask=mask).logits
    with RowDropout(draws[:1]):
        alone = model(input_ids=ids[:1, :5], attention_mask=mask[:1, :5]).logits
    plain = model.eval()(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(together[:1], alone, atol=1e-12)
    assert (together - plain).abs().max() > 1e-2, "something is dropped"


def test_what_is_dropped_is_a_share_of_p_other_places_each_time_and_the_rest_makes_up_for_it() -> None:
    ones = torch.ones(20, 5000, dtype=torch.float64)
    with RowDropout(torch.arange(20)):
        one, other = (F.dropout(ones, 0.2) for _ in range(2))
        assert F.dropout(ones, 0.2, training=False) is ones
    for found in (one, other):
        assert found.unique().tolist() == [0.0, 1.25]
        assert abs((found == 0).double().mean().item() - 0.2) < 0.0064, "100,000 numbers: five deviations"
    both = ((one == 0) & (other == 0)).double().mean().item()
    assert abs(both - 0.04) < 0.0031, "two calls are independent"


@pytest.mark.parametrize("how", ["plain", "causal", "mask", "added", "scaled"])
def test_attention_by_row_is_torchs_where_next_to_nothing_is_dropped(how: str) -> None:
    drawn = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, h, 5, 8, dtype=torch.float64, generator=drawn) for h in (4, 2, 2))
    seen = torch.rand(2, 1, 5, 5, generator=drawn) > 0.3
    seen[..., 0] = True
    given: dict[str, Any] = {
        "plain": {},
        "causal": {"is_causal": True},
        "mask": {"attn_mask": seen},
        "added": {"attn_mask": torch.where(seen, 0.0, -1e4).double()},
        "scaled": {"scale": 0.7},
    }[how]
    theirs = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **given)
    with RowDropout(torch.arange(2)):
        found = F.scaled_dot_product_attention(q, k, v, dropout_p=1e-12, enable_gqa=True, **given)
        less = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, enable_gqa=True, **given)
    assert torch.allclose(found, theirs, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(less, theirs, atol=0.1)


def test_a_block_that_is_computed_again_drops_what_it_dropped() -> None:
    from torch.utils.checkpoint import checkpoint

    x, heard = torch.ones(3, 50, dtype=torch.float64, requires_grad=True), []

    def block(states: torch.Tensor) -> torch.Tensor:
        heard.append(F.dropout(states, 0.5))
        return heard[-1] * states

    with RowDropout(torch.tensor([5, 6, 7])):
        F.dropout(x, 0.5)  # of a block before
        found: Any = checkpoint(block, x, use_reentrant=False, context_fn=forward_and_again)
    found.sum().backward()
    first, again = heard
    assert torch.equal(first, again) and 0 < int((first == 0).sum()) < 150
    assert x.grad is not None and torch.equal(x.grad, 2 * first)


def test_two_readings_are_refused_where_the_model_has_no_dropout() -> None:
    task = Classify(kind="classify", r_drop=1.0)
    for config in ({"hidden_dropout_prob": 0.1}, {"resid_pdrop": 0.1, "attention_dropout": 0.0}):
        assert task.for_model(config) == task
    with pytest.raises(NotSupported, match="no dropout, so two readings of a row are alike"):
        task.for_model({"hidden_dropout_prob": 0.0, "attention_dropout": 0, "hidden_size": 32})


def test_the_numbers_of_dropout_are_evenly_spread_and_unlike_by_row_and_call() -> None:
    found = numbers(torch.arange(40), 1, torch.Size([50, 50])).double() / 2**32
    # 100,000 even numbers: their mean is within 0.0046 of 1/2 (five deviations), tenths are within 500 of 10,000.
    assert abs(found.mean().item() - 0.5) < 0.0046
    assert (torch.histc(found, 10, 0, 1) - 10_000).abs().max() < 500
    by_row = torch.corrcoef(found.reshape(40, -1)) - torch.eye(40)
    other = numbers(torch.arange(40), 2, torch.Size([50, 50])).double() / 2**32
    assert by_row.abs().max() < 0.1, "2,500 numbers each: five deviations are 0.1"
    assert abs(torch.corrcoef(torch.stack([found.flatten(), other.flatten()]))[0, 1]) < 0.016


def test_a_row_mixed_with_itself_costs_what_it_costs_alone() -> None:
    mixed, plain, model = OF_LABELS["classify-mixup"], Labels(kind="labels", class_weights=WEIGHTS), tiny_classifier()
    rows = labelled_rows(5)
    doubled: Any = [{**row, "partner": row, "share": 0.1 * k} for k, row in enumerate(rows)]
    whole, alone = (one.collate(some, VOCABULARY) for one, some in ((mixed, doubled), (plain, rows)))
    assert mixed.sums(model, whole)["loss"].item() == pytest.approx(plain.sums(model, alone)["loss"].item(), rel=1e-12)
    assert mixed.counts(whole)["loss"] == pytest.approx(plain.counts(alone)["loss"], rel=1e-12)


def test_mixing_logits_is_mixing_what_the_last_layer_reads() -> None:
    objective, model, heard = OF_LABELS["classify-mixup"], tiny_classifier(), []
    one, other = labelled_rows(2)
    row: Any = {**one, "partner": other, "share": 0.3}
    hook = model.classifier.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0]))
    found = objective.sums(model, objective.collate([row], VOCABULARY))["loss"]
    hook.remove()
    mixed = model.classifier(0.3 * heard[0][:1] + 0.7 * heard[0][1:])
    parts = [objective.losses(mixed, torch.tensor([r["label"]])) for r in (one, other)]
    assert found.item() == pytest.approx((0.3 * parts[0] + 0.7 * parts[1]).item(), rel=1e-12)
