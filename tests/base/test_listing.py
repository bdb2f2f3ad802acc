"""A link in somebody's folder puts no private file into a corpus; links within the folder are read once."""

import json
from glob import glob
from pathlib import Path

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput
from pretune.base.listing import folder_files, pattern_files
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.text.dataset.example import read_split
from pretune.text.read.shards import read_rows

SECRET = "password: a secret of mine"


@pytest.fixture
def cloned(tmp_path: Path) -> Path:
    """A repository with links of all kinds, next to what it must not reach."""
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    (home / "netrc").write_text(SECRET, encoding="utf-8")
    (home / "keys/id.txt").write_text(SECRET, encoding="utf-8")
    folder = tmp_path / "repo"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs/a.md").write_text("A page of the manual.", encoding="utf-8")
    links = {
        "notes.txt": home / "netrc",
        "docs/relative.txt": "../../home/netrc",
        "keys": home / "keys",
        "above": "..",
        "docs/b.md": "a.md",
        "manual": "docs",
        "itself": ".",
        "loop": "loop",
        "gone.txt": "nowhere",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return folder


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_links_that_lead_out_are_named_and_links_within_are_read_once(cloned: Path) -> None:
    found = folder_files(cloned, follow=False)
    assert names(found.files, cloned) == ["docs/a.md"]
    assert names(found.refused, cloned) == ["above", "docs/relative.txt", "keys", "notes.txt"]


def test_follow_reads_each_file_once_whatever_leads_to_it(cloned: Path) -> None:
    found = folder_files(cloned, follow=True)
    assert found.refused == []
    assert sorted(path.resolve().name for path in found.files) == ["a.md", "id.txt", "netrc"]


@pytest.mark.parametrize("pattern", ["**/*.txt", "*.txt", "*/*.txt", "keys/*.t?t"])
def test_a_pattern_reaches_no_further_than_a_folder(cloned: Path, pattern: str) -> None:
    found = pattern_files(f"{cloned}/{pattern}", cloned, follow=False)
    assert found.files == [] and found.refused
    followed = pattern_files(f"{cloned}/{pattern}", cloned, follow=True)
    assert followed.files and followed.refused == []


def test_what_a_link_leads_to_within_the_folder_is_read_by_the_link_where_it_is_hidden(tmp_path: Path) -> None:
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store/blob").write_text("text", encoding="utf-8")
    (tmp_path / "b.txt").symlink_to(".store/blob")
    (tmp_path / "a.txt").symlink_to("b.txt")
    assert names(folder_files(tmp_path, follow=False).files, tmp_path) == ["a.txt"]


def test_a_folder_or_file_that_is_a_link_itself_was_meant(cloned: Path, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(cloned / "docs")
    found = folder_files(tmp_path / "here", follow=False)
    assert (names(found.files, tmp_path / "here"), names(found.refused, tmp_path / "here")) == (
        ["a.md"],
        ["relative.txt"],
    )
    assert Artifact.open(cloned / "notes.txt", follow=False).files() == [cloned / "notes.txt"]


def test_a_model_in_the_cache_of_the_hub_is_links_and_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (blobs / name[::-1]).write_text("{}", encoding="utf-8")
        (snapshot / name).symlink_to(f"../../blobs/{name[::-1]}")
    found = Artifact.open(snapshot, "model")
    assert sorted(found.card.files) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert found.links == ()


# ---- stages -------------------------------------------------------------------------------------


def run(tmp_path: Path, kind: str, **settings: object) -> Artifact:
    tree = {"work": str(tmp_path / f"out-{settings.get('links', '')}"), "stages": {"it": {"kind": kind, **settings}}}
    return Recipe.build(tree).run(log=Log(quiet=True))["it"]


@pytest.mark.parametrize("read", ["repo", "repo/**/*.[mt][dx]*"])
def test_a_private_file_gets_into_a_corpus_only_with_follow(cloned: Path, tmp_path: Path, read: str) -> None:
    (cloned / "above").unlink()  # it leads to what is made here
    given = {"read": str(tmp_path / read), "validation": 0, "test": 0, "filters": [], "dedup": "none"}
    refused = run(tmp_path, "corpus", **given)
    assert [row["text"] for row in read_rows(refused.path, "train")] == ["A page of the manual."]
    lines = (refused.path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    told = {row["file"]: row["reason"] for row in map(json.loads, lines)}
    assert {"docs/relative.txt", "notes.txt"} <= told.keys()
    assert set(told.values()) == {"a link that leads out of the folder; links=follow reads it"}
    followed = run(tmp_path, "corpus", **given, links="follow")
    assert SECRET in [row["text"] for row in read_rows(followed.path, "train")]
    assert followed.source("read.0") is not None, "what it was made from is found again"


def test_a_private_table_gets_into_a_dataset_only_with_follow(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "mine.csv").write_text("text,label\nmine,c\nmine too,d\n", encoding="utf-8")
    (folder / "a.csv").write_text("text,label\nyours,a\nyours too,b\n", encoding="utf-8")
    (folder / "b.csv").symlink_to("../mine.csv")
    given = {"read": str(folder), "validation": 0, "test": 0}
    refused = run(tmp_path, "dataset", **given)
    assert [e.label for e in read_split(refused.path, "train")] == ["a", "b"]
    assert refused.card.metrics["left_alone"] == {"b.csv (a link that leads out of the folder)": 1}
    followed = run(tmp_path, "dataset", **given, links="follow")
    assert [e.label for e in read_split(followed.path, "train")] == ["a", "b", "c", "d"]


def test_a_folder_of_nothing_but_links_out_says_so_and_how_to_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "mine.txt").write_text("Mine alone.", encoding="utf-8")
    (folder / "a.txt").symlink_to("../mine.txt")
    with pytest.raises(EmptyInput, match=r"nothing but links that lead out of it: a\.txt(.|\n)*links=follow"):
        run(tmp_path, "corpus", read=str(folder))
    assert Artifact.open(folder).links == ("a.txt",)  # looking at it is no mistake


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "b/c.txt", "b/d/e.txt"]),
        ("**", ["a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.md"]),
        ("b/**/*.[mt]*", ["b/c.txt", "b/d/e.txt", "b/d/f.md"]),
        ("**/d/*", ["b/d/e.txt", "b/d/f.md"]),
        ("**/.h/*.txt", [".h/g.txt", "b/.h/g.txt"]),
        ("**/.*", ["b/.i.txt"]),
        ("**/nothing*", []),
    ],
)
def test_a_pattern_means_what_it_means_to_glob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]
) -> None:
    for name in ("a.txt", "b/c.txt", "b/d/e.txt", "b/d/f.md", ".h/g.txt", "b/.h/g.txt", "b/.i.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(pattern_files(f"{tmp_path}/{pattern}", tmp_path, follow=False).files, tmp_path) == found
    assert found == sorted(n for n in glob(pattern, root_dir=tmp_path, recursive=True) if (tmp_path / n).is_file())
    monkeypatch.chdir(tmp_path)
    assert [p.as_posix() for p in pattern_files(pattern, Path(), follow=False).files] == found
