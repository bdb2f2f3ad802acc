"""The mixture: arithmetic by hand, the limits, and what stands in the corpus in the end."""

import json
import random
from collections import Counter

import numpy as np
import pytest

from pretune.base.errors import SettingsError
from pretune.report.view import mixture_text
from pretune.text.corpus.mixing import Mixture, copies, hashed, ranks
from pretune.text.read.shards import read_rows
from tests.text.dedup_worlds import chinese, english


def test_a_share_is_drawn_by_a_hash_and_a_larger_share_contains_a_smaller():
    ids = [f"document {k}" for k in range(4000)]
    group, size, places = [("a", "en")] * 4000, np.full(4000, 10), hashed(ids, b"key")
    some, more, most = (copies(Mixture(bytes=40_000 * share), group, size, places) for share in (0.3, 0.6, 2.25))
    assert set(some) == {0, 1} and set(most) == {2, 3}
    assert (some.sum(), more.sum(), most.sum()) == (1200, 2400, 9000)
    assert abs(some[:2000].sum() - 600) < 4 * (1000 * 0.3 * 0.7) ** 0.5  # from all over
    assert (some <= more).all()
    backwards = copies(Mixture(bytes=12_000), group, size, hashed(ids[::-1], b"key"))
    assert (backwards[::-1] == some).all()


def test_few_large_documents_come_as_near_to_the_share_as_one_of_them_is_large():
    rng = np.random.default_rng(0)
    group, size = [("a", "en")] * 12 + [("b", "zh")] * 9, rng.integers(100, 1000, 21)
    often = copies(Mixture(weights={"a": 2, "b": 1}), group, size, rng.random(21))
    for mine, share in ((slice(0, 12), 2 / 3), (slice(12, 21), 1 / 3)):
        assert abs((often * size)[mine].sum() - share * size.sum()) <= size[mine].max() / 2


def test_orders():
    placed, often = hashed(["a", "b", "c", "d"], b"key"), np.array([1, 2, 0, 1])
    column = np.array([5, 3, 9, 5])
    assert ranks("", None, placed, often).tolist() == [0, 1, 3, 2]  # a b b' d: the second b comes last
    assert ranks("x", column, placed, often).tolist() == [2, 0, 1, 3]  # 3 3 5 5, equal ones as read
    assert ranks("-x", column, placed, often).tolist() == [0, 2, 3, 1]
    assert sorted(ranks("shuffled", None, placed, often).tolist()) == [0, 1, 2, 3]
    names = np.array(["b", "a", "c", "b"])
    assert ranks("x", names, placed, often).tolist() == [2, 0, 1, 3]


def test_a_tree_with_names_of_any_script_aligns():
    facts = {"documents": 2, "bytes": 300, "bytes_there": 100}
    groups = [
        {"source": "日志", "language": "zh", **facts},
        {"source": "docs", "language": "", "documents": 1, "bytes": 100, "bytes_there": 400},
    ]
    assert mixture_text(groups).split("\n") == [
        "             documents      bytes   share   taken",
        "all                  3  400 bytes   100 %  x 0.80",
        "  日志               2  300 bytes  75.0 %  x 3.00",
        "    zh               2  300 bytes  75.0 %  x 3.00",
        "  docs               1  100 bytes  25.0 %  x 0.25",
        "    unknown          1  100 bytes  25.0 %  x 0.25",
    ]


# ---- in the stage -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    rng, folder = random.Random(0), tmp_path_factory.mktemp("mixture")
    made = {"logs": [english(rng, 60) for _ in range(60)], "wiki": [chinese(rng, 200) for _ in range(20)]}
    for name, texts in made.items():
        lines = "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return {name: str(folder / f"{name}.jsonl") for name in made}


def test_a_corpus_is_written_in_the_mixture_that_was_asked_for(read, run_stage):
    given = {"weights": {"logs": 1, "wiki": 3}, "max_repeats": 3, "order": "-characters"}
    artifact = run_stage("corpus", read=read, validation=0.05, test=0.05, mixture=given)
    rows = {split: list(read_rows(artifact.path, split)) for split in ("train", "validation", "test", "dropped")}
    size = Counter[str]()
    for row in rows["train"]:
        size[row["source"]] += row["bytes"]
    assert size["wiki"] / size.total() == pytest.approx(0.75, abs=0.01)
    assert len({row["id"] for row in rows["train"]}) == len(rows["train"])
    assert max(Counter(row["text"] for row in rows["train"]).values()) <= 3
    lengths = [row["characters"] for row in rows["train"]]
    assert lengths == sorted(lengths, reverse=True)
    for split in ("validation", "test"):
        assert max(Counter(row["text"] for row in rows[split]).values()) == 1
    assert {row["reason"] for row in rows["dropped"]} == {"mixture"} and {r["source"] for r in rows["dropped"]} == {
        "logs"
    }
    facts = artifact.card.metrics
    assert {g["source"]: g["bytes"] for g in facts["mixture"]} == dict(size)
    assert facts["documents"] == sum(len(rows[split]) for split in ("train", "validation", "test"))


def test_an_order_that_does_not_fit_into_memory_is_the_same(read, run_stage, monkeypatch):
    settings = {"read": read, "mixture": {"order": "shuffled", "bytes": 90_000}}
    whole = run_stage("corpus", **settings)
    monkeypatch.setattr("pretune.text.corpus.writing.BUCKET_BYTES", 5000)
    assert run_stage("corpus", **settings).card.id == whole.card.id
    rows = list(read_rows(whole.path, "train"))
    assert len({row["id"] for row in rows}) == len(rows) > 100
    is_copy = ["/copy" in row["origin"] for row in rows]
    assert any(is_copy[: len(rows) // 2])  # copies are not all behind what they repeat
    assert 0.2 < np.mean([row["source"] == "logs" for row in rows[: len(rows) // 2]]) < 0.95


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ({"weights": {"logs": 1, "wikis": 1}}, "names 'wikis'"),
        ({"weights": {"logs": 1}}, "says nothing of 'wiki'"),
        ({"weights": {"logs": 1, "wiki": 0}}, "the weight of wiki is 0"),
        ({"order": "lenght"}, "names 'lenght', which is no column"),
        ({"temperature": 0.5}, "temperature"),
    ],
)
def test_mistakes_are_told(read, run_stage, given, reported):
    with pytest.raises(SettingsError, match=reported):
        run_stage("corpus", read=read, mixture=given)
