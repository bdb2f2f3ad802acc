"""Web archives: pages come out whole or not at all."""

import gzip
import random
import zlib

import pytest

from pretune.base.errors import BadFile
from pretune.text.read.readers import Repairs, read_records
from tests.text.format_samples import PAGE, http, warc, warc_record

pytest.importorskip("fastwarc", reason="needs the extra 'data'")
HTTP = "application/http; msgtype=response"


def read(tmp_path, name, data, *, refuse=True):
    path = tmp_path / name
    path.write_bytes(data)
    repairs = Repairs(quarantine=[] if refuse else None)
    return list(read_records(path, repairs)), repairs.quarantine


def response(number, *, body=PAGE, **how):
    page = body.replace("How to make tea", f"Tea {number}").encode() if isinstance(body, str) else body
    return warc_record("response", f"https://w.example/{number}", http(page, **how), HTTP)


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.warc.bz2", "a.warc.zst"])
def test_pages_and_texts_come_with_their_address_from_every_packing(tmp_path, name):
    import bz2

    import zstandard

    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstandard.compress}.get(name.split(".")[-1], bytes)
    records, refused = read(tmp_path, name, warc(pack=pack))
    assert refused == []
    assert [r["url"] for r in records] == [f"https://w.example/{n}" for n in (0, 0, 1, 1, 2, 2)]
    assert records[0]["title"] == "Tea & water"
    assert records[0]["text"].startswith("Tea 0\n")
    assert records[1]["text"] == "The tea is hot."


def test_the_servers_charset_is_heard_and_packed_and_chunked_bodies_are_unpacked(tmp_path):
    page = "<html><head><title>中文的网页</title></head><body><p>这是我们的茶。</p></body></html>".encode("gbk")
    chunked = b"".join(
        f"{len(page[i : i + 30]):x}\r\n".encode() + page[i : i + 30] + b"\r\n" for i in range(0, len(page), 30)
    )
    bodies = [
        (page, ""),
        (gzip.compress(page, mtime=0), "Content-Encoding: gzip\r\n"),
        (chunked + b"0\r\n\r\n", "Transfer-Encoding: chunked\r\n"),
    ]
    kind = "text/html; charset=gb2312"
    data = b"".join(response(n, body=b, content_type=kind, more=more) for n, (b, more) in enumerate(bodies))
    records, refused = read(tmp_path, "a.warc", data)
    assert refused == []
    assert [r["title"] for r in records] == ["中文的网页"] * 3
    assert {r["text"] for r in records} == {"这是我们的茶。"}


def test_only_pages_that_were_found_and_are_text_are_taken(tmp_path):
    data = response(0, status=404) + response(1, content_type="image/png") + response(2, status=301)
    data += response(3, content_type="text/plain", body="just text") + warc_record("request", "u", http(b""), HTTP)
    records, refused = read(tmp_path, "a.warc", data)
    assert (refused, [r["text"] for r in records]) == ([], ["just text"])


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_damaged_record_costs_only_itself(tmp_path, name):
    pack = gzip.compress if name.endswith("gz") else bytes
    parts = [pack(response(n)) for n in range(9)]
    broken = bytearray(parts[4])
    broken[len(broken) // 2 :] = random.Random(0).randbytes(200)
    parts[4] = bytes(broken) if name.endswith("gz") else parts[4].replace(b"Content-Length: ", b"Content-Length: 9")
    records, refused = read(tmp_path, name, b"".join(parts))
    assert [r["url"][-1] for r in records] == list("01235678")
    assert len(refused) == 1
    with pytest.raises(BadFile, match=r"a\.warc"):
        read(tmp_path, name, b"".join(parts), refuse=False)


def test_a_page_that_was_cut_is_never_taken_for_a_whole_one(tmp_path):
    whole = gzip.compress(response(0)) + gzip.compress(response(1))
    for size in range(len(whole) - 200, len(whole) - 16, 7):
        records, refused = read(tmp_path, "a.warc.gz", whole[:size])
        assert ([r["url"][-1] for r in records], len(refused)) == (["0"], 1), size
    records, refused = read(tmp_path, "a.warc.gz", whole[:-3])  # all of the page is there, its check sum is not
    assert ([r["url"][-1] for r in records], len(refused)) == (["0", "1"], 1)


def test_one_gzip_member_around_all_records_is_read_as_well(tmp_path):
    records, refused = read(tmp_path, "a.warc.gz", gzip.compress(warc()))
    assert (len(records), refused) == (6, [])


def test_a_body_that_unpacks_without_end_is_refused_and_the_next_page_read(tmp_path):
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(70)) + bomb.flush()
    data = response(0, body=packed, more="Content-Encoding: gzip\r\n") + response(1)
    records, refused = read(tmp_path, "a.warc", data)
    assert [r["url"][-1] for r in records] == ["1"]
    assert "unpacks to more than 64 MiB" in refused[0][1]


def test_heads_without_end_are_passed_in_time_that_grows_with_the_file(tmp_path):
    records, refused = read(tmp_path, "a.warc", b"WARC/1.0\r\nx: y\r\n" * 20_000 + response(1))
    assert len(refused) > 1
    assert records == [] or records[0]["url"].endswith("1")


def test_common_crawls_own_files_give_one_page(shared):
    folder = shared / "data" / "warc"
    for name in ("whirlwind.warc.gz", "whirlwind.warc.wet.gz"):
        [record] = read_records(folder / name)
        assert record["url"] == "https://an.wikipedia.org/wiki/Escopete"
        assert "Castiella-La Mancha" in record["text"]
    for path in sorted((folder / "warcio").glob("*.warc*")):
        if path.suffix != ".bad":
            for record in read_records(path, Repairs(quarantine=[])):
                assert record["url"].startswith("http"), path.name
