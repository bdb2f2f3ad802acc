"""MediaWiki: markup becomes text, a dump becomes articles."""

import bz2
import time

import pytest

from pretune.base.errors import BadFile
from pretune.text.read.formats.wikitext import plain
from pretune.text.read.readers import Repairs, read_records, suffix_of
from tests.text.format_samples import WIKI, dump_of


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("'''Tea''' is ''hot''.", "Tea is hot."),
        ("[[Camellia sinensis|plant]], [[water]]s, [[:Category:Tea]]", "plant, waters, Category:Tea"),
        ("a{{cite|x={{y|[[z]]}}}}b {{unclosed", "ab {{unclosed"),
        ("a<ref name=x>{{cite}}</ref>b<ref name=y />c<ref>d", "abcd"),
        ("[[File:a.jpg|thumb|A [[cup]] of tea]]x[[Category:Tea]][[fr:Thé]][[Datei:b.png]]", "x"),
        ("[https://a.example a page] and [https://b.example]", "a page and"),
        ("{{lang|fr|thé}} {{convert|70|°C}} {{nowrap|a b}} {{lang-zh|茶}} {{Infobox|x=1}}", "thé 70 °C a b 茶"),
        ("a < b and c > d, <stdio.h>, List<int>, 3<4", "a < b and c > d, <stdio.h>, List<int>, 3<4"),
        ("x<sup>10</sup> H<sub>2</sub>O a<br/>b &amp;lt; &nbsp;&lt;p&gt;", "x¹⁰ H2O a\nb &lt;  <p>"),
        ("<math>a_{1} < b</math>", "$a_{1} < b$"),
        ("<nowiki>[[not]] '''a''' &lt;</nowiki>", "[[not]] '''a''' <"),
        ("<source lang=c>\nif (a[[0]] == '''')\n\treturn;\n</source>", "if (a[[0]] == '''')\n\treturn;"),
        ("* a\n** b\n# c\n: d\n; e", "- a\n  - b\n- c\nd\ne"),
        ("== A ==\nx\n=== Empty ===\n== See also ==\n{{x}}\n", "A\n\nx"),
        ("a == b\n= c", "a == b\n= c"),
        ("<!-- a -->b<!-- c", "b"),
        ("-{zh-hans:软件;zh-hant:軟體}-和-{茶}--{H|zh-cn:a}-", "软件和茶"),
        ("Tea ({{IPA|x}}; ) is hot（，）。", "Tea is hot。"),
        ("{{{name|default}}}x{{{y}}}", "defaultx"),
        ("__NOTOC__a\n----\nb", "a\n\nb"),
        ("{{Box\n| a = b\n|}}\nText", "Text"),
    ],
)
def test_markup_becomes_the_text_a_reader_sees(markup, text):
    assert plain(markup, media=frozenset({"datei"})) == text


@pytest.mark.parametrize(
    "title",
    [
        "CSI: Miami",
        "Re:Zero",
        "Up: A Memoir",
        "It: Chapter Two",
        "WP:NPOV",
        "Ys: Origin",
        "C: A Book",
        "AT: x",
        "tv:Lost",
    ],
)
def test_a_link_whose_prefix_is_no_language_keeps_its_words(title):
    assert plain(f"He saw [[{title}]] twice, and [[{title}|that]] once.") == f"He saw {title} twice, and that once."


@pytest.mark.parametrize("prefix", ["fr", "zh", "simple", "zh-min-nan", "be-tarask", "ceb", "roa-rup", " de "])
def test_a_link_to_the_article_in_another_language_is_no_text(prefix):
    assert plain(f"Tea.\n[[{prefix}:Tea]]\n[[{prefix}: Tea]]") == "Tea."


def test_a_table_keeps_its_cells_a_line_a_row():
    table = '{| class="x"\n|+ Kinds\n! name !! water\n|- style="y"\n| align="left" | green || 70 °C\n|-\n| black\n| 95 °C\n|}'
    assert plain(f"a\n{table}\nb") == "a\n\nKinds\nname\twater\ngreen\t70 °C\nblack\t95 °C\n\nb"


