"""How hidden states become one vector: what config.json says, or the files that sentence-transformers writes.

    modules.json            Transformer, Pooling, and perhaps Normalize
    1_Pooling/config.json   which states are taken; without the file their mean

A folder with neither is a body without a head: nothing says how it would stand for a text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap

Pooling = Literal["mean", "cls", "last"]
MODES: dict[Pooling, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}
"""Pooling -> sentence-transformers' name of it."""
KEPT = "pretune"
"""The key of config.json for what a head needs that transformers has no word for, as `Facts.more` has it: `scale`,
`temperature`, `thresholds`, `stride`, `pooling`, `task`. Plain transformers keep it."""


def pooling_of(folder: Path, config: JsonMap) -> Json | None:
    """`pooling` and `normalize` of a model; None where nothing says that it gives vectors.

    Raises:
        NotSupported: modules or a pooling that is not computed here.
    """
    kept = config.get(KEPT) or {}
    if "pooling" in kept:
        return dict(kept)
    if not (folder / "modules.json").is_file():
        return None
    modules = _read(folder / "modules.json")
    kinds = [str(one["type"]).rpartition(".")[2] for one in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise NotSupported(
            f"{folder.as_posix()} is made of {', '.join(kinds)}",
            hint="Transformer, Pooling and Normalize are computed here",
        )
    path = folder / str(modules[1]["path"]) / "config.json"
    said = _read(path) if path.is_file() else {MODES["mean"]: True}
    return {"pooling": _mode(folder, said), "normalize": len(kinds) == 3}


def _mode(folder: Path, said: JsonMap) -> str:
    taken = [name for name, value in said.items() if name.startswith("pooling_mode_") and value]
    taken = taken or [MODES.get(said.get("pooling_mode", ""), "")]
    found = next((name for name, mode in MODES.items() if taken == [mode]), None)
    if found is None:
        hint = f"one of {', '.join(MODES)} is computed here"
        raise NotSupported(f"{folder.as_posix()} pools by {', '.join(taken)}", hint=hint)
    return found


def window_of(folder: Path) -> int | None:
    """`max_seq_length` of sentence-transformers, where a folder has it."""
    path = folder / "sentence_bert_config.json"
    return _read(path).get("max_seq_length") if path.is_file() else None


def write_pooling(folder: Path, how: JsonMap, width: int) -> None:
    """The files by which sentence-transformers reads the folder.

    Args:
        how: as `pooling_of` gives it; width: of a vector.
    """
    modules = ["Transformer", "Pooling", *(["Normalize"] if how["normalize"] else [])]
    tree = [_module(number, name) for number, name in enumerate(modules)]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": width, **{mode: how["pooling"] == name for name, mode in MODES.items()}}
    _write(folder / "modules.json", tree)
    _write(folder / "1_Pooling" / "config.json", pooling)


def _module(number: int, name: str) -> Json:
    path = f"{number}_{name}" if number else ""
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
