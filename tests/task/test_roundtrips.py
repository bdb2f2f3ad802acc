"""Each task and each method once of `python -m pretune.testing`: the same answers from everywhere a model goes."""

from __future__ import annotations

import pytest

from pretune.testing.roundtrips import NEAR, WORLDS, Made, alike, elsewhere, made

USUAL = ("full", "head", "lora")
SOME = [(task, world.bases[k % 2], USUAL[2 * k % 3]) for k, (task, world) in enumerate(WORLDS.items())]
"""Every task once, every base and the usual methods several times."""
HEADLESS = ("chat", "seq2seq", "embed")
"""Tasks without a new head: method=head is refused."""
OWN = ("freeze", "unfreeze", "bitfit", "layernorm")
SOME += [(task, WORLDS[task].bases[k % 2], OWN[k]) for k, task in enumerate([*WORLDS][: len(OWN)])]
SOME += [("chat", "gpt2-chat", "prefix"), ("tag", "bert-labels", "prompt"), ("classify", "qwen3", "p-tuning")]
SOME += [("tag", "qwen3", "bottleneck")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Made]:
    folder = tmp_path_factory.mktemp("roundtrips")
    return {cell: made(folder, *cell) for cell in SOME}


@pytest.mark.parametrize("cell", SOME, ids="-".join)
def test_folder_server_and_bundle_answer_alike(
    found: dict[tuple[str, str, str], Made], cell: tuple[str, str, str]
) -> None:
    one = found[cell]
    assert bool(one.refused) == (cell[0] in HEADLESS and cell[2] == "head"), one.refused
    if not one.refused:
        assert alike(one.answers["folder"], one.answers["server"])
        assert not one.unexported
        assert alike(one.answers["folder"], one.answers["bundle"], NEAR)


def test_one_new_process_answers_as_this_one_for_every_folder(found: dict[tuple[str, str, str], Made]) -> None:
    kept = {cell: one for cell, one in found.items() if not one.refused}
    again = elsewhere([(one.folder, WORLDS[cell[0]].asked) for cell, one in kept.items()])
    for (cell, one), answers in zip(kept.items(), again, strict=True):
        assert alike(one.answers["folder"], answers), cell
