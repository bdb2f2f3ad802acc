"""Where texts come from: a file that grows, a folder, a feed, a pipe; and what is wrong with them."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from pretune.apps.monitor.sources.choosing import source_of
from pretune.apps.monitor.sources.feed import Feed, entries_of
from pretune.apps.monitor.sources.folder import Folder
from pretune.apps.monitor.sources.growing import Growing, _end
from pretune.apps.monitor.sources.items import time_of
from pretune.apps.monitor.sources.piped import Piped
from pretune.apps.monitor.sources.source import Source
from pretune.base.errors import BadFile, NoSuchFile
from pretune.base.json import Json
from tests.apps.monitor.conftest import MONDAY

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>News</title>
<item><title>Bank &amp; rail</title><description>&lt;p&gt;All is &lt;b&gt;well&lt;/b&gt;.&lt;/p&gt;</description>
<guid>a</guid><pubDate>Mon, 05 Jan 2026 08:00:00 +0800</pubDate></item>
<item><title>你好 🙂</title><link>http://x/b</link><pubDate>Mon, 05 Jan 2026 01:00:00 GMT</pubDate></item>
<item><guid>empty</guid></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>F</title><entry><title>One</title><id>1</id>
<link href="http://x/1"/><updated>2026-01-05T00:00:00Z</updated><summary>the first</summary>
<author><name>Nobody</name></author></entry></feed>"""


class Reader:
    """A source with the places that a store would keep."""

    def __init__(self, source: Source):
        self.source, self.places = source, dict[str, Json]()
        self.refused = list[str]()

    def texts(self, most: int = 100) -> list[str]:
        found = list[str]()
        while True:
            batch = self.source.read(json.loads(json.dumps(self.places)), most)
            self.places |= batch.places
            self.refused += batch.refused
            found += [item.text for item in batch.items]
            if not batch.has_more:
                return found


def test_a_file_is_followed_by_whole_lines_and_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("one\n你好\nhal".encode())
    reader = Reader(Growing(str(file)))
    assert reader.texts() == ["one", "你好"]
    with file.open("ab") as stream:
        stream.write("f\n🙂".encode()[:6])  # cut inside a character
    assert reader.texts() == ["half"]
    file.write_bytes(b"one\nnew\n")
    assert reader.texts() == ["one", "new"]
    file.write_bytes(b"")
    assert reader.texts() == []


def lines(first: int, last: int) -> str:
    return "".join(json.dumps({"text": f"line {k}"}) + "\n" for k in range(first, last))


def texts(first: int, last: int) -> list[str]:
    return [f"line {k}" for k in range(first, last)]


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("most", [1, 100])
@pytest.mark.parametrize("way", ["renamed", "copied"])
def test_a_file_that_is_rotated_loses_and_repeats_no_line(tmp_path: Path, way: str, most: int, is_folder: bool) -> None:
    file, old, older = (tmp_path / f"a.jsonl{end}" for end in ("", ".1", ".2"))
    reader = Reader(Folder(str(tmp_path)) if is_folder else Growing(str(file)))

    def rotate() -> None:
        if old.exists():
            old.rename(older)
        if way == "renamed":
            file.rename(old)
        else:
            old.write_bytes(file.read_bytes())
            file.write_bytes(b"")

    def append(path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)

    append(file, lines(0, 3))
    assert reader.texts(most) == texts(0, 3)
    append(file, lines(3, 6))
    rotate()
    found = reader.texts(most)  # nobody has written into the new file yet
    if way == "renamed":
        append(old, lines(6, 8).rstrip())  # whoever writes has not noticed; the last line has no end
    else:
        append(file, lines(6, 8))
    append(file, lines(8, 11))
    assert found + reader.texts(most) == texts(3, 11)
    append(file, lines(11, 13))
    rotate()
    append(file, lines(13, 15))
    time.sleep(0.01)
    rotate()  # twice between two looks
    append(file, lines(15, 17))
    assert reader.texts(most) == texts(11, 17)
    assert reader.texts(most) == []
    assert reader.refused == []


