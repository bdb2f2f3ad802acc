"""Data sets of a hub are read from folders in the hub's own layout, and named on cards as they were written."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand, EmptyInput, HubError, MissingExtra
from pretune.text.read.hub import Named, title
from pretune.text.read.shards import read_rows

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of huggingface_hub with one data set, its files links into `blobs` as the library makes them."""
    home = tmp_path / "hub cache"
    folder = home / "datasets--org--poems"
    snapshot = folder / "snapshots" / SHA
    written = {
        "data/a.jsonl": '{"text": "The first text of the data set, long enough to stay."}\n',
        "data/b.txt": "第二个文件，也足够长，可以留在语料里，不会因为太短而被去掉。\n",
        "README.md": "about it",
        "load.py": "raise SystemExit('a program of a data set was run')",
        ".gitattributes": "x",
        "dataset_infos.json": "{}",
    }
    (folder / "blobs").mkdir(parents=True)
    for k, (name, text) in enumerate(written.items()):
        (folder / "blobs" / str(k)).write_text(text, encoding="utf-8")
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(folder / "blobs" / str(k))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(SHA, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path / "digests"))
    return snapshot


def plain(**settings):
    return {"validation": 0, "test": 0, "filters": [], "max_overlap": None, **settings}


def test_a_data_set_in_the_cache_is_a_corpus_without_a_network(cache, tmp_path, run_stage):
    artifact = run_stage("corpus", **plain(read=["hf:org/poems"]))
    rows = list(read_rows(artifact.path, "train"))
    assert [(r["source"], r["origin"]) for r in rows] == [("poems", "data/a.jsonl#0"), ("poems", "data/b.txt#0")]
    assert artifact.card.inputs["read.0"]["path"] == "hf:org/poems"
    assert str(tmp_path) not in (artifact.path / "artifact.json").read_text(encoding="utf-8")


def test_the_same_files_in_a_folder_give_the_same_corpus_bytes(cache, tmp_path, run_stage):
    folder = tmp_path / "poems"
    for name in ("data/a.jsonl", "data/b.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((cache / name).read_bytes())
    one = run_stage("corpus", **plain(read={"p": ["hf:org/poems"]}))
    other = run_stage("corpus", **plain(read={"p": [str(folder)]}))
    assert one.card.id == other.card.id


def test_a_pattern_and_a_revision_choose(cache):
    assert sorted(Artifact.open("hf:org/poems/data/*.txt").card.files) == ["data/b.txt"]
    assert sorted(Artifact.open(f"hf:org/poems@{SHA}/README.md").card.files) == ["README.md"]
    with pytest.raises(EmptyInput, match="no such files"):
        Artifact.open("hf:org/poems/*.csv")


def test_the_source_of_a_corpus_is_found_again_until_its_files_change(cache, run_stage):
    artifact = run_stage("corpus", **plain(read=["hf:org/poems"]))
    found = artifact.source("read.0")
    assert found is not None and found.hub == "hf:org/poems"
    (cache / "data/a.jsonl").unlink()
    (cache / "data/a.jsonl").write_text('{"text": "another"}\n', encoding="utf-8")
    assert artifact.source("read.0") is None


def test_what_is_not_there_is_told_with_a_hint(cache):
    with pytest.raises(HubError, match="'hf:org/nothing' could not be had") as error:
        Artifact.open("hf:org/nothing")
    assert "put its files into a folder" in str(error.value)
    with pytest.raises(HubError):
        Artifact.open("hf:org/poems@no-such-revision")


@pytest.mark.parametrize("text", ["hf:poems", "hf:", "hf:a/b/", "hf:a b/c", "modelscope:x"])
def test_what_is_no_name_is_told(text):
    with pytest.raises(BadCommand, match="names no data set"):
        Artifact.open(text)


def test_names_are_taken_apart():
    assert Named.read("hf:o/n.x@v1.0/data/**/*.parquet") == Named("hf", "o/n.x", "v1.0", "data/**/*.parquet")
    assert title("modelscope:o/n@r/x") == "n"


def test_modelscope_is_asked_by_its_own_names(tmp_path, monkeypatch, run_stage):
    asked = []

    # The signature of modelscope 1.40's function, as far as it is used.
    def dataset_snapshot_download(
        dataset_id=None, revision=None, cache_dir=None, local_dir=None, allow_patterns=None, ignore_patterns=None
    ):
        asked.append((dataset_id, revision, allow_patterns))
        folder = tmp_path / "ms" / dataset_id
        folder.mkdir(parents=True, exist_ok=True)
        lines = json.dumps({"text": "一段来自另一个站点的文本，长度足够留在语料里。"}, ensure_ascii=False) + "\n"
        (folder / "train.jsonl").write_text(lines, encoding="utf-8")
        (folder / "README.md").write_text("about", encoding="utf-8")
        return str(folder)

    with pytest.raises(MissingExtra, match="modelscope"):
        Artifact.open("modelscope:org/poems")
    module = types.ModuleType("modelscope.hub.snapshot_download")
    module.dataset_snapshot_download = dataset_snapshot_download
    for name in ("modelscope", "modelscope.hub"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "modelscope.hub.snapshot_download", module)
    artifact = run_stage("corpus", **plain(read=["modelscope:org/poems@v2"]))
    assert asked[0] == ("org/poems", "v2", None)
    assert artifact.card.inputs["read.0"]["path"] == "modelscope:org/poems@v2"
    assert [r["source"] for r in read_rows(artifact.path, "train")] == ["poems"]
