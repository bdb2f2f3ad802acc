"""A small sound file of every format, and ways to damage it; used by the tests of readers and by the fuzz campaign."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ("The tea is hot.", "水开了就泡茶 🙂", "x < y and z > 3")
PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Tea &amp; water</title></head><body>
<nav><a href="/">Home</a> <a href="/all">All pages</a></nav>
<main><h1>How to make tea</h1><p>Boil the water, pour it over the leaves and wait for three minutes. 水开了就泡茶。</p>
<ul><li>green tea</li><li>black tea</li></ul><pre>if hot:\n    wait(3)</pre></main>
<footer>Copyright 2026 <a href="/privacy">Privacy</a></footer></body></html>"""
WIKI = """'''Tea''' is a [[Camellia sinensis|plant]]<ref>a {{cite}}</ref>. {{Infobox|x={{y}}}}

== Kinds ==
* green
** ''sencha''
{| class="wikitable"
! name !! water
|-
| green || 70 °C
|}
<math>a < b</math> [[File:x.jpg|thumb|[[a]]]] [[Category:Tea]]"""


def samples() -> dict[str, bytes]:
    """A sound file of each format by its suffix."""
    jsonl = "".join(json.dumps({"text": t, "n": i}, ensure_ascii=False) + "\n" for i, t in enumerate(TEXTS)).encode()
    plain = {
        ".txt": "\n".join(TEXTS).encode(),
        ".jsonl": jsonl,
        ".json": json.dumps([{"text": t} for t in TEXTS], ensure_ascii=False).encode(),
        ".csv": "text,label\n{}".format("".join(f'"{t}",a\n' for t in TEXTS)).encode(),
        ".tsv": "text\tlabel\n{}".format("".join(f"{t}\ta\n" for t in TEXTS)).encode(),
        ".html": PAGE.encode(),
        ".xml": dump_of({"Tea": WIKI, "Water": "'''Water''' is wet."}).encode(),
        ".warc": warc(),
        ".warc.gz": warc(pack=gzip.compress),
        ".wet": warc(kinds=("conversion",)),
        ".parquet": parquet(),
        ".arrow": arrow(stream=False),
        ".feather": arrow(stream=True),
        ".pdf": pdf(["Hello tea", "Second page"]),
        ".docx": docx("<w:p><w:r><w:t>Tea is hot.</w:t></w:r></w:p><w:p><w:r><w:t>水</w:t><w:tab/></w:r></w:p>"),
        ".epub": epub([PAGE, "<html><body><p>Two 茶</p></body></html>"]),
    }
    folder = {"a.jsonl": jsonl, "b/page.html": PAGE.encode(), "b/c.txt": plain[".txt"]}
    packed = {
        ".jsonl.gz": gzip.compress(jsonl, mtime=0),
        ".jsonl.bz2": bz2.compress(jsonl),
        ".jsonl.xz": lzma.compress(jsonl),
        ".zip": zipped(folder),
        ".tar": tarred(folder),
        ".tar.gz": tarred(folder, "gz"),
        ".tar.bz2": tarred(folder, "bz2"),
        ".tar.xz": tarred(folder, "xz"),
    }
    return plain | packed


# ---- one format each ------------------------------------------------------------------------------


def dump_of(pages: Mapping[str, str], *, head: str = "") -> str:
    """A MediaWiki export with an article of each (title, markup)."""
    from xml.sax.saxutils import escape

    site = '<siteinfo><base>https://w.example/wiki/Main</base><namespaces><namespace key="6">Datei</namespace>'
    body = "".join(
        f"<page><title>{escape(title)}</title><ns>0</ns><id>1</id><revision><text>{escape(text)}</text></revision></page>\n"
        for title, text in pages.items()
    )
    return f"<mediawiki>{head}{site}</namespaces></siteinfo>\n{body}</mediawiki>"


def warc_record(kind: str, url: str, body: bytes, content_type: str) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def http(body: bytes, *, status: int = 200, content_type: str = "text/html; charset=utf-8", more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{more}\r\n".encode() + body


def warc(*, kinds: tuple[str, ...] = ("warcinfo", "response", "conversion"), pack=bytes) -> bytes:
    """Three pages (or texts), a record each."""
    records = []
    for number, text in enumerate(TEXTS):
        page = PAGE.replace("How to make tea", f"Tea {number}").encode()
        bodies = {
            "warcinfo": (b"software: x\r\n", "application/warc-fields"),
            "response": (http(page), "application/http; msgtype=response"),
            "conversion": (text.encode(), "text/plain"),
        }
        records += [warc_record(k, f"https://w.example/{number}", *bodies[k]) for k in kinds]
    return b"".join(pack(record) for record in records)


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": list(TEXTS), "n": [1, 2, 3]}), out, row_group_size=2)
    return out.getvalue()


def arrow(*, stream: bool) -> bytes:
    table = pa.table({"text": list(TEXTS), "kind": pa.array(["a", "b", "a"]).dictionary_encode()})
    out = io.BytesIO()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(out, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    return out.getvalue()


def pdf(pages: list[str], *, title: str = "Tea book") -> bytes:
    """Written by hand: catalogue, pages, one font, one content stream a page."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(pages):
        stream = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET" if text else ""
        resources = "<< /Font << /F1 3 0 R >> >>"
        box = "[0 0 612 792]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources {resources} /Contents {5 + 2 * i} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({title}) >>")
    out, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{at:010d} 00000 n \n" for at in places)
    start, size = len(out), len(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n".encode()
    return out + f"<< /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], packing: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{packing}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def docx(body: str, *, head: str = "") -> bytes:
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    core = 'xmlns:d="http://purl.org/dc/elements/1.1/"'
    return zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "word/document.xml": f'{head}<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>',
            "docProps/core.xml": f"<core {core}><d:title>A  report</d:title></core>",
        }
    )


def epub(chapters: list[str], *, more: Mapping[str, str] | None = None) -> bytes:
    """A book whose chapters stand in the spine in another order than in the manifest."""
    items = "".join(f'<item id="c{i}" href="text/c%20{i}.xhtml"/>' for i in reversed(range(len(chapters))))
    order = "".join(f'<itemref idref="c{i}"/>' for i in range(len(chapters)))
    package = (
        f"<package><metadata><title>Book of tea</title></metadata><manifest>{items}</manifest><spine>{order}</spine>"
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/p.opf"/></rootfiles></container>',
            "OPS/p.opf": package + "</package>",
            **{f"OPS/text/c {i}.xhtml": chapter for i, chapter in enumerate(chapters)},
            **(more or {}),
        }
    )


# ---- damage ---------------------------------------------------------------------------------------


def damaged(data: bytes, seed: int) -> bytes:
    """`data` with bits flipped, bytes changed, a piece cut out, doubled, swapped or overwritten, or its end cut off."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        a = rng.randrange(len(out) + 1)
        b = min(len(out), a + rng.choice((1, 2, 8, 64, 512)))
        kind = rng.randrange(7)
        if kind == 0:
            del out[a:]
        elif kind == 1:
            del out[a:b]
        elif kind == 2:
            out[a:a] = out[a:b]
        elif kind == 3:
            out[a:b] = rng.randbytes(b - a)
        elif kind == 4 and a < len(out):
            out[a] ^= 1 << rng.randrange(8)
        elif kind == 5:
            c = rng.randrange(len(out) + 1)
            out[a:b] = out[c : c + b - a]
        else:
            out[a:b] = rng.choice((b"\0", b"\xff", b"9", b"<", b'"')) * (b - a)
    return bytes(out)
