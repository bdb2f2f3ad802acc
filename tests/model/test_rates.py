"""The usual learning rate of a method: by the width of the model, where all of it trains."""

import pytest

from pretune.model.methods.method import METHOD
from pretune.train.optim.settings import OPTIM


@pytest.mark.parametrize(
    ("method", "width", "rate"),
    [
        ("full", 2048, 5e-5),
        ("full", 768, 5e-5),
        ("full", 384, 1e-4),
        ("full", 32, 5e-4),  # not above what AdamW takes when all is new
        ("full", 0, 5e-5),  # not known
        ("head", 384, 1e-3),
        ("lora", 384, 5e-4),
    ],
)
def test_narrow_models_move_faster_where_all_weights_train(method: str, width: int, rate: float) -> None:
    assert METHOD(method).rate_for(OPTIM("adamw"), width) == pytest.approx(rate)


def test_other_optimizers_have_a_rate_of_their_own() -> None:
    assert METHOD("full").rate_for(OPTIM("muon"), 384) is None
