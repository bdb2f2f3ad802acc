"""Shape span: questions whose answers are in a context.

{"context": "...", "question": "...", "answers": [{"text": "1963年", "answer_start": 30}]}
{"context": "...", "question": "...", "answers": {"text": ["1963年"], "answer_start": [30]}}
{"context": "...", "question": "...", "answer": "1963年"}                  the first place where it is

SQuAD and CMRC files hold such records at some depth (trees.py). An answer that is not where it should be is put
at the nearest place where it is; one that is nowhere is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from pretune.text.dataset.example import Answer, Example, Question
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.dataset.spans import find_answer
from pretune.text.read.columns import Table
from pretune.text.read.values import kind_of, mend_surrogates, text_in, wrong

MOVED, ABSENT, SOUGHT = (
    "answers put where their text stands",
    "answers not in the context",
    "answers found by their text",
)


def has_questions(table: Table) -> bool:
    """A question and its context, with a column for answers that are text or places."""
    columns = [table.column(role) for role in ("question", "context", "answers")]
    values = table.values(columns[2])
    return None not in columns and len(set(columns)) == 3 and not any(type(v) in (bool, int, float) for v in values)


def read_questions(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Question."""
    question, context = table.need("question"), table.need("context")
    answers = table.need("answers")

    def convert(record: Record, origin: str) -> list[Example]:
        asked, said = text_in(record, question), text_in(record, context)
        if not asked.strip() or not said.strip():
            return notes.drop("empty question" if said.strip() else "empty context")
        given = [] if record.get("is_impossible") is True else list(_answers(record.get(answers), answers))
        found = [a for text, start in given if (a := _placed(said, text, start, notes)) is not None]
        if given and not found:
            return notes.drop("no answer that stands in the context")
        return [Question(asked, said, tuple(found), origin)]

    return convert, columns_read(question=question, context=context, answers=answers)


def _answers(value: object, column: str) -> Iterator[tuple[str, int | None]]:
    """(text, start or None) of each answer; one without text is none."""
    if isinstance(value, dict):
        texts = _list(value.get("text"))
        starts = value.get("answer_start", value.get("start", [None] * len(texts)))
        value = [{"text": t, "start": s} for t, s in zip(texts, _list(starts), strict=False)]
    for one in _list(value):
        if isinstance(one, dict):
            text, start = one.get("text"), one.get("answer_start", one.get("start"))
        else:
            text, start = one, None
        if not isinstance(text, str | None) or not isinstance(start, int | None):
            raise wrong(column, f"must hold texts and their places, not {kind_of(text)} at {start!r}")
        if text:
            yield mend_surrogates(text), start


def _list(value: object) -> list[object]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _placed(context: str, text: str, start: int | None, notes: Notes) -> Answer | None:
    if start is not None and start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    at = find_answer(context, text, max(start or 0, 0))
    notes.mend(ABSENT if at is None else SOUGHT if start is None or start < 0 else MOVED)
    return None if at is None else Answer(text, at)
