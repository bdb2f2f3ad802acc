"""What raw files would be read as, by their first records: labelled data of a shape, or text.

It is stage dataset that decides (its formats, its shapes, its columns), so what `pretune new` writes is what runs.
Files are labelled data if at least half of their bytes are: one table in a folder of pages is a page like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pretune.base.artifact import Artifact
from pretune.base.errors import NoSuchColumn, UserError
from pretune.text.dataset.shapes.choosing import Opened, open_records
from pretune.text.dataset.shapes.converter import Notes
from pretune.text.dataset.shapes.files import LabelledFile, is_labelled, sources_of, unpacked
from pretune.text.read import sources
from pretune.text.read.columns import FIRST, text_column
from pretune.text.read.readers import Repairs, read_records

LARGEST = 20
"""So many sources, and so many members of an archive, are looked at."""

UNNAMED = (
    "call it text (and the other label) in the file, or name it to the stage: `pretune corpus FILE text=COLUMN`, "
    "`pretune dataset FILE text=COLUMN label=COLUMN`"
)


@dataclass(frozen=True)
class Recognised:
    """What files are read as.

    Args:
        shape: of labelled data, "" for text.
        read_as: the columns of the largest file and what they are read as.
    """

    shape: str = ""
    read_as: str = ""


def recognised(artifact: Artifact) -> Recognised:
    """What stage dataset would read these files as.

    Raises:
        UserError: none of them can be read, or they are tables in which no column could be a text.
    """
    with TemporaryDirectory() as folder:
        files = unpacked(sources.named_files(artifact), Path(folder), Repairs(quarantine=[]), most=LARGEST)
        try:
            found, rest = sources_of(files, where=artifact.path.as_posix())
        except NoSuchColumn:
            if errors := _mistakes([path for _, path in files]):
                raise errors[0] from None
            return Recognised()
        if not is_labelled(files):
            return Recognised()
        return _recognised(found, [dict(files)[name] for name in rest])


def _mistakes(paths: Sequence[Path]) -> list[UserError]:
    """Why none of the files can be read as text; empty if one can."""
    errors = []
    for path in paths[:LARGEST]:
        try:
            next(read_records(path), None)
        except UserError as error:
            errors.append(error)
        else:
            return []
    return errors


def _recognised(found: Sequence[LabelledFile], texts: Sequence[Path]) -> Recognised:
    """Labelled data if the tables that are make up half of all bytes; those that are not looked at count like these."""
    labelled: list[tuple[LabelledFile, Opened]] = []
    plain, errors = 0, []
    for source in sorted(found, key=lambda s: -s.num_bytes)[:LARGEST]:
        try:
            opened = _opened(source)
        except UserError as error:
            errors.append(error)
            continue
        if opened is None:
            plain += source.num_bytes
        else:
            labelled.append((source, opened))
    if errors and not labelled and not plain and (not texts or _mistakes(texts)):
        raise NoSuchColumn(errors[0].problem, hint=UNNAMED) if isinstance(errors[0], NoSuchColumn) else errors[0]
    size = sum(source.num_bytes for source, _ in labelled)
    share = size / (size + plain) if size else 0.0
    tables = sum(source.num_bytes for source in found)
    if not labelled or 2 * share * tables < tables + sum(path.stat().st_size for path in texts):
        return Recognised()
    return Recognised(labelled[0][1].shape, labelled[0][1].read_as)


def _opened(source: LabelledFile) -> Opened | None:
    """How a source is read as labelled data; None for text: a scored one, or a book in two languages, is one as well.

    Raises:
        UserError: what reading raises; NoSuchColumn where there is not even a text.
    """
    try:
        opened = open_records(source.read(Repairs()), where=source.name, shape="auto", given={}, notes=Notes())
    except NoSuchColumn:
        records = source.read(Repairs(quarantine=[]))
        text_column(list(islice(records, FIRST)), given=None, where=source.name)
        return None
    is_text = opened is None or opened.shape == "score" or (opened.shape == "pair" and source.is_parallel)
    return None if is_text else opened
