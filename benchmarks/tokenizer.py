"""Learning a tokenizer and encoding with it, ours next to the libraries': the same text, in turn, medians.

    python benchmarks/tokenizer.py --data ../shared/data
    (pip install rustbpe sentencepiece gigatoken, those that are to be measured)

bars    learning no slower than `tokenizers`, with its merges
        encoding no slower than the better of fastokens and `tokenizers`, with the ids of the latter

English books, the sources of Python's library, and a Chinese manual with poems, `--megabytes` of each, in documents of
4,000 characters, all in memory on all sides. Same pattern (Qwen2's), same vocabulary, except where a library has its
own (gigatoken cuts by GPT-2's pattern, sentencepiece learns characters and cuts otherwise). `identical`: the same
tokens in the same order as `tokenizers`, or the same ids; `shared`: the part of its tokens that a side learnt too. The
bound on a token's length and the minimum count are ours and `tokenizers`'; the others have neither. Each side's seconds
are its own, in a fresh process each time, for fastokens remembers words; loading the library stands apart. `--cores`
pins every process to so many cores.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the library's trainer, which the tests compare with as well

CHARACTERS = 4000
BATCH = 512
"""Documents that are encoded at once: about what stage tokens reads."""
SIDES = ("ours", "tokenizers", "rustbpe", "gigatoken", "sentencepiece")
ENCODERS = ("ours", "fastokens", "tokenizers")


def documents(data: Path, language: str, most: int) -> list[str]:
    """Documents of CHARACTERS, `most` bytes in all."""
    from corpus import texts

    read = library() if language == "py" else texts(data, language)
    whole = "\n".join(read).encode()[:most].decode("utf-8", "ignore")
    return [whole[at : at + CHARACTERS] for at in range(0, len(whole), CHARACTERS)]


def library() -> Iterator[str]:
    """The sources of the Python that runs."""
    for path in sorted(Path(json.__file__).parents[1].glob("**/*.py")):
        if "site-packages" not in path.parts:
            yield path.read_text(encoding="utf-8", errors="replace")


# ---- learning -----------------------------------------------------------------------------------


def ours(held: list[str], size: int) -> list[bytes]:
    return _learnt(_by_ours(held, size))


def tokenizers(held: list[str], size: int) -> list[bytes]:
    from tests.tokens.worlds import by_tokenizers

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


def _by_ours(held: list[str], size: int) -> Any:
    from pretune.tokens.learn.bpe import Bpe

    return Bpe().learn(_learning(held, size))


def _learning(held: list[str], size: int) -> Any:
    from pretune.tokens.learn.algorithm import Learning

    return Learning(lambda: iter(held), size)


def _learnt(tokenizer: Any) -> list[bytes]:
    """What each merge makes, in order."""
    from pretune.tokens.learn.bpe import NAMES

    byte_of = {name: byte for byte, name in enumerate(NAMES)}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [bytes(byte_of[c] for c in left + right) for left, right in merges]


def learning(side: str, held: list[str], size: int) -> dict[str, Any]:
    """Train once in this process."""
    learn: Callable[[list[str], int], list[bytes]] = globals()[side]
    started = time.perf_counter()
    _import(side)
    loading = time.perf_counter() - started
    before = _peak()
    started = time.perf_counter()
    learnt = learn(held, size)
    seconds = time.perf_counter() - started
    told = {"seconds": seconds, "loading": loading, "mebibytes": (_peak() - before) // 1024}
    return told | {"learnt": [token.hex() for token in learnt]}


def _peak() -> int:
    """The most memory that this process had, KiB; `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


def _import(side: str) -> None:
    """Load what a side needs, so that its seconds are those of its training."""
    ours = ["pretune.tokens.learn.bpe", "pretune.tokens.learn.counting", "pretune.tokens.learn.merging"]
    needed = {"ours": ours, "tokenizers": ["tokenizers", "tests.tokens.worlds"]}
    for name in needed.get(side, [side]):
        importlib.import_module(name)


# ---- encoding -----------------------------------------------------------------------------------


def encoding(side: str, held: list[str], folder: str) -> dict[str, Any]:
    """MB/s over text that this process has not seen, and a digest of the ids."""
    encode, backend = _encode_by(side, folder)
    size = sum(len(text.encode()) for text in held)
    started = time.perf_counter()
    found = [encode(held[at : at + BATCH]) for at in range(0, len(held), BATCH)]
    seconds = time.perf_counter() - started
    ids = hashlib.sha256(b"".join(batch.tobytes() for batch in found)).hexdigest()
    return {"backend": backend, "mb_per_s": size / 1e6 / seconds, "ids": ids}


def _encode_by(side: str, folder: str) -> tuple[Callable[[list[str]], Any], str]:
    """(texts to ids in one array, the library that does it)."""
    import numpy as np

    from pretune.tokens.encode.encoding import Encoder
    from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

    if side == "ours":
        encoder = Encoder.open(folder)
        return lambda texts: encoder.encode(texts).ids, encoder.backend
    tokenizer = load_tokenizer(folder)
    if side == "tokenizers":
        return lambda texts: np.concatenate([np.array(r, "<u4") for r in encode_texts(tokenizer, texts)]), side
    from fastokens._native import Tokenizer as Fast

    fast = Fast.from_json_str(tokenizer.to_str())
    return lambda texts: np.frombuffer(fast.encode_batch_flat(texts, False, True)[0], "<u4"), side


# ---- in turn ------------------------------------------------------------------------------------


def run(what: str, side: str, path: Path, with_what: object, cores: int) -> dict[str, Any] | None:
    """One side in a process of its own; None if it cannot."""
    command = ["taskset", "-c", ",".join(map(str, range(cores))), sys.executable, __file__]
    command += ["--part", what, side, str(path), str(with_what)]
    one = {} if cores > 1 else {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true" if cores > 1 else "false", **one}
    done = subprocess.run(command, capture_output=True, check=False, env=environment, encoding="utf-8")
    if done.returncode:
        print(f"{side}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def part(what: str, side: str, path: str, with_what: str) -> dict[str, Any]:
    """What a process of `run` does."""
    held = json.loads(Path(path).read_text(encoding="utf-8"))
    return learning(side, held, int(with_what)) if what == "learning" else encoding(side, held, with_what)


def in_turn(what: str, sides: list[str], path: Path, with_what: object, a: Any) -> dict[str, list[dict[str, Any]]]:
    """What every side gave in every round, without the sides that cannot."""
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(a.rounds):
        for side in sides:
            told = run(what, side, path, with_what, a.cores)
            results[side] += [told] if told else []
    return {side: given for side, given in results.items() if given}


def trained(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    wanted = results["tokenizers"][0]["learnt"] if "tokenizers" in results else None
    return [
        {
            "side": side,
            "version": _version(side),
            "seconds": _median(given, "seconds"),
            "loading": _median(given, "loading"),
            "mebibytes": max(r["mebibytes"] for r in given),
            "identical": given[0]["learnt"] == wanted if wanted else None,
            "shared": round(len({*given[0]["learnt"]} & {*wanted}) / len(wanted), 3) if wanted else None,
        }
        for side, given in results.items()
    ]


def encoded(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    wanted = results["tokenizers"][0]["ids"]
    return [
        {
            "side": side,
            "version": _version(side),
            "backend": given[0]["backend"],
            "mb_per_s": _median(given, "mb_per_s"),
            "identical": all(r["ids"] == wanted for r in given),
        }
        for side, given in results.items()
    ]


def _median(given: list[dict[str, Any]], name: str) -> float:
    return round(statistics.median(r[name] for r in given), 2)


def _version(side: str) -> str:
    try:
        return version("pretune" if side == "ours" else side)
    except PackageNotFoundError:
        return "?"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, default=Path("../shared/data"))
    asked.add_argument("--megabytes", type=float, default=10)
    asked.add_argument("--vocabulary", type=int, default=16_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--cores", type=int, default=2)
    asked.add_argument("--sides", type=lambda names: names.split(","), default=list(SIDES))
    asked.add_argument("--languages", type=lambda names: names.split(","), default=["en", "py", "zh"])
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    a = asked.parse_args()
    if a.part:
        print("\n" + json.dumps(part(*a.part)))
        return
    found = {language: measure(documents(a.data, language, int(a.megabytes * 1e6)), a) for language in a.languages}
    print(json.dumps(found) if a.json else _table(found, a.cores))


def measure(held: list[str], a: argparse.Namespace) -> dict[str, Any]:
    from pretune.tokens.learn.stage import save_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(held), encoding="utf-8")
        save_tokenizer(_by_ours(held, a.vocabulary), Path(folder))
        return {
            "megabytes": round(sum(len(text.encode()) for text in held) / 1e6, 1),
            "learning": trained(in_turn("learning", a.sides, path, a.vocabulary, a)),
            "encoding": encoded(in_turn("encoding", list(ENCODERS), path, folder, a)),
        }


def _table(found: dict[str, Any], cores: int) -> str:
    lines = [f"cores: {cores}"]
    for language, facts in found.items():
        lines.append(f"{language}, {facts['megabytes']} MB")
        lines += [
            "  {side:14} {version:8} {seconds:8.2f} s (loading {loading:.2f} s) {mebibytes:6} MiB"
            "  identical: {identical}, shared: {shared}".format(**r)
            for r in facts["learning"]
        ]
        lines += [
            "  {side:14} {version:8} {mb_per_s:8.1f} MB/s by {backend}, identical: {identical}".format(**r)
            for r in facts["encoding"]
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
