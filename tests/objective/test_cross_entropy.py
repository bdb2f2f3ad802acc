"""The chunked loss against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pretune.objective.cross_entropy import head_loss_sum
from pretune.tokens.rows import IGNORE


def case(dtype: torch.dtype, *, bias: bool = True) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(16, 50, bias=bias).to(dtype)
    hidden = torch.randn(37, 16, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, 50, (37,))
    labels[[0, 5, 36]] = IGNORE
    return head, hidden, labels


def gradients(loss: Tensor, head: nn.Linear, hidden: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss * 0.37, [hidden, *head.parameters()]))


@pytest.mark.parametrize("chunk", [1, 5, 37, 64])
@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_gradient_are_torchs_however_it_is_chunked(chunk: int, bias: bool) -> None:
    head, hidden, labels = case(torch.float64, bias=bias)
    theirs = F.cross_entropy(head(hidden), labels, ignore_index=IGNORE, reduction="sum")
    ours = head_loss_sum(head, hidden, labels, chunk=chunk)
    assert abs(float(theirs.detach() - ours.detach())) < 1e-12
    for a, b in zip(gradients(ours, head, hidden), gradients(theirs, head, hidden), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    head, hidden, labels = case(torch.float64)
    assert torch.autograd.gradcheck(lambda h: head_loss_sum(head, h, labels, chunk=8), (hidden,))


def test_bfloat16_sums_in_float32_and_keeps_the_gradient_of_float32_to_its_own_precision() -> None:
    head, hidden, labels = case(torch.bfloat16)
    wide_head = nn.Linear(16, 50).float()
    wide_head.load_state_dict(head.state_dict())
    wide = hidden.detach().float().requires_grad_()
    theirs = F.cross_entropy(wide_head(wide), labels, ignore_index=IGNORE, reduction="sum")
    ours = head_loss_sum(head, hidden, labels, chunk=5)
    assert ours.dtype == torch.float32
    assert abs(float(theirs.detach() - ours.detach())) < 1e-2 * float(theirs.detach())
    for a, b in zip(gradients(ours, head, hidden), gradients(theirs, wide_head, wide), strict=True):
        assert a.dtype == torch.bfloat16
        assert (a.float() - b).norm() < 1e-2 * b.norm()


def test_without_gradient_the_loss_is_the_same_and_a_row_of_ignored_targets_is_zero() -> None:
    head, hidden, labels = case(torch.float64)
    with torch.no_grad():
        alone = head_loss_sum(head, hidden, labels, chunk=5)
    assert torch.equal(alone, head_loss_sum(head, hidden, labels, chunk=5).detach())
    nothing = torch.full_like(labels, IGNORE)
    loss = head_loss_sum(head, hidden, nothing)
    assert float(loss.detach()) == 0.0
    assert all(not g.any() for g in gradients(loss, head, hidden))


class Seen(TorchDispatchMode):
    """Rows of the largest tensor of 50 columns, and the names of the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.names = 0, set[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        if isinstance(found, Tensor) and found.dim() == 2 and found.shape[1] == 50:
            self.rows = max(self.rows, found.shape[0])
        return found


def test_logits_of_one_chunk_are_in_memory_and_no_more() -> None:
    head, hidden, labels = nn.Linear(3, 50), torch.randn(37, 3), torch.zeros(37, dtype=torch.long)
    with Seen() as training:
        head_loss_sum(head, hidden, labels, chunk=4)
    with Seen() as evaluating, torch.no_grad():
        head_loss_sum(head, hidden, labels, chunk=4)
    assert training.rows == evaluating.rows == 4
    assert "aten.exp_.default" in training.names
    assert "aten.exp_.default" not in evaluating.names, "without a gradient none is made"
