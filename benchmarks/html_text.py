r"""Main text of web pages against gold: pages drawn by kind, pages of your own, and manuals of Debian.

    python benchmarks/html_text.py                    drawn pages: lists, tables, code, ruby, forums, shops, news, docs
    python benchmarks/html_text.py FOLDER             each NAME.html in it whose main text is in NAME.txt
    python benchmarks/html_text.py FOLDER             manuals, unpacked there:
        apt-get download debian-policy developers-reference debian-faq maint-guide debian-reference-en \
            debian-reference-zh-cn
        for f in *.deb; do dpkg -x $f FOLDER; done

resiliparse is measured in the same run, and trafilatura, by itself, as it comes and with the options that we give it.
Texts are compared as bags of words (characters for Chinese): precision is the share of extracted words that the gold
has, recall the share of the gold's words extracted; F1 is the mean over pages. The drawn pages are those of the tests
(tests/text/html_pages.py). A manual's text file has a table of contents, drawn tables and page marks of its own, so
1.00 cannot be reached there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the drawn pages, which the tests draw as well
from tests.text.html_pages import LIST_MARK, pages, scores, words

DOC = "usr/share/doc"
MANUALS = {
    "debian-policy": (f"{DOC}/debian-policy/policy.txt.gz", f"{DOC}/debian-policy/policy.html/*.html"),
    "developers-reference": (
        "usr/share/developers-reference/developers-reference.txt.gz",
        "usr/share/developers-reference/*.html",
    ),
    "debian-faq": (f"{DOC}/debian/FAQ/debian-faq.en.txt.gz", f"{DOC}/debian/FAQ/*.en.html"),
    "maint-guide": (f"{DOC}/maint-guide/maint-guide.en.txt.gz", f"{DOC}/maint-guide/html/*.en.html"),
    "debian-reference-en": (
        "usr/share/debian-reference/debian-reference.en.txt.gz",
        "usr/share/debian-reference/*.en.html",
    ),
    "debian-reference-zh-cn": (
        "usr/share/debian-reference/debian-reference.zh-cn.txt.gz",
        "usr/share/debian-reference/*.zh-cn.html",
    ),
}
NOT_CONTENT = ("search.", "genindex", "footnotes", "developers-reference.html")  # the last: all of it again
PAGES_OF_A_KIND = 12


def ours(page: bytes) -> str:
    from pretune.text.read.formats.html import page_record
    from pretune.text.read.readers import Repairs

    return str(page_record(page, "page", Repairs())["text"])


def resiliparse(page: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(decoded(page), main_content=True, alt_texts=False))


def trafilatura(page: bytes) -> str:
    from trafilatura import extract

    return extract(decoded(page)) or ""


def trafilatura_as_we_ask(page: bytes) -> str:
    from trafilatura import extract

    return extract(decoded(page), favor_recall=True, include_comments=False) or ""


def decoded(page: bytes) -> str:
    from pretune.text.read.formats.html import decode_page
    from pretune.text.read.readers import Repairs

    return decode_page(page, "page", Repairs())


SIDES: dict[str, Callable[[bytes], str]] = {
    "ours": ours,
    "resiliparse": resiliparse,
    "trafilatura": trafilatura,
    "its options": trafilatura_as_we_ask,
}
Task = tuple[str, list[bytes], str]
"""A kind or manual, its pages, and the gold of all of them."""


def tasks(folder: Path | None) -> Iterator[Task]:
    if folder is None:
        yield from ((page.kind, [page.html.encode()], "\n".join(page.gold)) for page in pages(PAGES_OF_A_KIND))
        return
    for path in sorted(folder.glob("*.html")):
        if (gold := path.with_suffix(".txt")).is_file():
            yield folder.name, [path.read_bytes()], gold.read_text(encoding="utf-8")
    for name, (text, pattern) in MANUALS.items():
        if (folder / text).is_file():
            found = [p for p in sorted(folder.glob(pattern)) if not any(part in p.name for part in NOT_CONTENT)]
            yield name, [p.read_bytes() for p in found], gzip.decompress((folder / text).read_bytes()).decode("utf-8")


def measure(folder: Path | None) -> list[dict[str, Any]]:
    """A row for each kind and side."""
    of: defaultdict[str, list[Task]] = defaultdict(list)
    for task in tasks(folder):
        of[task[0]].append(task)
    return [_row(kind, side, found) for kind, found in of.items() for side in SIDES if _is_there(side)]


def _is_there(side: str) -> bool:
    from importlib.util import find_spec

    return side in ("ours", "resiliparse") or find_spec("trafilatura") is not None


def _row(kind: str, side: str, found: list[Task]) -> dict[str, Any]:
    extract = SIDES[side]
    extract(found[0][1][0])  # what a library loads at its first page
    started = time.perf_counter()
    texts = ["\n".join(map(extract, html)) for _, html, _ in found]
    seconds = time.perf_counter() - started
    size, number = sum(len(page) for _, html, _ in found for page in html), sum(len(html) for _, html, _ in found)
    each = [
        scores(words(LIST_MARK.sub("", text)), words(LIST_MARK.sub("", gold)))
        for text, (_, _, gold) in zip(texts, found, strict=True)
    ]
    means = {name: round(sum(score[name] for score in each) / len(each), 4) for name in each[0]}
    return {"kind": kind, "side": side, "pages": number, **means, "mb_per_s": round(size / seconds / 1e6, 1)}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'kind':<24}{'side':<13}{'pages':>6}{'precision':>11}{'recall':>9}{'F1':>9}{'MB/s':>8}"]
    for r in rows:
        lines.append(
            f"{r['kind']:<24}{r['side']:<13}{r['pages']:>6}{r['precision']:>11.4f}{r['recall']:>9.4f}{r['f1']:>9.4f}"
            f"{r['mb_per_s']:>8}"
        )
    for side in dict.fromkeys(r["side"] for r in rows):
        mine = [r["f1"] for r in rows if r["side"] == side]
        lines.append(f"{'mean':<24}{side:<13}{'':>6}{'':>11}{'':>9}{sum(mine) / len(mine):>9.4f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pages with their gold, or where packages were unpacked")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = measure(given.folder)
    print(json.dumps({"rows": rows}, indent=2) if given.json else table(rows))


if __name__ == "__main__":
    main()
