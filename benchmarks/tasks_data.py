"""What benchmarks/tasks.py reads: files of ../shared/data as they are, or as stage dataset takes them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Inputs = Callable[[Path, Path], list[str]]
"""What a stage reads, given the folder of the data sets and one to write into."""


def files(*names: str) -> Inputs:
    return lambda data, made: [str(data / name) for name in names]


def splits(name: str, **given: str) -> Inputs:
    """Files of data set `name` under the names of the splits that they are taken as; `FILE#N` of a file a sample."""

    def read(data: Path, made: Path) -> list[str]:
        found = []
        for split, told in given.items():
            file, _, sample = told.partition("#")
            found.append(made / name / f"{split}{''.join(Path(file).suffixes)}")
            found[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / name / file, found[-1])
            found[-1] = f"{found[-1]}#{sample}" if sample else str(found[-1])
        return found

    return read


def stsb(data: Path, made: Path) -> list[str]:
    """The same rows with a line of names, which the files lack."""
    found = []
    for split in ("train", "dev", "test"):
        text = "sentence1,sentence2,score\n" + text_of(data / "stsb" / f"en-{split}.csv")
        found.append(written(made / "stsb" / f"{split}.csv", text))
    return _first_4000(found)


def goemotions(data: Path, made: Path) -> list[str]:
    """Rows with the names of their labels, which the files give as numbers."""
    names, found = text_of(data / "goemotions" / "labels.txt").split(), []
    for split in ("train", "dev", "test"):
        lines = text_of(data / "goemotions" / f"{split}.tsv").splitlines()
        rows = [line.split("\t") for line in lines]
        labelled = [{"text": text, "labels": [names[int(k)] for k in held.split(",")]} for text, held, _ in rows]
        found.append(_lines(made / "goemotions" / f"{split}.jsonl", labelled))
    return _first_4000([found[0], f"{found[1]}#1500", found[2]])


def multi30k(data: Path, made: Path) -> list[str]:
    """English captions and their German translations."""
    found = []
    for split, name in {"train": "train", "dev": "val", "test": "test_2016_flickr"}.items():
        sides = [unpacked(data / "multi30k" / f"raw__{name}.{side}.gz").splitlines() for side in ("en", "de")]
        pairs = [{"source": a, "target": b} for a, b in zip(*sides, strict=True)]
        found.append(_lines(made / "multi30k" / f"{split}.jsonl", pairs))
    return _first_4000(found)


def classical(data: Path, made: Path) -> list[str]:
    """Classical and modern Chinese, in the order of the books: the last 2,000 are asked, those before choose."""
    rows = [json.loads(line) for line in text_of(data / "classical-modern" / "train_histories.jsonl").splitlines()]
    pairs = [{"source": row["src"], "target": row["tgt"]} for row in rows]
    parts = {"train": pairs[:-3000], "dev": pairs[-3000:-2000], "test": pairs[-2000:]}
    return _first_4000([_lines(made / "classical" / f"{split}.jsonl", some) for split, some in parts.items()])


def sides_of(pairs: Inputs) -> Inputs:
    """Both sides of the training pairs as texts of 40 lines, to pretrain on."""

    def read(data: Path, made: Path) -> list[str]:
        path = Path(pairs(data, made)[0].partition("#")[0])
        rows = [json.loads(line) for line in text_of(path).splitlines()]
        texts = ["\n".join(row[side] for row in rows[i : i + 40]) for side in rows[0] for i in range(0, len(rows), 40)]
        return [_lines(path.with_name("text.jsonl"), [{"text": text} for text in texts])]

    return read


def finding(data: Path, made: Path) -> list[str]:
    """Questions of cmrc2018 and the paragraphs that hold their answers."""
    found = []
    for split in ("train", "trial", "dev"):
        tree = json.loads(text_of(data / "cmrc2018" / f"{split}.json"))["data"]
        held = [(q["question"], part["context"]) for one in tree for part in one["paragraphs"] for q in part["qas"]]
        rows = [{"source": question, "target": context} for question, context in held]
        name = {"train": "train", "trial": "dev", "dev": "test"}[split]
        found.append(_lines(made / "finding" / f"{name}.jsonl", rows))
    return [*_first_4000(found[:2]), f"{found[2]}#1000"]


def chinese(data: Path, made: Path) -> list[str]:
    """Modern Chinese to pretrain on: a book, headlines, reviews, and the paragraphs of the training questions."""
    held = [json.loads(line)["target"] for line in text_of(Path(finding(data, made)[0].partition("#")[0])).splitlines()]
    paragraphs = _lines(made / "finding" / "text.jsonl", [{"text": text} for text in dict.fromkeys(held)])
    others = ("d2l-zh", "thucnews-titles/dev.jsonl", "chnsenticorp/train.jsonl", "cluener2020/train.jsonl")
    return [paragraphs, *(str(data / name) for name in others)]


def _first_4000(found: list[str]) -> list[str]:
    return [f"{found[0]}#4000", *found[1:]]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def unpacked(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode("utf-8")


def _lines(path: Path, rows: list[dict[str, Any]]) -> str:
    return written(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return str(path)
