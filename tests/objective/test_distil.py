"""Learning from a teacher: by hand, and at the points where the answer is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NotSupported, WrongValue
from pretune.model.families import States
from pretune.objective.blocks import block_map
from pretune.objective.cross_entropy import drawn_ids, logits_of
from pretune.objective.distil import Distil, Taught
from pretune.objective.divergence import apart, chances_apart, likeliest, some_chances
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.objective.own_words import in_own_words
from pretune.objective.packed import packed_states
from pretune.testing.worlds import VOCABULARY, case, largest_difference, packed_rows, tiny
from pretune.tokens.rows import IGNORE

OF = ("causal", "masked", "classify", "multilabel", "regress", "tag", "answer", "seq2seq", "listwise", "embed")


def taught(of: Objective, teacher: Any, **settings: Any) -> Distil:
    return Taught(kind="distil", teacher="t", **settings).around(of).hold(teacher)


def other(model: Any) -> Any:
    """A model that says something else."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def losses_and_gradients(model: Any, objective: Objective, rows: list[Any]) -> dict[str, torch.Tensor]:
    model.eval().zero_grad()
    terms = objective.sums(model, objective.collate(rows, VOCABULARY))
    sum(objective.weights[t] * loss for t, loss in terms.items()).backward()  # type: ignore[union-attr]
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return {**{t: loss.detach() for t, loss in terms.items()}, **grads}


@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(name: str, divergence: str) -> None:
    model, of, rows = case(name)
    objective = taught(of, case(name)[0].eval(), weight=1.0, divergence=divergence)
    rows = [objective.prepare(row, VOCABULARY, np.random.default_rng(0)) for row in rows]
    terms = objective.sums(model.eval(), objective.collate(rows, VOCABULARY))
    terms["distil"].backward()
    assert float(terms["distil"].detach()) == pytest.approx(0, abs=1e-12)
    grads = [float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None]
    assert grads
    assert max(grads) < 1e-12


@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("top_k", [None, 2])
def test_what_is_kept_of_a_teacher_teaches_as_the_teacher_does(name: str, top_k: int | None) -> None:
    model, of, rows = case(name)
    objective = taught(of, other(case(name)[0]), top_k=top_k)
    rows = [objective.prepare(row, VOCABULARY, np.random.default_rng(0)) for row in rows]
    asked = losses_and_gradients(model, objective, rows)
    told = objective.told_by_row(rows[:5], VOCABULARY), objective.told_by_row(rows[5:], VOCABULARY)
    kept = [{**row, **{n: np.asarray(t) for n, t in zip(told[0], parts, strict=True)}} for row, parts in zip(rows, [p for some in told for p in zip(*some.values(), strict=True)], strict=True)]  # fmt: skip
    assert largest_difference(asked, losses_and_gradients(model, objective.hold(None), kept)) < 1e-12
    assert float(asked["distil"]) > 1e-3


