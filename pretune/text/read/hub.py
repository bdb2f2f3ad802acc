"""Data sets of a hub as files on disk: `hf:org/name`, `modelscope:org/name`, with `@revision` and `/pattern`.

    hf:org/name@v1.0/data/*.parquet -> snapshot in the hub's own cache -> files of the pattern -> an ordinary raw input

What is in the cache is taken without asking the network. No program of a data set is ever run, and what only
describes it (README.md, programs, lists of files) is no text of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pretune.base.errors import BadCommand, EmptyInput, HubError, MissingExtra
from pretune.base.json import Json

IGNORED = (".*", "*/.*", "README*", "*/README*", "LICENSE*", "*.py", "dataset_info*.json", "*.lock")
WRITTEN = re.compile(r"(hf|modelscope):([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?")


@dataclass(frozen=True)
class Named:
    """A data set of a hub, as it is written."""

    hub: str
    name: str
    revision: str | None
    pattern: str | None

    @classmethod
    def read(cls, text: str) -> Named:
        """Raises BadCommand where it is no name."""
        found = WRITTEN.fullmatch(text)
        if not found:
            raise BadCommand(
                f"{text!r} names no data set", hint="write hf:ORG/NAME, hf:ORG/NAME@REVISION/data/*.parquet"
            )
        return cls(*found.groups())

    @property
    def filters(self) -> Json:
        """What both hubs' libraries are asked for."""
        return {"allow_patterns": [self.pattern]} if self.pattern else {"ignore_patterns": list(IGNORED)}


def title(text: str) -> str:
    """`name` of `hf:org/name@v1/data/*.parquet`."""
    return Named.read(text).name.partition("/")[2]


def files(text: str, *, fetch: bool = True) -> tuple[Path, list[Path]]:
    """(folder on disk, the data set's files in it, sorted).

    Args:
        fetch: False looks into the cache alone.

    Raises:
        BadCommand: no name of a data set; MissingExtra: the hub's library is not installed;
        HubError: it is not there, may not be read, or the hub does not answer; EmptyInput: no file is left.
    """
    named = Named.read(text)
    folder = (_hf if named.hub == "hf" else _modelscope)(named, text, fetch)
    inside = ((p, p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file())
    found = sorted(path for path, name in inside if _is_meant(name, named.pattern))
    if not found:
        hint = "look at its files on the hub; a pattern is taken from its root"
        raise EmptyInput(f"{text!r} holds no such files", hint=hint)
    return folder, found


def _is_meant(name: str, pattern: str | None) -> bool:
    if pattern:
        return fnmatch(name, pattern)
    return not any(fnmatch(name, ignored) for ignored in IGNORED)


def _hf(named: Named, text: str, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def take(local: bool) -> Path:
        revision = named.revision
        found = snapshot_download(
            named.name, repo_type="dataset", revision=revision, local_files_only=local, **named.filters
        )
        return Path(str(found))

    try:
        return take(local=True)
    except LocalEntryNotFoundError:  # nothing of it, or not all
        if not fetch:
            raise HubError(f"{text!r} is not in the cache of this machine") from None
    try:
        return take(local=False)
    except Exception as error:  # of the hub's library, of the network library below it, of the system
        raise _hub_error(text, error) from None


def _modelscope(named: Named, text: str, fetch: bool) -> Path:
    try:
        from modelscope.hub.snapshot_download import dataset_snapshot_download
    except ImportError:
        raise MissingExtra("not installed: modelscope", hint="pip install modelscope") from None
    if not fetch:  # its library has no way of asking the cache alone
        raise HubError(f"{text!r} was not looked for")
    try:
        return Path(dataset_snapshot_download(named.name, revision=named.revision, **named.filters))
    except Exception as error:  # as above
        raise _hub_error(text, error) from None


def _hub_error(text: str, error: Exception) -> HubError:
    first = (str(error).strip().splitlines() or [""])[0]
    hint = "check the name; without a network put its files into a folder and name that; some sets need a log-in"
    return HubError(f"{text!r} could not be had: {type(error).__name__}: {first[:200]}", hint=hint)
