"""Damaged files among good ones, and SIGKILL: no good document is lost, and the id is that of a quiet run.

The same at full size: benchmarks/corpus_limits.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, NotText
from pretune.text.read.readers import Repairs, read_records
from pretune.text.read.shards import read_rows
from tests.text.dedup_worlds import chinese, english
from tests.text.format_samples import damaged, samples

PLAIN = {"filters": [], "dedup": "none", "max_overlap": None, "validation": 0, "test": 0}


@pytest.mark.parametrize("workers", [1, 2])
def test_good_documents_stand_whole_among_damaged_files_of_every_format(tmp_path, run_stage, workers):
    pytest.importorskip("resiliparse", reason="needs the extra 'data'")
    place = tmp_path / "in"
    place.mkdir()
    good = [f"Good document {k}, 好文档第{k}篇。" for k in range(60)]
    for k, text in enumerate(good):
        (place / f"{k:03d}-good.txt").write_text(text, encoding="utf-8")
    bad = {}
    for k, (suffix, data) in enumerate(samples().items()):
        for seed in range(3):
            bad[f"{2 * k:03d}-bad{seed}{suffix}"] = damaged(data, 1000 * workers + seed)
    for name, data in bad.items():
        (place / name).write_bytes(data)
    made = run_stage("corpus", read=[str(place)], workers=workers, **PLAIN)
    rows = list(read_rows(made.path, "train"))
    assert set(good) <= {row["text"].strip() for row in rows}
    quarantine = made.path / "quarantine.jsonl"
    lines = quarantine.read_text(encoding="utf-8").splitlines() if quarantine.is_file() else []
    dropped = read_rows(made.path, "dropped")  # a page whose text is gone
    reported = [*(r["origin"] for r in (*rows, *dropped)), *(json.loads(line)["file"] for line in lines)]
    reported += made.card.metrics["left_out_files"]
    for name, data in bad.items():
        if data and not any(one.startswith(name) for one in reported):
            assert list(read_records(place / name, Repairs(quarantine=[]))) == [], f"nothing was said of {name}"


def test_a_table_of_another_shape_is_set_aside_and_the_others_read(tmp_path, run_stage):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("text\na first line\n", encoding="utf-8")
    (tmp_path / "in" / "b.csv").write_text("textt\na second line\n", encoding="utf-8")
    made = run_stage("corpus", read=[str(tmp_path / "in")], **PLAIN)
    assert [r["text"].strip() for r in read_rows(made.path, "train")] == ["a first line"]
    (line,) = (made.path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    reported = json.loads(line)
    assert reported["file"] == "b.csv" and "has no column that could be the text; it has: textt" in reported["reason"]
    assert str(tmp_path) not in reported["reason"]


def test_a_source_that_gives_nothing_for_want_of_a_column_is_an_error(tmp_path, run_stage):
    (tmp_path / "a.csv").write_text("text\na first line\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("wort\na second line\n", encoding="utf-8")
    read = {"one": [str(tmp_path / "a.csv")], "other": [str(tmp_path / "b.csv")]}
    with pytest.raises(NoSuchColumn, match="it has: wort"):
        run_stage("corpus", read=read, **PLAIN)


def start(path: Path, out: Path) -> subprocess.Popen[bytes]:
    settings = ["filters=", "dedup=minhash", "max_overlap=null", "workers=2"]
    command = [sys.executable, "-m", "pretune", "corpus", str(path), "--out", str(out), *settings]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_while_reading_and_while_writing_the_id_is_that_of_a_quiet_run(tmp_path, run_stage):
    rng = random.Random(5)
    (tmp_path / "in").mkdir()
    for k in range(60):
        lines = [json.dumps({"text": (chinese if n % 3 else english)(rng, 400)}) + "\n" for n in range(150)]
        (tmp_path / "in" / f"{k:02d}.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = {"filters": [], "dedup": "minhash", "max_overlap": None, "workers": 1}
    whole = run_stage("corpus", read=[str(tmp_path / "in")], **settings).card.id
    out = tmp_path / "killed"
    states = {"reading": "shards/*.parquet", "writing": "**/train-*.parquet"}
    for pattern in states.values():
        running = start(tmp_path / "in", out)
        while running.poll() is None and not any(Path(f"{out}.scratch").glob(pattern)):
            time.sleep(0.002)
        assert running.poll() is None, running.stderr.read().decode() if running.stderr else ""
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        assert not (out / "artifact.json").exists()
    running = start(tmp_path / "in", out)
    _, reported = running.communicate()
    assert running.returncode == 0, reported.decode()
    assert json.loads((out / "artifact.json").read_text(encoding="utf-8"))["id"] == whole


def test_where_nothing_is_left_the_mistake_is_told_and_not_the_picture_beside_it(tmp_path, run_stage):
    place = tmp_path / "in"
    place.mkdir()
    (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\0\0\0\1")
    (place / "a.json").write_text('[{"text": "a"}, {"text": "b"', encoding="utf-8")
    with pytest.raises(BadFile, match="is not JSON"):
        run_stage("corpus", read=[str(place)])
    (place / "a.json").write_text('[{"text": ""}]', encoding="utf-8")
    with pytest.raises(EmptyInput, match="1 empty"):
        run_stage("corpus", read=[str(place)])
    (place / "a.json").unlink()
    with pytest.raises(NotText, match=r"Thumbs\.db"):
        run_stage("corpus", read=[str(place)])
