import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretune.base.errors import BadFile, EmptyInput
from pretune.text.read.readers import Repairs, read_records, suffix_of

ROWS = [{"text": "一, two", "label": "a"}, {"text": 'quote " and\nline', "label": "b"}]
JSONL = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_the_same_rows_come_out_of_every_format(tmp_path):
    csv = 'text,label\r\n"一, two",a\r\n"quote "" and\nline",b\r\n'
    zstandard = pytest.importorskip("zstandard", reason="needs the extra 'data'")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(JSONL.encode()))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(JSONL.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    write(tmp_path / "a.jsonl", "\ufeff" + JSONL + "\n\n")
    write(tmp_path / "b.json", json.dumps(ROWS))
    write(tmp_path / "c.json", JSONL)
    write(tmp_path / "a.csv", "\ufeff" + csv)
    write(tmp_path / "b.csv", csv, "gb18030")
    write(tmp_path / "c.csv", csv.replace(",", ";").replace("一;", "一,"))
    write(tmp_path / "a.tsv", csv.replace(",", "\t").replace("一\t", "一,"))
    for path in sorted(tmp_path.iterdir()):
        assert list(read_records(path)) == ROWS, path.name


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", '{"text": "x"}\n{"text": ', r"a\.jsonl:2"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1 is list, not an object"),
        ("a.json", '[{"text": "x"},]', r"a\.json:1"),
        ("a.csv", "text,label\nx,1\nx,y,1\n", r"a\.csv:3 has 3 cells"),
        ("a.csv", "text,text\nx,1\n", "two columns of one name"),
        ("a.parquet", "not parquet at all", r"a\.parquet"),
        ("a.jsonl.gz", "not packed", r"a\.jsonl\.gz.*damaged"),
        ("a.jsonl.zst", "not packed", r"a\.jsonl\.zst.*damaged"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, name, text, told):
    with pytest.raises(BadFile, match=told):
        list(read_records(write(tmp_path / name, text)))


def test_a_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL.encode() * 50)[:-20])
    with pytest.raises(BadFile, match=r"a\.jsonl\.gz"):
        list(read_records(path))


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(EmptyInput, match=r"a\.txt"):
        read_records(write(tmp_path / "a.txt", ""))


def test_broken_utf8_in_a_line_is_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(JSONL.encode() * 20 + b'{"text": "a\xffb"}\n')
    repairs = Repairs()
    assert list(read_records(path, repairs))[-1] == {"text": "a\ufffdb"}
    assert repairs.broken == 1


def test_a_text_file_is_one_record_with_its_indentation(tmp_path):
    code = "def f():\n\treturn 1\n\n\n    # 你好\n"
    assert list(read_records(write(tmp_path / "a.py", code))) == [{"text": code}]


def test_suffix_and_stem_see_through_packing(tmp_path):
    assert suffix_of(tmp_path / "Train.JSONL.gz") == ".jsonl"


def test_an_array_with_a_record_a_line_is_read_as_its_records(tmp_path):
    text = '[\n{"text": "a"},\n{"text": "b,"},\n\n{"text": "},"}\n]\n'
    repairs = Repairs(quarantine=[])
    assert list(read_records(write(tmp_path / "a.jsonl", text), repairs)) == [{"text": t} for t in ("a", "b,", "},")]
    assert repairs.quarantine == []


def test_a_comma_behind_what_is_no_object_is_still_a_mistake(tmp_path):
    with pytest.raises(BadFile, match=r"a\.jsonl:2"):
        list(read_records(write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": "b"}},\n')))


def test_lines_of_json_may_end_as_on_old_macs(tmp_path):
    text = '{"text": "a"}\r{"text": "b\\r\\n"}\r'
    assert list(read_records(write(tmp_path / "a.jsonl", text))) == [{"text": "a"}, {"text": "b\r\n"}]