@pytest.mark.parametrize(
    "attack",
    [
        "{{",
        "[[",
        "{|\n",
        "[[a|",
        "{{a|",
        "<ref>",
        "<math>",
        "<!--",
        "-{",
        "'''",
        "[http://",
        "{{{",
        "(((",
        "<b ",
        "|}",
        "]]",
        "\n=",
        "\n*",
        "{{lang|",
        "<nowiki>",
        "\n{|\n|",
        "[[a]]{{b}}",
    ],
)
def test_a_million_brackets_take_time_that_grows_with_their_number(attack):
    start = time.monotonic()
    plain(attack * (1_000_000 // len(attack)))
    assert time.monotonic() - start < 15


def write(tmp_path, text, name="wiki.xml.bz2"):
    path = tmp_path / name
    path.write_bytes(bz2.compress(text.encode() if isinstance(text, str) else text))
    return path


def test_a_dump_gives_its_articles_with_title_and_url(tmp_path):
    dump = dump_of({"Tea house": WIKI, "B": "x < y & z [[Datei:a.png]]"})
    talk = "<page><title>Talk:Tea</title><ns>1</ns><revision><text>talk</text></revision></page>"
    moved = (
        '<page><title>Tee</title><ns>0</ns><redirect title="Tea"/><revision><text>#R [[Tea]]</text></revision></page>'
    )
    chinese = "<page><title>茶葉</title><ns>0</ns><revision><text>#重定向 [[茶]]</text></revision></page>"
    records = list(read_records(write(tmp_path, dump.replace("</mediawiki>", talk + moved + chinese + "</mediawiki>"))))
    assert [(r["title"], r["url"]) for r in records] == [
        ("Tea house", "https://w.example/wiki/Tea_house"),
        ("B", "https://w.example/wiki/B"),
    ]
    assert (
        records[0]["text"] == "Tea is a plant.\n\nKinds\n\n- green\n  - sencha\n\nname\twater\ngreen\t70 °C\n\n$a < b$"
    )
    assert records[1]["text"] == "x < y & z"


def test_a_damaged_page_costs_only_itself(tmp_path):
    dump = dump_of({n: f"text {n}" for n in "abcdef"})
    dump = dump.replace("<title>b", "<title><b").replace("text d</text></revision></page>", "text d")
    repairs = Repairs(quarantine=[])
    assert [r["title"] for r in read_records(write(tmp_path, dump[:-60]), repairs)] == ["a", "c", "e"]
    assert len(repairs.quarantine) == 3
    with pytest.raises(BadFile, match="is not XML"):
        list(read_records(write(tmp_path, dump)))


def test_a_dump_with_entities_of_its_own_is_refused(tmp_path):
    dump = dump_of({"a": "b"})
    with pytest.raises(BadFile, match="DTD"):
        list(read_records(write(tmp_path, '<!DOCTYPE m [<!ENTITY a "b">]>' + dump)))


def test_the_last_revision_of_a_page_is_taken_and_utf16_is_read(tmp_path):
    dump = dump_of({"茶": "old"}).replace("</revision>", "</revision><revision><text>new</text></revision>")
    assert [r["text"] for r in read_records(write(tmp_path, dump))] == ["new"]
    assert [(r["text"], r["title"]) for r in read_records(write(tmp_path, dump.encode("utf-16")))] == [("new", "茶")]


def test_other_xml_is_text(tmp_path):
    assert list(read_records(write(tmp_path, "<a>x</a>"))) == [{"text": "<a>x</a>"}]


def test_parts_of_wikipedias_dumps_are_known_by_their_names(tmp_path):
    assert suffix_of(tmp_path / "enwiki-20260101-pages-articles1.xml-p1p41242.bz2") == ".xml"


def test_real_wikipedia_leaves_no_markup_behind(shared):
    found = 0
    for path in sorted((shared / "data" / "mediawiki-dump").glob("*.bz2")):
        for record in read_records(path):
            found += 1
            left = [mark for mark in ("{{", "}}", "[[", "]]", "<ref", "{|", "'''") if mark in record["text"]]
            formula = "$" in record["text"]
            assert not left or formula, (record["title"], left)
    assert found > 100
