"""A comparison in words: for the terminal, and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretune.base.json import Json
from pretune.evaluate.compare.comparing import FEWEST_JUDGED, SHOWN, Comparison, Difference
from pretune.evaluate.compare.figures import MCNEMAR
from pretune.evaluate.compare.reports import Reported
from pretune.evaluate.findings import PLAIN
from pretune.report.drawing import Bar
from pretune.report.numbers import metric, named
from pretune.report.pages import page

SHOWN_SLICES = 8
PLAIN_FIGURES = (*PLAIN, "log_likelihood")
TESTS = {MCNEMAR: "McNemar's test, mid-p", "swaps": "random swaps of the two answers"}


def verdict(one: Comparison) -> str:
    """Who is better, by how much, how sure that is, and on how many examples."""
    whole, name = one.whole, named(one.two.name)
    first, second = one.names if whole.gap >= 0 else one.names[::-1]
    figures = whole.figures if whole.gap >= 0 else whole.figures[::-1]
    said = " against ".join(metric(figure, one.two.name) for figure in figures)
    known = "is better than" if whole.winner is not None else "is ahead of" if whole.gap else "is as good as"
    chance = "" if whole.winner is not None or not whole.gap else ", not by more than chance explains"
    of = f" of {one.part}" if one.part else ""
    return f"{first} {known} {second}{chance}: {name}{of} {said}, {_sure(one)}."


def _sure(one: Comparison) -> str:
    """The gap of the better one, its interval, and p."""
    whole, name = one.whole, one.two.name
    ends = whole.interval.pair() if whole.interval else []
    turned = ends if whole.gap >= 0 else [-end for end in ends[::-1]]
    within = f", 95 % interval {spread_text(turned, name)}" if ends else ""
    p = f"p {p_text(whole.p)}" + (f", corrected {p_text(whole.holm)}" if whole.holm != whole.p else "")
    return f"{gap_text(abs(whole.gap), name)}{within}; {p}"


def gap_text(gap: float, figure: str) -> str:
    """+2.8 points of a share; +0.012 of any other figure."""
    return f"{gap:+.3f}" if figure in PLAIN_FIGURES else f"{100 * gap:+.1f} points"


def spread_text(ends: Sequence[float], figure: str) -> str:
    """+1.1 to +4.5 points; "" where there is no interval."""
    return " to ".join(gap_text(end, figure) for end in ends).replace(" points to", " to")


def p_text(p: float | None) -> str:
    """0.0012; < 0.0001; "" where nothing is judged."""
    return "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def ordered_slices(one: Comparison) -> list[Difference]:
    """The slices that are judged, those first that speak most against the whole; then those of too few examples."""
    against = -1 if one.whole.gap >= 0 else 1
    return sorted(one.slices, key=lambda s: (s.p is None, -against * s.gap))


def slice_rows(one: Comparison) -> list[Json]:
    """A table of the slices."""
    first, second = one.names
    return [
        {
            "slice": f"{s.slice[0]}: {s.slice[1]}",
            "examples": s.examples,
            **{n: metric(f, one.two.name) for n, f in zip((first, second), s.figures, strict=True)},
            "difference": gap_text(s.gap, one.two.name),
            "95 % interval": " to ".join(gap_text(end, one.two.name) for end in s.interval.pair())
            if s.interval
            else "",
            "corrected p": p_text(s.holm) if s.p is not None else f"not judged: under {FEWEST_JUDGED}",
            "better": one.names[s.winner] if s.winner is not None else "",
        }
        for s in ordered_slices(one)
    ]


def turned_slices(one: Comparison) -> list[str]:
    """Slices in which the other one is better by more than chance explains."""
    whole = one.whole.winner
    there = (s for s in one.slices if s.winner is not None and whole is not None and s.winner != whole)
    return [f"in {s.slice[0]} {s.slice[1]} {one.names[s.winner or 0]} is better: {_both(one, s)}" for s in there]


def _both(one: Comparison, some: Difference) -> str:
    return " against ".join(metric(f, one.two.name) for f in sorted(some.figures, reverse=True))


def changed_text(one: Comparison) -> str:
    """On how many examples each is the better one."""
    better = [f"{name} better on {len(places):,}" for name, places in zip(one.names, one.changed, strict=True)]
    alike = one.whole.examples - sum(map(len, one.changed))
    return f"of {one.whole.examples:,} examples {', '.join(better)}, alike on {alike:,}"


def text(made: Sequence[Comparison]) -> str:
    """Everything for the terminal; of slices those that speak most against the whole."""
    lines = []
    for one in made:
        lines += [
            verdict(one),
            f"  {changed_text(one)}; {TESTS[one.two.test]}",
            *(f"  {t}" for t in turned_slices(one)),
        ]
        rows = [{k: str(v) for k, v in row.items()} for row in slice_rows(one)[:SHOWN_SLICES]]
        lines += _table(rows) if rows else []
        left = len(one.slices) - len(rows)
        lines += [f"  ... and {left} more slices: --json, or --out PAGE.html"] if left else []
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, str]]) -> list[str]:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def write_page(path: Path, reports: Sequence[Reported], made: Sequence[Comparison], command: str) -> None:
    """The page: verdicts, bars, slices, examples that changed."""
    names = " and ".join(report.name for report in reports) if len(reports) == 2 else f"{len(reports)} reports"
    html = page(
        "compare", f"Compared: {names}", verdict=verdict(made[0]), parts=[_part(one) for one in made], command=command
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8", newline="\n")


def _part(one: Comparison) -> Json:
    figures = zip(one.names, one.whole.figures, strict=True)
    return {
        "title": " and ".join(one.names) + (f": {one.part}" if one.part else ""),
        "verdict": verdict(one),
        "test": f"{changed_text(one)}; {TESTS[one.two.test]}",
        "figure": one.two.name,
        "bars": [Bar(name, max(figure, 0.0), series=k) for k, (name, figure) in enumerate(figures)],
        "turned": turned_slices(one),
        "slices": slice_rows(one),
        "changed": [
            (f"{name} is better", _shown(one, places)) for name, places in zip(one.names, one.changed, strict=True)
        ],
    }


def _shown(one: Comparison, places: Sequence[int]) -> list[Json]:
    rows = [one.example(k) for k in places[:SHOWN]]
    return [{name: _cell(value) for name, value in row.items() if name not in ("group", "origin")} for row in rows]


def _cell(value: object) -> object:
    """Two answers as one text, the first one's above."""
    return " | ".join(map(str, value)) if isinstance(value, list) else value
