"""Pickled weights to safetensors: the one place in pretune where a pickle is read, and only on request.

    pretune convert FOLDER --out DIR
      asks                        a pickle is a program; torch's weights_only runs none of it but what builds tensors
      child process               without network: a network namespace of its own, where the system allows one;
                                  elsewhere Python's sockets are taken away, which native code could get round
                                  its memory, its files and its time are limited; it ends with its parent, and what
                                  it started ends with it
      torch.load(weights_only)    in the child; only tensors pass, none larger than the bytes that it has in the file
      DIR.partial-...             model.safetensors, the JSON files without their code, the tokenizer
      DIR                         the same, when it is whole

`python -m pretune.model.converting FOLDER DIR` is the child.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile, NotSupported
from pretune.base.parent import end_with_parent
from pretune.infer.trusted import CODE, check_folder, check_small, check_stays, read_json

NAMESPACE = ("unshare", "--map-root-user", "--net")
KEPT = (".json", ".txt", ".jinja", ".model")
"""Ends of files that are copied."""
MOST_SECONDS = 3600
OWN_BYTES = 4 * 2**30
"""Of memory, what torch takes in the child without any weights."""
COPIES = 4
"""Of the weights, in the child's memory: as they are read, apart, and as they are written."""
WEIGHTS = "model.safetensors"


def convert(folder: Path, out: Path) -> str:
    """Write the model of `folder` into `out`, which is not there yet, with safetensors weights.

    Returns:
        How the child was kept from the network.

    Raises:
        NotSupported: there are no .bin weights, or `out` is there; BadFile: what they hold is not tensors by name.
    """
    if not pickles(folder):
        raise NotSupported(f"{folder.as_posix()} has no .bin or .pt weights", hint="name the folder that has them")
    if out.exists():
        raise NotSupported(f"{out.as_posix()} is there already", hint="name another place with --out")
    for path in folder.iterdir():
        check_stays(path, folder)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f"{out.name}.partial-", dir=out.absolute().parent))
    try:
        how = _child(folder.absolute(), staged)
        _only_weights(staged)
        _copy(folder, staged)
        check_folder(staged)
        staged.chmod(0o777 & ~_umask())  # mkdtemp's are for their owner alone
        staged.rename(out)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return how


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _only_weights(staged: Path) -> None:
    """The child has written its one file and nothing besides."""
    found = {path.name: path for path in staged.iterdir()}
    if [*found] != [WEIGHTS] or found[WEIGHTS].is_symlink() or not found[WEIGHTS].is_file():
        raise BadFile(f"reading the weights left {', '.join(sorted(found)) or 'nothing'} behind, not {WEIGHTS} alone")


def pickles(folder: Path) -> list[Path]:
    """The files of pickled weights, in the order of their names; what a trainer keeps besides is none."""
    ends = (".bin", ".pt", ".pth")
    others = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
    found = (p for p in folder.glob("*") if p.suffix in ends and not p.name.startswith(others))
    return sorted(p for p in found if p.is_file())  # a pipe would be waited for


def _child(folder: Path, staged: Path) -> str:
    alone = namespaced()
    command = [
        *(NAMESPACE if alone else ()),
        sys.executable,
        "-m",
        "pretune.model.converting",
        str(folder),
        str(staged),
    ]
    code, told = _ended(command, staged)
    if code:
        said = told.strip().splitlines()[-1:] or [f"exit code {code}" if code > 0 else signal.Signals(-code).name]
        hint = "torch reads nothing but tensors here (weights_only); take a version of the model in safetensors"
        raise BadFile(f"the weights of {folder.as_posix()} were not read: {said[0][:300]}", hint=hint)
    return "in a network namespace of its own" if alone else "with Python's sockets taken away"


