"""Artifacts: folders that know what they are and where they came from.

    runs/tuned/
      artifact.json        the card, written last: a folder without it is unfinished or raw
      model.safetensors    payload: what the id is made of, in formats that other tools read
      metrics.jsonl        a note: digested, but not part of the id

`key` is known before the work (stage, version, settings, ids of the inputs): the same key need not be
made again. `id` is known after it (digest of the payload): a corpus rebuilt to the same bytes retrains
nothing. Raw files, and folders without a card, are artifacts too; their id is the digest of their files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from glob import has_magic
from importlib import import_module
from itertools import count
from pathlib import Path, PurePosixPath

from pretune.base.digest import digest, file_digests
from pretune.base.errors import BadCommand, Changed, EmptyInput, NoSuchFile, NotAnArtifact, UserError, WrongKind
from pretune.base.json import Json
from pretune.base.listing import Listing, folder_files, pattern_files

CARD = "artifact.json"
SCHEMA = 1
IDS = (".bin", ".idx", ".ids.arrow")
"""Files of token ids, as other programs write them (tokens/store/interop.py); a folder of them alone is `ids` too."""
SCHEMES = {"python": "pretune.text.python_library", "swaps": "pretune.evaluate.swaps"}
"""What lies in no folder of the user's: `python:code` is read through this module's `files(part)`."""
HUBS = {"hf": "pretune.text.read.hub", "modelscope": "pretune.text.read.hub"}
"""Data sets elsewhere: `hf:org/name` lies, once this module's `files(text)` has it, in a folder like any other."""
SAMPLED = re.compile(r"(.+)#(\d+)")
"""`reviews.jsonl#500`: 500 examples of it. A file that is really called so is that file."""


