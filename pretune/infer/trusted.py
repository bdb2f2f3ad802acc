"""A model folder from a stranger, looked at before anything in it is loaded. No torch here.

    names        a path that leads out of the folder (a link, an index file)       bad-file
    code         auto_map: Python that the folder brings                           not-supported
    weights      only pickles (.bin, .pt ...)                                      not-supported: pretune convert
    headers      of safetensors: lengths, types, offsets, shapes                   bad-file
    JSON         too large, too deep, no object                                    bad-file
    config       sizes that the weights beside it do not have                      bad-file

Whatever is refused, nothing of it has been run, and no more was read than the JSON files and the heads of the weights:
a config of 2 KB could otherwise ask transformers for a model of any size. What is not looked for: weights that are
well-formed and bad. Format of safetensors: 8 bytes (little-endian length), JSON, the tensors one after the other.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile, NotSupported
from pretune.base.json import Json

MOST_JSON = 64 * 2**20
"""Bytes of a JSON file; a tokenizer.json of 250,000 words with merges has 35 MB."""
MOST_HEAD = 100 * 2**20
"""Bytes of a safetensors header, as the safetensors library has it."""
MOST_POSITIONS = 1 << 24
BITS = {
    **{"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16},
    **{"BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4},
}
"""Bits of each type of safetensors."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npz", ".npy", ".msgpack", ".h5")
SIZES = re.compile(r"(_size|_layers?|_heads|_experts|_dim|_inner|_embd|_head|d_model|d_ff|d_kv|_labels|_rank)$")
"""Names in a config that say how large a weight is, or how many there are."""
POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")
CODE = ("auto_map", "custom_pipelines", "trust_remote_code")


def check_folder(folder: Path) -> None:
    """Raise for a model folder that must not be loaded.

    Raises:
        BadFile: a path that leads out of it, a broken header or JSON, a config that its weights do not fill.
        NotSupported: code of its own, or weights in pickles alone.
    """
    for path in _entries(folder):
        check_stays(path, folder)
    trees = {path.name: read_json(path) for path in sorted(folder.glob("*.json")) if path.name != "tokenizer.json"}
    for path in folder.glob("tokenizer.json"):
        check_small(path)
    for name, tree in trees.items():
        _no_code(folder, name, tree)
        _index_stays(folder, name, tree)
    shapes = {n: s for path in sorted(folder.glob("*.safetensors")) for n, s in shapes_in(path).items()}
    _has_weights(folder, bool(shapes))
    if shapes and "config.json" in trees and "adapter_config.json" not in trees:
        _filled(folder, trees["config.json"], shapes)


def _entries(folder: Path) -> Iterator[Path]:
    """The folder's files and folders, those of folders in it too; a link to a folder is not gone into."""
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from path.iterdir()


def check_stays(path: Path, folder: Path) -> None:
    """A link may lead to the blobs of the same snapshot in a hub's cache, where all files are links."""
    if not path.is_symlink():
        return
    home, target = folder.resolve(), path.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (target.is_relative_to(home) or target.is_relative_to(blobs)):
        problem = f"{path.as_posix()} is a link out of its folder"
        raise BadFile(problem, hint="copy the files that belong to the model into one folder, if you trust them")


