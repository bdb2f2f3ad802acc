"""JSON lines: one object (or text) a line; a line in another encoding costs only itself. Passed over are blank lines,
and the brackets and commas of an array that was written under this name, one record a line.

    a.jsonl -> stretches of whole lines (bytes) -> records

A stretch knows the number of its first line, so any process can parse any stretch, and a record is numbered by its
line: mending one moves no other.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pretune.base.errors import BadFile, NotText, UserError
from pretune.text.read.encoding import BROKEN, SAMPLE_BYTES, damage_of, detect
from pretune.text.read.formats.record import ZEROS, Record, Repairs, lines_of, open_bytes

JSON = json.JSONDecoder(parse_constant=lambda name: None)
"""NaN and Infinity, which are no JSON but what Python writes for a missing number, are nothing."""
JSON_LINES = (".jsonl", ".ndjson")
NO_RECORD = ("", "[", "]")
"""A blank line, and what an array has in front and behind that was written under this name, one record a line."""
BLOCK_BYTES = 1 << 18

Sound = Literal["", "mixed", "ascii", "utf-8"]
"""utf-8; ascii: no other character so far, so each line is judged by itself; mixed: lines with broken bytes are
refused; "": another encoding, lines that end as on old Macs, or no JSON at all."""


@dataclass(frozen=True)
class Stretch:
    """Whole lines of a file.

    Args:
        first: number of the first line, from 0.
        sound: what the file's beginning says of its encoding.
    """

    content: bytes
    first: int
    sound: Sound


def read_jsonl(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One JSON object (or text) a line."""
    sound = soundness(path)
    if not sound:
        yield from _records(lines_of(path, repairs), 0, path.as_posix(), repairs)
        return
    with open_bytes(path) as stream:
        lines = (line.removeprefix(codecs.BOM_UTF8) if k == 0 else line for k, line in enumerate(stream))
        yield from _records(_texts(lines, sound, repairs), 0, path.as_posix(), repairs)


def stretch_records(stretch: Stretch, name: str, repairs: Repairs) -> Iterator[Record]:
    """The records of a stretch; `repairs.passed_over` grows by its lines that gave none, as each record comes."""
    yield from _records(_texts(io.BytesIO(stretch.content), stretch.sound, repairs), stretch.first, name, repairs)


def stretches(path: Path, num_bytes: int, sound: Sound) -> Iterator[Stretch]:
    """The file as stretches of about so many bytes; of a damaged archive, the lines before the damage.

    Raises:
        BadFile: a damaged archive, after its good lines.
    """
    first = 0
    with open_bytes(path) as stream:
        for content in _whole_lines(stream, num_bytes):
            yield Stretch(content if first else content.removeprefix(codecs.BOM_UTF8), first, sound)
            first += content.count(b"\n")


def _whole_lines(stream: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    held, damage = bytearray(), None
    try:
        while block := stream.read1(min(BLOCK_BYTES, num_bytes)):  # type: ignore[attr-defined]
            held += block
            if len(held) >= num_bytes and b"\n" in block:
                end = len(held) - len(block) + block.rindex(b"\n") + 1
                yield bytes(held[:end])
                del held[:end]
    except Exception as error:  # what is behind the last end of a line is cut, too
        damage = error
        del held[held.rfind(b"\n") + 1 :]
    if held:
        yield bytes(held)
    if damage:
        raise damage


def soundness(path: Path) -> Sound:
    """What a file's beginning says of its encoding."""
    with open_bytes(path) as stream:
        sample = next(_whole_lines(stream, SAMPLE_BYTES), b"")
    if b"\r" in sample and b"\n" not in sample:
        return ""
    if sample.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in (b"{", b"[", b'"'):
        return ""
    try:
        found = detect(io.BytesIO(sample), path.as_posix())
    except NotText:
        return "" if sample.count(0) * 1000 > len(sample) else "mixed"
    if not found.startswith("utf-8"):
        return ""
    return "ascii" if sample.decode("utf-8", errors="ignore").isascii() else "utf-8"


def plain_record(item: object, where: str) -> Record:
    """What was parsed, as a record; raises BadFile for what is neither an object nor a text."""
    if isinstance(item, str):
        return {"text": item}
    if not isinstance(item, dict):
        raise BadFile(f"{where} is {type(item).__name__}, not an object", hint='each must be like {"text": ...}')
    return item


# ---- lines --------------------------------------------------------------------------------------


def _records(lines: Iterable[bytes | str], first: int, name: str, repairs: Repairs) -> Iterator[Record]:
    for number, line in enumerate(lines, first + 1):
        try:
            text = _line_text(line, name, number) if isinstance(line, bytes) else line
            if text.strip() in NO_RECORD:
                repairs.passed_over += 1
                continue
            record = _parse(text, name, number)
            if not isinstance(record, dict):
                record = plain_record(record, f"{name}:{number}")
        except UserError as error:
            repairs.refuse(error, f"{name}:{number}")
            continue
        yield record


def _texts(lines: Iterable[bytes], sound: Sound, repairs: Repairs) -> Iterable[bytes | str]:
    """Lines: text, or bytes that are in another encoding."""
    return (_mended(line, sound, repairs) for line in lines)


def _mended(line: bytes, sound: Sound, repairs: Repairs) -> bytes | str:
    """The line; damage is mended and counted."""
    if b"\0" in line:
        repairs.mend(ZEROS, line.count(0))
        line = line.replace(b"\0", b"")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        if sound == "mixed" or (sound == "ascii" and damage_of(line).codec != "utf-8"):
            return line
        text, broken = BROKEN.subn("\ufffd", line.decode("utf-8", errors="surrogateescape"))
    repairs.broken += broken
    return text


def _line_text(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotText(f"{name}:{number} is not UTF-8: {error.reason}", hint="mend or delete this line") from None


def _parse(line: str, name: str, number: int) -> object:
    try:
        return JSON.decode(line)
    except (ValueError, RecursionError) as error:
        if line.rstrip().endswith("},"):  # a line of an array
            return _parse(line.rstrip()[:-1], name, number)
        raise BadFile(f"{name}:{number} is not JSON: {error}", hint="mend or delete this line") from None
