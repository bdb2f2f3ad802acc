"""Web pages, PDF, office files and tables: what comes out, and what is refused."""

import time

import pytest

from pretune.base.errors import BadFile, NotText
from pretune.text.read.readers import Repairs, read_records
from tests.text import format_samples as made

pytest.importorskip("resiliparse", reason="needs the extra 'data'")


def read(tmp_path, suffix, data, repairs=None):
    path = tmp_path / f"sample{suffix}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_records(path, repairs))


# ---- html ---------------------------------------------------------------------------------------


def test_a_page_gives_its_main_text_with_lists_and_code_and_without_menus(tmp_path):
    [record] = read(tmp_path, ".html", made.PAGE)
    assert record["title"] == "Tea & water"
    assert "How to make tea" in record["text"].splitlines()
    assert "if hot:\n    wait(3)" in record["text"]
    assert all(kind in record["text"] for kind in ("green tea", "black tea", "水开了就泡茶。"))
    assert not any(menu in record["text"] for menu in ("Home", "Privacy", "Copyright"))


def test_a_list_of_nothing_but_links_goes_even_from_within_the_main_part(tmp_path):
    links = "".join(f'<li><a href="/{n}">Other page {n}</a><ul><li><a href=x>sub {n}</a></ul></li>' for n in range(6))
    [record] = read(tmp_path, ".html", made.PAGE.replace("<ul><li>green", f"<ul>{links}</ul><ul><li>green"))
    assert "Other page" not in record["text"]
    assert "green tea" in record["text"]


@pytest.mark.parametrize(
    ("encoding", "meta"),
    [
        ("utf-8", ""),
        ("utf-8", '<meta charset="latin-1">'),  # an old server's claim
        ("utf-8-sig", '<meta charset="gbk">'),
        ("gb18030", '<meta http-equiv="Content-Type" content="text/html; charset=gb2312">'),
        ("gb18030", ""),
        ("utf-16", ""),
        ("big5", '<meta charset="big5">'),
        ("shift_jis", "<meta charset=shift_jis>"),
    ],
)
def test_a_page_is_read_in_the_encoding_its_bytes_agree_with(tmp_path, encoding, meta):
    words = {"big5": "這是我們的茶，有水。", "shift_jis": "日本語の文章です"}.get(
        encoding, "中文的文章都在这里，是我的。"
    )
    page = f"<html><head>{meta}<title>{words}</title></head><body><p>{words * 3}</p></body></html>"
    repairs = Repairs()
    assert read(tmp_path, ".html", page.encode(encoding), repairs)[0]["title"] == words
    assert repairs.broken == 0


def test_tags_entangled_without_end_are_refused_within_seconds(tmp_path):
    deep = "<div>" * 60_000 + "x"
    rebuilt = "<p>" + "".join(f"<b a={n}>" for n in range(6000)) + "<p>x" * 6000
    for page in (deep, rebuilt):
        start = time.monotonic()
        with pytest.raises(BadFile, match="nests"):
            read(tmp_path, ".html", page)
        assert time.monotonic() - start < 5


