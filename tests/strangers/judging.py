"""A case is given to the command line as a user would, and what comes out is held against the right readings.

right      what a careful reader reads, with a word where one is due
refused    an error of ours that says what to do now
wrong      anything else that ended well: a row lost or changed without a word
unclear    an error of ours without a hint
crashed    any other exception
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from click import ClickException
from click.testing import CliRunner

from pretune.base.errors import PretuneError
from pretune.cli import cli
from tests.strangers.draft import texts_in
from tests.strangers.drawing import Case
from tests.strangers.reading import plain

VERDICTS = ("right", "refused", "wrong", "unclear", "crashed")
OF_OTHERS = ("the doctor found", "labels that are not in train", "written:")
"""Warnings that have nothing to do with reading."""
TOLD = ("dropped", "mended", "repaired", "quarantined", "left_alone", "surrogates_mended")
"""Figures of a card that tell what reading did."""
ALIKE = ("max_overlap=null", "validation=0", "test=0")
"""The grammar's sentences share pieces, and a single document gives its tail; both have tests of their own."""
Output = tuple[str | None, Any]
"""(split, example) as a reading is written."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case; `why` says what differs, or the error."""

    name: str
    why: str = ""
    read: tuple[Output, ...] = ()


def judge(case: Case, *, model: Path | None = None) -> Verdict:
    """Write the case's files into a folder of its own, run the command, compare.

    Args:
        model: what `predict` is given.
    """
    with TemporaryDirectory() as folder, chdir(folder):
        write(case, Path())
        try:
            told, read = _VERBS[case.verb](case, model)
        except PretuneError as error:
            return Verdict("refused" if error.hint else "unclear", str(error))
        except ClickException as error:
            return Verdict("refused", error.message)
        except Exception:
            return Verdict("crashed", traceback.format_exc(limit=-4))
    if isinstance(read, str):
        is_right = read == _answer(case) or (case.verb == "check" and read == "files" and _may_be_text(case))
        return Verdict("right" if is_right else "wrong", f"{read!r}, not {_answer(case)!r}")
    why = difference(case, read, told=told)
    return Verdict("wrong" if why else "right", why, tuple(read))


def write(case: Case, folder: Path) -> None:
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _is_told(result: Any, metrics: dict[str, Any]) -> bool:
    lines = [line for line in result.stderr.splitlines() if not any(other in line for other in OF_OTHERS)]
    return any("warning:" in line for line in lines) or any(metrics.get(name) for name in TOLD)


# ---- what each verb read --------------------------------------------------------------------------


def _dataset(case: Case, model: Path | None) -> tuple[bool, Sequence[Output]]:
    from pretune.base.artifact import Artifact
    from pretune.text.dataset.example import read_split
    from pretune.text.read.split import SPLITS

    result = _invoke("dataset", _path(case), "--out", "made", "--quiet")
    read = [(split, example_read(one)) for split in SPLITS for one in read_split(Path("made"), split)]
    return _is_told(result, Artifact.open("made").card.metrics), read


def example_read(example: Any) -> Any:
    """An example as a reading is written."""
    from pretune.text.dataset import example as shapes

    if isinstance(example, shapes.Labelled):
        found: Any = (example.text, example.label, *([example.second] if example.second else []))
    elif isinstance(example, shapes.MultiLabelled):
        found = (example.text, tuple(example.labels))
    elif isinstance(example, shapes.Dialogue):
        found = tuple((m.role, m.content) if m.learnt else (m.role, m.content, "not learnt") for m in example.messages)
    elif isinstance(example, shapes.Tagged):
        found = (tuple(example.tokens), tuple(example.tags))
    elif isinstance(example, shapes.Pair):
        found = (example.source, tuple(example.targets))
    elif isinstance(example, shapes.ScoredText):
        found = (example.text, example.second, example.score)
    else:
        found = ("shape", type(example).__name__, repr(example))
    return texts_in(found, plain)


def _corpus(case: Case, model: Path | None) -> tuple[bool, Sequence[Output]]:
    from pretune.base.artifact import Artifact
    from pretune.text.read.shards import read_rows
    from pretune.text.read.split import SPLITS

    result = _invoke("corpus", _path(case), "--out", "made", "--quiet", *ALIKE)
    rows = [row for split in SPLITS for row in read_rows(Path("made"), split, ["text"])]
    return _is_told(result, Artifact.open("made").card.metrics), [(None, plain(row["text"])) for row in rows]


def _predict(case: Case, model: Path | None) -> tuple[bool, Sequence[Output]]:
    result = _invoke("predict", str(model), "--input", case.given, "--json")
    return _is_told(result, {}), [(None, plain(row["text"])) for row in json.loads(result.stdout)]


def _new(case: Case, model: Path | None) -> tuple[bool, str]:
    import yaml

    result = _invoke("new", "mine", "--from", case.given)
    stages = yaml.safe_load(Path("mine.yaml").read_text(encoding="utf-8"))["stages"]
    first = next(iter(stages.values()))["kind"]
    return _is_told(result, {}), next((str(s["task"]) for s in stages.values() if "task" in s), str(first))


def _check(case: Case, model: Path | None) -> tuple[bool, str]:
    result = _invoke("check", _path(case), "--json")
    return True, "doctor" if "doctor" in json.loads(result.stdout) else "files"


def _path(case: Case) -> str:
    """As it is typed: `./a=b` for a path that looks like a setting."""
    return f"./{case.given}"


_VERBS = {"dataset": _dataset, "corpus": _corpus, "predict": _predict, "new": _new, "check": _check}


def _may_be_text(case: Case) -> bool:
    """Whether check may say that it sees no labels: folders may be just folders, and what is not read has none."""
    return case.form == "folder" or (case.form in ("tabs", "marked") and not case.readable)


def _answer(case: Case) -> str:
    """What new and check say of a file of this family."""
    if case.verb == "check":
        return "files" if case.family in ("documents", "texts") else "doctor"
    if case.family == "texts":
        return "classify" if any("label" in row.values for row in case.rows) else "corpus"
    if "lists written out" in case.odd:
        return "multilabel"
    return {"label": "classify", "dialogue": "chat", "documents": "corpus"}[case.family]


# ---- comparison -----------------------------------------------------------------------------------


def difference(case: Case, read: Sequence[Output], *, told: bool) -> str:
    """What differs from the right readings; "" for nothing."""
    left = list(read)
    train = ("train", "train" if any(row.split == "validation" for row in case.rows) else "validation")
    due = any(row.told for row in case.rows)
    for row in case.rows:
        found = _taken(row.readings or [], train if row.split == "train" else (row.split,), left)
        if found is None and row.readings and not row.optional:
            return f"lost or changed: {row.readings[0]!r}; read instead: {left[:3]!r}"
        due |= bool(row.readings) and found != 0
    if left:
        return f"read, and not there: {left[:3]!r}"
    return "" if told or not due else "nothing was said of what was left out or mended"


def _taken(readings: Sequence[Any], splits: Sequence[str | None], left: list[Output]) -> int | None:
    """Which of the readings is among what is left, in one of the splits (None: any); it is taken out."""
    for number, reading in enumerate(readings):
        for at, (place, one) in enumerate(left):
            if one == reading and (None in splits or place in (None, *splits)):
                del left[at]
                return number
    return None
