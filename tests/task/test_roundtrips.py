"""Each task and each method once of `scripts/matrix`: the same answers from everywhere a model goes."""

from __future__ import annotations

import pytest

from tests.roundtrips import METHODS, NEAR, WITHOUT_BUNDLE, WORLDS, Made, alike, elsewhere, made

BY_TASK = [(task, world.bases[k % 2], METHODS[2 * k % 3]) for k, (task, world) in enumerate(WORLDS.items())]
BY_METHOD = [(task, WORLDS[task].bases[k % 2], METHODS[3 + k]) for k, task in enumerate([*WORLDS][: len(METHODS) - 3])]
SOME = [*BY_TASK, *BY_METHOD]
"""Every task and every method once, every base several times."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Made]:
    folder = tmp_path_factory.mktemp("roundtrips")
    return {cell: made(folder, *cell) for cell in SOME}


@pytest.mark.parametrize("cell", SOME, ids="-".join)
def test_folder_server_and_bundle_answer_alike(
    found: dict[tuple[str, str, str], Made], cell: tuple[str, str, str]
) -> None:
    one = found[cell]
    assert one.refused == "" or (cell[0] in ("chat", "seq2seq") and cell[2] == "head")
    if not one.refused:
        assert alike(one.answers["folder"], one.answers["server"])
        assert bool(one.unexported) == (cell[:2] in WITHOUT_BUNDLE), one.unexported
        assert one.unexported or alike(one.answers["folder"], one.answers["bundle"], NEAR)


def test_one_new_process_answers_as_this_one_for_every_folder(found: dict[tuple[str, str, str], Made]) -> None:
    kept = {cell: one for cell, one in found.items() if not one.refused}
    again = elsewhere([(one.folder, WORLDS[cell[0]].asked) for cell, one in kept.items()])
    for (cell, one), answers in zip(kept.items(), again, strict=True):
        assert alike(one.answers["folder"], answers), cell
