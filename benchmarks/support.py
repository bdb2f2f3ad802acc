"""A support desk on real data: what is found, what is refused, what is quoted, how fast.

    python benchmarks/support.py --shared ../shared --out runs/support             every part, then a table
    python benchmarks/support.py --shared ... --out ... --only find-en refuse-en   these parts
    python benchmarks/support.py --shared ... --out ... --rank FOLDER              a ranker of your own; `--lists FILE`
                                                                                  writes lists to train one on
    python benchmarks/support.py --shared ... --out ... --only intents --intents FOLDER

find     question -> its paragraph: recall@5, MRR and nDCG@10 by BM25, vectors, both, both and the ranker. English:
         paragraphs of squadshifts' reddit among passages of vue-docs, vectors by MiniLM; Chinese: paragraphs of
         cmrc2018 (dev) among passages of d2l-zh, by words alone (MiniLM reads no Chinese).
refuse   the threshold is chosen at 5 % false refusals on half of the questions; of the other half: false refusals, and
         how many are refused of questions whose paragraph was taken out (near: the subject is there), and of another
         collection's questions (far).
quote    questions answered by a chat model (minimind2-small): ways, and how many of its answers quote a passage.
speed    10,000 passages: p50, p95 and the longest of 200 replies without a chat model; `p95_cpu_ms`: of the time on the
         processor, for machines that are busy with other things.

Its row is appended to OUT/rows.jsonl. Vectors are kept in OUT.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pretune.apps.support.answering import Knowledge, Limits, Models, reply
from pretune.apps.support.index import Hit, Index, fused, units
from pretune.apps.support.making import confidence, threshold
from pretune.apps.support.passages import Passage, passages_of, texts_of
from pretune.base.artifact import Artifact
from pretune.base.digest import digest
from pretune.base.extras import git_commit
from pretune.base.measurements import processor
from pretune.infer.load import open_model
from pretune.task.judge.bm25 import Bm25
from pretune.text.read.readers import read_records

NOTHING = Limits(faq=2.0, passage=2.0, refuse=0.0)


@dataclass(frozen=True)
class Collection:
    """Passages, and questions with the number of the one that answers."""

    passages: list[Passage]
    asked: list[tuple[str, int]]


def squad(tree: Any, source: str) -> Collection:
    """A file in SQuAD's form: paragraphs, and their questions."""
    paragraphs = [p for article in tree["data"] for p in article["paragraphs"]]
    passages = [Passage(p["context"], source=f"{source}#{k}") for k, p in enumerate(paragraphs)]
    return Collection(passages, [(q["question"], k) for k, p in enumerate(paragraphs) for q in p["qas"]])


def english(shared: Path, name: str = "reddit") -> Collection:
    with gzip.open(shared / f"data/squadshifts/{name}_v1.0.json.gz", "rt", encoding="utf-8") as file:
        found = squad(json.load(file), name)
    return Collection([*found.passages, *pages(shared / "data/vue-docs/en")], found.asked)


def chinese(shared: Path) -> Collection:
    found = squad(json.loads((shared / "data/cmrc2018/dev.json").read_text(encoding="utf-8")), "cmrc2018")
    return Collection([*found.passages, *pages(shared / "data/d2l-zh")], found.asked)


def pages(folder: Path) -> list[Passage]:
    """The passages of documentation, as the stage cuts them."""
    documents, _ = texts_of([Artifact.open(folder)])
    return [*passages_of((d for d in documents if not d.origin.startswith("README")), words=180, overlap=30)]


def some(asked: Sequence[tuple[str, int]], number: int, seed: int = 0) -> list[tuple[str, int]]:
    order = np.random.default_rng(seed).permutation(len(asked))[:number]
    return [asked[int(k)] for k in order]


# ---- find ---------------------------------------------------------------------------------------


def marks(places: Sequence[int | None]) -> dict[str, float]:
    """recall@5, MRR of the first hundred and nDCG@10, where one passage is right."""
    return {
        "recall_5": float(np.mean([p is not None and p <= 5 for p in places])),
        "mrr": float(np.mean([1 / p if p else 0.0 for p in places])),
        "ndcg_10": float(np.mean([1 / np.log2(1 + p) if p and p <= 10 else 0.0 for p in places])),
    }


def place(numbers: Sequence[int], wanted: int) -> int | None:
    return numbers.index(wanted) + 1 if wanted in numbers else None


