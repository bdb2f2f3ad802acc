"""The raw records of a corpus as its stage reads them, for `pretune forget`: each next to the text it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.text.clean.cleaners import cleaned
from pretune.text.corpus.documents import Measuring, RawFile, Tally, numbered_in, reading, text_in
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
    tally, where = Tally(), file.path.as_posix()
    with reading(file, tally) as repairs:
        records = read_records(file.path, repairs)
        for number, record, column in numbered_in(file, records, measuring, repairs, tally):
            yield Read(file.path, where, number, record, partial(_made, file, number, record, column, measuring))


def _made(file: RawFile, number: int, record: Record, column: str, measuring: Measuring) -> Json:
    """What the corpus has of a record: its text, cleaned, and where it is from."""
    origin = mend_surrogates(f"{file.name}#{number}")
    try:
        own, text = text_in(file, number, record, column, measuring, Repairs(quarantine=[]))
    except UserError:  # it goes into quarantine
        return {"origin": origin}
    text = cleaned(mend_surrogates(text), measuring.clean, Counter())
    return {own: text, "text": text, "origin": origin}
