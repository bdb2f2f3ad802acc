"""The corpus stage at its limits: damaged files, sizes beyond memory, kill -9, any number of processes.

    python benchmarks/corpus_limits.py                       everything, about half an hour on two cores
    python benchmarks/corpus_limits.py --only malformed      damaged files of every format among good documents
                                       --only parquet        a million rows
                                       --only zst            2 GB of jsonl.zst, streamed
                                       --only archives       a web archive, a dump of MediaWiki
                                       --only dedup          near copies in 1 GB of text, memory measured
                                       --only kill           killed at many moments, then ended: the same id
                                       --only workers        two processes next to one

Each prints what it measured and whether its bar holds; --scale 0.1 makes all of them a tenth as large.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for the samples of all formats, which the tests make

PLAIN = {"filters": [], "dedup": "none", "max_overlap": None, "validation": 0, "test": 0}
WORDS = ["tea", "water", "leaf", "river", "stone", "light", "morning", "paper", "engine", "letter", "garden", "window"]
HANZI = "茶水叶河石光晨纸机信园数窗乐史季山云雨风花鸟木火土金日月星天地人心手口目耳足"


# ---- text ---------------------------------------------------------------------------------------


def paragraphs(number: int, seed: int = 0) -> list[str]:
    """Paragraphs of about 400 bytes, every fifth Chinese, no two alike."""
    rng = random.Random(seed)
    made = []
    for k in range(number):
        if k % 5 == 4:
            made.append(f"第{k}段：" + "".join(rng.choices(HANZI, k=130)) + "。")
        else:
            made.append(
                f"Paragraph {k}: " + " ".join(f"{w}{rng.randrange(500)}" for w in rng.choices(WORDS, k=45)) + "."
            )
    return made


def documents(num_bytes: float, seed: int = 0, pieces: int = 6) -> Iterator[str]:
    """Documents of about 2.4 KB, drawn paragraph by paragraph, of `num_bytes` together."""
    rng, pool, size, number = random.Random(seed), paragraphs(20_000, seed), 0.0, 0
    while size < num_bytes:
        text = f"Document {number}\n\n" + "\n\n".join(rng.choices(pool, k=pieces))
        size += len(text.encode())
        number += 1
        yield text


def with_copies(num_bytes: float) -> Iterator[str]:
    """Documents of which every twentieth stands once more, with a few words changed."""
    rng = random.Random(1)
    pool = paragraphs(400_000, 2)
    size = 0.0
    while size < num_bytes:
        text = "\n\n".join(rng.sample(pool, 6))
        for copy in [text, *([text.replace("tea", "coffee", 2)] if rng.random() < 0.05 else [])]:
            size += len(copy.encode())
            yield copy


# ---- a run in a process of its own --------------------------------------------------------------


def child(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One corpus; returns seconds, the card's metrics and id, and peak memory of this process and of its children."""
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe
    from pretune.text.corpus import deciding

    near: dict[str, float] = {}
    real = deciding._drop_near

    def watched(*given: Any) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
        near["before_mib"] = _status("VmRSS")
        real(*given)
        near["peak_mib"] = _status("VmHWM")

    deciding._drop_near = watched
    recipe = Recipe.build({"work": str(folder / "out"), "stages": {"corpus": {"kind": "corpus", **settings}}})
    started = time.perf_counter()
    made = recipe.run(log=Log(quiet=True))["corpus"]
    seconds = time.perf_counter() - started
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    metrics = {k: v for k, v in made.card.metrics.items() if isinstance(v, int | float) or k == "dropped"}
    return {"seconds": seconds, "id": made.card.id, "peak_mib": peaks, "near": near, **metrics}


