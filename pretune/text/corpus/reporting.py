"""The report of a corpus: what came in, what was left out and why, languages and lengths, for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretune.base.drawing import Bar, bar_chart
from pretune.base.page import page, shortened, table

EXAMPLES = 3
MOST_LANGUAGES = 12
SHOWN_QUARANTINE = 50


class Seen:
    """What the page shows besides the card: lengths before and after, a few examples of what was left out."""

    def __init__(self) -> None:
        self.before: Counter[int] = Counter()
        self.after: Counter[int] = Counter()
        self.examples: dict[str, list[tuple[str, str, str]]] = {}

    def add(self, lengths: NDArray[np.int64], kept: NDArray[np.bool_]) -> None:
        """Count documents by the binary digits of their length in characters."""
        digits = np.frexp(lengths.astype(np.float64))[1]
        self.before.update(digits.tolist())
        self.after.update(digits[kept].tolist())

    def wants(self, reason: str) -> bool:
        """Whether another example of this rule is shown."""
        return len(self.examples.get(reason.partition(":")[0], [])) < EXAMPLES

    def show(self, row: Mapping[str, Any], reason: str) -> None:
        self.examples.setdefault(reason.partition(":")[0], []).append((row["origin"], reason, row["text"]))


def report(facts: Mapping[str, Any], seen: Seen, command: str) -> str:
    """The page; `facts` are the card's metrics."""
    parts = [_sources(facts), _mixture(facts), _lengths(seen), _languages(facts), _left_out(facts, seen)]
    parts += [_held_out(facts), _repairs(facts)]
    quarantine = _quarantine(facts.get("quarantine", []), facts.get("quarantined", 0))
    text = f"{facts['documents']:,} documents, {facts['bytes']:,} bytes, {facts['characters']:,} characters."
    return page("Corpus", [*filter(None, parts), quarantine], "", command, text=text)


def _section(title: str, *inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(inner)}</section>"


def _mixture(facts: Mapping[str, Any]) -> str:
    """The training split by source and language, and how much of what was there it takes."""
    groups = facts.get("mixture", [])
    total = sum(group["bytes"] for group in groups) or 1
    rows = [
        [
            group["source"],
            group["language"] or "unknown",
            f"{group['documents']:,}",
            f"{group['bytes']:,}",
            f"{group['bytes'] / total:.1%}",
            f"x {group['bytes'] / group['bytes_there']:.2f}" if group["bytes_there"] else "",
        ]
        for group in groups
    ]
    head = ["source", "language", "documents", "bytes", "share of bytes", "taken"]
    return _section("The training split", table(head, rows, numeric=range(2, 6))) if rows else ""


def _held_out(facts: Mapping[str, Any]) -> str:
    told = facts.get("held_out")
    if not told:
        return ""
    held, given, gone = (f"{told[name]:,}" for name in ("held_out_texts", "evaluation_texts", "left_out"))
    against = f"{held} documents of the other splits and {given} evaluation texts"
    found = f"The training split was compared with {against} by 13-grams; {gone} of its documents were left out."
    return _section("What a model is judged on", f"<p>{escape(found)}</p>")


def _sources(facts: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            f"{of['documents']:,}",
            f"{of['bytes']:,}",
            f"{of['characters']:,}",
            f"{of['bytes'] / facts['bytes']:.1%}",
        ]
        for name, of in facts["sources"].items()
    ]
    splits = [[split, f"{of['documents']:,}", f"{of['bytes']:,}"] for split, of in facts["splits"].items()]
    head = ["source", "documents", "bytes", "characters", "share of bytes"]
    return _section(
        "What is in it",
        table(head, rows, numeric=range(1, 5)),
        table(["split", "documents", "bytes"], splits, numeric=(1, 2)),
    )


def _lengths(seen: Seen) -> str:
    """Bins of doubling length; bin k holds 2^(k-1) ... 2^k - 1 characters."""
    bars = []
    for k in range(min(seen.before), max(seen.before) + 1):
        name = f"{2 ** (k - 1) if k else 0:,} ... {2**k - 1:,}"
        bars += [Bar(f"{name} before", seen.before[k]), Bar("after", seen.after[k], is_model=True)]
    return _section("Lengths in characters, before and after", bar_chart(bars))


def _languages(facts: Mapping[str, Any]) -> str:
    counted = list(facts["languages"].items())
    bars = [Bar(name or "unknown", number) for name, number in counted[:MOST_LANGUAGES]]
    rest = sum(number for _, number in counted[MOST_LANGUAGES:])
    return _section("Languages", bar_chart([*bars, Bar("others", rest)] if rest else bars))


def _left_out(facts: Mapping[str, Any], seen: Seen) -> str:
    dropped = facts["dropped"]
    if not dropped:
        return _section("What was left out", "<p>Nothing.</p>")
    chart = bar_chart([Bar(reason, number) for reason, number in sorted(dropped.items(), key=lambda x: -x[1])])
    rows = [[reason, origin, shortened(text)] for shown in seen.examples.values() for origin, reason, text in shown]
    return _section("What was left out", chart, table(["reason", "from", "text"], rows) if rows else "")


def _repairs(facts: Mapping[str, Any]) -> str:
    counted = {f"{kind} changed": number for kind, number in facts["changed"].items()}
    counted |= {f"repeated {kind} removed": number for kind, number in facts.get("repeats_removed", {}).items()}
    counted |= {"broken pieces replaced": facts["repaired"], "surrogates mended": facts["surrogates_mended"]}
    counted |= facts["mended"]
    rows = [[name, f"{number:,}"] for name, number in counted.items() if number]
    return _section("Repairs", table(["", "texts"], rows, numeric=(1,))) if rows else ""


def _quarantine(shown: Sequence[str], number: int) -> str:
    if not number:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in shown[:SHOWN_QUARANTINE])
    rest = f"<p>and {number - SHOWN_QUARANTINE:,} more in quarantine.jsonl</p>" if number > SHOWN_QUARANTINE else ""
    return _section(f"{number:,} could not be read", f"<ul>{lines}</ul>", rest)
