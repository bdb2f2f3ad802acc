"""PDF: the text that was set, page after page, in the order of the file. Scanned pages hold none.

need: extra `data` (pypdfium2, the engine of Chrome)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import BadFile, NotText
from pretune.base.extras import need
from pretune.text.read.formats.record import Record, Repairs, edge, open_bytes

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MAX_BAD_PAGES = 100
HYPHEN = re.compile(r"[\x02\ufffe]\n?")  # what pdfium writes for a hyphen that only breaks a word at a line's end


def read_pdf(path: Path, repairs: Repairs) -> Iterator[Record]:
    """One record: all pages, joined by a line break.

    Raises:
        BadFile: damaged or encrypted; NotText: pages of pictures without text.
    """
    need(["data"])
    name = path.as_posix()
    with open_bytes(path) as stream:
        data = stream.read()
    with edge(name, "PDF"), closing(_open(data, name)) as document:
        pages = list(_pages(document, name, repairs))
        title = " ".join(document.get_metadata_dict().get("Title", "").split())
    if not any(page.strip() for page in pages):
        raise NotText(f"{name!r} has {len(pages)} pages and no text in them", hint="a scan? run OCR on it first")
    text = mend_pdf_text("\n".join(pages))
    yield {"text": text, "title": title, "pages": len(pages)} if title else {"text": text, "pages": len(pages)}


def _open(data: bytes, name: str) -> PdfDocument:
    import pypdfium2
    from pypdfium2 import raw

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise BadFile(f"{name!r} is encrypted", hint="remove its password first: qpdf --decrypt") from None
        raise


def _pages(document: PdfDocument, name: str, repairs: Repairs) -> Iterator[str]:
    """The text of each page; a page that cannot be read is refused and the next one read."""
    bad = 0
    for number in range(len(document)):
        try:
            with edge(f"{name}#page={number + 1}", "a PDF page"):
                text = _page_text(document, number)
        except BadFile as error:
            bad += 1
            if bad > MAX_BAD_PAGES:
                raise BadFile(f"{name!r} has more than {MAX_BAD_PAGES} damaged pages") from None
            repairs.refuse(error, f"{name}#page={number + 1}")
            continue
        yield text


def _page_text(document: PdfDocument, number: int) -> str:
    with closing(document[number]) as page, closing(page.get_textpage()) as text:
        # Not get_text_range: it loses characters beyond U+FFFF, which rare Chinese names are written with.
        found: str = text.get_text_bounded()
    return found.replace("\r\n", "\n").replace("\r", "\n")


def mend_pdf_text(text: str) -> str:
    """Words that were cut at a line's end are joined; zeros, which stand for glyphs without a letter, go."""
    return HYPHEN.sub("", text).replace("\0", "")
