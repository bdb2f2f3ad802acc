"""Text files that belong together line by line.

train.de train.en            two languages; also train.en.txt, train.src and train.tgt
train.seq.in train.seq.out   words, and their tags; with train.label, the label of each line
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.dataset.shapes.pairs import DIRECTED, languages_of
from pretune.text.read.readers import PACKED, READERS, Repairs, lines_of

SLOTS = {".seq.in": "tokens", ".seq.out": "tags", ".label": "label"}
Files = Mapping[str, Path]


def plain_name(name: str) -> str:
    """A file's name without its folders and its packing, in lower case."""
    plain = PurePosixPath(name).name.lower()
    return next((plain.removesuffix(packed) for packed in PACKED if plain.endswith(packed)), plain)


def slot_files(files: Files) -> dict[str, dict[str, str]]:
    """Stem -> role -> name, of files such as train.seq.in, train.seq.out and train.label."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in files:
        for ending, role in SLOTS.items():
            if plain_name(name).endswith(ending):
                found[_in_its_folder(name, plain_name(name).removesuffix(ending))][role] = name
    return {stem: roles for stem, roles in found.items() if {"tokens", "tags"} <= roles.keys()}


def language_files(files: Files) -> dict[str, dict[str, str]]:
    """Stem -> language -> name, of files that differ in their ending alone; two languages or more each."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in files:
        stem, _, ending = plain_name(name).removesuffix(".txt").rpartition(".")
        if stem and f".{ending}" not in READERS:
            found[_in_its_folder(name, stem)][ending] = name
    named = {stem: {*languages_of(endings), *(DIRECTED & endings.keys())} for stem, endings in found.items()}
    return {
        stem: {ending: name for ending, name in endings.items() if ending in named[stem]}
        for stem, endings in found.items()
        if len(named[stem]) > 1
    }


def _in_its_folder(name: str, stem: str) -> str:
    return (PurePosixPath(name).parent / stem).as_posix()


def read_parallel(paths: Sequence[tuple[str, Path]], repairs: Repairs) -> Iterator[Json]:
    """One record a line, the line of each file under its role.

    Raises:
        BadFile: the files have not the same number of lines.
    """
    streams = [lines_of(path, repairs) for _, path in paths]
    number = 0
    while True:
        lines = [next(stream, None) for stream in streams]
        if None in lines:
            break
        number += 1
        yield {role: str(line).rstrip("\r\n") for (role, _), line in zip(paths, lines, strict=True)}
    if lines != [None] * len(lines):
        short = ", ".join(p.as_posix() for (_, p), line in zip(paths, lines, strict=True) if line is None)
        raise BadFile(f"{short} ends after {number} lines, the other goes on", hint="line n belongs to line n")


def read_slots(paths: Sequence[tuple[str, Path]], repairs: Repairs) -> Iterator[Json]:
    """One record a line: tokens, tags, perhaps a label, and the text."""
    for record in read_parallel(paths, repairs):
        words = record["tokens"].split()
        yield {**record, "text": record["tokens"].strip(), "tokens": words, "tags": record["tags"].split()}