def read_json(path: Path) -> Any:
    """A JSON file of a model folder. Raises BadFile: too large, too deep, or no JSON."""
    check_small(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problem = f"{path.as_posix()} cannot be read: {str(error)[:200] or type(error).__name__}"
        raise BadFile(problem, hint="write the model folder again") from None


def check_small(path: Path) -> None:
    if not path.is_file():
        raise BadFile(f"{path.as_posix()} is no file", hint="write the model folder again")
    if (size := path.stat().st_size) > MOST_JSON:
        problem = f"{path.as_posix()} has {size:,} bytes; no model needs a JSON file of more than {MOST_JSON:,}"
        raise BadFile(problem, hint="take the folder from where it was published")


def _no_code(folder: Path, name: str, tree: Any) -> None:
    if isinstance(tree, Mapping) and (said := next((word for word in CODE if tree.get(word)), None)):
        problem = f"{folder.as_posix()}/{name} names code that the folder brings ({said}), and such code is never run"
        hint = "take a version of the model that transformers knows by itself; where it does, delete that entry"
        raise NotSupported(problem, hint=hint)


def _index_stays(folder: Path, name: str, tree: Any) -> None:
    if not name.endswith(".index.json"):
        return
    files = tree.get("weight_map") if isinstance(tree, Mapping) else None
    if not isinstance(files, Mapping) or not all(isinstance(file, str) for file in files.values()):
        raise BadFile(f"{folder.as_posix()}/{name} has no weight_map of file names", hint="write the folder again")
    for file in sorted(set(files.values())):
        if Path(file).name != file or file in ("", ".", ".."):
            raise BadFile(f"{folder.as_posix()}/{name} names {file!r}, which is no file of its folder")
        if not (folder / file).is_file():
            raise BadFile(f"{folder.as_posix()}/{name} names {file!r}, which is not there", hint="fetch it again")


def _has_weights(folder: Path, there: bool) -> None:
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled and not there:
        problem = f"{folder.as_posix()} has no safetensors weights but {pickled[0]}: loading a pickle runs its code"
        raise NotSupported(problem, hint=f"pretune convert {folder.as_posix()} --out DIR writes them as safetensors")


# ---- headers -------------------------------------------------------------------------------------


def shapes_in(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a safetensors file, by its name, from the header alone.

    Raises:
        BadFile: a header that no writer of the format gives.
    """
    try:
        head, size = _head(path)
        ends = [(*_placed(name, one), name) for name, one in head.items() if name != "__metadata__"]
        _cover(ends, size)
    except (OSError, ValueError, RecursionError, struct.error, KeyError, TypeError, AttributeError) as error:
        problem = f"{path.as_posix()} is no readable safetensors file: {str(error)[:200] or type(error).__name__}"
        raise BadFile(problem, hint="fetch or write it again") from None
    return {name: [*one["shape"]] for name, one in head.items() if name != "__metadata__"}


def _head(path: Path) -> tuple[Json, int]:
    """The header, and the bytes of the tensors behind it."""
    whole = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(MOST_HEAD, whole - 8):
            raise ValueError(f"its header says that it has {length:,} bytes, in a file of {whole:,}")
        head: Json = json.loads(file.read(length), object_pairs_hook=_once)
    return head, whole - 8 - length


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _placed(name: str, one: Json) -> tuple[int, int]:
    """Where a tensor begins and ends, as its type and shape need it."""
    shape, (begin, end) = one["shape"], one["data_offsets"]
    if one["dtype"] not in BITS:
        raise ValueError(f"{name!r} has the unknown type {one['dtype']!r}")
    if not all(type(size) is int and 0 <= size < 2**63 for size in (*shape, begin, end)) or len(shape) > 16:
        raise ValueError(f"{name!r} has the shape {str(shape)[:80]}")
    if math.prod(shape) * BITS[one["dtype"]] != 8 * (end - begin):
        raise ValueError(f"{name!r} has the shape {shape} and {end - begin:,} bytes")
    return begin, end


def _cover(ends: list[tuple[int, int, str]], size: int) -> None:
    """The tensors lie one after the other, without a hole, to the end of the file."""
    at = 0
    for begin, end, name in sorted(ends):
        if begin != at:
            raise ValueError(f"{name!r} begins at {begin:,}, and the one before it ends at {at:,}")
        at = end
    if at != size:
        raise ValueError(f"its tensors have {at:,} bytes, and the file has {size:,} for them")


# ---- the config next to the weights ---------------------------------------------------------------


def _filled(folder: Path, config: Any, shapes: Mapping[str, list[int]]) -> None:
    """Every size in the config is one that the weights have: none is larger than their largest side, nor are there
    more blocks than weights. (transformers makes what a file lacks, however large.)"""
    if not isinstance(config, Mapping):
        raise BadFile(f"{folder.as_posix()}/config.json is no object", hint="write the model folder again")
    largest = max(*(side for shape in shapes.values() for side in shape), len(shapes), 64)
    learned = any("position" in name or "wpe" in name for name in shapes)
    for name, value in _numbers(config):
        most = largest if SIZES.search(name) or (learned and name in POSITIONS) else MOST_POSITIONS
        counts = SIZES.search(name) or name in POSITIONS
        if counts and not -1 <= value <= most:
            problem = f"{folder.as_posix()}/config.json says {name}={value}, and no weight next to it is larger than"
            raise BadFile(f"{problem} {most:,}", hint="take the config that belongs to these weights")


def _numbers(tree: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """The whole numbers in a config, by the name of their entry."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _numbers(value, str(key))
    elif isinstance(tree, list):
        for value in tree:
            yield from _numbers(value, name)
    elif isinstance(tree, int) and not isinstance(tree, bool):
        yield name, tree
