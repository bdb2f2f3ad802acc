"""The short mode of the fault lab, in this process: operations that fail, damage, what is no number."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest
import torch

from pretune.base.errors import DiskFull, NotSaved, PretuneError
from pretune.base.log import Log
from pretune.train.loop import checkpoint
from pretune.train.loop.saving import Saver
from pretune.train.settings import Keep
from tests.faults import damage, operations, spoilt
from tests.faults.small import finished, session
from tests.train.test_checkpoint import state, step

QUIET = Log(quiet=True, silent=True)


def disturbed(
    folder: Path, number: int, fault: int
) -> tuple[operations.Counted, Exception | None, list[dict[str, torch.Tensor]]]:
    """Three steps with a save each, the second of which is disturbed; the masters after each step."""
    one, counted, masters = state(), operations.Counted(number, operations.failing(fault), folder / "note"), []
    with pytest.MonkeyPatch.context() as patch:
        for module, name, instead in list(counted.patches()):
            patch.setattr(module, name, instead)
        try:
            with Saver(folder / "checkpoints", Keep(last=1), QUIET) as saver:
                for _ in range(3):
                    step(one)
                    masters.append({name: tensor.clone() for name, tensor in one.update.masters.items()})
                    saver.save(checkpoint.snapshot(one))
        except PretuneError as error:
            return counted, error, masters
    return counted, None, masters


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, errno.EPERM])
def test_whichever_operation_of_a_save_fails_the_next_start_goes_on_from_a_good_checkpoint(
    tmp_path: Path, fault: int
) -> None:
    number = disturbed(tmp_path / "0", 0, fault)[0].count
    assert number > 20
    for n in range(1, number + 1):
        _, error, masters = disturbed(tmp_path / str(n), n, fault)
        assert not isinstance(error, NotSaved if fault == errno.ENOSPC else DiskFull), n
        again = state(seed=1)
        assert checkpoint.resume(again, tmp_path / str(n) / "checkpoints", QUIET), n
        assert again.step in ((1, 2) if error else (3,)), n
        for name, tensor in again.update.masters.items():
            assert torch.equal(tensor, masters[again.step - 1][name]), n


def test_every_damage_to_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    finished(session(tmp_path, steps=8))
    places, random = damage.targets(tmp_path), Random(5)
    assert len(places) == 2
    for i in range(60):
        target = random.choice(places)
        with damage.damaged(target, damage.KINDS[i % 4], random) as told:
            assert damage.noticed(target), told
    assert [damage.noticed(place) for place in places] == [None, None], "mended, all is well"


@pytest.mark.parametrize("place", spoilt.PLACES)
def test_what_is_no_number_never_reaches_the_weights(tmp_path: Path, place: str) -> None:
    right, told = spoilt.survives(tmp_path, place, 1)
    assert right, told
