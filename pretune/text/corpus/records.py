"""The raw records of a corpus as its stage reads them, for `pretune forget`: each next to the text it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.text.clean.cleaners import cleaned
from pretune.text.corpus.documents import Measuring, RawFile, Reading, Tally, numbered_in, reading, text_in
from pretune.text.corpus.raw_shards import source_of
from pretune.text.forget import Read
from pretune.text.read.readers import Record, Repairs, read_records
from pretune.text.read.sources import named_files
from pretune.text.read.values import mend_surrogates


def records_of(inputs: Mapping[str, Artifact], measuring: Measuring) -> Iterator[Read]:
    """The records of all raw files; none of what goes into quarantine, of other corpora and of schemes."""
    for place, artifact in inputs.items():
        if not artifact.scheme and artifact.is_raw:
            for name, path in named_files(artifact):
                yield from _of_file(RawFile(source_of(place, artifact), name, path), measuring)


def _of_file(file: RawFile, measuring: Measuring) -> Iterator[Read]:
    if file.path.stat().st_size == 0:
        return
    where = file.path.as_posix()
    with reading(file, measuring, Tally()) as of:
        for number, record, column in numbered_in(of, read_records(file.path, of.repairs)):
            yield Read(file.path, where, number, record, partial(_made, of, number, record, column))


def _made(of: Reading, number: int, record: Record, column: str) -> Json:
    """What the corpus has of a record: its text, cleaned, and where it is from."""
    origin = mend_surrogates(f"{of.file.name}#{number}")
    try:
        own, text = text_in(replace(of, repairs=Repairs(quarantine=[])), number, record, column)
    except UserError:  # it goes into quarantine
        return {"origin": origin}
    text = cleaned(mend_surrogates(text), of.measuring.clean, Counter())
    return {own: text, "text": text, "origin": origin}
