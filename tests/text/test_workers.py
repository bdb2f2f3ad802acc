"""A corpus from a Ray cluster of two nodes is the one of this machine, byte for byte."""

from __future__ import annotations

import gzip
import json
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretune.base.errors import MissingExtra, NoSuchColumn, Unreachable, UserError
from pretune.base.log import Log
from pretune.text.corpus import raw_shards, workers
from pretune.text.read.shards import read_rows

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes with one core each, as processes of their own."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster.address
        cluster.shutdown()


def world(folder: Path) -> list[str]:
    """A large file, small ones, a broken one, an empty one and a packed one."""
    folder.mkdir()
    lines = [json.dumps({"text": f"Line {k} of the large file 大文件的第{k}行 " * 5}) + "\n" for k in range(400)]
    (folder / "large.jsonl").write_text("".join(lines), encoding="utf-8")
    for k in range(12):
        (folder / f"small{k}.txt").write_text(
            f"A small text, number {k}. 第{k}篇短文，内容各不相同。\n" * (k + 1), encoding="utf-8"
        )
    (folder / "broken.jsonl").write_text('{"text": "sound, and long enough"}\n{"text": \n', encoding="utf-8")
    (folder / "empty.txt").write_text("", encoding="utf-8")
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress("".join(lines[:40]).replace("Line", "Zeile").encode()))
    return [str(folder)]


def test_two_nodes_make_the_corpus_of_one_process(tmp_path, run_stage, address, monkeypatch):
    monkeypatch.setattr(raw_shards, "LARGE_FILE", 20_000)
    monkeypatch.setattr(raw_shards, "RAW_SHARD_BYTES", 2_000)
    made_of, used = workers.RayCluster, []
    monkeypatch.setattr(workers, "RayCluster", lambda *given: used.append(made_of(*given)) or used[-1])
    settings = {"read": world(tmp_path / "in"), "validation": 0.1, "test": 0.1, "dedup": "minhash"}
    here = run_stage("corpus", workers=1, **settings)
    there = run_stage("corpus", ray=address, **settings)
    assert there.card.id == here.card.id
    assert here.card.metrics["quarantined"] == 1
    assert len(used[0].nodes) == 2 and sum(used[0].nodes.values()) > 10
    assert len(list(read_rows(here.path, "train"))) > 100


def test_an_error_on_a_node_comes_back_as_itself(tmp_path, run_stage, address):
    (tmp_path / "a.csv").write_text("one,two\n1,2\n", encoding="utf-8")
    with pytest.raises(NoSuchColumn, match="no column that could be the text") as error:
        run_stage("corpus", ray=address, read=[str(tmp_path / "a.csv")])
    assert "corpus.text=COLUMN" in str(error.value)


def test_a_node_with_another_version_is_refused(tmp_path, run_stage, address, monkeypatch):
    (tmp_path / "a.txt").write_text("some text of a fair length\n", encoding="utf-8")
    monkeypatch.setattr(workers.pretune, "__version__", "0.0.1")  # here; the nodes have the real one
    with pytest.raises(UserError, match=r"not 0\.0\.1"):
        run_stage("corpus", ray=address, read=[str(tmp_path / "a.txt")])


def test_an_address_where_nobody_answers_is_told(tmp_path, run_stage):
    pytest.importorskip("ray")
    (tmp_path / "a.txt").write_text("some text of a fair length\n", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, f"ray://{nobody}", "nowhere:port"):
        with pytest.raises(Unreachable, match="no Ray cluster answers") as error:
            run_stage("corpus", ray=address, read=[str(tmp_path / "a.txt")])
        assert "ray start --head" in str(error.value)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("pretune.base.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="ray") as error, workers.workers_for("auto", 1, Log(quiet=True)):
        pass
    assert "pretune[scale]" in str(error.value)
