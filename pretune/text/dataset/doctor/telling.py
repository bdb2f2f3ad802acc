"""Findings for people: lines of a terminal, and a page with the labels, the lengths and the rows to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pretune.base.drawing import Bar, bar_chart
from pretune.base.page import page, shortened, table
from pretune.text.dataset.doctor.findings import LEVELS, Data, Finding, counted
from pretune.text.dataset.example import SHAPES
from pretune.text.dataset.shapes.files import FORMATS
from pretune.text.read.split import SPLITS

NO_LABELS = f"""\
labels   none seen, so nobody has looked at any; looked for: {FORMATS}
         text to pretrain on needs none; else write each line as text, tab, label, or as __label__LABEL text"""
"""What is told of raw files that are no labelled data."""
MOST_LABELS = 30
MARGIN = 30
"""Columns of the terminal before the words of a finding."""


def of_facts(facts: Iterable[Mapping[str, Any]]) -> list[Finding]:
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
            lines.append(f"{'':<{MARGIN}}look at  {', '.join(_looked_at(f))}{' ...' if f.count > len(f.rows) else ''}")
        lines.append(f"{'':<{MARGIN}}to do    {f.advice}")
    return "\n".join([*lines, f"the doctor: {summary(findings)}"])


def _looked_at(finding: Finding) -> list[str]:
    """Origins, each with the row it is like."""
    like = finding.like or ("",) * len(finding.rows)
    return [f"{row} (like {twin})" if twin else row for row, twin in zip(finding.rows, like, strict=True)]


# ---- the page -----------------------------------------------------------------------------------


def report(data: Data, findings: Sequence[Finding], command: str) -> str:
    """The page of a dataset: labels and lengths by split, what was found, the rows to look at."""
    sizes = {split: len(data.of_split(split)) for split in SPLITS}
    text = f"{counted(len(data.rows), 'example')} of shape {data.shape}: " + ", ".join(
        f"{n:,} {split}" for split, n in sizes.items()
    )
    return page("Dataset", [_found(data, findings), _labels(data), _lengths(data)], "", command, text=text + ".")


def findings_section(findings: Sequence[Finding], title: str = "What the doctor found") -> str:
    """A table of findings, as HTML; without the texts of rows."""
    head = ["", "finding", "what", "rows to look at", "what to do"]
    rows = [[f.level, f.name, f.problem, ", ".join(_looked_at(f)), f.advice] for f in findings]
    return f"<section><h2>{escape(title)}</h2>{table(head, rows) if rows else '<p>Nothing.</p>'}</section>"


def _found(data: Data, findings: Sequence[Finding]) -> str:
    texts = {row.origin: data.fields.whole(row.example) for row in data.rows}
    shown = [
        [f.name, origin, shortened(texts.get(origin, ""))]
        for f in findings
        for origin in dict.fromkeys([o for pair in zip(f.rows, f.like or f.rows, strict=True) for o in pair])
    ]
    looked = f"<section><h2>Rows to look at</h2>{table(['finding', 'row', 'text'], shown)}</section>" if shown else ""
    return findings_section(findings) + looked


def _labels(data: Data) -> str:
    """Rows of each label by split, the most frequent first; rows of each split where there are no labels."""
    names = SHAPES[data.shape].names
    if names is None:
        bars = [Bar(split, len(data.of_split(split)), is_model=split == "train") for split in SPLITS]
        return f"<section><h2>Examples</h2>{bar_chart(bars)}</section>"
    counts = {split: Counter(n for row in data.of_split(split) for n in names(row.example)) for split in SPLITS}
    most = [n for n, _ in sum(counts.values(), Counter[str]()).most_common()]
    there = [split for split in SPLITS if counts[split]]
    bars = [
        Bar(f"{label} {split}" if split == there[0] else split, counts[split][label], is_model=split == "train")
        for label in most[:MOST_LABELS]
        for split in there
    ]
    rest = f"<p>and {len(most) - MOST_LABELS} rarer labels</p>" if len(most) > MOST_LABELS else ""
    return f"<section><h2>Labels</h2>{bar_chart(bars)}{rest}</section>"


def _lengths(data: Data) -> str:
    """Bins of doubling length; bin k holds 2^(k-1) ... 2^k - 1 characters."""
    bins = Counter(sum(len(text) for _, text in pieces).bit_length() for pieces in data.pieces)
    if not bins:
        return ""
    names = {k: f"{2 ** (k - 1) if k else 0:,} ... {2**k - 1:,}" for k in range(min(bins), max(bins) + 1)}
    bars = [Bar(name, bins[k]) for k, name in names.items()]
    return f"<section><h2>Lengths in characters</h2>{bar_chart(bars)}</section>"
