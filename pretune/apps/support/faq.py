"""An FAQ: questions with the answer that somebody gave, who is trusted before any passage.

A table with a question and an answer a row (csv, jsonl, parquet ...), or a dataset of dialogues; several questions may
have one answer. A column `intent` says which intent of the classifier the entry answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from pretune.apps.support.passages import Passage
from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile
from pretune.base.json import JsonMap
from pretune.text.read.columns import FIRST, Table
from pretune.text.read.readers import read_records
from pretune.text.read.shards import read_rows
from pretune.text.read.sources import named_files
from pretune.text.read.split import SPLITS
from pretune.text.read.values import text_in

TITLE = "FAQ"


def entries_of(artifact: Artifact) -> list[Passage]:
    """The entries of an FAQ.

    Raises:
        NoSuchColumn: no column could be the question, or the answer; BadFile: an answer is missing, or all are.
    """
    if artifact.card.kind == "dataset":
        rows = [row for split in SPLITS for row in read_rows(artifact.path, split) if row]
        found = [entry(*_turns(row), origin=str(row.get("origin", ""))) for row in rows]
    else:
        found = [one for name, path in named_files(artifact) for one in _of_table(name, read_records(path))]
    if not found:
        raise BadFile(f"the FAQ {artifact.path.as_posix()} has no entry", hint="a question and an answer a row")
    return found


def entry(question: str, answer: str, *, origin: str, intent: str = "") -> Passage:
    """An entry as a passage: its answer is what is shown."""
    return Passage(answer.strip(), TITLE, "", origin, 0, question.strip(), intent.strip())


def _of_table(name: str, records: Iterator[JsonMap]) -> Iterator[Passage]:
    head = list(islice(records, FIRST))
    table = Table(name, head, {}, stage="faq")
    asked, told = table.need("prompt"), table.need("reply")
    intent = table.names.get("intent")
    empty = list[str]()
    for number, row in enumerate(chain(head, records)):
        question, answer = text_in(row, asked), text_in(row, told)
        if question.strip() and not answer.strip():
            empty.append(f"#{number} {question[:60]!r}")
        elif question.strip():
            yield entry(question, answer, origin=f"{name}#{number}", intent=text_in(row, intent) if intent else "")
    if empty:
        told_first = ", ".join(empty[:3]) + (" ..." if len(empty) > 3 else "")
        hint = "write the answers, or take the questions out"
        raise BadFile(f"{len(empty)} questions of {name} have no answer: {told_first}", hint=hint)


def _turns(row: JsonMap) -> tuple[str, str]:
    """The first question of a dialogue, and what was answered."""
    messages: Sequence[JsonMap] = row.get("messages") or ()
    asked = next((m["content"] for m in messages if m["role"] == "user"), "")
    told = next((m["content"] for m in messages if m["role"] == "assistant"), "")
    if not asked or not told:
        raise BadFile("an FAQ from a dataset needs dialogues: a question and its answer", hint="shape=dialogue")
    return str(asked), str(told)