def find(collection: Collection, models: Models, questions: int, out: Path) -> dict[str, Any]:
    texts = [p.searched for p in collection.passages]
    index = Index.of(texts, kept_vectors(texts, models, out))
    plain = Bm25.of(texts)
    asked = some(collection.asked, questions)
    found: dict[str, list[int | None]] = {}

    def note(way: str, numbers: Sequence[int], wanted: int) -> None:
        found.setdefault(way, []).append(place([*numbers], wanted))

    for question, wanted in asked:
        note("bm25", [int(k) for k in np.argsort(-plain.scores(question), kind="stable")[:100]], wanted)
        note("words", index.by_words(question), wanted)
        if models.embed is not None:
            vector_D = units(models.embed.vectors([question]))[0]
            note("vectors", index.by_vectors(vector_D), wanted)
            note("fused", fused([index.by_words(question), index.by_vectors(vector_D)])[0][:100], wanted)
        if models.rank is not None:
            note("reranked", of(index.search(question, models.embed, models.rank, top=20)), wanted)
    rows = {way: {k: round(v, 3) for k, v in marks(places).items()} for way, places in found.items()}
    return {"passages": len(texts), "questions": len(asked), **rows}


def of(hits: Sequence[Hit]) -> list[int]:
    return [hit.number for hit in hits]


def kept_vectors(texts: Sequence[str], models: Models, out: Path) -> Any:
    if models.embed is None:
        return None
    path = out / f"vectors-{digest([*texts])[:12]}.npy"
    if not path.exists():
        np.save(path, units(models.embed.vectors([*texts])))
    return np.load(path)


# ---- refuse -------------------------------------------------------------------------------------


def refuse(collection: Collection, others: Sequence[str], models: Models, questions: int, out: Path) -> dict[str, Any]:
    """Half of the paragraphs are taken out: their questions are those that nothing answers, next to another set's."""
    asked = some(collection.asked, questions)
    out_of = {wanted for _, wanted in some(collection.asked, 10**9) if wanted % 2}
    left = [k for k in range(len(collection.passages)) if k not in out_of]
    passages = [collection.passages[k] for k in left]
    every = kept_vectors([p.searched for p in collection.passages], models, out)
    index = Index.of([p.searched for p in passages], None if every is None else every[left])
    knowledge = Knowledge(passages, index, Index.of([]), [])

    def sure(texts: Sequence[str]) -> np.ndarray:
        return np.array([confidence(text, knowledge, models, 2.0) for text in texts])

    there, near = sure([q for q, k in asked if k not in out_of]), sure([q for q, k in asked if k in out_of])
    far, half = sure(others), len(there) // 2
    limit = threshold(there[:half], 0.05)
    rates = {"false_refusals": there[half:], "refused_near": near, "refused_far": far}
    numbers = {"dev": half, "test": len(there) - half, "near": len(near), "far": len(far)}
    return {
        "threshold": round(limit, 3),
        **{k: round(float((v < limit).mean()), 3) for k, v in rates.items()},
        **numbers,
    }


# ---- quote, speed, intents ----------------------------------------------------------------------


def quote(collection: Collection, models: Models, questions: int) -> dict[str, Any]:
    index = Index.of([p.searched for p in collection.passages])
    knowledge = Knowledge(collection.passages, index, Index.of([]), [])
    replies = [reply(question, knowledge, models, NOTHING) for question, _ in some(collection.asked, questions, seed=1)]
    written = [one for one in replies if one.way == "written"]
    sound = [all(s.quote and s.quote in s.passage.text and s.quote in one.text for s in one.sources) for one in written]
    ways = {way: sum(one.way == way for one in replies) for way in ("written", "passage", "nobody")}
    return {"questions": len(replies), **ways, "quotes_that_exist": f"{sum(sound)} of {len(written)}"}


