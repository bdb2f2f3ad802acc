"""Every objective over raw text, two minutes each, next to counting: does it learn more than frequencies and 5-grams?

    python benchmarks/objectives.py --shared ../shared --out runs/objectives         every cell that is missing, a table
    python benchmarks/objectives.py --shared ... --out ... --only span --only infill   some

The text is tinyshakespeare in documents of twenty speeches and as many characters of chinese-poetry (every eighth
poem), one tokenizer of 4,000 tokens. A cell is one run of stage
pretrain; its row is appended to OUT/rows.jsonl with the nats per target on the validation rows, by term, and next to
them those of a unigram and a 5-gram model (modified Kneser-Ney) on the same targets:

    causal, masked ...      counted on the training text; each target from the tokens before it in its document
    infill                  counted on training rows that are rearranged in the same way
    span, prefix, denoise   counted on what is written of training rows; the text that is read is not seen by them
    replaced                the generator's targets, as of masked; counting has no answer for the discriminator

A 5-gram model sees what is before a hidden token and nothing behind it, as an encoder does; that is its handicap, and
said. What the folders do in plain transformers is shown by `benchmarks/jobs.py`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.measurements import processor
from pretune.evaluate.ngram import ngram_nats, train_ngram
from pretune.objective.objective import OBJECTIVE
from pretune.text.corpus.proportions import Proportions
from pretune.tokens.rows import IGNORE, Row, vocabulary_of
from pretune.tokens.store.packing import PACKING
from pretune.tokens.store.store import Store
from pretune.train.loop.feed import open_feed
from pretune.train.loop.stream import rows_of

CELLS: dict[str, dict[str, Any]] = {
    "causal": {},
    "input_mask": {"objective": {"kind": "causal", "input_mask": 0.1}},
    "masked_next": {"objective": "masked-next"},
    "hybrid": {"objective": {"kind": "hybrid", "share_masked": 0.5}},
    "infill": {"objective": "infill"},
    "several": {"objective": {"a": "causal", "b": {"kind": "infill"}}},
    "masked": {"objective": "masked"},
    "whole_words": {"objective": {"kind": "masked", "words": "whole"}},
    "spans_of_words": {"objective": {"kind": "masked", "words": "whole", "spans": 2}},
    "next": {"objective": {"kind": "masked", "pairs": "next"}},
    "order": {"objective": {"kind": "masked", "pairs": "order"}},
    "replaced": {"objective": "replaced", "model": "electra-mini"},
    "span": {"objective": "span", "model": "t5-mini"},
    "prefix": {"objective": "prefix", "model": "t5-mini"},
    "denoise": {"objective": "denoise", "model": "t5-mini"},
    "moe": {"model": "qwen3-moe-nano"},
    "modernbert": {"objective": "masked", "model": "modernbert-mini"},
    "gemma3": {"model": "gemma3"},
    "llama": {"model": "llama"},
    "gpt2": {"model": "gpt2-mini"},
}
LENGTH = 256
COUNTED = 4000
"""Training rows that are prepared to count what an objective writes."""


def texts(data: Path, out: Path) -> dict[str, list[str]]:
    """The two sources as files of documents."""
    out.mkdir(parents=True, exist_ok=True)
    speeches = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8").split("\n\n")
    with gzip.open(data / "chinese-poetry" / "tang.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line) for line in file][::8]
    documents = {
        "en": ["\n\n".join(speeches[k : k + 20]) for k in range(0, len(speeches), 20)],
        "zh": [f"{poem['title']}\n{poem['author']}\n{poem['text']}" for poem in poems],
    }
    for name, some in documents.items():
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in some)
        (out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {name: [str(out / f"{name}.jsonl")] for name in documents}


def recipe(shared: Path, out: Path, cell: str, minutes: float) -> Any:
    stages = {
        "corpus": {
            "kind": "corpus",
            "read": texts(shared / "data", out / "inputs"),
            "validation": 0.05,
            "test": 0,
        },
        "words": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 4000},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
        cell: {
            "kind": "pretrain",
            "tokens": "$tokens",
            "length": LENGTH,
            "batch": 16,
            "minutes": minutes,
            **CELLS[cell],
        },
    }
    return {"name": "objectives", "work": str(out), "stages": stages}


# ---- what counting alone can do ---------------------------------------------------------------------


def sequences(row: Row, done: Row) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(ids, whether each is a target) of every document's piece in a row, by what the prepared row looks like."""
    if "written" in done:  # an encoder-decoder: all that is written
        ids, of = np.asarray(done["labels"]), np.asarray(done["written"])
        yield from ((ids[of == number], np.ones((of == number).sum(), bool)) for number in _numbers(of))
        return
    ids, of = np.asarray(row["ids"]), np.asarray(row["segments"])
    if "labels" not in done:  # the next token, of the row as it was prepared
        ids, of = np.asarray(done["ids"]), np.asarray(done["segments"])
        hit = np.append(False, of[1:] == of[:-1])
    else:  # hidden tokens; a decoder predicts each at the place before it
        hit = np.asarray(done["labels"]) != IGNORE
        hit = np.append(False, hit) if len(hit) < len(ids) else hit
    yield from ((ids[of == number], hit[of == number]) for number in _numbers(of))


