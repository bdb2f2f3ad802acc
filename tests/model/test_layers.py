"""A shallower model is the deep one without some of its blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pretune.base.errors import WrongValue
from pretune.model.families import Head, family_of
from pretune.model.folder import load_with_new
from pretune.model.layers import taken_blocks, write_taken
from pretune.testing.folders import write_model

KINDS: dict[str, tuple[Head, str]] = {
    "bert-labels": ("label", "encoder.layer"),
    "qwen3": ("next", "layers"),
    "gpt2": ("next", "h"),
    "gemma3": ("next", "layers"),
    "t5": ("text", "block"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("take", [1, [0, 1]])
def test_what_is_left_says_what_the_model_says_without_the_other_blocks(
    tmp_path: Path, kind: str, take: int | list[int]
) -> None:
    head = KINDS[kind][0]
    source = write_model(tmp_path / "deep", tmp_path / "words", kind)
    write_taken(source, tmp_path / "shallow", take)
    deep, _ = load_with_new(source, head)
    shallow, new = load_with_new(tmp_path / "shallow", head)
    assert not new, "every weight is in the folder, heads too"
    for stack in family_of(deep).stacks(deep):
        for k, block in enumerate(stack):
            if k not in taken_blocks(take, 2):
                block.forward = lambda hidden, *a, is_tuple=kind == "t5", **b: (hidden, None, None) if is_tuple else hidden  # fmt: skip
    ids = torch.tensor([[5, 6, 7, 8]])
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if kind == "t5" else {"use_cache": False} if head == "next" else {})}  # fmt: skip
    with torch.no_grad():
        left, whole = (model.double().eval()(**inputs).logits for model in (shallow, deep))
    assert torch.allclose(left, whole, rtol=0, atol=1e-14), "not the same bits: AVX2 rounds by where a tensor lies"


@pytest.mark.parametrize(("take", "number", "wanted"), [(3, 6, [0, 2, 5]), (6, 6, list(range(6))), (1, 4, [0]), ([1, 3], 4, [1, 3])])  # fmt: skip
def test_blocks_are_taken_evenly_spread(take: int | list[int], number: int, wanted: list[int]) -> None:
    assert taken_blocks(take, number) == wanted


@pytest.mark.parametrize("take", [0, 7, [], [2, 1], [0, 6], [1, 1], [-1, 2]])
def test_blocks_that_are_not_there_are_refused(take: int | list[int]) -> None:
    with pytest.raises(WrongValue, match="take_layers="):
        taken_blocks(take, 6)