def test_of_all_outputs_the_likeliest_are_the_whole() -> None:
    now, then = torch.randn(2, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for reverse in (False, True):
        whole = apart(now, then, temperature=3.0, reverse=reverse)
        parts = []
        for k in (1, 4, 8, 9):
            chances, ids = likeliest(then, k, 3.0)
            parts.append(chances_apart(some_chances(now, ids, 3.0), chances, 3.0, reverse=reverse))
        assert torch.allclose(parts[-1], whole, rtol=1e-12), "k = V"
        assert torch.allclose(parts[-2], whole, rtol=1e-9), "of one output the sum is its chance"
        assert all(bool((less <= more + 1e-12).all()) for less, more in pairwise(parts)), "of fewer parts never more"


def test_reverse_is_forward_with_the_two_swapped() -> None:
    now, then = torch.randn(2, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for of in ("label", "labels"):
        assert torch.equal(apart(now, then, of=of, reverse=True), apart(then, now, of=of))


def test_the_temperature_leaves_the_gradient_its_size() -> None:
    """As T grows, T squared times the gradient is that of half the squared distance of the logits, each without its
    mean, over C (Hinton et al. 2015, equation 4)."""
    then = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    for heat in (1e2, 1e4):
        now = torch.tensor([[0.3, 1.0, -1.0, 0.7]], dtype=torch.float64, requires_grad=True)
        apart(now, then, temperature=heat).sum().backward()
        wanted = ((now - now.mean()) - (then - then.mean())).detach() / 4
        assert torch.allclose(now.grad, wanted, rtol=20 / heat)


def test_the_divergence_by_hand() -> None:
    then, now = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p, q = (torch.softmax(one / 4, -1) for one in (then, now))
    assert float(apart(now, then, temperature=4.0)) == pytest.approx(16 * float((p * (p / q).log()).sum()), rel=1e-6)
    assert float(apart(now, then, of="score")) == pytest.approx((2.0**2 + 1.0**2) / 2)


def test_a_loss_is_weighed_between_the_own_one_and_the_teachers() -> None:
    model, of, rows = case("classify")
    teacher = other(case("classify")[0])
    found = losses_and_gradients(model, taught(of, teacher, weight=0.3), rows)
    assert taught(of, teacher, weight=0.3).weights == {"hard": 0.7, "distil": 0.3}
    assert float(found["hard"]) == pytest.approx(float(losses_and_gradients(model, of, rows)["loss"]), rel=1e-12)


@torch.no_grad()
def test_states_and_attention_are_compared_block_by_block_by_hand() -> None:
    model, of, rows = case("classify")
    model.set_attn_implementation("eager")
    teacher = other(case("classify")[0])
    teacher.set_attn_implementation("eager")
    objective = taught(of, teacher, hidden=1.0, attention=2.0, layers=[1, 0])
    batch = objective.collate(rows, VOCABULARY)
    found = objective.sums(model.eval(), batch)
    read = {n: batch[n] for n in ("input_ids", "attention_mask")} | {"output_hidden_states": True, "output_attentions": True}  # fmt: skip
    mine, theirs, there = model(**read), teacher(**read), batch["attention_mask"]
    states = [(mine.hidden_states[k + 1] - theirs.hidden_states[2 - k]).square().mean(-1) for k in range(2)]
    looks = [(mine.attentions[k] - theirs.attentions[1 - k]).square().sum(-1).mean(1) for k in range(2)]
    assert float(found["hidden"]) == pytest.approx(float(sum((s * there).sum() for s in states)) / 2, rel=1e-12)
    assert float(found["attention"]) == pytest.approx(float(sum((s * there).sum() for s in looks)) / 2, rel=1e-12)
    assert objective.counts(batch)["hidden"] == float(there.sum())


@pytest.mark.parametrize(("mine", "theirs", "wanted"), [(3, 6, [1, 3, 5]), (4, 12, [2, 5, 8, 11]), (2, 2, [0, 1])])
def test_blocks_are_compared_evenly_spread_with_the_last_at_the_last(mine: int, theirs: int, wanted: list[int]) -> None:
    assert block_map(mine, theirs) == wanted


def test_a_teacher_with_fewer_blocks_or_blocks_that_are_not_there_is_refused() -> None:
    with pytest.raises(WrongValue, match="fewer"):
        block_map(3, 2)
    with pytest.raises(WrongValue, match="does not name one"):
        block_map(2, 4, [0, 4])


@pytest.mark.parametrize("name", ["crf", "dpo", "reward", "classify-r-drop", "multilabel-mixup", "masked-pairs", "replaced", "several"])  # fmt: skip
def test_what_is_not_one_loss_of_one_reading_cannot_be_taught(name: str) -> None:
    with pytest.raises(NotSupported, match="not one loss of one reading"):
        taught(case(name)[1], None)


@torch.no_grad()
def test_packed_documents_are_taught_as_they_are_alone() -> None:
    model, of = tiny("gpt2"), OBJECTIVE("causal")
    objective = taught(of, other(tiny("gpt2", seed=1)), hidden=1.0, attention=1.0)
    (row,) = packed_rows(1, 13, seed=8)
    together = objective.sums(model.eval(), objective.collate([row], VOCABULARY))
    pieces = [{n: v[row["segments"] == k] for n, v in row.items()} for k in sorted({*row["segments"].tolist()} - {-1})]
    alone = [objective.sums(model, objective.collate([one], VOCABULARY)) for one in pieces if len(one["ids"]) > 1]
    assert float(together["distil"]) == pytest.approx(float(sum(one["distil"] for one in alone)), rel=1e-10)
    assert float(together["distil"]) > 0.1


@torch.no_grad()
def test_padding_changes_nothing_of_what_is_taught() -> None:
    model, of, rows = case("classify")
    model.set_attn_implementation("eager")
    teacher = other(case("classify")[0])
    teacher.set_attn_implementation("eager")
    objective = taught(of, teacher, hidden=1.0, attention=1.0)
    together = objective.sums(model.eval(), objective.collate(rows, VOCABULARY))
    alone = [objective.sums(model, objective.collate([row], VOCABULARY)) for row in rows]
    for term in ("distil", "hidden", "attention"):
        assert float(together[term]) == pytest.approx(float(sum(one[term] for one in alone)), rel=1e-12)


def own_batch(share: float, **settings: Any) -> tuple[Any, Distil, dict[str, torch.Tensor]]:
    model, of, rows = case("chat")
    objective = taught(of, other(tiny("qwen3", seed=1)), on_policy=share, **settings)
    rows = [
        objective.prepare({**row, "progress": 0.5}, VOCABULARY, np.random.default_rng(k)) for k, row in enumerate(rows)
    ]
    return model.eval(), objective, objective.collate(rows, VOCABULARY)


@torch.no_grad()
def test_a_student_writes_what_its_numbers_draw_from_all_that_stands_before() -> None:
    """Read again as a whole, without a cache, each drawn token is the one in whose part its number falls."""
    model, _, batch = own_batch(1.0)
    found = in_own_words(model, batch, batch["draws"])
    states = packed_states(model, {n: t for n, t in found.items() if n != "at"}, causal=True)
    drawn = drawn_ids(States(torch.cat(list(logits_of(states)))), batch["draws"].flatten()).view_as(found["labels"])
    written = found["labels"] != IGNORE
    assert torch.equal(drawn[written], found["labels"][written])
    assert not torch.equal(found["labels"], batch["labels"]) and bool((batch["labels"] != IGNORE)[written].all())
    follows = written[:, :-1]
    assert torch.equal(found["input_ids"][:, 1:][follows], found["labels"][:, :-1][follows])


@torch.no_grad()
def test_a_reply_is_over_where_the_student_ends_it() -> None:
    model, _, batch = own_batch(1.0)
    ids = torch.tensor([[5, 6, 7, 8, 3, 9, 6, 8, 3]])
    labels = torch.tensor([[IGNORE, 7, 8, 9, 3, IGNORE, 8, 9, 3]])
    batch = {"input_ids": ids, "labels": labels, "segments": torch.zeros_like(ids), "positions": torch.arange(9)[None]}
    model.lm_head = torch.nn.Linear(32, 40).double()
    model.lm_head.weight.zero_(), model.lm_head.bias.fill_(-50.0)
    model.lm_head.bias[3] = 50.0  # it always ends
    found = in_own_words(model, batch, torch.full_like(ids, 0.5, dtype=torch.float64))
    assert found["labels"].tolist() == [[IGNORE, 3, IGNORE, IGNORE, IGNORE, IGNORE, 3, IGNORE, IGNORE]]


def test_rows_that_the_student_writes_have_no_hard_loss() -> None:
    _, objective, batch = own_batch(0.5)
    is_own = (batch["draws"] >= 0).any(1)
    assert 0 < int(is_own.sum()) < len(is_own)
    counts, asked = objective.counts(batch), batch["labels"] != IGNORE
    assert counts == {"hard": float(asked[~is_own].sum()), "distil": float(asked.sum())}
