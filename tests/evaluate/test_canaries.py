"""Planted secrets: drawn with a seed, and their exposure by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pretune.base.errors import WrongValue
from pretune.evaluate.choices import Answered, Question
from pretune.evaluate.likelihood import Said
from pretune.text.canaries import main, planted, write


def test_each_canary_has_a_name_and_codes_of_its_own(tmp_path: Path) -> None:
    found = planted(30, others=99, seed=3)
    assert found == planted(30, others=99, seed=3) != planted(30, others=99, seed=4)
    assert len({before for before, _ in found}) == 30
    assert all(len(set(codes)) == 100 and all(len(code) == 11 for code in codes) for _, codes in found)
    write(tmp_path, found)
    texts, asked = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("planted", "canaries")
    )
    assert all(
        text["text"] == f"{one['query']} {one['choices'][one['gold']]}." for text, one in zip(texts, asked, strict=True)
    )


def test_more_canaries_than_names_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(planted(360, others=1)) == 360
    for wrong in ({"number": 361}, {"number": 0}, {"number": 1, "others": 10**9}, {"number": 1, "others": 0}):
        with pytest.raises(WrongValue, match=r"is \d+, outside 1 \.\.\. \d+"):
            planted(**wrong)
    monkeypatch.setattr("sys.argv", ["canaries", "--out", str(tmp_path / "out"), "--number", "400"])
    with pytest.raises(SystemExit) as told:
        main()
    assert told.value.code == 2 and "number is 400, outside 1 ... 360" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def answered(ranks: list[int], choices: int) -> Answered:
    """Questions whose right choice is the likeliest but `rank` - 1 others."""
    questions = [Question("q", tuple(map(str, range(choices)))) for _ in ranks]
    said = [Said(np.array([1.0 if k == 0 else 0.5 if k < rank else 2.0])) for rank in ranks for k in range(choices)]
    return Answered(questions, [((), (k,)) for _ in ranks for k in range(choices)], said)


def test_exposure_is_bits_of_the_rank() -> None:
    found = answered([1, 2, 100], 100).exposures()
    assert found is not None
    assert found.tolist() == pytest.approx([math.log2(100), math.log2(50), 0])
    assert answered([1, 2], 4).exposures() is None
    assert "exposure 4.10 bits on the average, of one 6.64" in " ".join(answered([1, 2, 100], 100).notes("codes", None))


def test_what_was_never_seen_has_one_and_a_half_bits_on_the_average() -> None:
    number = 1000
    mean = np.mean([math.log2(number / rank) for rank in range(1, number + 1)])
    assert mean == pytest.approx(1 / math.log(2), abs=0.02)
