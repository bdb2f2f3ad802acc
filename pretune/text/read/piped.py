"""What another program pipes in: `zcat dump.gz | pretune corpus - --out runs/corpus`.

The bytes are written next to the output, under a suffix that says what they are, and are an input like any other from
then on: a run that was stopped goes on, and the same bytes again change nothing.

    stdin -> OUT.stdin.partial -> first bytes: packing, format -> OUT.stdin.jsonl.gz
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import BinaryIO

from pretune.base.errors import BadCommand, EmptyInput, UserError
from pretune.text.read.encoding import detect
from pretune.text.read.formats.record import open_bytes

HEAD_BYTES = 1 << 16
PACKINGS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
FORMATS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"PK\x03\x04": ".zip", b"%PDF-": ".pdf", b"WARC/": ".warc"}
MARKUP = {b"<!doctype html": ".html", b"<html": ".html", b"<mediawiki": ".xml", b"<?xml": ".xml"}


def spooled(stream: BinaryIO, out: str) -> Path:
    """Write what the stream holds to `OUT.stdin.SUFFIX`; a file that is there already is replaced.

    Raises:
        BadCommand: the stream is a terminal; EmptyInput: nothing came.
    """
    if stream.isatty():
        hint = "pipe something into it: cat a.jsonl | pretune corpus - --out NAME"
        raise BadCommand("`-` stands for what is piped in, and nothing is", hint=hint)
    partial = Path(f"{out}.stdin.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    if not partial.stat().st_size:
        partial.unlink()
        raise EmptyInput("nothing was piped in", hint="does the command before the pipe print anything?")
    return partial.replace(f"{out}.stdin{_suffix(partial)}")


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    packing = next((suffix for magic, suffix in PACKINGS.items() if head.startswith(magic)), "")
    if not packing:
        return _format(head)
    packed = path.rename(path.with_suffix(packing))  # for the unpacker, which goes by the name
    try:
        with open_bytes(packed) as stream:
            return _format(stream.read(HEAD_BYTES)) + packing
    except UserError:  # damaged, or its library is missing: reading says so
        return f".txt{packing}"
    finally:
        packed.rename(path)


def _format(head: bytes) -> str:
    """The suffix of a format by the first bytes of a file; .txt if nothing else fits."""
    if head[257:262] == b"ustar":
        return ".tar"
    found = next((suffix for magic, suffix in FORMATS.items() if head.startswith(magic)), None)
    if found:
        return found
    text = _in_utf8(head).lstrip()
    if text[:1] in (b"{", b"["):
        return ".jsonl" if _is_line(text) else ".json"
    return next((suffix for start, suffix in MARKUP.items() if text[:20].lower().startswith(start)), ".txt")


def _in_utf8(head: bytes) -> bytes:
    """The first bytes of a text, without a BOM and in one encoding; those of no text as they are."""
    try:
        return head.decode(detect(io.BytesIO(head), "-"), errors="ignore").encode(errors="ignore")
    except UserError:
        return head


def _is_line(text: bytes) -> bool:
    """Whether the first line is an object by itself, or goes on beyond what was read."""
    line, end, _ = text.partition(b"\n")
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return not end and text[:1] == b"{"
