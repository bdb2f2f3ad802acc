"""Answers to drawn JSON schemas by a tiny random model, judged by the validator of jsonschema.

    python benchmarks/structured.py                     200 schemas, three kinds of tokenizers: 600 answers
    python benchmarks/structured.py --case 17           one schema, and what was written for it
    python benchmarks/structured.py --hostile           schemas that want to hang it: seconds, and what became of each

The schemas are drawn from tests/strangers/schemas.py; the model is a table of random numbers, asked with temperature 1
and a bias for what closes a text, list or object. Verdicts: valid (it ended by itself and is valid), cut (by
max_tokens, and said so), refused (before the first token); invalid and crashed must be 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the grammar, which the tests draw from as well

from pretune.base.errors import BadGrammar
from pretune.infer.grammar import json_schema
from pretune.infer.sampling import Sampling
from tests.infer.test_grammar import closers, talker
from tests.strangers.schemas import USUAL, drawn, hostile

KINDS = ("bytes", "llama2", "first")


def main() -> None:
    options = _options()
    schemas = [*USUAL, *map(drawn, range(options.schemas - len(USUAL)))]
    if options.case is not None:
        print(json.dumps(schemas[options.case], ensure_ascii=False, indent=1))
        print(*(judged(schemas[options.case], options.case, kind) for kind in KINDS), sep="\n")
        return
    if options.hostile:
        for what, schema in hostile().items():
            verdict, told, start, each = judged(schema, 0, "bytes")
            seconds = f"{start:.2f} s to begin, {max(each, default=0.0):.3f} s at most a token"
            print(f"{what}: {verdict}, {seconds}{f': {told[:90]}' if verdict == 'refused' else ''}")
        return
    verdicts, times, starts = Counter[str](), list[float](), list[float]()
    for seed, schema in enumerate(schemas):
        for kind in KINDS:
            verdict, what, start, each = judged(schema, seed, kind)
            verdicts[verdict] += 1
            starts.append(start)
            times += each
            if verdict not in ("valid", "cut"):
                print(f"case {seed} {kind}: {verdict}: {what[:150]}")
    p50, p99, most = np.percentile(np.array(times) * 1e6, [50, 99, 100])
    wrong = verdicts["invalid"] + verdicts["crashed"]
    print(", ".join(f"{name} {number}" for name, number in verdicts.most_common()))
    print(f"a token, the model's own share included: p50 {p50:.0f} us, p99 {p99:.0f} us, at most {most / 1e3:.1f} ms")
    print(f"before the first token: p50 {np.median(starts) * 1e3:.1f} ms, at most {max(starts) * 1e3:.0f} ms")
    sys.exit(1 if wrong else 0)


def judged(schema: dict[str, Any], seed: int, kind: str) -> tuple[str, str, float, list[float]]:
    """The verdict, the answer or the error, seconds before the first token, and seconds of each token."""
    model, times = talker(kind), list[float]()
    start = before = time.perf_counter()
    try:
        grammar = json_schema(schema)
        sampling = Sampling(1.0, seed=seed, max_tokens=600, grammar=grammar, logit_bias=closers(kind))
        model.draft([5], sampling)
        start = time.perf_counter() - start
        text, finish = "", None
        before = time.perf_counter()
        for piece in model.stream([5], sampling):
            times.append(time.perf_counter() - before)
            text, finish, before = text + piece.text, piece.finish, time.perf_counter()
    except BadGrammar as error:
        return "refused", error.problem, time.perf_counter() - before, times
    except Exception as error:
        return "crashed", repr(error), 0.0, times
    if finish != "stop":
        return "cut", text, start, times
    return _verdict(schema, text), text, start, times


def _verdict(schema: dict[str, Any], text: str) -> str:
    try:
        checker = Draft202012Validator.FORMAT_CHECKER
        problem = next(Draft202012Validator(schema, format_checker=checker).iter_errors(json.loads(text)), None)
    except ValueError:
        return "invalid"
    return "invalid" if problem or "\ufffd" in text else "valid"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--case", type=int)
    parser.add_argument("--hostile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
