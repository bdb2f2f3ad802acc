"""Folders from strangers: whatever they hold, nothing of it runs, memory stays small, and the word is clear."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import PretuneError
from pretune.infer.load import open_model
from pretune.infer.size import weight_bytes
from pretune.model.folder import load_model
from pretune.testing.folders import write_model

Change = Callable[[Path], None]
WEIGHTS, CONFIG = "model.safetensors", "config.json"
MOST_BYTES = 1_000_000_000


class Bomb:
    """A pickle that leaves a file where it is read."""

    def __init__(self, trap: Path):
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trap}",)


def edited(name: str, **entries: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | entries), encoding="utf-8")

    return change


def written(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def pickled(name: str, *, alone: bool = True) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Bomb(folder / "trap")))
        if alone:
            (folder / WEIGHTS).unlink()

    return change


def linked(name: str, target: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


def indexed(*files: str) -> Change:
    names = {f"w{k}": file for k, file in enumerate(files)}
    return written("model.safetensors.index.json", json.dumps({"weight_map": names}))


def header(change: Callable[[dict[str, Any]], Any], *, length: int | None = None, cut: int = 0) -> Change:
    """The weights with another header, and the bytes behind it as they were."""

    def apply(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        tree = json.loads(data[8 : 8 + size])
        made = change(tree)
        text = (made if isinstance(made, str) else json.dumps(tree if made is None else made)).encode()
        whole = struct.pack("<Q", len(text) if length is None else length) + text + data[8 + size :]
        (folder / WEIGHTS).write_bytes(whole[: len(whole) - cut])

    return apply


def tensor(**entries: Any) -> Change:
    """The first tensor's entry changed."""
    return header(lambda tree: next(iter(e for n, e in tree.items() if n != "__metadata__")).update(entries))


def swapped(tree: dict[str, Any]) -> None:
    """Two tensors over the same bytes."""
    one, two = [entry for name, entry in tree.items() if name != "__metadata__" and entry["shape"] == [32]][:2]
    two["data_offsets"] = one["data_offsets"]


def adapter(**entries: Any) -> Change:
    def change(folder: Path) -> None:
        shutil.move(folder / WEIGHTS, folder / "adapter_model.safetensors")
        (folder / CONFIG).unlink()
        told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", **entries}
        (folder / "adapter_config.json").write_text(json.dumps(told), encoding="utf-8")

    return change


def sparse(name: str, size: int) -> Change:
    def change(folder: Path) -> None:
        with (folder / name).open("r+b" if (folder / name).exists() else "wb") as file:
            file.truncate(size)

    return change