@dataclass(frozen=True)
class Card:
    """What an artifact says of itself; `digest` guards the card's own bytes."""

    kind: str
    key: str
    id: str
    stage: str
    version: int = 1
    settings: Json = field(default_factory=dict)
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    made: Json = field(default_factory=dict)
    schema: int = SCHEMA
    digest: str = ""

    def sealed(self) -> Card:
        return replace(self, digest=digest(asdict(replace(self, digest=""))))

    def to_json(self) -> str:
        return json.dumps(asdict(self.sealed()), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_card(folder: Path) -> Card:
    """The card of a finished artifact; raises Changed when its own digest does not hold."""
    try:
        tree = json.loads((folder / CARD).read_text(encoding="utf-8"))
        card = Card(**tree)
    except (ValueError, TypeError) as error:
        raise Changed(f"{folder.as_posix()}/{CARD} cannot be read: {error}", hint="build the artifact again") from None
    if card.sealed().digest != card.digest:
        raise Changed(f"{folder.as_posix()}/{CARD} was changed after it was written", hint="build the artifact again")
    return card


@dataclass(frozen=True)
class Artifact:
    """A finished artifact or raw input: its folder (or file, or pattern) and its card.

    Args:
        scheme: as it is written, if it lies in no folder (`python:docs`).
        hub: as it is written, if it comes from a hub; `path` is where it lies now.
        sample: how many examples are wanted of it (`reviews.jsonl#500`); None for all.
        links: names of links in a raw folder that lead out of it; they are not among its files.
    """

    path: Path
    card: Card
    scheme: str | None = None
    hub: str | None = None
    sample: int | None = None
    links: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None, *, follow: bool | None = None) -> Artifact:
        """Find what lies at `path`; `kind` may name several, joined by `|`.

        Args:
            follow: whether links that lead out of a raw folder are read; None: those of models and tokenizers.

        Raises:
            NoSuchFile, NotAnArtifact, WrongKind, Changed (a damaged card).
        """
        found = cls._find(path, follow)
        if kind and found.card.kind not in kind.split("|"):
            wanted = " or ".join(f"a {k}" for k in kind.split("|"))
            raise WrongKind(f"{str(path)!r} is a {found.card.kind}, but {wanted} is needed here")
        return found

    @classmethod
    def unread(cls, path: Path) -> Artifact:
        """Raw files to look at, whose bytes are not read for a digest: they have no id, and nothing can be built on it.

        Raises:
            EmptyInput: there is no file.
        """
        found = _open_raw(path, digests=lambda paths: dict.fromkeys(paths, ""))
        return replace(found, card=replace(found.card, id=""))

    @classmethod
    def look(cls, path: Path) -> Artifact:
        """What is at a path, for a page: its card, or raw files that are not read. Raises EmptyInput, Changed."""
        return cls(path, read_card(path)) if (path / CARD).is_file() else cls.unread(path)

    @classmethod
    def _find(cls, given: str | Path, follow: bool | None) -> Artifact:
        text = str(given)
        if (sampled := SAMPLED.fullmatch(text)) and not Path(text).exists():
            return _sampled(cls._find(sampled[1], follow), int(sampled[2]), text)
        if _is_of(SCHEMES, text):
            return _open_scheme(text)
        if _is_of(HUBS, text):
            return _open_hub(text)
        path = Path(text)
        if (path / CARD).is_file():
            return cls(path, read_card(path))
        if not path.exists() and not is_pattern(path):
            if Path(f"{text}.scratch").exists():
                hint = "run the command that makes it again; it continues where it was"
                raise NotAnArtifact(f"{text!r} is unfinished: only {text}.scratch is there", hint=hint)
            raise NoSuchFile(f"there is no {text!r}", hint="check the path; it is taken from the folder you are in")
        return _open_raw(path, follow=follow)

    def files(self) -> list[Path]:
        """The files of a raw input, sorted; of an artifact, its payload."""
        if self.scheme:
            return []
        return sorted(self._root / name for name in self.card.files)

    @cached_property
    def _root(self) -> Path:
        return raw_root(self.path) if self.is_raw else self.path

    @property
    def is_raw(self) -> bool:
        return self.card.stage == "raw"

    def verify(self) -> Artifact:
        """Compare every payload file with its digest; raises Changed naming each that differs."""
        if self.is_raw:
            return self
        there = {n: self.path / n for n in self.card.files if (self.path / n).is_file()}
        now = file_digests(there)
        bad = [f"{n} (missing)" for n in self.card.files if n not in there]
        bad += [n for n, d in now.items() if d != self.card.files[n]]
        if bad:
            hint = "restore the file, or delete the folder and build it again"
            raise Changed(f"{self.path.as_posix()} was changed after it was made: {', '.join(sorted(bad))}", hint=hint)
        return self

    def source(self, place: str) -> Artifact | None:
        """The input at a dotted place, if it is still to be found (next to this one, when it was moved)."""
        said = self.card.inputs[place]
        plain = SAMPLED.sub(r"\1", said["path"])
        if _is_of(SCHEMES, plain):
            return Artifact.open(said["path"])
        if _is_of(HUBS, plain):
            return _in_cache(said)
        wanted = Path(os.path.normpath(self.path / said["path"]))
        candidates = [wanted, *(p for p in sorted(self.path.parent.glob("*")) if (p / CARD).is_file())]
        for candidate in candidates:
            try:
                found = Artifact.open(candidate, follow=self.card.settings.get("links") == "follow" or None)
            except (NoSuchFile, NotAnArtifact, EmptyInput, Changed):
                continue
            if found.card.id == said["id"]:
                return found
        return None

    def told_source(self, place: str) -> Artifact | None:
        """`source` for a page, which reads no raw file: what is raw, and there, is what the card says."""
        said = self.card.inputs[place]
        plain = SAMPLED.sub(r"\1", said["path"])
        wanted = Path(os.path.normpath(self.path / plain))
        there = wanted.exists() or (is_pattern(wanted) and raw_root(wanted).exists())
        if _is_of({**SCHEMES, **HUBS}, plain) or (there and not (wanted / CARD).is_file()):
            return Artifact(wanted, Card(kind=said["kind"], key="", id=said["id"], stage="raw"))
        return self.source(place)

    def written(self, start: Path) -> str:
        """How a card names it: relative to the artifact's folder, with forward slashes, or as it was written."""
        plain = self.scheme or self.hub or relative(self.path, start)
        return plain if self.sample is None else f"{plain}#{self.sample}"

    def ancestors(self) -> Iterator[Artifact]:
        """This artifact, then what it was made from, depth first, each once."""
        seen: set[str] = set()
        todo: list[Artifact] = [self]
        while todo:
            one = todo.pop(0)
            if one.card.id in seen:
                continue
            seen.add(one.card.id)
            yield one
            todo = [a for p in one.card.inputs if (a := one.source(p))] + todo


def below(inputs: Mapping[str, Artifact], setting: str) -> list[Artifact]:
    """The inputs of a setting that is a list, in its order."""
    return [one for place, one in inputs.items() if place.startswith(f"{setting}.")]


def unlike(name: str, taken: Collection[str]) -> str:
    """A name, with a number behind it where it is taken."""
    return next(one for k in count(1) if (one := f"{name}-{k}" if k > 1 else name) not in taken)


# ---- raw inputs ---------------------------------------------------------------------------------


