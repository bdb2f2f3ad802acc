"""How a step is cut - micro-batches, ranks, packing - never changes the maths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from pretune.model.attention import register_attention
from pretune.model.families import Family, States
from pretune.objective.labels import Labels
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.testing.worlds import CASES, VOCABULARY, case, largest_difference, packed_rows, ranks_apart, tiny, trained
from pretune.tokens.rows import IGNORE


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_eight_micro_batches_of_one_move_the_weights_like_one_of_eight(name: str, optim: str) -> None:
    one, eight = trained(name, micro=8, optim=optim), trained(name, micro=1, optim=optim)
    start = dict(case(name)[0].named_parameters())
    assert largest_difference(one, {n: p.detach() for n, p in start.items()}) > 1e-3, "the step must do something"
    assert largest_difference(one, eight) < 1e-12


def test_a_penalty_on_weights_is_paid_once_however_a_step_is_cut() -> None:
    one, eight, free = (trained("classify", micro=m, penalty=p) for m, p in ((8, 0.1), (1, 0.1), (8, 0.0)))
    assert largest_difference(one, free) > 1e-3
    assert largest_difference(one, eight) < 1e-12


@pytest.mark.parametrize("name", ["causal", "masked", "classify", "classify-weights", "chat", "regress", "multilabel"])
def test_a_short_last_step_counts_only_its_own_targets(name: str) -> None:
    assert largest_difference(trained(name, micro=5, batch=5), trained(name, micro=2, batch=5)) < 1e-12


def test_two_processes_move_the_weights_like_one(tmp_path: Path) -> None:
    names = ["causal", "masked", "classify", "classify-weights", "chat", "regress", "multilabel", "tag", "answer"]
    names += ["masked-pairs", "replaced", "hybrid", "denoise", "several", "crf", "embed", "embed-scores", "listwise"]
    names += [
        "seq2seq",
        "dpo",
        "kto",
        "reward",
        "moe",
        "beside",
        "distil",
        "distil-states",
        "classify by freeze",
        "gpt2 by unfreeze",
    ]
    names += ["chat by dora", "chat by prompt", "classify by prefix"]
    names += ["classify-r-drop", "multilabel-mixup", "few-shot"]
    for name, gap in ranks_apart(names, tmp_path).items():
        assert gap < 1e-12, name


@pytest.mark.parametrize(("kind", "objective"), [("qwen3", "causal"), ("gpt2", "causal"), ("bert", "masked")])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_documents_give_the_loss_and_gradient_they_give_alone(kind: str, objective: str, attention: str) -> None:
    model, scorer = tiny(kind, attention=attention), OBJECTIVE(objective)
    model.eval()
    length = 13 if objective == "causal" else 12
    (row,) = packed_rows(1, length, seed=8)
    if objective == "masked":
        row = scorer.prepare(row, VOCABULARY, np.random.default_rng(0))
    # transformers' eager Qwen3 attention takes its softmax in float32, whatever the weights are.
    bar = 1e-6 if (kind, attention) == ("qwen3", "eager") else 1e-10
    together = scorer.sums(model, scorer.collate([row], VOCABULARY))["loss"]
    together.backward()
    packed = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    alone = torch.zeros((), dtype=torch.float64)
    for k in sorted(set(row["segments"].tolist()) - {-1}):
        piece = {n: v[row["segments"] == k] for n, v in row.items()}
        if objective == "causal" and len(piece["ids"]) < 2:
            continue
        alone = alone + scorer.sums(model, scorer.collate([piece], VOCABULARY))["loss"]
    alone.backward()
    assert abs(together.item() - alone.item()) < bar
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and name in packed:
            assert torch.allclose(packed[name], parameter.grad, rtol=bar, atol=bar), name


def test_a_documents_first_token_is_no_target_and_its_end_is() -> None:
    segments = np.array([0, 0, 0, 1, 1, -1])
    batch = OBJECTIVE("causal").collate([{"ids": np.array([5, 6, 3, 7, 3, 0]), "segments": segments}], VOCABULARY)
    assert batch["labels"].tolist() == [[6, 3, IGNORE, 3, IGNORE]]
    assert batch["positions"].tolist() == [[0, 1, 2, 0, 1]]


def test_masking_hides_80_keeps_10_replaces_10_percent_of_the_15_percent_it_chose() -> None:
    masked, rng = OBJECTIVE("masked"), np.random.default_rng(0)
    chosen = hidden = kept = swapped = 0
    ids = rng.integers(4, 40, 200)
    for i in range(200):
        row = masked.prepare({"ids": ids, "segments": np.zeros(200, int)}, VOCABULARY, np.random.default_rng([i]))
        at = row["labels"] != IGNORE
        assert (row["labels"][at] == ids[at]).all()
        assert (row["ids"][~at] == ids[~at]).all()
        chosen += at.sum()
        hidden += (row["ids"][at] == VOCABULARY.mask).sum()
        kept += (row["ids"][at] == ids[at]).sum()
    swapped = chosen - hidden - kept
    assert chosen == 200 * 30
    assert abs(hidden / chosen - 0.8) < 0.02
    # A random token is the same as before in 1 of 36 cases.
    assert abs(kept / chosen - 0.1 - 0.1 / 36) < 0.015
    assert abs(swapped / chosen - 0.1) < 0.015


@pytest.mark.parametrize("attention", ["eager", "pretune-blocks"])
def test_a_hybrid_without_masked_rows_is_causal(attention: str) -> None:
    found = {}
    for kind in ("causal", {"kind": "hybrid", "share_masked": 0.0}):
        model, objective = tiny("qwen3", attention=register_attention() and attention), OBJECTIVE(kind)
        rows = [objective.prepare(row, VOCABULARY, np.random.default_rng(0)) for row in packed_rows(4, 13)]
        term = objective.tells_bits or ""
        loss = objective.sums(model, objective.collate(rows, VOCABULARY))[term]
        loss.backward()
        found[term] = {"loss": loss.detach(), **{n: p.grad for n, p in model.named_parameters()}}
    assert largest_difference(*found.values()) < 1e-12


def test_our_attention_hides_nothing_of_a_masked_row_in_a_causal_model(length: int = 300) -> None:
    objective = OBJECTIVE("masked-next")
    rows = [{"ids": np.random.default_rng(1).integers(4, 40, length), "segments": np.arange(length) // 160}]
    rows = [objective.prepare(row, VOCABULARY, np.random.default_rng(0)) for row in rows]
    losses = [
        objective.sums(tiny("qwen3", attention=kind), objective.collate(rows, VOCABULARY))["loss"].item()
        for kind in ("sdpa", register_attention())
    ]
    assert abs(losses[0] - losses[1]) < 1e-9


def test_masks_do_not_depend_on_the_cut() -> None:
    from pretune.train.loop.stream import MicroBatches, RowStream

    rows, masked = packed_rows(8, 12), OBJECTIVE("masked")
    labels = []
    for micro in (1, 8):
        cut = MicroBatches(RowStream(rows, 8, seed=1), masked, VOCABULARY, 9, micro)
        labels.append(torch.cat([b["labels"] for b in cut.batches(4)]))
    assert torch.equal(*labels)


def test_one_token_predicts_the_next_after_overfitting_a_b_c_d() -> None:
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState
    from pretune.train.loop.steps import steps
    from pretune.train.loop.stream import MicroBatches, RowStream
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    model, objective = tiny("qwen3"), OBJECTIVE("causal")
    row = {"ids": np.array([10, 11, 12, 13, 3]), "segments": np.zeros(5, int)}
    state = TrainState(model, Scored(model, objective), Update(model, OPTIM("muon")), total=200)
    cut = MicroBatches(RowStream([row], 1, seed=0), objective, VOCABULARY, 0, 1)
    last = [report.loss["loss"] for report in steps(state, objective, cut, Runtime(), until=200)][-1]
    logits = model.eval()(torch.tensor([[10, 11, 12, 13]])).logits
    assert logits.argmax(-1).tolist() == [[11, 12, 13, 3]]
    assert last < 0.05


def test_the_gradient_of_two_terms_uses_two_denominators() -> None:
    """By hand: one weight w, losses a = 2w (4 targets) and b = 3w (3 targets): d/dw (a/4 + b/3) = 1.5."""
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    class Two(Objective):
        weights = {"a": 1.0, "b": 1.0}

        def counts(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
            return {"a": float(batch["a"]), "b": float(batch["b"])}

        def sums(
            self, model: torch.nn.Module, batch: dict[str, torch.Tensor], step_wide: Any = None
        ) -> dict[str, torch.Tensor]:
            w = model.weight.sum()
            return {"a": w * (2.0 if batch["a"] else 0.0), "b": w * (3.0 if batch["b"] else 0.0)}

    model = torch.nn.Linear(1, 1, bias=False)
    state = TrainState(model, Scored(model, Two()), Update(model, OPTIM("adamw")), total=1)
    parts = [{"a": torch.tensor(4), "b": torch.tensor(0)}, {"a": torch.tensor(0), "b": torch.tensor(3)}]
    assert take_step(state, Two(), parts, Runtime()).gradient_norm == pytest.approx(1.5)

    class Misspelt(Two):
        weights = {"a": 1.0, "bb": 1.0}

        def counts(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
            return {"a": 4.0, "bb": 3.0}

    state = TrainState(model, Scored(model, Misspelt()), Update(model, OPTIM("adamw")), total=1)
    with pytest.raises(AssertionError, match="a term that is weighed must be told"):
        take_step(state, Misspelt(), parts, Runtime())


def test_a_step_that_is_not_finite_never_reaches_the_weights() -> None:
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    class Poisoned(Objective):
        def sums(
            self, model: torch.nn.Module, batch: dict[str, torch.Tensor], step_wide: Any = None
        ) -> dict[str, torch.Tensor]:
            return {"loss": model.weight.sum() * batch["factor"]}

    model = torch.nn.Linear(2, 2, bias=False)
    before = model.weight.detach().clone()
    state = TrainState(model, Scored(model, Poisoned()), Update(model, OPTIM("adamw")), total=9)
    bad = {"labels": torch.zeros(1), "factor": torch.tensor(float("nan"))}
    good = {"labels": torch.zeros(1), "factor": torch.tensor(1.0)}
    for _ in range(2):
        assert not take_step(state, Poisoned(), [bad], Runtime()).taken
    assert torch.equal(model.weight, before)
    assert (state.step, state.updates) == (2, 0)
    assert take_step(state, Poisoned(), [good], Runtime()).taken
    moved = model.weight.detach().clone()
    assert not torch.equal(moved, before)
    assert take_step(state, Poisoned(), [bad], Runtime()).refused == (
        "the loss 'loss' is nan, the gradient norm is nan, first in the gradient of weight"
    )
    assert torch.equal(model.weight, moved)


def test_every_card_is_json_without_nan(tmp_path: Path) -> None:
    from pretune.base.artifact import Card

    with pytest.raises(ValueError, match="JSON compliant"):
        Card("model", "k", "i", "s", metrics={"x": float("nan")}).to_json()
    assert json.loads(Card("model", "k", "i", "s").to_json())["kind"] == "model"


def test_a_label_that_weighs_three_moves_the_weights_like_its_rows_three_times() -> None:
    """And the loss of a step is the weighted mean that torch gives of the whole batch."""
    model, rows = case("classify")[0].eval(), case("classify")[2]
    weighted = Labels(kind="labels", class_weights=(1.0, 2.0, 3.0))
    batch = weighted.collate(rows, VOCABULARY)
    mean = weighted.sums(model, batch)["loss"] / weighted.counts(batch)["loss"]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(mean, torch.nn.functional.cross_entropy(logits, batch["labels"], weight=weights))
    plain = Labels(kind="labels")
    again = plain.collate([row for row in rows for _ in range(row["label"] + 1)], VOCABULARY)
    torch.testing.assert_close(mean, plain.sums(model, again)["loss"] / plain.counts(again)["loss"])


class InBatch(Objective):
    """Rows as pairs of vectors, each row's second one told from those of all rows (InfoNCE)."""

    head: ClassVar[Any] = "vector"
    gathers: ClassVar[bool] = True

    def counts(self, batch: Any) -> dict[str, float]:
        return {"loss": float(len(batch["first"]))}

    def gather(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        return {name: model(batch[name]) for name in ("first", "second")}

    def sums(self, model: Any, batch: Any, step_wide: Any = None) -> dict[str, torch.Tensor]:
        """The value is that of these rows; the gradient that of all, of which these rows' vectors are a part."""
        start, number = step_wide.first, len(batch["first"])
        both = []
        for name in ("first", "second"):
            whole = step_wide.tensors[name].clone()
            whole[start : start + number] = model(batch[name])
            both.append(whole)
        losses = torch.nn.functional.cross_entropy(both[0] @ both[1].T, torch.arange(len(both[0])), reduction="none")
        mine, total = losses[start : start + number].sum(), losses.sum()
        return {"loss": mine.detach() + total - total.detach()}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_an_objective_whose_rows_depend_on_each_other_is_the_same_however_a_step_is_cut(dropout: float) -> None:
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    drawn = torch.Generator().manual_seed(3)
    first, second = (torch.randn(8, 5, generator=drawn, dtype=torch.float64) for _ in range(2))

    def stepped(micro: int) -> tuple[float, torch.Tensor]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 4).double(), torch.nn.Dropout(dropout))
        objective = InBatch()
        state = TrainState(model, Scored(model, objective), Update(model, OPTIM("adamw")), total=1)
        parts = [{"first": first[i : i + micro], "second": second[i : i + micro]} for i in range(0, 8, micro)]
        report = take_step(state, objective, parts, Runtime())
        return report.loss["loss"], model[0].weight.detach()

    # With dropout a cut draws other numbers; but the second pass must draw those of the first.
    if dropout:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 4).double(), torch.nn.Dropout(dropout))
        torch.manual_seed(1)
        both = model(first[:8]), model(second[:8])
        expected = torch.nn.functional.cross_entropy(both[0] @ both[1].T, torch.arange(8)).item()
        torch.manual_seed(0)
        again = torch.nn.Sequential(torch.nn.Linear(5, 4).double(), torch.nn.Dropout(dropout))
        state = TrainState(again, Scored(again, InBatch()), Update(again, OPTIM("adamw")), total=1)
        torch.manual_seed(1)
        assert take_step(state, InBatch(), [{"first": first, "second": second}], Runtime()).loss[
            "loss"
        ] == pytest.approx(expected, rel=1e-12)
        return
    (whole, weights), (cut, moved) = stepped(8), stepped(2)
    assert cut == pytest.approx(whole, rel=1e-12)
    assert torch.allclose(weights, moved, rtol=1e-12, atol=1e-12)


