"""What frozen blocks give is computed once for each row, and the updates are those of computing it each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.base.log import Log
from pretune.model.families import tops
from pretune.model.kept import Keeper, States, keys_of
from pretune.model.methods.method import METHOD
from pretune.model.methods.own import frozen_blocks
from pretune.objective.labels import Labels
from pretune.objective.objective import Objective
from pretune.testing.worlds import VOCABULARY, begun, case, labelled_rows, largest_difference, tiny_classifier
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.watch.validate import loss_over

LOG = Log(quiet=True)


def world(name: str) -> tuple[Any, Objective, list[Any]]:
    """A case of `worlds`, or rows with labels for a classifier of a kind."""
    if name in ("chat", "gpt2", "embed", "several", "tag", "listwise"):
        return case(name)
    return tiny_classifier(name), Labels(kind="labels"), labelled_rows(8)


RATES = {torch.float64: 1e-2, torch.float32: None}
"""As in python -m pretune.testing: in float32 Adam moves a weight whose gradient is rounding alone by a whole rate."""


def updated(name: str, method: Any, folder: Path | None, *, micro: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights after two steps of eight rows (two epochs), with kept outputs in a folder or without."""
    model, objective, rows = world(name)
    state = begun(model.to(dtype), objective, method, steps=2, rate=RATES[dtype])
    keeper = kept(state.model, objective, rows, folder) if folder else None
    state.train()
    cut = MicroBatches(RowStream(rows, 8, seed=5), objective, VOCABULARY, 5, micro, total=2)
    for step in range(2):
        take_step(state, objective, cut.batches(step), Runtime())
    if keeper:
        assert max(passed(model)) == 0, "no row goes through a frozen block again"
        keeper.close()
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def kept(model: Any, objective: Objective, rows: list[Any], folder: Path) -> Keeper:
    keeper = Keeper(model, frozen_blocks(model))
    width = next(p for p in keeper.body.parameters() if p.dim() > 1).shape[1]
    store = States(folder / "train.bin", keeper.dtype, width)
    with keeper.recording(store):
        loss_over(model, objective, sorted(rows, key=lambda row: len(row["ids"])), VOCABULARY, Runtime(), batch=3)
    store.seal(keeper.mark())
    keeper.stores.append(store)
    count_rows(keeper)
    return keeper


PASSED = "rows_passed"


def count_rows(keeper: Keeper) -> None:
    """From now on each frozen block counts how often its attention runs."""
    for block in keeper.blocks[: keeper.depth]:
        inner = next(m for n, m in block.named_children() if "att" in n)
        inner.passes = 0
        inner.register_forward_hook(lambda module, args, output: setattr(module, "passes", module.passes + 1))


def passed(model: Any) -> list[int]:
    return [m.passes for m in model.modules() if "passes" in vars(m)]


HEADED = ("bert", "modernbert", "electra", "qwen3", "llama", "chat", "gpt2", "several", "tag", "listwise")
HALF, ALL = "freeze", {"kind": "freeze", "blocks": 2}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("name", "method"), [*((name, HALF) for name in (*HEADED, "embed")), *((name, ALL) for name in HEADED)]
)
def test_kept_outputs_give_the_updates_of_computing_them_each_time(
    tmp_path: Path, name: str, method: Any, dtype: torch.dtype
) -> None:
    bar = 1e-12 if dtype == torch.float64 else 1e-5
    usual = updated(name, method, None, micro=8, dtype=dtype)
    for micro in (8, 1):
        (tmp_path / str(micro)).mkdir()
        found = updated(name, method, tmp_path / str(micro), micro=micro, dtype=dtype)
        assert largest_difference(usual, found) <= bar


def test_an_answer_and_a_row_that_is_not_kept_are_what_they_were_and_a_closed_model_is_as_before(
    tmp_path: Path,
) -> None:
    model, objective, rows = world("qwen3")
    METHOD("freeze").apply(model, heads=tops(model))
    model.eval()
    ids, new = torch.tensor([rows[2]["ids"]]), torch.tensor([rows[2]["ids"][::-1]])
    mask = torch.ones_like(ids)
    usual = [model(input_ids=one, attention_mask=mask).logits for one in (ids, new)]
    keeper = kept(model, objective, rows, tmp_path)
    found = [model(input_ids=one, attention_mask=mask).logits for one in (ids, new)]
    assert max(passed(model)) == 1, "only the row that is new"
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(usual, found, strict=True))
    cache = model.model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
    assert cache.layers[0].keys.shape[2] == ids.shape[1], "who asks for a cache gets that of all blocks"
    keeper.close()
    assert all("forward" not in vars(block) for block in keeper.blocks)


def test_a_file_is_used_again_for_the_same_model_only_and_only_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, objective, rows = world("bert")
    METHOD("freeze").apply(model, heads=tops(model))
    keeper = kept(model, objective, rows, tmp_path)
    store, mark = keeper.stores[0], keeper.mark()

    def again(mark: str) -> tuple[bool, States]:
        other = States(store.path, store.dtype, store.width)
        return other.found(mark, Log()), other

    there, other = again(mark)
    keys = list(store.places)
    assert there and other.places == store.places
    assert torch.equal(other.read(keys, 20), store.read(keys, 20))
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight.add_(1)
    assert keeper.mark() == mark, "what trains is not part of it"
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight[0, 0] += 1e-9
    assert keeper.mark() != mark and not again(keeper.mark())[0]
    for path in (store.manifest, store.path):
        raw = path.read_bytes()
        path.write_bytes(raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
        assert not again(mark)[0]
        assert "train.bin is damaged" in capsys.readouterr().err
        path.write_bytes(raw)
    assert again(mark)[0]


def test_a_row_has_one_key_however_it_is_padded_and_packed_rows_another_for_other_documents() -> None:
    ids, mask = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    (one,) = keys_of(ids, mask, None, None)
    assert one == keys_of(ids[:, :3], mask[:, :3], torch.zeros_like(ids[:, :3]), None)[0] and one[1] == 3
    assert one != keys_of(ids, mask, torch.tensor([[0, 0, 1, 1, 1]]), None)[0]
    packed = [keys_of(ids, None, None, torch.tensor([places]))[0] for places in ([0, 1, 2, 0, 1], [0, 1, 0, 1, 2])]
    assert packed[0] != packed[1]
    assert keys_of(ids, None, None, None) == [], "nothing says where its documents are"