def _numbers(of: np.ndarray) -> list[int]:
    return sorted(set(of.tolist()) - {-1})


def counted(objective: Any, train: Any, held: list[Row], size: int, vocabulary: Any) -> dict[str, dict[str, float]]:
    """Nats per target of a unigram and of a 5-gram model, by the name of the objective that a row was prepared for."""
    rows = rows_of(train.at(np.arange(min(COUNTED, len(train)))))
    known: dict[str, list[np.ndarray]] = {}
    for k, row in enumerate(rows):
        done = objective.prepare({**row, "progress": 0.99}, vocabulary, np.random.default_rng([7, k]))
        known.setdefault(done.get("of", "loss"), []).extend(ids for ids, _ in sequences(row, done) if len(ids))
    asked: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for k, row in enumerate(held):
        done = objective.prepare(row, vocabulary, np.random.default_rng([k]))
        asked.setdefault(done.get("of", "loss"), []).extend(one for one in sequences(row, done) if len(one[0]))
    return {name: _nats(known[name], pieces, size) for name, pieces in asked.items()}


def _nats(known: list[np.ndarray], asked: list[tuple[np.ndarray, np.ndarray]], size: int) -> dict[str, float]:
    counted, held = store_of(known, size), store_of([ids for ids, _ in asked], size)
    hit = np.concatenate([mine for _, mine in asked])
    return {
        name: float(ngram_nats(train_ngram(counted, order=order), held)[hit].mean())
        for name, order in (("unigram", 1), ("5-gram", 5))
    }


def store_of(pieces: list[np.ndarray], size: int) -> Store:
    ends = np.cumsum([len(piece) for piece in pieces]).astype(np.uint64)
    return Store(np.concatenate(pieces).astype(np.int64), ends, 0, size, 0)


def baselines(cell: str, out: Path) -> dict[str, dict[str, float]]:
    """Of a cell that was run: on its own validation rows, prepared as stage pretrain prepares them."""
    model, tokens = Artifact.open(out / cell), Artifact.open(out / "tokens")
    vocabulary = vocabulary_of(model.path)
    objective = OBJECTIVE(model.card.settings["objective"])
    packing = PACKING(model.card.settings["packing"])
    form = objective.form(LENGTH, vocabulary)
    feed = open_feed({"tokens": tokens}, form, packing, Proportions(), seed=0, tokenizer=model.path)
    return counted(objective, feed.rows, feed.validation, vocabulary.size, vocabulary)


def row_of(cell: str, out: Path) -> dict[str, Any]:
    told = Artifact.open(out / cell).card.metrics
    figures = {name: round(v, 4) for name, v in told.items() if name.startswith("validation_") and isinstance(v, float)}
    floors = {name: {k: round(v, 4) for k, v in found.items()} for name, found in baselines(cell, out).items()}
    speed = {name: told[name] for name in ("steps", "parameters", "tokens_per_second", "train_seconds")}
    return {"cell": cell, **figures, "counting": floors, **speed, "processor": processor(), "settings": CELLS[cell]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append")
    parser.add_argument("--minutes", type=float, default=2.0)
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "rows.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
    there = {row["cell"]: row for row in map(json.loads, lines)}
    for cell in given.only or CELLS:
        if there.get(cell, {}).get("settings") == CELLS[cell]:
            continue
        path = out / f"{cell}.yaml"
        path.write_text(json.dumps(recipe(given.shared.resolve(), out, cell, given.minutes)), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "pretune", "run", str(path)], check=True)
        there[cell] = row_of(cell, out)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(there[cell], ensure_ascii=False) + "\n")
    for cell, row in there.items():
        floors = "; ".join(f"{n}: {f['unigram']:.3f} / {f['5-gram']:.3f}" for n, f in row["counting"].items())
        terms = {n.removeprefix("validation_"): v for n, v in row.items() if n.startswith("validation_")}
        print(f"{cell:<16} {terms}  unigram / 5-gram {floors}")


if __name__ == "__main__":
    main()