def _status(name: str) -> float:
    """A figure of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def in_child(settings: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", json.dumps({**PLAIN, **settings}), folder]
        env = {**os.environ, "PRETUNE_CACHE": folder, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _data() -> Path:
    return Path(os.environ["PRETUNE_BENCH_DATA"])


# ---- campaigns ----------------------------------------------------------------------------------


def malformed(scale: float, folder: Path) -> dict[str, Any]:
    """Damaged files among good documents: each is read, set aside or left out, and no good document is lost."""
    from tests.text.format_samples import damaged, samples

    found: Counter[str] = Counter()
    slowest, number = 0.0, 0
    formats = list(samples().items())
    for batch in range(max(1, int(27 * scale))):
        place = folder / f"batch{batch}"
        good = _good_files(place, batch)
        bad = {}
        for k in range(200):
            suffix, data = formats[number % len(formats)]
            bad[f"{k:03d}-bad{suffix}"] = damaged(data, number // len(formats))
            number += 1
        for name, data in bad.items():
            (place / name).write_bytes(data)
        signal.alarm(600)  # a hang ends the campaign
        started = time.perf_counter()
        found.update(_survived(place, folder / f"out{batch}", good, bad, workers=1 + batch % 2))
        slowest = max(slowest, time.perf_counter() - started)
        signal.alarm(0)
    held = found["good lost"] == found["unaccounted"] == 0
    return {"damaged files": number, **found, "slowest folder of 200, s": round(slowest, 1), "holds": held}


def _good_files(place: Path, batch: int) -> set[str]:
    place.mkdir()
    texts = [f"Good document {batch}.{k}, 好文档第{batch}.{k}篇。\nIts second line." for k in range(40)]
    for k, text in enumerate(texts):
        name = f"{5 * k:03d}-good"  # before, between and behind the damaged ones
        if k % 2:
            (place / f"{name}.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
        else:
            (place / f"{name}.txt").write_text(text, encoding="utf-8")
    return set(texts)


def _survived(place: Path, out: Path, good: set[str], bad: dict[str, bytes], workers: int) -> Counter[str]:
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe
    from pretune.text.read.shards import read_rows

    stage = {"kind": "corpus", "read": [str(place)], "workers": workers, **PLAIN}
    made = Recipe.build({"work": str(out), "stages": {"corpus": stage}}).run(log=Log(quiet=True))["corpus"]
    rows = [row for side in ("train", "dropped") for row in read_rows(made.path, side, ["text", "origin"])]
    quarantine = made.path / "quarantine.jsonl"
    lines = quarantine.read_text(encoding="utf-8").splitlines() if quarantine.is_file() else []
    told = [row["origin"] for row in rows] + [json.loads(line)["file"] for line in lines]
    told += made.card.metrics["left_out_files"]
    silent = [name for name, data in bad.items() if data and not any(t.startswith(name) for t in told)]
    lost = good - {row["text"].strip() for row in rows}
    return Counter(
        {
            "documents": len(rows),
            "quarantined": len(lines),
            "good": len(good),
            "good lost": len(lost),
            "silent": len(silent),
            "unaccounted": max(0, len(silent) - _without_text(silent, bad)),
        }
    )


def _without_text(names: list[str], bad: dict[str, bytes]) -> int:
    """Files of which a reader rightly says nothing: it ends without an error and without a record."""
    from pretune.text.read.readers import Repairs, read_records

    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / name
            path.write_bytes(bad[name])
            count += not list(read_records(path, Repairs(quarantine=[])))
    return count


def parquet(scale: float, folder: Path) -> dict[str, Any]:
    """A million rows; memory does not grow with them."""
    rows = {name: int(share * scale * 1_000_000) for name, share in (("quarter", 0.25), ("whole", 1.0))}
    found: dict[str, Any] = {}
    for name, number in rows.items():
        _write_parquet(folder / f"{name}.parquet", number)
        told = in_child({"read": [str(folder / f"{name}.parquet")], "dedup": "exact"})
        assert told["documents"] == number, told
        found[f"{name}: rows"] = number
        found[f"{name}: s"] = round(told["seconds"], 1)
        found[f"{name}: MB/s"] = round(told["bytes"] / told["seconds"] / 1e6, 1)
        found[f"{name}: peak MiB"] = round(told["peak_mib"][0])
    return {**found, "holds": found["whole: peak MiB"] < 1024}


def _write_parquet(path: Path, number: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    with pq.ParquetWriter(path, pa.schema([("text", pa.string()), ("n", pa.int64())])) as file:
        for at in range(0, number, 50_000):
            numbers = range(at, min(at + 50_000, number))
            texts = [f"Row {n} tells of {' '.join(rng.choices(WORDS, k=16))} 第{n}行。" for n in numbers]
            file.write_table(pa.table({"text": texts, "n": list(numbers)}))


def zst(scale: float, folder: Path) -> dict[str, Any]:
    """2 GB of jsonl in one .zst, read as it is unpacked; a tenth of it needs about the same memory."""
    found: dict[str, Any] = {}
    for name, size in (("tenth", 2e8 * scale), ("whole", 2e9 * scale)):
        path = folder / f"{name}.jsonl.zst"
        number = _write_zst(path, size)
        told = in_child({"read": [str(path)]})
        assert told["documents"] == number, told
        found[f"{name}: GB"] = round(told["bytes"] / 1e9, 2)
        found[f"{name}: s"] = round(told["seconds"])
        found[f"{name}: MB/s"] = round(told["bytes"] / told["seconds"] / 1e6, 1)
        found[f"{name}: peak MiB (main, worker)"] = [round(p) for p in told["peak_mib"]]
        path.unlink()
    return {**found, "holds": max(found["whole: peak MiB (main, worker)"]) < 1536}


def _write_zst(path: Path, num_bytes: float) -> int:
    import zstandard

    number = 0
    packer = zstandard.ZstdCompressor(level=1)
    with path.open("wb") as raw, packer.stream_writer(raw) as packed:
        for text in documents(num_bytes):
            packed.write(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")
            number += 1
    return number


def archives(scale: float, folder: Path) -> dict[str, Any]:
    """A web archive and a dump of MediaWiki, as they come."""
    found: dict[str, Any] = {}
    for name in ("warc", "mediawiki-dump"):
        told = in_child({"read": [str(_data() / name)]})
        found[f"{name}: documents"] = told["documents"]
        found[f"{name}: quarantined"] = told["quarantined"]
        found[f"{name}: s"] = round(told["seconds"], 1)
    return {**found, "holds": all(found[f"{name}: documents"] > 0 for name in ("warc", "mediawiki-dump"))}


def dedup(scale: float, folder: Path) -> dict[str, Any]:
    """Near copies in 1 GB of text, in the stage, with its own cap."""
    path, number = folder / "text.jsonl", 0
    with path.open("w", encoding="utf-8") as file:
        for text in with_copies(1.05e9 * scale):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            number += 1
    told = in_child({"read": [str(path)], "dedup": "minhash", "memory": 256e6})
    near = told["near"]
    return {
        "GB": round(path.stat().st_size / 1e9, 2),
        "documents": number,
        "near copies left out": told["dropped"].get("near-copy", told["dropped"]),
        "s": round(told["seconds"]),
        "before near copies, MiB": round(near["before_mib"]),
        "peak while they are found, MiB": round(near["peak_mib"]),
        "for near copies, MiB": round(near["peak_mib"] - near["before_mib"]),
        "holds": near["peak_mib"] - near["before_mib"] < 256,
    }


def kill(scale: float, folder: Path) -> dict[str, Any]:
    """SIGKILL at five moments, then the same command to its end, with 1, 2 and 4 processes."""
    path = folder / "text.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text in documents(30e6 * scale):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    started = time.perf_counter()
    whole = _command(path, folder / "whole", workers=1)
    length = time.perf_counter() - started
    ids, moments = {whole}, []
    for workers in (1, 2, 4):
        for k, share in enumerate((0.15, 0.35, 0.55, 0.75, 0.92)):
            out = folder / f"killed-{workers}-{k}"
            _command(path, out, workers=workers, seconds=share * length)
            moments.append(sorted(p.name for p in folder.glob(f"{out.name}*")))
            ids.add(_command(path, out, workers=workers))
    ids.discard("")
    return {"kills": len(moments), "ids": len(ids), "whole run, s": round(length, 1), "holds": len(ids) == 1}


def _command(path: Path, out: Path, *, workers: int, seconds: float | None = None) -> str:
    """The id that `pretune corpus` ends with; "" if it was killed after so many seconds."""
    settings = ["filters=", "dedup=minhash", "max_overlap=null", f"workers={workers}"]
    command = [sys.executable, "-m", "pretune", "corpus", str(path), "--out", str(out), *settings]
    running = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        code = running.wait(seconds)
        assert code == 0, code
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)  # its own session: the processes it started, too
        running.wait()
        return ""
    return str(json.loads((out / "artifact.json").read_text(encoding="utf-8"))["id"])


def workers(scale: float, folder: Path) -> dict[str, Any]:
    """Clean and filter with one process and with two, in turn."""
    path = folder / "text.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text in documents(320e6 * scale):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    lid = _data() / "lid.176" / "lid.176.ftz"
    settings = {
        "read": [str(path)],
        "language_file": str(lid),
        "filters": ["gopher-repetition", "gopher", "c4", "fineweb"],
    }
    seconds: dict[int, list[float]] = {1: [], 2: []}
    ids = set()
    for _ in range(3):
        for number in (1, 2):
            told = in_child({**settings, "workers": number})
            seconds[number].append(told["seconds"])
            ids.add(told["id"])
    medians = {number: statistics.median(taken) for number, taken in seconds.items()}
    ratio = medians[1] / medians[2]
    told_seconds = {f"{number} process{'es' * (number > 1)}, s": round(s, 1) for number, s in medians.items()}
    return {**told_seconds, "ratio": round(ratio, 2), "ids": len(ids), "holds": ratio >= 1.8 and len(ids) == 1}


CAMPAIGNS: dict[str, Callable[[float, Path], dict[str, Any]]] = {
    "malformed": malformed,
    "parquet": parquet,
    "zst": zst,
    "archives": archives,
    "dedup": dedup,
    "kill": kill,
    "workers": workers,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=CAMPAIGNS)
    parser.add_argument("--scale", type=float, default=1.0, help="of every size")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(json.loads(given.child[0]), Path(given.child[1]))))
        return 0
    os.environ["PRETUNE_BENCH_DATA"] = str(given.data.resolve())
    found = {}
    for name in given.only or CAMPAIGNS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = CAMPAIGNS[name](given.scale, Path(folder))
        if not given.json:
            print(f"{name}\n" + "".join(f"  {k}: {v}\n" for k, v in found[name].items()), flush=True)
    if given.json:
        print(json.dumps(found, indent=2))
    return 0 if all(f["holds"] for f in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
