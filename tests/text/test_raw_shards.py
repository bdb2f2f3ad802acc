"""A large file of JSON lines is read in pieces, by any process: nothing may depend on where it was cut."""

import gzip
import json
import random

import pytest

from pretune.text.corpus import raw_shards
from pretune.text.corpus.documents import Measuring, RawFile, Tally, documents_of
from pretune.text.corpus.raw_shards import RawShard, read_shard

MEASURING = Measuring(text=None, clean=(), named=False, language_file=None, near=False)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(raw_shards, "LARGE_FILE", 1)
    monkeypatch.setattr(raw_shards, "RAW_SHARD_BYTES", 300)


def lines(number=60, seed=0):
    rng = random.Random(seed)
    return [json.dumps({"text": "茶" * rng.randrange(60), "n": k}, ensure_ascii=False) for k in range(number)]


def write(path, text):
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return RawFile("s", path.name, path)


def in_pieces(file):
    """(documents, its tally, the number of shards), each shard read by itself."""
    tally = Tally()
    work: list[RawShard] = list(raw_shards._of_large_file(file, MEASURING, tally))
    found = [d for shard in work for d in read_shard(shard, MEASURING, tally)]
    return found, tally, len(work)


def whole(file):
    tally = Tally()
    return list(documents_of(file, MEASURING, tally)), tally


TEXTS = {
    "plain": "\n".join(lines()),
    "an end of its own": "\n".join(lines()) + "\n",
    "a mark in front": "\ufeff" + "\n".join(lines()),
    "blank lines": "\n\n \n".join(lines()),
    "wrong lines": "\n[1]\n{cut\n".join(lines()),
    "texts without objects": "\n".join(f'"word {k}"' for k in range(99)),
    "ends of Windows": "\r\n".join(lines()),
    "a line longer than a piece": "\n".join([*lines(20), json.dumps({"text": "x" * 2000}), *lines(20)]),
    "broken bytes": "\n".join(lines()).encode().replace("茶".encode() * 57, b"\xe8\x8c" * 3),
    "broken bytes behind ASCII": b'{"text": "a"}\n' * 5000 + b'{"text": "\xe8"}\n{"text": "b"}\n',
}


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson.gz"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_file_read_in_pieces_gives_the_documents_of_the_file_read_whole(tmp_path, name, suffix):
    file = write(tmp_path / f"a{suffix}", TEXTS[name])
    (found, tally, number), (expected, tally_whole) = in_pieces(file), whole(file)
    assert number > 1
    assert found == expected and len(found) > 30
    assert (tally.quarantine, tally.broken) == (tally_whole.quarantine, tally_whole.broken)


def test_a_document_is_numbered_by_its_line_so_mending_one_moves_no_other(tmp_path):
    good = lines(30)
    whole_file = write(tmp_path / "a.jsonl", "\n".join(good))
    numbered = {d.meta["n"]: d.origin for d in in_pieces(whole_file)[0]}
    assert numbered == {k: f"a.jsonl#{k}" for k in range(30)}
    damaged = write(tmp_path / "a.jsonl", "\n".join([*good[:4], "{cut", "", *good[6:]]))
    assert {d.meta["n"]: d.origin for d in in_pieces(damaged)[0]} == {
        k: origin for k, origin in numbered.items() if k not in (4, 5)
    }


def test_a_refused_row_of_a_csv_keeps_the_numbers_of_those_behind_it(tmp_path):
    file = write(tmp_path / "a.csv", "text\none\ntwo,too many\nthree\n")
    assert [(d.text, d.origin) for d in whole(file)[0]] == [("one", "a.csv#0"), ("three", "a.csv#2")]


def test_of_a_damaged_archive_the_lines_before_the_damage_are_kept(tmp_path):
    file = write(tmp_path / "a.jsonl.gz", "\n".join(lines(400)))
    file.path.write_bytes(file.path.read_bytes()[:-200])
    found, tally, _ = in_pieces(file)
    assert [d.meta["n"] for d in found] == list(range(len(found)))
    assert 100 < len(found) < 400
    ((where, why),) = tally.quarantine
    assert where == "a.jsonl.gz" and "damaged archive" in why


def test_a_record_without_the_text_is_refused_and_those_behind_it_are_kept(tmp_path):
    rows = [{"body": f"text {k}"} if k % 10 else {"text": None, "n": k} for k in range(1, 100)]
    file = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    with_other = [*rows[:50], {"n": 7}, *rows[50:]]
    longer = write(tmp_path / "b.jsonl", "\n".join(map(json.dumps, with_other)))
    assert len(in_pieces(file)[0]) == 99
    found, tally, _ = in_pieces(longer)
    assert len(found) == 99 and [where for where, _ in tally.quarantine] == ["b.jsonl#50"]


def test_a_file_whose_first_record_has_no_text_is_refused_once(tmp_path):
    file = write(tmp_path / "a.jsonl", "\n".join(json.dumps({"n": k}) for k in range(99)))
    found, tally, number = in_pieces(file)
    assert (found, number, len(tally.no_column), len(tally.quarantine)) == ([], 0, 1, 1)


def test_another_encoding_is_read_by_who_hands_out_shards(tmp_path):
    file = write(tmp_path / "a.jsonl", "\n".join(lines()).encode("utf-16"))
    found, _, number = in_pieces(file)
    assert [d.meta["n"] for d in found] == list(range(60)) and number > 1


def test_a_large_file_that_is_not_packed_as_its_name_says_is_refused_once(tmp_path):
    file = RawFile("s", "a.jsonl.gz", tmp_path / "a.jsonl.gz")
    file.path.write_bytes("\n".join(lines()).encode())
    found, tally, number = in_pieces(file)
    assert (found, number) == ([], 0)
    assert [where for where, _ in tally.quarantine] == ["a.jsonl.gz"]
