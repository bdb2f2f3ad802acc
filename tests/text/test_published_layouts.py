"""The files of CLUE and GLUE as they are published, in small: columns found, quotes kept, dev taken as the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand
from pretune.base.log import Log
from pretune.text.dataset.example import Labelled, ScoredText
from pretune.text.dataset.reading import Found, Wanted, read_all

JSON = {
    "tnews": '{"label": "108", "label_desc": "news_edu", "sentence": "老师把手机摔了", "keywords": ""}\n',
    "iflytek": '{"label": "11", "label_des": "薅羊毛", "sentence": "享受千元福利"}\n',
    "afqmc": '{"sentence1": "花呗提额在哪", "sentence2": "里可以提额度", "label": "0"}\n',
}
TABS = {
    "cola": 'gj04\t1\t\tFriends "win.\ngj04\t0\t*\tWin friends.\n',
    "mrpc": 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said "no.\tNo, he said.\n0\t9\t10\tOne.\tTwo.\n',
    "rte": "index\tsentence1\tsentence2\tlabel\n0\tA man.\tA person.\tentailment\n1\tA cat.\tA dog.\tnot_entailment\n",
    "sts": "A plane.,A plane.,5.0\nA man.,A dog.,1.5\n",
}
COLUMNS = {"mrpc": {"text": "#1 String", "second": "#2 String", "label": "Quality"}}
NAMES = {"cola": ("book", "label", "mark", "sentence"), "sts": ("sentence1", "sentence2", "score")}


def read(folder: Path, text: str, ending: str, *, as_split: dict[str, str], **more: Any) -> Found:
    for name in ("train", "dev"):
        (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    wanted = Wanted("auto", more.get("columns", {}), 0, as_split=as_split, names=more.get("names", ()))
    return read_all({"0": Artifact.open(folder)}, wanted, scratch=folder / "scratch", log=Log(quiet=True))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("tnews", Labelled("老师把手机摔了", "108", "dev.json#0")),
        ("iflytek", Labelled("享受千元福利", "11", "dev.json#0")),
        ("afqmc", Labelled("花呗提额在哪", "0", "dev.json#0", "里可以提额度")),
        ("cola", Labelled('Friends "win.', "1", "dev.tsv#0")),
        ("mrpc", Labelled('He said "no.', "1", "dev.tsv#0", "No, he said.")),
        ("rte", Labelled("A man.", "entailment", "dev.tsv#0", "A person.")),
        ("sts", ScoredText("A plane.", 5.0, "dev.csv#0", "A plane.")),
    ],
)
def test_a_published_file_is_read_and_dev_is_the_test(tmp_path: Path, name: str, wanted: Any) -> None:
    ending = "json" if name in JSON else "csv" if name == "sts" else "tsv"
    text = {**JSON, **TABS}[name]
    more = {"columns": COLUMNS.get(name, {}), "names": NAMES.get(name, ())}
    found = read(tmp_path, text, ending, as_split={f"dev.{ending}": "test"}, **more)
    assert found.splits["test"][0] == wanted and not found.splits["validation"]
    assert len(found.splits["test"]) == len(found.splits["train"]) == (1 if name in JSON else 2)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCommand, match=r"as_split names dve.json") as error:
        read(tmp_path, JSON["tnews"], "json", as_split={"dve.json": "test"})
    assert "dev.json" in (error.value.hint or "")