def test_the_loss_of_a_validation_is_reported_term_by_term() -> None:
    """By hand: a = 6 over 4 targets, b = 5 over 2; 1.5 + 0.5 * 2.5 = 2.75."""
    from pretune.train.watch.validate import Loss

    loss = Loss({"a": 6.0, "b": 5.0}, {"a": 4.0, "b": 2.0}, {"a": 1.0, "b": 0.5})
    assert loss.terms == {"a": 1.5, "b": 2.5}
    assert loss.per_target == 2.75


class Routed(Family):
    """A GPT-2 whose body adds the squared length of its hidden states to the loss."""

    def states(self, model: Any, inputs: Any, at: torch.Tensor | None = None) -> States:
        hidden_BLD = model.transformer(**inputs, use_cache=False).last_hidden_state
        size = hidden_BLD.square().sum()
        hidden_ND = hidden_BLD.flatten(0, 1)
        return States(hidden_ND if at is None else hidden_ND[at], model.lm_head, extra={"size": size})

    def extras(self, model: Any) -> Mapping[str, float]:
        return {"size": 0.01}


ROUTED = Routed()


def test_a_term_that_the_body_adds_has_a_count_of_its_own_and_the_cut_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pretune.train.loop.step.family_of", lambda model: ROUTED)
    monkeypatch.setattr("pretune.objective.packed.family_of", lambda model: ROUTED)
    found = [trained("gpt2", micro=micro, batch=8, steps=2) for micro in (8, 1)]
    monkeypatch.undo()
    trained_without = trained("gpt2", micro=8, batch=8, steps=2)
    assert largest_difference(*found) < 1e-12
    assert largest_difference(found[0], trained_without) > 1e-9, "the term must do something"