def speed(collection: Collection, models: Models, out: Path, number: int = 10_000) -> dict[str, Any]:
    passages = (collection.passages * (number // len(collection.passages) + 1))[:number]
    # A copy has other words around it, so that no list of equal scores is sorted for nothing.
    texts = [f"{p.searched} part {k // len(collection.passages)}" for k, p in enumerate(passages)]
    began = time.monotonic()
    vectors = kept_vectors([p.searched for p in collection.passages], models, out)
    many = None if vectors is None else np.tile(vectors, (number // len(vectors) + 1, 1))[:number]
    knowledge = Knowledge(passages, Index.of(texts, many), Index.of([]), [])
    built = time.monotonic() - began
    seconds, own = [], []
    for question, _ in some(collection.asked, 200, seed=2):
        began, used = time.perf_counter(), time.thread_time()
        reply(question, knowledge, models, NOTHING)
        seconds.append(time.perf_counter() - began)
        own.append(time.thread_time() - used)
    p50, p95 = (round(1000 * float(np.quantile(seconds, q)), 1) for q in (0.5, 0.95))
    cpu = round(1000 * float(np.quantile(own, 0.95)), 1)
    return {
        "passages": number,
        "p50_ms": p50,
        "p95_ms": p95,
        "p95_cpu_ms": cpu,
        "max_ms": round(1000 * max(seconds), 1),
        "build_s": round(built, 1),
    }


def intents(shared: Path, model: Any) -> dict[str, Any]:
    lines = (shared / "data/banking77/test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    said = model.answer([row["text"] for row in rows])
    others = model.answer([q for q, _ in some(english(shared).asked, 500)])
    right = np.mean([a.name == row["label"] for a, row in zip(said, rows, strict=True)])
    known, foreign = (np.array([a.score for a in some_of]) for some_of in (said, others))
    limit = threshold(known[::2], 0.05)
    return {
        "questions": len(rows),
        "accuracy": round(float(right), 3),
        "reject_below": round(limit, 3),
        "false_rejections": round(float((known[1::2] < limit).mean()), 3),
        "rejected_foreign": round(float((foreign < limit).mean()), 3),
    }


def lists(shared: Path, file: Path, number: int, negatives: int = 4) -> None:
    """Lists to train a ranker on: questions of squadshifts' amazon, the right paragraph and BM25's next best."""
    collection = english(shared, "amazon_reviews")
    texts = [p.searched for p in collection.passages]
    index = Bm25.of(texts)
    rng, rows = np.random.default_rng(0), []
    for question, wanted in some(collection.asked, number):
        near = [int(k) for k in np.argsort(-index.scores(question), kind="stable")[:30] if k != wanted]
        numbers = [wanted, *rng.permutation(near)[:negatives].tolist()]
        rows.append({"query": question, "candidates": [texts[k] for k in numbers], "scores": [1] + [0] * negatives})
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


# ---- the command --------------------------------------------------------------------------------


def parts(args: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    shared, out, number = args.shared, args.out, args.questions
    embed: Any = open_model(args.embed or shared / "models/all-MiniLM-L6-v2")
    both = Models(embed=embed, rank=open_model(args.rank) if args.rank else None)
    without = Models(embed=embed)
    banking = (shared / "data/banking77/test.jsonl").read_text(encoding="utf-8").splitlines()
    foreign = [json.loads(line)["text"] for line in banking[::12]]
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "find-zh": lambda: find(chinese(shared), Models(), number, out),
        "find-en": lambda: find(english(shared), both, number, out),
        "refuse-zh": lambda: refuse(chinese(shared), zh_questions(shared), Models(), number, out),
        "refuse-en-words": lambda: refuse(english(shared), foreign, Models(), number, out),
        "refuse-en": lambda: refuse(english(shared), foreign, without, number, out),
        "speed-zh": lambda: speed(chinese(shared), Models(), out),
        "speed-en": lambda: speed(english(shared), without, out),
        "quote-zh": lambda: quote(
            chinese(shared), Models(chat=open_model(shared / "models/minimind2-small")), args.written
        ),
    }
    if args.rank:
        found["refuse-en-ranked"] = lambda: refuse(english(shared), foreign, both, number // 4, out)
    if args.intents:
        found["intents"] = lambda: intents(shared, open_model(args.intents))
    return found


def zh_questions(shared: Path) -> list[str]:
    """Questions of another world: instructions in Chinese."""
    rows = [*islice(read_records(next((shared / "data/alpaca-zh").glob("*.json*"))), 2000)]
    return [row["instruction"] for row in rows if len(row["instruction"]) < 60][:250]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="parts of it")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--written", type=int, default=50, help="questions that a chat model answers")
    parser.add_argument("--embed", type=Path, help="what gives vectors of English [MiniLM]")
    parser.add_argument("--rank", type=Path, help="a model that ranks English")
    parser.add_argument("--intents", type=Path, help="a classifier of banking77")
    parser.add_argument("--lists", type=Path, help="write lists to train a ranker on, and stop")
    parser.add_argument("--num-lists", type=int, default=600)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.lists:
        lists(args.shared, args.lists, args.num_lists)
        return
    every = parts(args)
    for name in args.only or every:
        began = time.monotonic()
        row = {"part": name, **every[name](), "seconds": round(time.monotonic() - began, 1)}
        row |= {"commit": git_commit(), "processor": processor()}
        with (args.out / "rows.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
