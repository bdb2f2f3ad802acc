"""Strangers' files: drawn from a small grammar of what is odd, given to the command line, judged by the right reading.

    python benchmarks/strangers.py                      2,000 cases, a few minutes of one core; goes on where it was
    python benchmarks/strangers.py --case 17            writes the files of case 17; what is expected, what was read
    python benchmarks/strangers.py --failed             those of the last run that failed, once more

The grammar is tests/strangers/: encodings x ends of lines x quoting x names of columns x missing values x nesting x
where in the file the oddity is. What is right is known by construction; tests/strangers/__init__.py says how it was
decided where it may be argued. Verdicts: right; refused (with a hint); wrong (ended well, and lost or changed something
without a word); unclear (refused without a hint); crashed. The last three must be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the grammar, which the tests draw from as well
EVERY_SECONDS = 10.0
FAILED = ("wrong", "unclear", "crashed")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PRETUNE_CACHE"] = scratch
        if options.case is not None:
            show(options.seed, options.case, Path(options.write), model(Path(scratch)))
            return
        rows = run(options, Path(scratch))
    facts = shares(rows)
    print(json.dumps({"seed": options.seed, **facts, "failed": failed(rows)}, ensure_ascii=False, indent=1)) if (
        options.json
    ) else print(table(facts, rows))
    sys.exit(1 if failed(rows) else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--case", type=int, help="Write this case's files and show what is expected and what is read.")
    parser.add_argument("--write", default="runs/stranger", help="Where --case writes.")
    parser.add_argument("--out", help="The results so far, a line each (default: runs/strangers-SEED.jsonl).")
    parser.add_argument("--failed", action="store_true", help="Judge again what failed, and keep the rest.")
    parser.add_argument("--fresh", action="store_true", help="Forget the results so far.")
    parser.add_argument("--json", action="store_true", help="One machine-readable object.")
    return parser.parse_args()


def model(folder: Path) -> Path:
    """A tiny random classifier for `predict`; what it answers does not matter."""
    from pretune.testing.folders import write_model

    return write_model(folder / "bert-labels", folder / "words", "bert-labels").resolve()


# ---- the run ----------------------------------------------------------------------------------------


def run(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """The verdict of every case; those that stand in the file of results are not judged again."""
    out = Path(options.out or f"runs/strangers-{options.seed}.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        out.unlink(missing_ok=True)
    done = {row["case"]: row for row in _lines(out) if row["case"] < options.cases}
    if options.failed:
        done = {case: row for case, row in done.items() if row["verdict"] not in FAILED}
        out.write_text("".join(_line(row) for row in done.values()), encoding="utf-8")
    todo = [number for number in range(options.cases) if number not in done]
    told_by = model(scratch) if todo else None
    with out.open("a", encoding="utf-8") as file:
        for number in _paced(todo):
            done[number] = row = judged(options.seed, number, told_by)
            file.write(_line(row))
            file.flush()
    return [done[number] for number in sorted(done)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The results in a file; a line that a crash has cut is none."""
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        if line.endswith("}"):
            yield json.loads(line)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _paced(numbers: list[int]) -> Iterator[int]:
    """The numbers; what is done and the time that is left go to stderr."""
    started = told = time.monotonic()
    for done, number in enumerate(numbers):
        if time.monotonic() - told > EVERY_SECONDS:
            told = time.monotonic()
            left = (told - started) / done * (len(numbers) - done)
            print(f"{done:,} of {len(numbers):,} cases, {left:.0f} s left", file=sys.stderr, flush=True)
        yield number


def judged(seed: int, number: int, told_by: Path | None) -> dict[str, Any]:
    from tests.strangers.drawing import draw
    from tests.strangers.judging import judge

    case = draw(seed, number)
    verdict = judge(case, model=told_by)
    facts = {"verb": case.verb, "family": case.family, "form": case.form, "position": case.position}
    odd = {"odd": list(case.odd), "kinds": list(case.kinds), "readable": case.readable}
    return {"case": number, "verdict": verdict.name, **facts, **odd, "why": verdict.why}


# ---- what is shown ----------------------------------------------------------------------------------


def shares(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How often each verdict was given: in all, by verb, by form, by oddity; a case counts for each of its oddities."""
    by: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in ("verb", "form", "oddity")}
    for row in rows:
        by["verb"][row["verb"]][row["verdict"]] += 1
        by["form"][row["form"]][row["verdict"]] += 1
        for kind, odd in zip(row["kinds"], row["odd"], strict=True):
            by["oddity"][f"{kind}: {odd}"][row["verdict"]] += 1
        if not row["odd"]:
            by["oddity"]["nothing odd"][row["verdict"]] += 1
    told = {name: {key: dict(counts) for key, counts in sorted(many.items())} for name, many in by.items()}
    refused = sum(row["verdict"] == "refused" and row["readable"] for row in rows)
    return {
        "cases": len(rows),
        **Counter(row["verdict"] for row in rows),
        "refused_though_readable": refused,
        "by": told,
    }


def failed(rows: list[dict[str, Any]]) -> list[int]:
    return [row["case"] for row in rows if row["verdict"] in FAILED]


def table(facts: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    from tests.strangers.judging import VERDICTS

    lines = [f"{'':42}{''.join(f'{name:>9}' for name in ('cases', *VERDICTS))}"]

    def add(title: str, counts: Mapping[str, int]) -> None:
        numbers = [sum(counts.values()), *(counts.get(name, 0) for name in VERDICTS)]
        lines.append(f"{title:42}{''.join(f'{n or chr(183):>9}' for n in numbers)}")

    for name, many in facts["by"].items():
        lines += ["", f"by {name}"]
        for key, counts in many.items():
            add(key, counts)
    lines.append("")
    add("all", {name: facts.get(name, 0) for name in VERDICTS})
    lines.append(f"refused although a careful reader would read it: {facts['refused_though_readable']}")
    for row in rows:
        if row["verdict"] in FAILED:
            said = " ".join(row["why"].split())[:300]
            lines.append(f"case {row['case']}: {row['verdict']}: {row['verb']} {row['form']} {row['odd']}: {said}")
    return "\n".join(lines)


def show(seed: int, number: int, folder: Path, told_by: Path) -> None:
    """Write the files of a case; print what is expected next to what is read."""
    from tests.strangers.drawing import draw
    from tests.strangers.judging import judge, write

    case = draw(seed, number)
    folder.mkdir(parents=True, exist_ok=True)
    write(case, folder)
    verdict = judge(case, model=told_by)
    print(
        f"case {number}: {case.verb} {(folder / case.given).as_posix()}: {case.family} as {case.form}, {case.position}"
    )
    print(f"odd: {', '.join(case.odd) or 'nothing'}\nverdict: {verdict.name}\n{verdict.why}\n\nexpected, any order:")
    for row in case.rows:
        marks = [name for name, is_so in (("may be left out", row.optional), ("is told", row.told)) if is_so]
        print(f"  {row.readings!r} {', '.join(marks)}")
    print("\nread:")
    for side, one in verdict.read:
        print(f"  {side or ''} {one!r}")


if __name__ == "__main__":
    main()
