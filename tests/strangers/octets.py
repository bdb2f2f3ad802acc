"""Odd bytes: encodings, damage, packing, and the names of files."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
from collections.abc import Callable
from functools import partial

from tests.strangers.draft import BAD, NUL, Draft, texts_in
from tests.strangers.oddity import Oddity
from tests.text.format_samples import tarred, zipped

BROKEN = re.compile("[\udc80-\udcff]+")
BOMS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE, "utf-32-le": codecs.BOM_UTF32_LE}
OTHERS = {
    **{"western": ("latin-1", "cp1252"), "russian": ("cp1251", "koi8-r"), "japanese": ("shift_jis", "euc_jp")},
    **{"korean": ("euc_kr", "cp949"), "traditional": ("big5",)},
}
"""Encodings that cannot be told with certainty: read as meant, refused, or mended with a word; never other letters."""


def encoded(draft: Draft) -> bytes:
    """The text in its encoding, with its damage."""
    name, _, bom = draft.encoding.partition("+")
    codec = {"utf-8-sig": "utf-8"}.get(name, name)
    pieces = re.split(f"([{BAD}{NUL}])", draft.text)
    signs = {BAD: draft.rng.choice((b"\xff", b"\x80", b"\xe9", b"\xc3")), NUL: b"\0"}
    body = b"".join(signs.get(piece) or piece.encode(codec) for piece in pieces)
    return (codecs.BOM_UTF8 if name == "utf-8-sig" else BOMS[codec] if bom else b"") + body


def _encoding(draft: Draft, name: str) -> None:
    draft.encoding = name


def with_bom(draft: Draft) -> None:
    _encoding(draft, "utf-8-sig")


def utf16(draft: Draft) -> None:
    _encoding(draft, draft.rng.choice(("utf-16-le+bom", "utf-16-be+bom")))


def utf16_bare(draft: Draft) -> None:
    """UTF-16 without a mark, told by its zeros; where no letter is ASCII it may be refused."""
    _encoding(draft, draft.rng.choice(("utf-16-le", "utf-16-be")))
    draft.readable = False


def utf32(draft: Draft) -> None:
    _encoding(draft, "utf-32-le+bom")


def gbk(draft: Draft) -> None:
    _encoding(draft, draft.rng.choice(("gb18030", "gbk")))


def another(draft: Draft) -> None:
    """An encoding of one script: as it was meant, or U+FFFD with a word, or refused."""
    codec = draft.rng.choice(OTHERS[draft.script])
    _encoding(draft, codec)
    draft.readable = False

    def mended(text: str) -> str:
        pieces = (piece.encode(codec).decode("utf-8", "surrogateescape") for piece in text.split("\ufffd"))
        return BROKEN.sub("\ufffd", "\ufffd".join(pieces))

    for row in draft.rows:
        best = list(row.readings or [])
        row.readings = [*best, *(m for one in best if (m := texts_in(one, mended)) not in best)]
        row.optional |= any(not _is_ascii(one) for one in best)


def _is_ascii(reading: object) -> bool:
    return str(reading).isascii()


# ---- damage, put into the texts before they are written -------------------------------------------


def bad_byte(draft: Draft) -> None:
    """One byte that is no UTF-8: one damaged place, told, whatever stands around it and wherever it is."""
    _damage(draft, BAD)


def nul(draft: Draft) -> None:
    """A byte zero in text is no letter: dropped, and told."""
    _damage(draft, NUL)


def _damage(draft: Draft, sign: str) -> None:
    # Much damage in a small file looks like another encoding; in markdown each text stands three times.
    draft.readable &= draft.form != "md" and draft.position != "all"
    for row in draft.places():
        text = row.values["text"]
        row.values["text"] = text[:2] + sign + text[2:]
        row.told, row.optional = True, True


def nuls_behind(draft: Draft) -> None:
    """A file that was cut from a disk or an archive ends in bytes zero."""
    draft.text += NUL * draft.rng.choice((1, 16, 512))
    draft.readable = False  # many of them behind a little text are a binary file
    draft.rows[-1].told = True


def unpacked_under_a_packed_name(draft: Draft) -> None:
    """`reviews.csv.gz` that nobody packed."""
    draft.readable = False
    for row in draft.rows:
        row.may_go()
    _replace(draft, lambda name, data: {f"{name}.gz": data})


def packed_under_a_plain_name(draft: Draft) -> None:
    """`reviews.csv` that is packed."""
    draft.readable = False
    for row in draft.rows:
        row.may_go()
    _replace(draft, lambda name, data: {name: gzip.compress(data, mtime=0)})


def bad_byte_far_behind(draft: Draft) -> None:
    """The same behind the first MiB."""
    draft.rows[0].values["text"] += " " + " ".join(f"word{k}" for k in range(120_000))
    draft.position = "last"
    bad_byte(draft)


# ---- packing --------------------------------------------------------------------------------------


def packed(draft: Draft) -> None:
    suffix, pack = draft.rng.choice(
        ((".gz", partial(gzip.compress, mtime=0)), (".bz2", bz2.compress), (".xz", lzma.compress))
    )
    _replace(draft, lambda name, data: {f"{name}{suffix}": pack(data)})


def zipped_up(draft: Draft) -> None:
    """An archive as a Mac makes it."""
    more = {"__MACOSX/._x": b"\0\5\x16\7", ".DS_Store": b"\0\0"}
    _replace(draft, lambda name, data: {f"{name.partition('.')[0]}.zip": zipped({f"data/{name}": data, **more})})


def tar(draft: Draft) -> None:
    _replace(draft, lambda name, data: {f"{name.partition('.')[0]}.tar.gz": tarred({name: data}, "gz")})


def loud_name(draft: Draft) -> None:
    """A suffix in capitals, as old cameras and old Windows write it."""
    _replace(draft, lambda name, data: {name.partition(".")[0] + "." + name.partition(".")[2].upper(): data})


def odd_name(draft: Draft) -> None:
    """Blanks, brackets, signs of other scripts: a path that exists is that file."""
    front = draft.rng.choice(
        ("my file ", "data [1] ", "数据", "a#b ", "it's ", "a=b ", "100% ", "what? ", "x&y ", "été ")
    )
    _replace(draft, lambda name, data: {f"{front}{name}": data})


def in_a_folder(draft: Draft) -> None:
    """The file lies in a folder, with what else lies in folders."""
    more = {
        "README.md": b"# Read me\n",
        "LICENSE": b"Do what you like.\n",
        ".hidden": b"\0",
        "Thumbs.db": b"\xd0\xcf\x11\xe0\0\0",
    }
    if draft.verb == "corpus":  # there a README is text like another
        more = {".hidden": b"\0", "Thumbs.db": b"\xd0\xcf\x11\xe0\0\0\0\1"}
    _replace(draft, lambda name, data: {f"data/{name}": data, **{f"data/{n}": d for n, d in more.items()}})
    draft.given = "data"


def _replace(draft: Draft, make: Callable[[str, bytes], dict[str, bytes]]) -> None:
    draft.files = make(draft.name, draft.data)
    draft.given = next(iter(draft.files))


def _any(draft: Draft) -> bool:
    return draft.is_text and draft.form != "folder" and draft.encoding == "utf-8"


def _clean(draft: Draft) -> bool:
    """No sign in the text that other encodings have not, and no damage."""
    return _any(draft) and not any(sign in draft.text for sign in (BAD, NUL))


def _fits(draft: Draft, *codecs_of: str) -> bool:
    if not _clean(draft):
        return False
    try:
        return all(draft.text.encode(codec) for codec in codecs_of)
    except UnicodeEncodeError:
        return False


def _chinese(draft: Draft) -> bool:
    return draft.script == "chinese" and _fits(draft, "gbk")


def _another(draft: Draft) -> bool:
    return draft.script in OTHERS and not draft.text.isascii() and _fits(draft, *OTHERS[draft.script])


def _damageable(draft: Draft) -> bool:
    rows = draft.rows
    return (
        draft.is_text
        and draft.form != "folder"
        and all(
            isinstance(r.values.get("text"), str) and len(r.values["text"]) > 5 and r.readings is None for r in rows
        )
    )


DAMAGE = (
    Oddity("a bad byte", "damage", _damageable, bad_byte),
    Oddity("NUL bytes", "damage", lambda d: _damageable(d) and d.script == "english" and all(str(v).isascii() for r in d.rows for v in r.values.values()), nul),
    Oddity("a bad byte behind 1 MiB", "damage", lambda d: _damageable(d) and d.verb in ("corpus", "dataset") and d.form not in ("md", "tabs", "marked"), bad_byte_far_behind),
)  # fmt: skip
DAMAGE_BEHIND = (
    Oddity("NUL bytes behind", "damage", lambda d: d.text.isascii() and d.form not in ("md", "txt"), nuls_behind),
)
"""Damage that stands behind the text."""
ENCODINGS = (
    Oddity("UTF-8 with a mark", "encoding", lambda d: d.is_text and d.form != "folder" and d.encoding == "utf-8", with_bom),
    Oddity("UTF-16 with a mark", "encoding", _clean, utf16),
    Oddity("UTF-16 without", "encoding", _clean, utf16_bare),
    Oddity("UTF-32", "encoding", _clean, utf32),
    Oddity("GBK", "encoding", _chinese, gbk),
    Oddity("an encoding of one script", "encoding", _another, another),
)  # fmt: skip
PACKING = (
    Oddity("packed", "packing", lambda d: d.form not in ("parquet", "folder"), packed),
    Oddity("unpacked as .gz", "packing", lambda d: d.form not in ("parquet", "folder"), unpacked_under_a_packed_name),
    Oddity("packed without .gz", "packing", lambda d: d.form not in ("parquet", "folder"), packed_under_a_plain_name),
    Oddity("zip", "packing", lambda d: d.form != "folder" and d.verb != "predict", zipped_up),
    Oddity("tar", "packing", lambda d: d.form != "folder" and d.verb != "predict", tar),
    Oddity("suffix in capitals", "packing", lambda d: d.form != "folder", loud_name),
    Oddity("an odd file name", "packing", lambda d: d.form != "folder", odd_name),
    Oddity("in a folder", "packing", lambda d: d.form != "folder" and d.verb != "predict", in_a_folder),
)  # fmt: skip
