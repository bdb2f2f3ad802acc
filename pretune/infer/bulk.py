"""Answers to a file of any length: in windows, in order, and gone on with where a run was stopped.

    a.jsonl ──▶ 2,048 texts ──▶ answers ──▶ b.jsonl.scratch/answers ──▶ b.jsonl
                                    └─────▶ b.jsonl.scratch/journal  ──▶ b.jsonl.journal

Within a window texts are answered from the short to the long, so that rows of like length run together, and written
in the order of the file. Whether a run was stopped or not, windows begin at the same rows: the same texts run
together, to the same bytes. The journal says which rows and bytes are safe on the disk, and of which input, model and
settings they come; memory holds one window.

The price: the input is read three times: for its digest; for its length and every mistake in it, before the first
answer; and for the answers.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, TypeAlias

import xxhash

from pretune.base.digest import digest, file_digests, read_digest
from pretune.base.errors import BadFile, Changed, OtherAnswers
from pretune.base.json import Json, JsonMap
from pretune.base.log import Log
from pretune.base.staging import Workspace, beside, disk_errors, fsync, scratch_key, write_durably
from pretune.infer.answers import Answer, Given, Text, failure, shown_given
from pretune.infer.engine import by_length
from pretune.infer.explain import Explanation, explain
from pretune.infer.given import as_file, check_output, given_in
from pretune.infer.predictor import Advance, Predictor, unheard

Answering: TypeAlias = Callable[[Sequence[Given], Advance], Sequence[Answer | Explanation]]

WINDOW, WRITTEN, EXPLAINED = 2048, 256, 16
"""Rows of a window: of a model that reads, of one that writes, and of answers that are explained. A run that is
stopped loses one window."""
BLOCK = 1 << 22
MORE = "more"
"""The column of a csv for what the first window had no column for, as JSON."""


@dataclass(frozen=True)
class Journal:
    """What is safe on the disk.

    Args:
        about: all that the answers depend on, by name.
        rows: of the input that are answered; `failed`: of them, that have no answer.
        bytes: of the answers; `digest`: theirs.
        columns: of a csv.
    """

    about: Json
    rows: int = 0
    failed: int = 0
    bytes: int = 0
    digest: str = ""
    columns: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return digest(self.about)

    def write(self, path: Path) -> None:
        write_durably(path, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """The journal at a place; None where there is none that can be read."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        return None


def answer_file(
    model: Predictor,
    model_id: str,
    source: Path | None,
    output: Path,
    *,
    first: Sequence[Given] = (),
    column: str | None = None,
    max_tokens: int = 256,
    explained: bool = False,
    log: Log,
) -> Journal:
    """Write the answer to each input in a file to another: csv by its suffix, else one JSON object a line.

    A row that cannot be answered (a prompt longer than the model's window) has its reason under `error`; such rows
    are counted in the journal and in a warning.

    Args:
        model_id: digest of the model.
        first: inputs in front of those of the file.
        column: where the texts of a table stand.

    Raises:
        OtherAnswers: the output was begun, or made, of another input, by another model or with other settings.
        Changed: the output is not as it was left. Locked: another process writes it. Else as `given_in` and
            `check_output`.
    """
    check_output(output)
    size = EXPLAINED if explained else WRITTEN if model.gives is Text else WINDOW
    settings = {"column": column, "max_tokens": max_tokens, "explain": explained, "window": size}
    with ExitStack() as stack:
        file = None if source is None else stack.enter_context(as_file(source))
        if file is not None and output.exists() and output.samefile(file):
            raise BadFile(f"{output.as_posix()!r} is the input", hint="name another file for the answers")
        digests = {"texts": digest(first), "input": file and file_digests({"": file})[""], "model": model_id}

        def read(log: Log) -> Iterator[Given]:
            rest = () if file is None else given_in(file, model.gives.reads, column, tell=log.info, warn=log.warn)
            return chain(first, rest)

        def answer(window: Sequence[Given], advance: Advance) -> Sequence[Answer | Explanation]:
            if not explained:
                return in_order(model, window, max_tokens, advance)
            advance(len(window))
            return explain(model, window)

        return _answered(read, answer, output, Journal({**digests, **settings}), log)


def _answered(
    read: Callable[[Log], Iterator[Given]], answer: Answering, output: Path, fresh: Journal, log: Log
) -> Journal:
    if (done := finished(output, fresh)) is not None:
        log.info(f"{output.as_posix()} holds the answers to these {done.rows:,} rows already: nothing to do")
        return done
    total = sum(1 for _ in read(log))
    with Workspace(output, fresh.key).opened() as work, disk_errors():
        if (done := finished(output, fresh)) is not None:  # another process was done between the look and the lock
            return done
        writer = Writer(work.scratch, Journal.read(work.scratch / "journal") or fresh, is_csv=is_csv(output))
        with writer.opened() as file, log.progress("answers", total=total, unit="rows") as bar:
            bar.start_at(writer.journal.rows)
            rest = islice(read(Log(silent=True)), writer.journal.rows, None)
            while window := list(islice(rest, fresh.about["window"])):
                writer.add(file, window, answer(window, bar.advance))
        writer.publish(output)
    if failed := writer.journal.failed:
        log.warn(f"{failed:,} of {total:,} rows have no answer; each says why under `error`")
    return writer.journal