def test_a_picture_called_html_is_not_text(tmp_path):
    with pytest.raises(NotText, match=r"sample\.html"):
        read(tmp_path, ".html", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0")


# ---- pdf ----------------------------------------------------------------------------------------


def test_a_pdf_gives_its_pages_in_order_and_its_title(tmp_path):
    [record] = read(tmp_path, ".pdf", made.pdf(["Hello tea", "", "Third page"]))
    assert record == {"text": "Hello tea\n\nThird page", "title": "Tea book", "pages": 3}


def test_a_pdf_without_text_says_that_it_may_be_a_scan(tmp_path):
    with pytest.raises(NotText, match=r"2 pages and no text.*\n.*OCR"):
        read(tmp_path, ".pdf", made.pdf(["", ""]))


def test_an_encrypted_pdf_is_told_from_a_damaged_one(tmp_path):
    encrypt = b"/Encrypt << /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>] /Root"
    locked = made.pdf(["secret"]).replace(b"/Root", encrypt % (b"41" * 32, b"42" * 32))
    with pytest.raises(BadFile, match=r"is encrypted"):
        read(tmp_path, ".pdf", locked)
    with pytest.raises(BadFile, match="not PDF, or damaged"):
        read(tmp_path, ".pdf", b"%PDF-1.4\nnothing more")


def test_a_word_cut_at_the_end_of_a_line_is_joined():
    from pretune.text.read.formats.pdf import mend_pdf_text

    assert mend_pdf_text("a hyphen\x02\nated word, a well-\nknown one\0") == "a hyphenated word, a well-\nknown one"


def test_a_real_manual_reads_as_it_was_set(shared):
    from pathlib import Path

    path = Path("/usr/share/doc/libtasn1-doc/libtasn1.pdf")
    if not path.exists():
        pytest.skip("Debian's libtasn1-doc is not installed")
    [record] = read_records(path)
    assert "On-line ASN.1 structure management that doesn’t require any C code file generation." in record["text"]


# ---- docx and epub ------------------------------------------------------------------------------

CELL = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"


def test_a_docx_gives_paragraphs_tables_tabs_and_breaks_and_no_deleted_text(tmp_path):
    run = "<w:r><w:t>{}</w:t></w:r>"
    body = (
        f"<w:p><w:pPr><w:tabs><w:tab w:val='left' w:pos='9'/></w:tabs></w:pPr>{run.format('Head 茶')}</w:p>"
        f"<w:p>{run.format('a')}<w:r><w:tab/><w:br/></w:r><w:del>{run.format('gone')}</w:del>{run.format('b')}</w:p>"
        f"<w:tbl><w:tr>{CELL.format('1')}{CELL.format('two')}</w:tr><w:tr>{CELL.format('3')}{CELL.format('4')}</w:tr></w:tbl>"
        f"<w:p>{run.format('last')}<Fallback><w:p>{run.format('twice')}</w:p></Fallback></w:p>"
    )
    [record] = read(tmp_path, ".docx", made.docx(body))
    assert record == {"text": "Head 茶\na\t\nb\n1\ttwo\n3\t4\nlast", "title": "A report"}


def test_a_document_type_is_refused_before_its_entities_unpack(tmp_path):
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(BadFile, match="has a DTD"):
        read(tmp_path, ".docx", made.docx("<w:p><w:r><w:t>&b;</w:t></w:r></w:p>", head=laughs))


def test_a_docx_with_a_password_says_so(tmp_path):
    with pytest.raises(BadFile, match="encrypted, or in Word's old format"):
        read(tmp_path, ".docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100)


def test_a_docx_that_unpacks_without_end_is_a_bomb(tmp_path):
    with pytest.raises(BadFile, match="bomb"):
        read(tmp_path, ".docx", made.docx("<w:p/>" + " " * (80 << 20)))


def test_a_book_gives_its_chapters_in_the_order_of_reading(tmp_path):
    chapters = [f"<html><body><p>Chapter {n} 茶</p></body></html>" for n in range(12)]
    [record] = read(tmp_path, ".epub", made.epub(chapters))
    assert record["text"].split("\n\n") == [f"Chapter {n} 茶" for n in range(12)]
    assert record["title"] == "Book of tea"


def test_a_locked_book_says_so_and_one_with_scrambled_fonts_is_read(tmp_path):
    chapter = "<html><body><p>Tea</p></body></html>"
    for uri, locked in (("OPS/fonts/a.otf", False), ("OPS/text/c 0.xhtml", True)):
        book = made.epub([chapter], more={"META-INF/encryption.xml": f'<e><CipherReference URI="{uri}"/></e>'})
        if locked:
            with pytest.raises(BadFile, match="is encrypted"):
                read(tmp_path, ".epub", book)
        else:
            assert read(tmp_path, ".epub", book)[0]["text"] == "Tea"


# ---- lines and tables: what is damaged is set aside --------------------------------------------


def test_bad_lines_of_jsonl_go_to_the_quarantine_and_the_others_are_read(tmp_path):
    lines = [b'{"text": "a"}', b'{"text": ', b"[1]", b'{"n": ' + b"1" * 5000 + b"}", b"[" * 9999]
    lines += [b'{"text": "\xe9t\xe9"}', b'{"text": "\1"}', '{"text": "茶"}'.encode()]
    repairs = Repairs(quarantine=[])
    texts = [record["text"] for record in read(tmp_path, ".jsonl", b"\n".join(lines), repairs)]
    assert (texts, repairs.broken) == (["a", "\ufffdt\ufffd", "茶"], 2)
    assert [where.rpartition(":")[2] for where, _ in repairs.quarantine] == ["2", "3", "4", "5", "7"]


def test_without_a_quarantine_the_first_bad_line_is_an_error(tmp_path):
    with pytest.raises(NotText, match=r"sample\.jsonl:2 is not UTF-8"):
        read(tmp_path, ".jsonl", b'{"text": "a"}\n{"text": "\xe9t\xe9"}\n{"text": ')


def test_a_quote_that_never_closes_costs_a_csv_one_line(tmp_path):
    rows = ["text,label", "a,1", 'b "x,2', '"c,3', 'd,"4"', "e,5,6", '"two\nlines",7', ""]
    repairs = Repairs(quarantine=[])
    records = read(tmp_path, ".csv", "\n".join(rows), repairs)
    assert [r["text"] for r in records] == ["a", 'b "x', "d", "two\nlines"]
    assert [where.rpartition(":")[2] for where, _ in repairs.quarantine] == ["4", "6"]


def test_a_csv_whose_every_line_opens_a_quote_is_done_in_seconds(tmp_path):
    start = time.monotonic()
    repairs = Repairs(quarantine=[])
    read(tmp_path, ".csv", "text,label\n" + 'x,"y\n' * 20_001, repairs)
    assert repairs.quarantine
    assert time.monotonic() - start < 20


def test_a_damaged_group_of_parquet_costs_only_itself(tmp_path):
    data = bytearray(made.parquet())
    at = data.find(b"\x28\xb5\x2f\xfd") if b"\x28\xb5\x2f\xfd" in data else data.find("水".encode())
    data[4:30] = b"\xff" * 26  # within the first group of rows
    repairs = Repairs(quarantine=[])
    assert [r["text"] for r in read(tmp_path, ".parquet", bytes(data), repairs)] == [made.TEXTS[2]]
    assert len(repairs.quarantine) == 1
    assert at > 0


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_and_streams_give_their_rows(tmp_path, stream):
    for suffix in (".arrow", ".feather"):
        rows = read(tmp_path, suffix, made.arrow(stream=stream))
        assert [r["text"] for r in rows] == list(made.TEXTS)
        assert [r["kind"] for r in rows] == ["a", "b", "a"]


def test_an_empty_anchor_of_xhtml_swallows_no_table(tmp_path):
    rows = "".join(f"<tr><td>mc{i}</td><td>a file manager of {i} panes</td></tr>" for i in range(6))
    prose = "<p>Programs that are of use to somebody who begins, with what they do for him.</p>" * 4
    page = f'<html><body><h1>Programs</h1>{prose}<a id="list"/><table><tr><th>name</th><th>use</th></tr>{rows}</table></body>'
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    (record,) = read_records(path)
    assert "a file manager of 5 panes" in record["text"]


def test_a_page_with_thousands_of_lists_is_read_in_linear_time(tmp_path):
    lists = "".join(f"<ul>{''.join(f'<li>item {k} of list {i}</li>' for k in range(5))}</ul>" for i in range(5000))
    path = tmp_path / "page.html"
    path.write_text(f"<html><body><main>{lists}</main></body></html>", encoding="utf-8")
    started = time.process_time()
    (record,) = read_records(path)
    assert "item 4 of list 4999" in record["text"]
    assert time.process_time() - started < 20  # a second; it was minutes
