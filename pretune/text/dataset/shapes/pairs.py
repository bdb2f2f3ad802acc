"""Shape pair: a source and what it becomes; several targets are all right ones.

{"src": "孙亮字子明", "tgt": "孙亮，字子明"}            {"source": "...", "targets": ["...", "..."]}
{"context": "In my palm is a", "continuation": "stone"}   {"document": "...", "summary": "..."}
{"en": "Two men", "de": "Zwei Männer"}                    {"translation": {"en": "...", "de": "..."}}
"""

from __future__ import annotations

from collections.abc import Iterable

from pretune.base.errors import NoSuchColumn
from pretune.text.dataset.example import Example, Pair
from pretune.text.dataset.shapes.converter import Convert, Notes, Record, columns_read
from pretune.text.read.characters import word_set
from pretune.text.read.columns import Table
from pretune.text.read.languages import ISO_639_1
from pretune.text.read.values import text_in, texts_in

COUPLES = (
    *(("source", "targets"), ("source", "target"), ("src", "tgt"), ("context", "continuation")),
    *(("document", "summary"), ("article", "summary"), ("article", "highlights"), ("text", "summary")),
    *(("content", "summary"), ("dialogue", "summary"), ("original", "simplified")),
    *(("input", "target"), ("input", "output"), ("classical", "modern"), ("原文", "译文")),
)
"""Columns that belong together."""
_NOT_CODES = word_set("ae an av ay bi bm ch cr cu gv hz id ii is kj kl kr kv li nd ng no nr oj or sh so to")
LANGUAGES = (ISO_639_1 - _NOT_CODES) | word_set("eng deu fra jpn kor rus spa ita por ara nld pol zho")
"""Codes of ISO 639, less rare ones and those that are also English words or names of columns."""
DOUBTFUL = word_set(
    "am as be br co cv ha hr ie io it la lo mi mo ms my na os pa sa sc sd se sm ss st su te tg tn ts tt tw ve vo"
)
"""Codes that are as often the names of other things (`ts,os`: when, and on which system): languages next to another."""
SCRIPTS = word_set(
    "arab armn beng cyrl deva ethi geor grek gujr hans hant hebr khmr latn mlym mymr orya sinh taml tibt"
)
REGIONS = word_set(
    """
ad ae am ar at au az ba bd be bg bh bo br by ca ch cl cn co cr cu cy cz de dk do dz ec ee eg es et fi fr gb ge gh gr gt
hk hn hr hu ie il in iq ir it jm jo jp ke kg kh kr kw kz la lb lk lt lu lv ly ma md me mk mm mn mo mt mx my ng ni nl np
nz om pa pe ph pk pl pr pt py qa ro rs ru sa sd se sg si sk sn sv sy th tj tm tn tr tt tw tz ua ug uk us uy uz ve vn ye
za zm zw"""
)
"""What may follow a code: `zh_hant`, `pt_br`; not `my_text`, `it_id`."""
DIRECTED = frozenset(("src", "source", "tgt", "target"))
"""Endings that say the direction by themselves."""


def languages_of(names: Iterable[str]) -> list[str]:
    """Those of the names of columns, or of endings, that are languages: `en`, `zh-CN`, `pt_br`.

    None where all of them may be other things as well.
    """
    found = [name for name in names if _code(name)]
    return found if any(_code(name) not in DOUBTFUL for name in found) else []


def _code(name: str) -> str:
    """The code of a language in a name that is nothing else; "" if there is none."""
    code, *behind = name.lower().replace("_", "-").split("-")
    return code if code in LANGUAGES and all(part in SCRIPTS or part in REGIONS for part in behind) else ""


def has_pairs(table: Table) -> bool:
    """A couple of columns; more than two languages as well, of which two must then be named."""
    return _couple(table) is not None or len(_languages(table)) > 2


def source_column(table: Table) -> str | None:
    """The column of the sources, where there are two of sources and targets."""
    found = _couple(table)
    return found and found[0]


def _couple(table: Table) -> tuple[str, str] | None:
    """The columns of source and target; of two languages the first in the alphabet is the source."""
    if "source" in table.given and "target" in table.given:
        return table.need("source"), table.need("target")
    named = next((c for c in _named(table) if all(isinstance(v, str | list) for v in table.values(c[1]))), None)
    languages = _languages(table)
    if named or not (len(languages) == 2 or "source" in table.given or "target" in table.given):
        return named
    source = table.need("source") if "source" in table.given else ""
    target = table.need("target") if "target" in table.given else ""
    rest = [name for name in languages if name not in (source, target)]
    if len(rest) < (not source) + (not target):
        return None
    return source or rest[0], target or rest[-1]


def _named(table: Table) -> list[tuple[str, str]]:
    # Next to a text, `source` says where it is from and `target` what it is.
    couples = [c for c in COUPLES if not (c[0] == "source" and table.has("text"))]
    return [(table.names[a], table.names[b]) for a, b in couples if table.has(a, b)]


def _languages(table: Table) -> list[str]:
    """Columns of texts that are named after languages, where none is called text."""
    if table.column("text") is not None:
        return []
    texts = [name for name in table.names.values() if _holds_texts(table.values(name))]
    return sorted(languages_of(texts))


def _holds_texts(values: list[object]) -> bool:
    return 2 * sum(map(_is_text, values)) >= len(values)


def _is_text(value: object) -> bool:
    """Words, or a list of texts; no number, and no time."""
    return isinstance(value, list) or (isinstance(value, str) and any(map(str.isalpha, value)))


def read_pairs(table: Table, notes: Notes) -> tuple[Convert, str]:
    """A converter to Pair; raises NoSuchColumn where the columns must be named."""
    found = _couple(table)
    if found is None:
        languages = _languages(table)
        if len(languages) > 2:
            hint = f"name two: dataset.columns.source={languages[0]} dataset.columns.target={languages[1]}"
            raise NoSuchColumn(f"{table.where!r} holds {len(languages)} languages: {', '.join(languages)}", hint=hint)
        found = table.need("source"), table.need("target")
    source, target = found

    def convert(record: Record, origin: str) -> list[Example]:
        said, becomes = text_in(record, source), texts_in(record, target)
        if not said.strip():
            return notes.drop("empty source")
        if not becomes:
            return notes.drop("no target")
        return [Pair(said, tuple(becomes), origin)]

    return convert, columns_read(source=source, target=target)