@pytest.mark.parametrize("rest", [0, 3])
@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("most", [1, 100])
def test_a_table_that_is_rotated_to_a_name_of_a_table_goes_on_where_it_was(
    tmp_path: Path, most: int, is_folder: bool, rest: int
) -> None:
    file = tmp_path / "a.jsonl"
    reader = Reader(Folder(str(tmp_path)) if is_folder else Growing(str(file)))
    file.write_text(lines(0, 4), encoding="utf-8")
    assert reader.texts(most) == texts(0, 4)
    file.write_text(lines(0, 4 + rest), encoding="utf-8")
    file.rename(tmp_path / "a-20260105.jsonl")
    file.write_text(lines(10, 12), encoding="utf-8")
    assert reader.texts(most) == [*texts(4, 4 + rest), *texts(10, 12)]
    file.write_text(lines(10, 14), encoding="utf-8")
    assert reader.texts(most) == texts(12, 14)


@pytest.mark.parametrize("most", [1, 2, 100])
def test_a_csv_that_grows_keeps_its_columns_and_never_cuts_a_text_in_quotes(tmp_path: Path, most: int) -> None:
    file, texts = tmp_path / "a.csv", [f'line {k}\nand, "more"' * (k % 3 + 1) for k in range(200)]
    rows = ["id,text,time\n", *(f'{k},"{t.replace(chr(34), chr(34) * 2)}",2026-01-05\n' for k, t in enumerate(texts))]
    data, found = "".join(rows).encode(), list[str]()
    reader = Reader(Growing(str(file)))
    for start in range(0, len(data), 1500):
        with file.open("ab") as stream:
            stream.write(data[start : start + 1500])
        found += reader.texts(most)
    assert found == texts


def test_a_stray_quote_in_a_csv_costs_at_most_its_row_and_no_time(tmp_path: Path) -> None:
    file, names, rows = tmp_path / "a.csv", "id,text\n", "".join(f"{k},row {k}\n" for k in range(30_000))
    whole = _end((names + '1,"never closed\n' + rows).encode(), b",")  # by the line, 30,000 x 400 KB were counted
    assert whole == len(names)
    assert _end((names + '1,"said" twice\n' + rows).encode(), b",") == len(names + '1,"said" twice\n' + rows)
    file.write_text(names + '1,5" screen\n2,"so ""he"" said,\nand\n', encoding="utf-8")
    reader = Reader(Growing(str(file)))
    assert reader.texts() == ['5" screen']  # the second goes on
    with file.open("a", encoding="utf-8") as stream:
        stream.write('went"\n3,"damaged" row\n4,fine\n')
    assert reader.texts() == ['so "he" said,\nand\nwent', "fine"]
    assert len(reader.refused) == 1


def test_a_csv_is_cut_between_its_rows_wherever_it_ends() -> None:
    rows = [f'{k},"{chr(10).join(["said more"] * k)}",x\n'.encode() for k in range(5)]
    ends = [len(b"".join(rows[:k])) for k in range(len(rows) + 1)]
    for size in range(ends[-1] + 1):
        assert _end(b"".join(rows)[:size], b",") == max(end for end in ends if end <= size)


def test_a_tsv_whose_quotes_are_letters_is_not_held_up_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tmood\n"Bring me the lamp\tcalm\nnext\tbad\n', encoding="utf-8")
    assert Reader(Growing(str(tmp_path / "a.tsv"))).texts(1) == ['"Bring me the lamp', "next"]


@pytest.mark.parametrize("front", ["", "\n\n", "sep=;\n", "\ufeff", "\ufeffsep=;\r\n"])
def test_a_csv_that_grows_has_its_columns_where_the_reader_finds_them(tmp_path: Path, front: str) -> None:
    rows = "".join(f'{k};"row {k}, one"\r\n' for k in range(100))
    (tmp_path / "a.csv").write_bytes((front + "id;text\r\n" + rows).encode())
    reader = Reader(Growing(str(tmp_path / "a.csv")))
    assert reader.texts(1) == [f"row {k}, one" for k in range(100)]


def test_a_file_in_utf16_is_refused_once_and_not_read_as_rubbish(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "你好"}\n'.encode("utf-16"))
    reader = Reader(Growing(str(tmp_path / "a.jsonl")))
    assert reader.texts() == []
    assert "is UTF-16" in reader.refused[0]


