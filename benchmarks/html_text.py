r"""Main text of web pages against gold: manuals that Debian ships both as HTML and as text.

    apt-get download debian-policy developers-reference debian-faq maint-guide debian-reference-en \
        debian-reference-zh-cn
    for f in *.deb; do dpkg -x $f manuals; done
    python benchmarks/html_text.py manuals            trafilatura is beside it where it is installed

Of each manual all pages of one language are extracted and compared with the text file as bags of words (characters for
Chinese): precision is the share of extracted words that the text has, recall the share of the text's words extracted.
The text file has a table of contents, drawn tables and page marks of its own, so 1.00 cannot be reached.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
WORD = re.compile(r"[一-鿿]|[^\W_一-鿿]+")


def ours(page: bytes) -> str:
    from pretune.text.formats.html import page_record
    from pretune.text.readers import Repairs

    return str(page_record(page, "page", Repairs())["text"])


def resiliparse(page: bytes) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(page.decode("utf-8"), main_content=True))


def trafilatura(page: bytes) -> str:
    from trafilatura import extract

    return extract(page.decode("utf-8")) or ""


SIDES: dict[str, Callable[[bytes], str]] = {"ours": ours, "resiliparse": resiliparse, "trafilatura": trafilatura}


def words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text.casefold()))


def scores(found: Counter[str], gold: Counter[str]) -> dict[str, float]:
    both = sum((found & gold).values())
    precision, recall = both / max(1, found.total()), both / max(1, gold.total())
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def measure(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name, (text, pattern) in MANUALS.items():
        if not (folder / text).is_file():
            continue
        gold = words(gzip.decompress((folder / text).read_bytes()).decode("utf-8"))
        found = [p for p in sorted(folder.glob(pattern)) if not any(part in p.name for part in NOT_CONTENT)]
        pages = [path.read_bytes() for path in found]
        rows += [_row(name, side, extract, pages, gold) for side, extract in SIDES.items() if _is_there(side)]
    return rows


def _is_there(side: str) -> bool:
    from importlib.util import find_spec

    return side == "ours" or find_spec(side) is not None


def _row(
    name: str, side: str, extract: Callable[[bytes], str], pages: list[bytes], gold: Counter[str]
) -> dict[str, Any]:
    extract(pages[0])  # what a library loads at its first page
    started = time.perf_counter()
    found = "\n".join(extract(page) for page in pages)
    speed = sum(map(len, pages)) / (time.perf_counter() - started) / 1e6
    return {
        "manual": name,
        "side": side,
        "pages": len(pages),
        **scores(words(found), gold),
        "mb_per_s": round(speed, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'manual':<24}{'side':<13}{'pages':>6}{'precision':>11}{'recall':>9}{'F1':>9}{'MB/s':>8}"]
    for r in rows:
        lines.append(
            f"{r['manual']:<24}{r['side']:<13}{r['pages']:>6}{r['precision']:>11.4f}{r['recall']:>9.4f}{r['f1']:>9.4f}"
            f"{r['mb_per_s']:>8}"
        )
    for side in dict.fromkeys(r["side"] for r in rows):
        mine = [r["f1"] for r in rows if r["side"] == side]
        lines.append(f"{'mean':<24}{side:<13}{'':>6}{'':>11}{'':>9}{sum(mine) / len(mine):>9.4f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the packages were unpacked")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = measure(given.folder)
    print(json.dumps({"rows": rows}, indent=2) if given.json else table(rows))


if __name__ == "__main__":
    main()
