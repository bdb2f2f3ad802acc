"""What is piped in becomes a file that says what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretune.base.errors import BadCommand, EmptyInput
from pretune.text.read.piped import spooled
from pretune.text.read.readers import read_records

LINES = "".join(json.dumps({"text": f"第{k}行 and some text that is long enough"}) + "\n" for k in range(3)).encode()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["a text", "又一个"]}), buffer)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a text\n")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"a text\n"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "suffix", "count"),
    [
        (LINES, ".jsonl", 3),
        (b"\xef\xbb\xbf" + LINES, ".jsonl", 3),
        (LINES.decode().encode("utf-16"), ".jsonl", 3),
        (LINES.decode().encode("utf-16-be"), ".jsonl", 3),
        (gzip.compress(LINES.decode().encode("gb18030")), ".jsonl.gz", 3),
        (LINES[:-4] + b"\xff" + LINES[-4:], ".jsonl", 3),
        ("<html><body><p>Words of a page.</p></body></html>".encode("utf-16"), ".html", 1),
        (json.dumps([{"text": "a"}, {"text": "b"}], indent=1).encode(), ".json", 2),
        (json.dumps({"text": "a"}, indent=1).encode(), ".json", 1),
        (b'{"text": "' + b"x" * 200_000 + b'"}\n', ".jsonl", 1),
        (gzip.compress(LINES), ".jsonl.gz", 3),
        (bz2.compress(LINES), ".jsonl.bz2", 3),
        (lzma.compress("一些文字\n".encode()), ".txt.xz", 1),
        (parquet(), ".parquet", 2),
        (zipped(), ".zip", 1),
        (tarred(), ".tar", 1),
        (gzip.compress(tarred()), ".tar.gz", 1),
        (b"<!DOCTYPE html><html><body><p>Some text of a page, long enough to be one.</p></body></html>", ".html", 1),
        ("就是文字。\nPlain text.\n".encode(), ".txt", 1),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,  # gzip and zip write the time
)
def test_the_first_bytes_tell_the_format_and_the_reader_reads_it(tmp_path, content, suffix, count):
    path = spooled(io.BytesIO(content), str(tmp_path / "out"))
    assert path == tmp_path / f"out.stdin{suffix}"
    assert path.read_bytes() == content
    assert len(list(read_records(path))) == count
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_damaged_packing_is_kept_for_the_reader_to_tell(tmp_path):
    path = spooled(io.BytesIO(gzip.compress(LINES)[:12]), str(tmp_path / "out"))
    assert path.name == "out.stdin.txt.gz"


def test_nothing_and_a_terminal_are_told(tmp_path):
    with pytest.raises(EmptyInput, match="nothing was piped in"):
        spooled(io.BytesIO(b""), str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
    terminal = io.BytesIO(b"x")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.raises(BadCommand, match="piped in"):
        spooled(terminal, str(tmp_path / "out"))


def run(folder: Path, *arguments: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pretune", "corpus", *arguments, "filters=", "validation=0", "test=0"]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)


def test_the_command_reads_a_pipe_and_the_same_bytes_again_change_nothing(tmp_path):
    first = run(tmp_path, "-", "--out", "c", given=LINES)
    assert first.returncode == 0, first.stderr.decode()
    assert b"what was piped in lies in c.stdin.jsonl" in first.stderr
    assert json.loads((tmp_path / "c" / "artifact.json").read_text(encoding="utf-8"))["metrics"]["documents"] == 3
    again = run(tmp_path, "-", "--out", "c", given=LINES)
    assert again.returncode == 0 and b"current" in again.stderr + again.stdout
    twice = run(tmp_path, "-", "-", "--out", "c", given=LINES)
    assert twice.returncode == 2 and b"given twice" in twice.stderr
