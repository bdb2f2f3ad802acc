"""8-bit products against exact ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.train.optim.float8 import use_float8
from pretune.train.run.settle import settled_precision


def test_8_bit_layers_give_the_products_and_gradients_of_exact_ones_to_the_precision_of_8_bits() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 48), nn.Linear(48, 30)).bfloat16()
    x = torch.randn(3, 32, 64).bfloat16()
    exact = net(x).float()
    theirs = torch.autograd.grad(net(x).float().square().sum(), list(net.parameters()))
    assert use_float8([net]) == 1, "30 is not divisible by 16: that layer stays"
    names = list(net.state_dict())
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert 0 < (net(x).float() - exact).norm() < 0.06 * exact.norm()
    ours = torch.autograd.grad(net(x).float().square().sum(), list(net.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).float().norm() < 0.1 * b.float().norm()


def test_float8_is_refused_where_the_card_does_not_have_it() -> None:
    with pytest.raises(NotSupported, match=r"(?s)float8 .*hint: precision=auto"):
        settled_precision("float8", torch.device("cpu"), Log(quiet=True))
