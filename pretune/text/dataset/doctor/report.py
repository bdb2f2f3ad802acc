"""Findings for people: lines of a terminal, and a page with the labels, the lengths and the rows to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pretune.base.json import JsonMap
from pretune.base.stage import Context
from pretune.report.drawing import Bar, length_bars
from pretune.report.numbers import count
from pretune.report.pages import write_page
from pretune.text.dataset.doctor.findings import LEVELS, Data, Finding, counted
from pretune.text.dataset.example import SHAPES
from pretune.text.dataset.shapes.files import FORMATS
from pretune.text.read.split import SPLITS

NO_LABELS = f"""\
labels   none seen, so nobody has looked at any; looked for: {FORMATS}
         text to pretrain on needs none; else write each line as text, tab, label, or as __label__LABEL text"""
"""What raw files get that are no labelled data."""
MOST_LABELS = 30
MARGIN = 30
"""Columns of the terminal before the words of a finding."""


def of_facts(facts: Iterable[JsonMap]) -> list[Finding]:
    """Findings that stand on a card."""
    return [Finding(**{**fact, "rows": tuple(fact["rows"]), "like": tuple(fact["like"])}) for fact in facts]


def summary(findings: Sequence[Finding]) -> str:
    """2 errors, 1 warning, 3 hints; or: nothing was found."""
    counts = Counter(f.level for f in findings)
    return ", ".join(counted(counts[level], level) for level in LEVELS if counts[level]) or "nothing was found"


def findings_text(findings: Sequence[Finding]) -> str:
    """A finding in three lines: how bad, its name and what it is; rows to look at; what to do."""
    lines: list[str] = []
    for f in findings:
        lines.append(f"{f.level:<9}{f.name:<{MARGIN - 9}}{f.problem}")
        if f.rows:
            lines.append(f"{'':<{MARGIN}}look at  {', '.join(f.looked_at)}{' ...' if f.count > len(f.rows) else ''}")
        lines.append(f"{'':<{MARGIN}}to do    {f.advice}")
    return "\n".join([*lines, f"the doctor: {summary(findings)}"])


# ---- the page -----------------------------------------------------------------------------------


def write_report(out: Path, data: Data, findings: Sequence[Finding], context: Context) -> None:
    """The page report.html, a note: labels and lengths by split, what was found, the rows to look at."""
    bars, rarer = _labels(data)
    verdict, mood = verdict_of(data, findings)
    write_page(
        out / "report.html",
        context,
        "dataset",
        "Dataset",
        verdict=verdict,
        mood=mood,
        text=f"Shape {data.shape}: " + ", ".join(f"{count(len(data.of_split(s)))} {s}" for s in SPLITS) + ".",
        found=[f.row() for f in findings],
        rows=_rows(data, findings),
        labels=bars,
        rarer=rarer,
        has_labels=SHAPES[data.shape].names is not None,
        lengths=length_bars({"": Counter(sum(len(t) for _, t in pieces).bit_length() for pieces in data.pieces)}),
    )


def verdict_of(data: Data, findings: Sequence[Finding]) -> tuple[str, str]:
    """Whether the data is sound, in a sentence, and the mood of it."""
    examples = counted(len(data.rows), "example")
    if findings and findings[0].level == "error":
        return f"Not sound: {findings[0].problem}; in all {summary(findings)} in {examples}.", "bad"
    return f"Sound: no errors in {examples}" + (f"; {summary(findings)} to look at." if findings else "."), "good"


def _rows(data: Data, findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The rows to look at, with their texts."""
    texts = {row.origin: data.fields.whole(row.example) for row in data.rows}
    return [
        {"finding": f.name, "row": origin, "text": texts.get(origin, "")}
        for f in findings
        for origin in dict.fromkeys([o for pair in zip(f.rows, f.like or f.rows, strict=True) for o in pair])
    ]


def _labels(data: Data) -> tuple[list[Bar], int]:
    """Rows of each label by split, the most frequent first, and how many labels are not shown; without labels, rows."""
    names = SHAPES[data.shape].names
    if names is None:
        return [Bar(split, len(data.of_split(split)), place) for place, split in enumerate(SPLITS)], 0
    counts = {split: Counter(n for row in data.of_split(split) for n in names(row.example)) for split in SPLITS}
    most = [n for n, _ in sum(counts.values(), Counter[str]()).most_common()]
    there = [split for split in SPLITS if counts[split]]
    bars = [
        Bar(f"{label} {split}" if split == there[0] else split, counts[split][label], SPLITS.index(split))
        for label in most[:MOST_LABELS]
        for split in there
    ]
    return bars, max(0, len(most) - MOST_LABELS)
