"""Parquet and Arrow: what stands in a column that nobody asked for costs no row; bytes that are text are text."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretune.base.errors import BadFile, EmptyInput
from pretune.text.dataset.example import read_split
from pretune.text.read.readers import Repairs, read_records
from pretune.text.read.shards import read_rows

TEXTS = ["The tea is hot.", "水开了就泡茶 🙂", "x < y and z > 3"]
NANOSECOND, YEAR_20000, EARLY = 1_704_067_200_123_456_789, 568_971_820_800, -(10**15)


def written(path, columns, schema=None):
    table = pa.table(columns, schema=schema)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return path


ODD = {
    "nanoseconds": pa.array([NANOSECOND] * 3, pa.timestamp("ns")),
    "nanoseconds somewhere": pa.array([NANOSECOND] * 3, pa.timestamp("ns", "Asia/Tokyo")),
    "a zone that nobody knows": pa.array([0] * 3, pa.timestamp("s", "Nowhere/City")),
    "the year 20000": pa.array([YEAR_20000] * 3, pa.timestamp("s")),
    "before the year 1": pa.array([EARLY] * 3, pa.timestamp("s")),
    "a day in the year 29349": pa.array([10**7] * 3, pa.date32()),
    "a time of nanoseconds": pa.array([NANOSECOND % 10**13] * 3, pa.time64("ns")),
    "an endless duration": pa.array([10**18] * 3, pa.duration("s")),
    "dates in a list": pa.array([[EARLY]] * 3, pa.list_(pa.timestamp("s"))),
    "dates in an object": pa.array([{"at": EARLY}] * 3, pa.struct([("at", pa.timestamp("s"))])),
    "a picture's bytes": pa.array([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"] * 3),
    "pictures": pa.array([{"bytes": b"\xff\xd8\xff\xe0\0", "path": "a.jpg"}] * 3),
    "numbers that are none": pa.array([float("nan"), float("inf"), 1.5]),
    "such numbers in a list": pa.array([[float("nan")]] * 3),
}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_column_beside_the_text_costs_neither_a_corpus_nor_a_dataset_a_row(tmp_path, run_stage, name, suffix):
    table = {"text": TEXTS, "label": ["a", "b", "a"], name: ODD[name]}
    path = str(written(tmp_path / f"a{suffix}", table))
    corpus = run_stage("corpus", read=path, validation=0, test=0, filters=[])
    rows = list(read_rows(corpus.path, "train"))
    assert [row["text"] for row in rows] == TEXTS
    assert corpus.card.metrics["quarantined"] == 0
    metas = [json.loads(row["meta"], parse_constant=pytest.fail) for row in rows]
    assert all(meta["label"] == label for meta, label in zip(metas, "aba", strict=True))
    found = read_split(run_stage("dataset", read=path, validation=0, test=0).path, "train")
    assert [(e.text, e.label) for e in found] == list(zip(TEXTS, "aba", strict=True))


def test_times_that_python_cannot_tell_are_written_out_in_full(tmp_path):
    path = written(tmp_path / "a.parquet", {"text": TEXTS, **{k: ODD[k] for k in list(ODD)[:6]}})
    record = next(read_records(path))
    assert record["nanoseconds"] == "2024-01-01T00:00:00.123456789"
    assert record["nanoseconds somewhere"] == "2024-01-01T09:00:00.123456789+0900"
    assert (record["a zone that nobody knows"], record["a day in the year 29349"]) == (None, "29349-01-26")
    whole = pa.array([NANOSECOND // 1000 * 1000] * 3, pa.timestamp("ns"))
    record = next(read_records(written(tmp_path / "b.parquet", {"text": TEXTS, "at": whole})))
    assert record["at"] == datetime.datetime(2024, 1, 1, microsecond=123456)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_of_utf8_are_text_and_labels(tmp_path, run_stage, kind, suffix):
    schema = pa.schema([("text", kind), ("label", kind)])
    table = {"text": [t.encode() for t in TEXTS], "label": [b"a", b"b", b"a"]}
    path = str(written(tmp_path / f"a{suffix}", table, schema))
    corpus = run_stage("corpus", read=path, validation=0, test=0, filters=[])
    assert [row["text"] for row in read_rows(corpus.path, "train")] == TEXTS
    found = read_split(run_stage("dataset", read=path, validation=0, test=0).path, "train")
    assert [(e.text, e.label) for e in found] == list(zip(TEXTS, "aba", strict=True))


def test_bytes_in_lists_and_in_dictionaries_are_text_too(tmp_path):
    table = {"tokens": [[b"the", b"tea"]], "kind": pa.array([b"one"]).dictionary_encode()}
    assert list(read_records(written(tmp_path / "a.parquet", table))) == [{"tokens": ["the", "tea"], "kind": "one"}]


def test_bytes_of_another_encoding_are_read_as_a_file_of_them_would_be(tmp_path, run_stage):
    chinese = "这个宾馆比较陈旧了，特价的房间也很一般。"
    cells = [chinese.encode("gb18030"), b"a pl\xffain text of words", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"plain"]
    path = written(tmp_path / "a.parquet", {"text": pa.array(cells)})
    corpus = run_stage("corpus", read=str(path), validation=0, test=0, filters=[])
    texts = [row["text"] for row in read_rows(corpus.path, "train")]
    assert texts == [chinese, "a pl\ufffdain text of words", "plain"]
    facts = corpus.card.metrics
    assert facts["repaired"] == 1
    assert facts["quarantine"] == ["a.parquet#2: a.parquet#2: column 'text' is bytes that are no text, not a text"]
    labelled = written(tmp_path / "b.parquet", {"text": pa.array(cells), "label": list("abab")})
    with pytest.raises(BadFile, match=r"b\.parquet#2: column 'text' must be text, not bytes"):
        run_stage("dataset", read=str(labelled))


def test_a_text_of_parquet_that_is_no_utf8_is_mended_and_counted(tmp_path):
    cells = pa.array([b"caf\xe9 and so on", b"plain"]).view(pa.string())
    repairs = Repairs()
    path = written(tmp_path / "a.parquet", {"text": cells})
    assert [r["text"] for r in read_records(path, repairs)] == ["caf\ufffd and so on", "plain"]
    assert repairs.broken == 1


def test_pictures_are_not_even_read_from_the_disk(tmp_path):
    picture = pa.array([{"bytes": bytes(range(256)) * 40, "path": "a.jpg"}] * 3)
    path = written(tmp_path / "a.parquet", {"text": TEXTS, "image": picture, "n": [1, 2, 3]})
    assert list(read_records(path)) == [{"text": t, "n": n} for t, n in zip(TEXTS, (1, 2, 3), strict=True)]
    data, of_pictures = bytearray(path.read_bytes()), pq.read_metadata(path).row_group(0).column(1)
    assert of_pictures.path_in_schema == "image.bytes"
    start = of_pictures.dictionary_page_offset
    data[start : start + of_pictures.total_compressed_size] = b"\xff" * of_pictures.total_compressed_size
    path.write_bytes(data)
    assert [r["text"] for r in read_records(path)] == TEXTS


def test_numbers_that_are_none_are_no_label_and_no_text(tmp_path, run_stage):
    nan = float("nan")
    path = written(tmp_path / "a.parquet", {"text": [*TEXTS, "more"], "label": [1.0, 2.0, nan, 1.0]})
    artifact = run_stage("dataset", read=str(path), validation=0, test=0)
    assert sorted(artifact.card.metrics["labels"]) == ["1", "2"]
    assert artifact.card.metrics["dropped"] == {"no label": 1}
    texts = written(tmp_path / "b.parquet", {"text": [nan, nan]})
    with pytest.raises(EmptyInput, match="2 empty"):
        run_stage("corpus", read=str(texts))
