import subprocess
import sys
from pathlib import Path

import pytest

from pretune.base.artifact import Artifact, Card
from pretune.base.digest import read_digest
from pretune.base.errors import BadFile, Changed, NoSuchFile, NotAnArtifact, WrongKind
from pretune.infer.load import open_model, read_bundle


def test_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match="nothing-here"):
        open_model(tmp_path / "nothing-here")


def test_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotAnArtifact, match=r"config\.json or bundle\.json"):
        open_model(tmp_path)


def test_broken_bundle_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{", encoding="utf-8")
    with pytest.raises(BadFile, match=r"bundle\.json cannot be read"):
        read_bundle(tmp_path)


def finished(folder: Path, kind: str) -> None:
    files = {path.name: read_digest(path) for path in folder.iterdir()}
    card = Card(kind=kind, key="k", id="i", stage="export", files=files)
    (folder / "artifact.json").write_text(card.to_json(), encoding="utf-8")


def test_model_with_a_changed_byte_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text('{"format": 1}', encoding="utf-8")
    finished(tmp_path, "bundle")
    (tmp_path / "bundle.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(Changed, match=r"bundle\.json"):
        open_model(tmp_path)


def test_corpus_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "train-00000.parquet").write_bytes(b"")
    finished(tmp_path, "corpus")
    assert Artifact.open(tmp_path).card.kind == "corpus"
    with pytest.raises(WrongKind, match="is a corpus"):
        open_model(tmp_path)


def test_opening_and_serving_import_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, pretune.infer.load, pretune.infer.ort, pretune.infer.terminal, pretune.serve.run, pretune.serve.app;"
        "sys.exit(','.join(m for m in ('torch', 'transformers', 'peft') if m in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
