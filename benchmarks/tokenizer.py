"""Learning a tokenizer and encoding with it, ours beside the libraries': the same text, in turn, medians.

    python benchmarks/tokenizer.py --data ../shared/data
    (pip install rustbpe sentencepiece gigatoken, those that are to be measured)

English books and a Chinese manual with poems, `--megabytes` of each, in documents of 4,000 characters, all in memory
on both sides. Same pattern (Qwen2's), same vocabulary, except where a library has its own (gigatoken cuts by GPT-2's
pattern, sentencepiece learns characters and cuts otherwise). `identical`: the same tokens in the same order as
`tokenizers`; `shared`: the part of its tokens that a side learnt too. The bound on a token's length and the minimum
count are ours and `tokenizers`'; the others have neither. Each side's seconds are the training's own, in a fresh
process each time; loading the library (for ours, numba and its machine code) stands apart. `--cores 1` pins every
process to one core; encoding is always on one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CHARACTERS = 4000
SIDES = ("ours", "numpy", "tokenizers", "rustbpe", "gigatoken", "sentencepiece")


def documents(data: Path, language: str, most: int) -> list[str]:
    """Documents of CHARACTERS, `most` bytes in all."""
    from corpus import texts

    whole = "\n".join(texts(data, language)).encode()[:most].decode("utf-8", "ignore")
    return [whole[at : at + CHARACTERS] for at in range(0, len(whole), CHARACTERS)]


# ---- the sides ----------------------------------------------------------------------------------


def ours(held: list[str], size: int) -> list[bytes]:
    return _learnt(_bpe().learn(_learning(held, size)))


def numpy(held: list[str], size: int) -> list[bytes]:
    return _learnt(_bpe(engine="numpy").learn(_learning(held, size)))


def tokenizers(held: list[str], size: int) -> list[bytes]:
    from pretune.tokens.learn.bpe import by_tokenizers

    return _learnt(by_tokenizers(_learning(held, size)))


def rustbpe(held: list[str], size: int) -> list[bytes]:
    import rustbpe

    from pretune.tokens.learn.splitting import pattern

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(held), size - 7, pattern=pattern())
    return [bytes(token) for token, _ in sorted(trainer.get_mergeable_ranks(), key=lambda pair: pair[1])[256:]]


def gigatoken(held: list[str], size: int) -> list[bytes]:
    from gigatoken.gigatoken_rs import train_bpe

    # with GPT-2's pattern: it has no other
    _, merges = train_bpe("\x00".join(held).encode(), size - 7, [], separator=b"\x00")
    return [left + right for left, right in merges]


def sentencepiece(held: list[str], size: int) -> list[bytes]:
    import io

    import sentencepiece

    lines = (line for text in held for line in text.splitlines())
    options = {"model_type": "bpe", "character_coverage": 0.9995, "minloglevel": 2}
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=writer, vocab_size=size, **options)
    learnt = sentencepiece.SentencePieceProcessor(model_proto=writer.getvalue())
    return [learnt.id_to_piece(k).replace("\u2581", " ").encode() for k in range(learnt.get_piece_size())]


def _bpe(**settings: Any) -> Any:
    from pretune.tokens.learn.bpe import Bpe

    return Bpe(**settings)


def _learning(held: list[str], size: int) -> Any:
    from pretune.tokens.learn.algorithm import Learning

    return Learning(lambda: iter(held), size)


def _learnt(tokenizer: Any) -> list[bytes]:
    """What each merge makes, in order."""
    from pretune.tokens.learn.bpe import NAMES

    byte_of = {name: byte for byte, name in enumerate(NAMES)}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [bytes(byte_of[c] for c in left + right) for left, right in merges]


def one(side: str, path: Path, size: int) -> dict[str, Any]:
    """Train once in this process."""
    held = json.loads(path.read_text(encoding="utf-8"))
    if side == "encoding":
        return encoding(held, size)
    learn: Callable[[list[str], int], list[bytes]] = globals()[side]
    started = time.perf_counter()
    _import(side)
    loading = time.perf_counter() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    learnt = learn(held, size)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told = {"seconds": seconds, "loading": loading, "mebibytes": peak // 1024}
    return told | {"learnt": [token.hex() for token in learnt]}


def _import(side: str) -> None:
    """Load what a side needs, so that its seconds are those of its training."""
    import importlib

    parts = ["pretune.tokens.learn.bpe", "pretune.tokens.learn.counting", "pretune.tokens.learn.merging"]
    needed = {"ours": parts, "numpy": parts, "tokenizers": ["tokenizers", "pretune.tokens.learn.bpe"]}
    for name in needed.get(side, [side]):
        importlib.import_module(name)
    if side == "ours" and importlib.util.find_spec("numba"):
        _bpe(engine="numba").learn(_learning(["a b"], 300))


# ---- in turn ------------------------------------------------------------------------------------


def run(side: str, path: Path, size: int, cores: int) -> dict[str, Any] | None:
    command = [sys.executable, __file__, "--one", side, "--text", str(path), "--vocabulary", str(size)]
    threads = {} if cores > 1 else {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true" if cores > 1 else "false", **threads}
    pin = ["taskset", "-c", ",".join(map(str, range(cores)))] if cores else []
    done = subprocess.run(
        [*pin, *command], capture_output=True, text=True, check=False, env=environment, encoding="utf-8"
    )
    if done.returncode:
        print(f"{side}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def training(path: Path, size: int, rounds: int, cores: int, sides: list[str]) -> list[dict[str, Any]]:
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            told = run(side, path, size, cores)
            if told:
                results[side].append(told)
    wanted = results.get("tokenizers") and results["tokenizers"][0]["learnt"]
    rows = []
    for side in (s for s in sides if results[s]):
        seconds = statistics.median(r["seconds"] for r in results[side])
        learnt = results[side][0]["learnt"]
        peak = max(r["mebibytes"] for r in results[side])
        rows.append(
            {
                "side": side,
                "version": _version(side),
                "seconds": round(seconds, 3),
                "loading": round(statistics.median(r["loading"] for r in results[side]), 2),
                "mebibytes": peak,
                "identical": learnt == wanted if wanted else None,
                "shared": round(len(set(learnt) & set(wanted)) / len(wanted), 3) if wanted else None,
            }
        )
    return rows


def encoding(held: list[str], size: int) -> dict[str, Any]:
    """MB/s of the encoder that the token store uses, over text it has not seen; ids compared on the whole text."""
    from pretune.tokens.encode.encoding import Encoder
    from pretune.tokens.encode.tokenizer import encode_texts
    from pretune.tokens.learn.stage import save_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(_bpe().learn(_learning(held, size)), Path(folder))
        # A second pass would be told from what the library remembers: 160 MB/s where the first had 44.
        encoders = [Encoder.open(folder, text_bytes=1e9) for _ in range(3)]
    total, taken = sum(len(text.encode()) for text in held), []
    for encoder in encoders:
        started = time.perf_counter()
        found = encoder.encode(held)
        taken.append(total / 1e6 / (time.perf_counter() - started))
    same = found.ids.tolist() == [i for row in encode_texts(encoder.tokenizer, held) for i in row]
    return {"backend": encoder.backend, "mb_per_s": round(statistics.median(taken), 1), "identical": same}


def _version(side: str) -> str:
    try:
        return version("pretune" if side in ("ours", "numpy") else side)
    except PackageNotFoundError:
        return "?"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--megabytes", type=float, default=10)
    asked.add_argument("--vocabulary", type=int, default=16_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--cores", type=int, default=2)
    asked.add_argument("--sides", default=",".join(SIDES))
    asked.add_argument("--languages", default="en,zh")
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--one", help=argparse.SUPPRESS)
    asked.add_argument("--text", type=Path, help=argparse.SUPPRESS)
    a = asked.parse_args()
    if a.one:
        print("\n" + json.dumps(one(a.one, a.text, a.vocabulary)))
        return
    told = {}
    for language in a.languages.split(","):
        held = documents(a.data, language, int(a.megabytes * 1e6))
        size = round(sum(len(text.encode()) for text in held) / 1e6, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texts.json"
            path.write_text(json.dumps(held), encoding="utf-8")
            rows = training(path, a.vocabulary, a.rounds, a.cores, a.sides.split(","))
            rates = run("encoding", path, a.vocabulary, 1)
        told[language] = {"megabytes": size, "training": rows, "encoding": rates}
    print(json.dumps(told) if a.json else _table(told, a.cores))


def _table(told: dict[str, Any], cores: int) -> str:
    lines = [f"cores: {cores}"]
    for language, facts in told.items():
        lines.append(f"{language}, {facts['megabytes']} MB")
        lines += [
            "  {side:14} {version:8} {seconds:8.2f} s (loading {loading:.2f} s) {mebibytes:6} MiB"
            "  identical: {identical}, shared: {shared}".format(**r)
            for r in facts["training"]
        ]
        if facts["encoding"]:
            told = "{backend} {mb_per_s} MB/s, identical: {identical}".format(**facts["encoding"])
            lines.append(f"  encoding, one core: {told}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