def in_order(model: Predictor, window: Sequence[Given], max_tokens: int, advance: Advance = unheard) -> list[Answer]:
    """The answers to a window, made from its shortest input to its longest. What cannot be answered is empty."""

    def run(inputs: Sequence[Given]) -> list[Answer]:
        return model.answer(inputs, max_tokens=max_tokens, strict=False, advance=advance)

    return by_length(window, run, at_once=len(window), size=num_characters)


def num_characters(given: Given) -> int:
    """Of all texts of an input, those of its messages and tools too."""
    return _characters(shown_given(given))


def _characters(tree: object) -> int:
    if isinstance(tree, str):
        return len(tree)
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list | tuple) else ()
    return sum(map(_characters, parts))


def finished(output: Path, fresh: Journal) -> Journal | None:
    """The journal of an output that has these answers, whole; None where there is something to do.

    Raises:
        OtherAnswers, Changed.
    """
    scratch = beside(output, ".scratch")
    begun = Journal.read(scratch / "journal")  # without one no answer is safe, and none would be lost
    if begun is not None and begun.key != fresh.key:
        raise _other(output, "was begun", begun, fresh)
    made = Journal.read(beside(output, ".journal"))
    if made is None or not output.is_file():
        return None
    if made.key != fresh.key:
        raise _other(output, "was made", made, fresh)
    if read_digest(output) == made.digest:
        shutil.rmtree(scratch, ignore_errors=True)
        return made
    if scratch_key(output) is None:
        hint = f"delete it to answer again, or keep it and delete {output.name}.journal"
        raise Changed(f"{output.as_posix()} was changed after it was made", hint=hint)
    return None


def _other(output: Path, what: str, old: Journal, fresh: Journal) -> OtherAnswers:
    """It names what differs; settings with their values."""
    unlike = [name for name, value in fresh.about.items() if old.about.get(name) != value]
    told = [name if name in ("texts", "input", "model") else f"{name}={old.about.get(name)}" for name in unlike]
    gone = f"{output.name}.scratch" if what == "was begun" else f"{output.name} and {output.name}.journal"
    problem = f"{output.as_posix()!r} {what} with another {', '.join(told)}"
    return OtherAnswers(problem, hint=f"choose another --output, give what was given then, or delete {gone}")


class Writer:
    """Appends windows of answers, and says in the journal what is safe."""

    def __init__(self, scratch: Path, journal: Journal, *, is_csv: bool):
        self.scratch, self.journal, self.is_csv = scratch, journal, is_csv
        self.answers, self.hash = scratch / "answers", xxhash.xxh3_128()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file of answers, to be gone on with; what is not in the journal is cut off. Raises Changed."""
        self.answers.touch()
        with self.answers.open("r+b") as file:
            for start in range(0, self.journal.bytes, BLOCK):
                self.hash.update(file.read(min(BLOCK, self.journal.bytes - start)))
            if self.journal.bytes and self.hash.hexdigest() != self.journal.digest:
                hint = f"delete {self.scratch.name} and answer again"
                raise Changed(f"{self.answers.as_posix()} is not as it was left", hint=hint)
            file.truncate()
            yield file

    def add(self, file: BinaryIO, window: Sequence[Given], answers: Sequence[Answer | Explanation]) -> None:
        """Write a window; when the journal says so it is on the disk."""
        rows = [row_of(*one) for one in zip(window, answers, strict=True)]
        columns = self.journal.columns or [*dict.fromkeys(name for row in rows for name in row), MORE]
        data = (_csv(rows, columns, head=not self.journal.rows) if self.is_csv else _lines(rows)).encode()
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        self.hash.update(data)
        self.journal = replace(
            self.journal,
            rows=self.journal.rows + len(rows),
            failed=self.journal.failed + sum("error" in row for row in rows),
            bytes=self.journal.bytes + len(data),
            digest=self.hash.hexdigest(),
            columns=columns if self.is_csv else [],
        )
        self.journal.write(self.scratch / "journal")

    def publish(self, output: Path) -> None:
        """The answers to their place, their journal next to them. What a kill leaves undone the next run does."""
        self.journal.write(beside(output, ".journal"))
        self.answers.replace(output)
        fsync(output.parent)
        shutil.rmtree(self.scratch, ignore_errors=True)


def row_of(given: Given, answer: Answer | Explanation) -> Json:
    """What was asked and what was answered; or why nothing was."""
    error = failure(answer) if isinstance(answer, Answer) else None
    return {**shown_given(given), **answer.to_json(), **({"error": error} if error else {})}


def is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _lines(rows: Sequence[JsonMap]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: Sequence[JsonMap], columns: Sequence[str], *, head: bool) -> str:
    """Rows of a csv: texts as they are, all else as JSON; what has no column stands together in the last."""
    lines = [_csv_line(columns)] if head else []
    for row in rows:
        spilled = {name: value for name, value in row.items() if name not in columns}
        whole = {**row, MORE: spilled or None}
        lines.append(_csv_line([_cell(whole.get(name)) for name in columns]))
    return "".join(lines)


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # a lone \r is quoted only where it is in what ends lines
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