def is_pattern(path: Path) -> bool:
    """Whether a path stands for several; `data [1].csv` that is there is that file."""
    return has_magic(str(path)) and not path.exists()


def raw_root(path: Path) -> Path:
    """The folder that names of files count from: the folder itself, a file's parent, a pattern's fixed part."""
    if is_pattern(path):
        fixed = list(path.parts[: next(i for i, p in enumerate(path.parts) if has_magic(p))])
        return Path(*fixed) if fixed else Path()
    return path if path.is_dir() else path.parent


def _is_of(table: dict[str, str], text: str) -> bool:
    return ":" in text and text.partition(":")[0] in table


def _open_hub(text: str, *, fetch: bool = True) -> Artifact:
    folder, files = import_module(HUBS[text.partition(":")[0]]).files(text, fetch=fetch)
    return replace(_open_raw(folder, files), hub=text)


def _sampled(whole: Artifact, number: int, text: str) -> Artifact:
    """A part of a raw input; which part is drawn by whoever reads it, from the seed."""
    if not whole.is_raw or number == 0:
        problem = "no example at all" if whole.is_raw else f"a sample of a finished {whole.card.kind}"
        raise BadCommand(f"{text!r} asks for {problem}", hint="a sample is written FILE#500, of files only")
    return replace(whole, sample=number, card=replace(whole.card, id=digest([whole.card.id, "sample", number])))


def _in_cache(said: dict[str, str]) -> Artifact | None:
    """The data set that a card names, if it lies on this machine as it was."""
    try:
        sampled = SAMPLED.fullmatch(said["path"])
        found = _open_hub(sampled[1] if sampled else said["path"], fetch=False)
        found = _sampled(found, int(sampled[2]), said["path"]) if sampled else found
    except UserError:
        return None
    return found if found.card.id == said["id"] else None


def _open_raw(
    path: Path,
    files: list[Path] | None = None,
    *,
    follow: bool | None = None,
    digests: Callable[[Mapping[str, Path]], dict[str, str]] = file_digests,
) -> Artifact:
    listing = _raw_files(path, follow=follow) if files is None else Listing(files)
    root = raw_root(path)
    names, links = ([f.relative_to(root).as_posix() for f in some] for some in (listing.files, listing.refused))
    if not names and links and follow is not None:
        hint = "stages corpus and dataset read them with links=follow; or copy what they lead to"
        raise EmptyInput(
            f"{str(path)!r} holds nothing but links that lead out of it: {', '.join(links[:5])}", hint=hint
        )
    if not names and not links:
        raise EmptyInput(f"{str(path)!r} holds no files", hint="check the path or the pattern")
    found = digests(dict(zip(names, listing.files, strict=True)))
    kind = kind_by_names(path) or _kind_by_endings(path, listing.files)
    card = Card(kind=kind, key="", id=digest(sorted(found.items())), stage="raw", files=found)
    return Artifact(path, card, links=tuple(links))


def _raw_files(path: Path, *, follow: bool | None) -> Listing:
    if is_pattern(path):
        return pattern_files(str(path), raw_root(path), follow=bool(follow))
    if path.is_file():
        return Listing([path])
    # The hub's cache keeps a model as links to its files.
    return folder_files(path, follow=bool(kind_by_names(path)) if follow is None else follow)


def _kind_by_endings(path: Path, files: list[Path]) -> str:
    return "ids" if all(file.name.endswith(IDS) for file in [path] * (not path.is_dir()) or files) else "files"


def kind_by_names(path: Path) -> str:
    """bundle, model or tokenizer, by the files that make a folder one; else ""."""
    if (path / "bundle.json").is_file():
        return "bundle"
    has_weights = any(path.glob("*.safetensors")) or any(path.glob("*.bin"))  # pickles: refused where they are loaded
    if has_weights and ((path / "config.json").is_file() or (path / "adapter_config.json").is_file()):
        return "model"
    if (path / "tokenizer.json").is_file():
        return "tokenizer"
    return ""


def _open_scheme(text: str) -> Artifact:
    scheme, _, part = text.partition(":")
    module = import_module(SCHEMES[scheme])
    files: list[Path] = module.files(part)
    digests = sorted(file_digests({f.as_posix(): f for f in files}).values())
    identity = digest([text, module.VERSION, digests])
    return Artifact(Path(text), Card(kind="files", key="", id=identity, stage="raw"), scheme=text)


def relative(path: Path, start: Path) -> str:
    """A path seen from a folder, with forward slashes."""
    return PurePosixPath(Path(os.path.relpath(path, start)).as_posix()).as_posix()