DEEP = "[" * 200_000
CODE = {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "configuration_evil.Evil"}
HOSTILE: dict[str, Change] = {
    "code-for-the-model": edited(CONFIG, auto_map=CODE),
    "code-for-the-tokenizer": edited("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
    "code-for-the-answers": edited("generation_config.json", custom_pipelines={"x": {"impl": "evil.Evil"}}),
    "code-and-an-unknown-type": edited(CONFIG, auto_map=CODE, model_type="evil"),
    "a-type-that-nobody-knows": edited(CONFIG, model_type="evil"),
    "trust-in-the-config": edited(CONFIG, trust_remote_code=True),
    "only-a-bin": pickled("pytorch_model.bin"),
    "only-a-pt": pickled("model.pt"),
    "only-a-checkpoint": pickled("last.ckpt"),
    "only-a-pickle": pickled("weights.pkl"),
    "only-joblib": pickled("model.joblib"),
    "a-pickle-called-safetensors": pickled(WEIGHTS, alone=False),
    "bin-parts": lambda folder: (pickled("pytorch_model-00001-of-00002.bin")(folder), None)[1],
    "no-weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights-linked-out": linked(WEIGHTS, "/etc/passwd"),
    "config-linked-out": linked(CONFIG, "/etc/hostname"),
    "tokenizer-linked-out": linked("tokenizer.json", "/etc/passwd"),
    "template-linked-out": linked("chat_template.jinja", "../../secret"),
    "a-folder-linked-out": linked("more", "/"),
    "a-link-to-nothing": linked("chat_template.jinja", "/nowhere/at/all"),
    "index-climbs": indexed("../other/model.safetensors"),
    "index-from-the-root": indexed("/etc/passwd"),
    "index-with-folders": indexed("more/model.safetensors"),
    "index-to-nothing": indexed("model-00001-of-00002.safetensors"),
    "index-of-dots": indexed(".."),
    "index-of-numbers": written("model.safetensors.index.json", '{"weight_map": {"a": 3}}'),
    "index-is-a-list": written("model.safetensors.index.json", "[1]"),
    "header-longer-than-the-file": header(lambda tree: None, length=2**40),
    "header-of-2-to-the-64": header(lambda tree: None, length=2**64 - 1),
    "header-of-nothing": header(lambda tree: "", length=0),
    "header-no-json": header(lambda tree: "{" * 100),
    "header-too-deep": header(lambda tree: DEEP),
    "header-is-a-list": header(lambda tree: [1, 2]),
    "header-twice-the-name": header(lambda tree: '{"a": {}, "a": {}}'),
    "an-unknown-type": tensor(dtype="F12"),
    "a-shape-too-large": tensor(shape=[2**31, 2**31]),
    "a-shape-past-64-bits": tensor(shape=[2**80]),
    "a-shape-below-zero": tensor(shape=[-1, -4]),
    "a-shape-of-text": tensor(shape="32"),
    "a-shape-of-fractions": tensor(shape=[1.5]),
    "offsets-past-the-end": tensor(data_offsets=[0, 2**50]),
    "offsets-backwards": tensor(data_offsets=[64, 0]),
    "offsets-overlap": header(swapped),
    "the-end-is-missing": header(lambda tree: None, cut=100),
    "config-too-deep": written(CONFIG, DEEP),
    "config-no-json": written(CONFIG, "model: qwen3"),
    "config-is-a-list": written(CONFIG, "[]"),
    "config-of-a-gigabyte": sparse(CONFIG, 2**30),
    "tokenizer-of-a-gigabyte": sparse("tokenizer.json", 2**30),
    "a-number-of-a-million-digits": written(CONFIG, '{"vocab_size": 1' + "0" * 1_000_000 + "}"),
    "words-without-end": edited(CONFIG, vocab_size=2**40),
    "blocks-without-end": edited(CONFIG, num_hidden_layers=10**9),
    "a-width-without-end": edited(CONFIG, hidden_size=10**8),
    "heads-without-end": edited(CONFIG, num_attention_heads=10**8),
    "positions-without-end": edited(CONFIG, max_position_embeddings=10**15),
    "a-size-below-zero": edited(CONFIG, intermediate_size=-48),
    "an-adapter-of-the-root": adapter(base_model_name_or_path="/"),
    "an-adapter-that-climbs": adapter(base_model_name_or_path="../../../../../../etc"),
    "an-adapter-of-a-hub": adapter(base_model_name_or_path="evil/model"),
    "an-adapter-with-code": adapter(auto_map=CODE, base_model_name_or_path="base"),
    "an-adapter-of-an-unknown-kind": adapter(peft_type="EVIL", base_model_name_or_path="."),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    return write_model(folder / "model", folder / "words", "qwen3")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_with_a_word_and_nothing_of_it_runs(name: str, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    HOSTILE[name](folder)
    (folder / "evil.py").write_text(f"open({str(folder / 'trap')!r}, 'w')", encoding="utf-8")
    for read in (open_model, lambda path: load_model(path, "next") and weight_bytes(path)):
        with pytest.raises(PretuneError) as caught:
            read(folder)
        assert "model" in caught.value.problem or "evil" in caught.value.problem, caught.value.problem
        assert len(str(caught.value)) < 1000, "a message is read by a person"
    assert not (folder / "trap").exists(), "code of the folder was run"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST_BYTES


def test_there_are_fifty_and_a_sound_folder_opens(sound: Path) -> None:
    assert len(HOSTILE) >= 50
    assert open_model(sound).facts.task == "complete"


def test_a_link_into_the_blobs_of_its_own_snapshot_is_as_hubs_write_them(sound: Path, tmp_path: Path) -> None:
    home, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    home.mkdir(parents=True)
    shutil.copytree(sound, blobs)
    for path in blobs.iterdir():
        (home / path.name).symlink_to(Path("../../blobs") / path.name)
    assert open_model(home).facts.task == "complete"


@pytest.mark.parametrize("name", ["only-a-bin", "only-a-pt"])
def test_pickled_weights_are_refused_with_the_command_that_converts_them(
    name: str, sound: Path, tmp_path: Path
) -> None:
    shutil.copytree(sound, tmp_path / "model")
    HOSTILE[name](tmp_path / "model")
    with pytest.raises(PretuneError) as caught:
        open_model(tmp_path / "model")
    assert "pretune convert" in (caught.value.hint or "")