def test_a_broken_line_costs_itself_alone_and_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n{broken\n{"text": "two", "time": "soon"}\n{"text": "three"}\n', encoding="utf-8")
    reader = Reader(Growing(str(file)))
    assert reader.texts() == ["one", "three"]
    assert len(reader.refused) == 2
    assert all("a.jsonl" in reason or "'soon' is no time" in reason for reason in reader.refused)


def test_a_folder_gives_what_grows_and_what_arrives_each_once(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
    (tmp_path / "note.txt").write_text("two\nlines", encoding="utf-8")
    (tmp_path / "late.txt").write_text("still written", encoding="utf-8")
    past = time.time() - 60
    os.utime(tmp_path / "note.txt", (past, past))
    reader = Reader(Folder(str(tmp_path)))
    assert reader.texts() == ["one", "two\nlines"]
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "three"}\n')
    os.utime(tmp_path / "late.txt", (past, past))
    assert reader.texts() == ["still written", "three"]
    assert reader.texts() == []


def test_a_feed_gives_titles_with_what_they_say_and_their_times() -> None:
    first, second = entries_of(RSS.encode(), "news.rss")
    assert (first.text, first.time) == ("Bank & rail\nAll is well.", MONDAY)
    assert (second.text, second.time) == ("你好 🙂", MONDAY + 3600)
    (entry,) = entries_of(ATOM.encode(), "a.atom")
    assert (entry.text, entry.time) == ("One\nthe first", MONDAY)
    assert len({first.key, second.key, entry.key, ""}) == 4


@pytest.mark.parametrize("encoding", ["gb2312", "utf-8", "utf-16", "iso-8859-1"])
def test_a_feed_is_read_in_the_encoding_that_it_names(encoding: str) -> None:
    text = "Grüße" if encoding == "iso-8859-1" else "你好"
    feed = f'<?xml version="1.0" encoding="{encoding}"?>\n<rss><item><title>{text}</title></item></rss>'
    assert [one.text for one in entries_of(feed.encode(encoding), "a.rss")] == [text]


@pytest.mark.parametrize("front", [b"\xef\xbb\xbf", b"\r\n \n", b'\n<?xml version="1.0" encoding="nonsense"?>'])
def test_a_feed_with_a_blank_in_front_or_a_broken_byte_is_still_news(front: bytes) -> None:
    (item,) = entries_of(front + b"<rss><item><title>a \xff b</title></item></rss>", "a.rss")
    assert item.text == "a \ufffd b"


def test_a_feed_with_entities_is_refused_and_so_is_what_is_no_feed() -> None:
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss><item><title>&b;</title></item></rss>'
    with pytest.raises(BadFile, match="has a DTD"):
        entries_of(bomb.encode(), "bomb.rss")
    with pytest.raises(BadFile, match="is no feed"):
        entries_of(b"<html><item><title>x</title></item></html>", "page.xml")
    with pytest.raises(BadFile, match="is not XML"):
        entries_of(b"<rss><item>", "cut.rss")


def test_a_feed_that_did_not_change_is_not_read_again_and_one_that_is_gone_is_told(tmp_path: Path) -> None:
    file = tmp_path / "news.rss"
    file.write_text(RSS, encoding="utf-8")
    reader = Reader(Feed(str(file), every=0))
    assert len(reader.texts()) == 2
    assert reader.texts() == []
    file.unlink()
    assert reader.texts() == []
    assert "cannot be read" in reader.refused[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<rss>",
    ],
)
def test_a_server_that_speaks_no_http_is_told_and_ends_no_watch(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/feed"
        (reason,) = Feed(address, every=0).read({}, 10).refused
        thread.join()
    assert address in reason
    (reason,) = Feed("http://a:b@host/feed", every=0).read({}, 10).refused
    assert "does not answer" in reason


def test_a_pipe_gives_lines_and_records_and_says_when_it_is_over() -> None:
    stream = io.BytesIO(b'one\n\n{"text": "two", "time": 1767571200000}\n{"no": 1}\n')
    source, items, refused = Piped(stream=stream), [], []
    for _ in range(200):
        batch = source.read({}, 10)
        items, refused = [*items, *batch.items], [*refused, *batch.refused]
        if batch.is_over:
            break
        time.sleep(0.01)
    assert batch.is_over
    assert [item.text for item in items] == ["one", "two"]
    assert items[1].time == MONDAY
    assert len(refused) == 1


def test_times_are_read_as_logs_mails_and_programs_write_them() -> None:
    said = (
        MONDAY,
        str(MONDAY),
        MONDAY * 1000,
        "2026-01-05",
        "2026-01-05 08:00:00+08:00",
        "Mon, 05 Jan 2026 00:00:00 GMT",
    )
    assert {time_of(one) for one in said} == {MONDAY}
    for wrong in ("soon", "nan", "2026-13-01"):
        with pytest.raises(BadFile, match="is no time"):
            time_of(wrong)


def test_a_source_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile, match="to watch"):
        source_of(str(tmp_path / "nothing"))