def _ended(command: list[str], staged: Path) -> tuple[int, str]:
    """(exit code, the end of what it said) of a command that runs in `staged`; nothing that it started is left.

    Raises:
        BadFile: it took longer than MOST_SECONDS.
    """
    with tempfile.TemporaryFile() as told:  # a pipe would be open as long as anything that the child started
        child = subprocess.Popen(
            command, env=_environment(), cwd=staged, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told,
        )  # fmt: skip
        try:
            child.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            problem = f"the weights were not read within {MOST_SECONDS} seconds"
            raise BadFile(problem, hint="take a version of the model in safetensors") from None
        finally:
            _end(child)
        told.seek(max(0, told.seek(0, os.SEEK_END) - 4096))
        return child.returncode, told.read().decode("utf-8", "replace")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child, and what it started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _environment() -> dict[str, str]:
    """No secrets, and pretune from where it is here: the child's own folder is empty, so nothing of the model's folder
    can stand in for a module."""
    keep = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    ways = [str(Path(__file__).parents[2]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    known = {name: os.environ[name] for name in keep if name in os.environ}
    return known | {"PYTHONPATH": os.pathsep.join(path for path in ways if Path(path).is_absolute())}


def namespaced() -> bool:
    """Whether this system lets a process have a network of its own (Linux, where user namespaces are allowed)."""
    if not shutil.which(NAMESPACE[0]):
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def _copy(folder: Path, out: Path) -> None:
    """The small files, without entries that name code; of links those that a hub's cache consists of."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in KEPT or path.name.endswith(".index.json"):
            continue
        check_small(path)
        tree = read_json(path) if path.suffix == ".json" and path.name != "tokenizer.json" else None
        if isinstance(tree, Mapping) and any(tree.get(word) for word in CODE):
            plain = {name: value for name, value in tree.items() if name not in CODE}
            (out / path.name).write_text(json.dumps(plain, indent=2, ensure_ascii=False), encoding="utf-8")
        else:
            shutil.copyfile(path, out / path.name)


# ---- in the child --------------------------------------------------------------------------------


def _without_sockets() -> None:
    import socket

    def refuse(*args: Any, **more: Any) -> Any:
        raise OSError("no network in this process")

    socket.socket = socket.create_connection = refuse  # type: ignore[assignment, misc]


def _limited(num_bytes: int) -> None:
    """Memory, files and time for weights of so many bytes, and no life without the parent. On Windows none of it."""
    with suppress(ImportError):
        import resource

        most = {
            resource.RLIMIT_DATA: OWN_BYTES + COPIES * num_bytes,
            resource.RLIMIT_FSIZE: 2**20 + 2 * num_bytes,
            resource.RLIMIT_CPU: MOST_SECONDS,
            resource.RLIMIT_CORE: 0,
        }
        for kind, number in most.items():
            hard = resource.getrlimit(kind)[1]
            soft = number if hard == resource.RLIM_INFINITY else min(number, hard)
            resource.setrlimit(kind, (soft, soft))
    end_with_parent()


def tensors_of(path: Path) -> dict[str, Any]:
    """Tensors by name from a pickled file.

    Raises:
        TypeError: it holds anything else; ValueError: more than its bytes can be.
    """
    import torch

    _no_bomb(path)
    held = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(held, Mapping):
        raise TypeError(f"{path.name} holds a {type(held).__name__} and no tensors by name")
    held = next((held[name] for name in ("state_dict", "model") if isinstance(held.get(name), Mapping)), held)
    for name, one in held.items():
        if not isinstance(one, torch.Tensor):
            raise TypeError(f"{path.name} holds {str(name)!r}, which is no tensor")
        if one.layout != torch.strided or one.nbytes > one.untyped_storage().nbytes():
            raise ValueError(f"{path.name} holds {str(name)!r}, which is larger than its bytes in the file")
    return {str(name): tensor.clone() for name, tensor in held.items()}  # names that share memory are parted


def _no_bomb(path: Path) -> None:
    """torch stores its parts as they are: what is packed is none of its files, and may be of any size unpacked."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as parts:
        packed = [part for part in parts.infolist() if part.compress_type != zipfile.ZIP_STORED]
        size = sum(part.file_size for part in parts.infolist())
    if packed or size > path.stat().st_size:
        raise ValueError(f"{path.name} has {size:,} bytes unpacked, and is packed as torch never does it")


def main(folder: str, out: str) -> None:
    paths = pickles(Path(folder))
    _limited(sum(path.stat().st_size for path in paths))

    from pretune.model.folder import write_safetensors

    _without_sockets()
    found: dict[str, Any] = {}
    for path in paths:
        mine = tensors_of(path)
        if twice := sorted(found.keys() & mine.keys()):
            raise ValueError(f"{path.name} holds {twice[0]!r} once more: leave the files of one model in the folder")
        found |= mine
    write_safetensors(found, Path(out) / WEIGHTS)


if __name__ == "__main__":
    main(*sys.argv[1:])
