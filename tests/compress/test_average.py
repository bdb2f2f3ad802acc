"""Several models of one start become one: what their weights sum to, by hand, and as PEFT joins adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from pretune.base.errors import SettingsError, WrongValue
from pretune.compress.average import Average
from pretune.compress.compressor import Work
from pretune.model.folder import load_model, save_model
from pretune.model.generate import module_of, open_folder
from pretune.model.methods.by_peft import quiet_peft
from pretune.model.methods.method import METHOD
from pretune.testing.folders import build


@pytest.fixture
def base(model_folder: Callable[..., Path]) -> Path:
    return model_folder("qwen3")


def adapter(out: Path, base: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    lora = METHOD({"kind": "lora", "rank": 2, "alpha": 4.0})
    trained = lora.apply(load_model(base, "next"), heads=())
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) if parameter.requires_grad else 0)
    out.mkdir()
    lora.save(trained, out, base=base.as_posix(), tokenizer=base, weights={})
    return out


def averaged(first: Path, others: list[Path], shares: list[float] | None) -> Any:
    model: Any = module_of(open_folder(first))
    method = Average(others=[one.as_posix() for one in others], shares=shares)
    method.compress(Work(model, source=first, others=others))
    return model


def test_adapters_sum_on_their_base_as_peft_joins_them(base: Path, tmp_path: Path) -> None:
    one, two = (adapter(tmp_path / name, base, seed) for seed, name in enumerate("ab"))
    ours = averaged(one, [two], [0.7, 0.6])
    with quiet_peft():
        theirs: Any = PeftModel.from_pretrained(load_model(base, "next"), str(one), adapter_name="one")
        theirs.load_adapter(str(two), adapter_name="two")
    theirs.add_weighted_adapter(["one", "two"], [0.7, 0.6], "both", combination_type="cat")
    theirs.set_adapter("both")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        difference = (ours(ids).logits - theirs.merge_and_unload()(ids).logits).abs().max()
    assert difference < 1e-5


def test_a_soup_is_the_mean_of_each_weight_and_one_share_is_that_model(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = load_model(base, "next")
    for parameter in other.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    (tmp_path / "other").mkdir()
    save_model(other, tmp_path / "other", tokenizer=base)
    first = load_model(base, "next").state_dict()
    for shares, (a, b) in {None: (0.5, 0.5), (1.0, 0.0): (1, 0), (0.25, 0.75): (0.25, 0.75)}.items():
        found = averaged(base, [tmp_path / "other"], list(shares) if shares else None).state_dict()
        for name, tensor in other.state_dict().items():
            assert torch.equal(found[name], (a * first[name].double() + b * tensor.double()).float()), name


def test_what_has_no_common_start_is_refused(base: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    small = build("qwen3")
    small.model.layers = small.model.layers[:1]
    small.config.num_hidden_layers = 1
    small.config.layer_types = small.config.layer_types[:1]
    (tmp_path / "small").mkdir()
    save_model(small, tmp_path / "small", tokenizer=base)
    with pytest.raises(WrongValue, match="small has other weights or labels"):
        averaged(base, [tmp_path / "small"], None)
    with pytest.raises(WrongValue, match="is no adapter whose base could have the rest"):
        averaged(base, [base], [0.5, 0.2])
    with pytest.raises(SettingsError, match="shares has 1 numbers for 2 models"):
        run(
            soup={
                "kind": "compress",
                "model": str(base),
                "method": {"kind": "average", "others": [str(base)], "shares": [1]},
            }
        )


def test_the_stage_writes_a_folder_like_any_other(base: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    there = adapter(tmp_path / "there", base, 3)
    method = {"kind": "average", "others": [str(there)], "shares": [0.5, 0.5]}
    made = run(soup={"kind": "compress", "model": str(base), "method": method})["soup"]
    assert made.card.metrics["models"] == 2 and set(made.card.inputs) == {"model", "method.others.0"}
    half, whole = (module_of(open_folder(path)).state_dict() for path in (made.path, there))
    start = load_model(base, "next").state_dict()
    for name in start:
        assert torch.allclose(half[name], (start[name] + whole[name]) / 2, atol=1e-6), name
