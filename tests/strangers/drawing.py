"""Cases by their numbers: a verb, a family, a form, and one to three oddities; the same each time.

draw(seed, number) -> Case(files, what to give, the rows with their right readings)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from tests.strangers import forms, names, octets, rows, tagging, talk
from tests.strangers import lines as line_oddities
from tests.strangers.draft import TABLES, Draft, Row
from tests.strangers.oddity import Oddity
from tests.strangers.reading import settle
from tests.strangers.tables import PARQUET
from tests.strangers.words import ASCII_LABELS, LABELS, mixed, sentences

VERBS = {"dataset": 50, "corpus": 25, "predict": 9, "new": 8, "check": 8}
FAMILIES = {
    "dataset": {"label": 60, "dialogue": 18, "tags": 7, "pair": 8, "score": 7},
    "corpus": {"texts": 70, "documents": 30},
    "predict": {"texts": 1},
    "new": {"label": 5, "dialogue": 3, "documents": 2, "texts": 1},
    "check": {"label": 5, "dialogue": 2, "tags": 1, "documents": 1},
}
FORMS: dict[str, tuple[str, ...]] = {
    "label": (*TABLES, "csv", "tsv", "jsonl", "json-splits", "json-lists", "marked", "tabs", "folder"),
    "texts": (*(t for t in TABLES if t not in ("json-splits", "json-lists", "json-ids", "json-data")), "csv", "jsonl"),
    "dialogue": ("jsonl", "jsonl", "json", "json-pretty", "ndjson", "parquet", "csv"),
    "documents": ("txt", "md"),
    "tags": ("conll", "conll", "jsonl", "json", "parquet"),
    "pair": ("csv", "tsv", "jsonl", "json", "parquet"),
    "score": ("csv", "tsv", "jsonl", "json", "parquet"),
}
PREDICT_FORMS = ("lines", "lines", "csv", "tsv", "csv-semicolon", "jsonl", "jsonl", "json")
STYLES = ("messages", "messages", "sharegpt", "prompt", "alpaca", "qa")
SCRIPTS = {"english": 5, "western": 3, "chinese": 4, "russian": 1, "japanese": 1, "korean": 1, "traditional": 1}
TAGGED = (
    *((("Ann", "lives", "in", "Rome"), ("B-PER", "O", "O", "B-LOC")), (("Bob", "sleeps"), ("B-PER", "O"))),
    *((("New", "York", "is", "large"), ("B-LOC", "I-LOC", "O", "O")), (("他", "在", "北", "京"), ("O", "O", "B-LOC", "I-LOC"))),
    *((("Rome", "again"), ("B-LOC", "O")), (("Nobody", "came"), ("O", "O")), (("Ann", "Lee", "left"), ("B-PER", "I-PER", "O"))),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A strange file, or several, and what is to be read.

    Args:
        odd: the oddities by name; kinds: the parts of the grammar they are from.
        given: the path that the command is given, within the folder of the files.
        readable: whether a careful reader reads it; otherwise a clear refusal is as good.
    """

    number: int
    verb: str
    family: str
    form: str
    odd: tuple[str, ...]
    kinds: tuple[str, ...]
    position: str
    files: dict[str, bytes]
    given: str
    rows: Sequence[Row]
    readable: bool


ODDITIES = (
    *(*talk.TALK, *tagging.TAG_ROWS, *rows.ROWS, *octets.DAMAGE, *names.NAMES, *line_oddities.BEFORE, *PARQUET),
    *(
        *line_oddities.AFTER,
        *tagging.TAG_LINES,
        *line_oddities.ENDS,
        *octets.DAMAGE_BEHIND,
        *octets.ENCODINGS,
        *octets.PACKING,
    ),
)


def draw(seed: int, number: int) -> Case:
    """Case `number` of this seed: every oddity has its turn, alone or with one or two others; so has a file without."""
    focus = [None, *ODDITIES][number % (len(ODDITIES) + 1)]
    for again in count():
        draft = _Drawing(random.Random(f"{seed}/{number}/{again}"), focus).drawn()
        if draft is not None:
            return _case(number, draft)
    raise AssertionError("count() does not end")


def _case(number: int, draft: Draft) -> Case:
    kinds = {one.name: one.kind for one in ODDITIES}
    odd = tuple(draft.odd)
    return Case(
        number,
        *(draft.verb, draft.family, draft.form, odd, tuple(kinds[name] for name in odd), draft.position),
        *(draft.files, draft.given, draft.rows, draft.readable),
    )


class _Drawing:
    """One attempt; it fails if the draft cannot be odd in the way that is wanted."""

    def __init__(self, rng: random.Random, focus: Oddity | None):
        self.rng, self.focus = rng, focus
        self.draft = _blank(rng)
        self.room = 0 if focus is None else rng.choice((0, 0, 0, 1, 1, 2))

    def drawn(self) -> Draft | None:
        draft = self.draft
        self.some([*talk.TALK, *tagging.TAG_ROWS], 0.4)
        self.some(rows.ROWS, 0.3)
        self.some(octets.DAMAGE, 0.05)
        self.some(names.NAMES, 0.3)
        self.some(line_oddities.BEFORE, 0.1)
        if draft.form == "folder":
            draft.files = {f"data/{name}": text.encode() for name, text in forms.foldered(draft).items()}
            draft.given = "data"
            settle(draft)
        else:
            draft.data = self.parquet() if draft.form == "parquet" else self.text()
            draft.files, draft.given = {draft.name: draft.data}, draft.name
            self.some(octets.PACKING, 0.3)
        return draft if self.focus is None or self.focus.name in draft.odd else None

    def parquet(self) -> bytes:
        self.some(PARQUET, 0.5)
        settle(self.draft)
        return forms.parquet(self.draft)

    def text(self) -> bytes:
        self.draft.text = forms.serialised(self.draft)
        self.some([*line_oddities.AFTER, *tagging.TAG_LINES], 0.2)
        self.some(line_oddities.ENDS, 0.3)
        self.some(octets.DAMAGE_BEHIND, 0.05)
        if self.draft.family == "documents":
            self.draft.rows = [_whole(self.draft)]
        settle(self.draft)
        self.some(octets.ENCODINGS, 0.3)
        return octets.encoded(self.draft)

    def some(self, oddities: Sequence[Oddity], share: float) -> None:
        """The one that is wanted, if it is of these; else perhaps another, if there is room."""
        wanted = [one for one in oddities if one is self.focus]
        if not wanted and (self.room <= 0 or self.rng.random() > share):
            return
        fitting = [one for one in wanted or oddities if one.fits(self.draft)]
        if fitting:
            one = self.rng.choice(fitting)
            self.room -= not wanted
            self.draft.odd.append(one.name)
            one.make(self.draft)


def _whole(draft: Draft) -> Row:
    """A text file is one document."""
    told, optional = (any(flags) for flags in zip(*((row.told, row.optional) for row in draft.rows), strict=True))
    return Row({"text": draft.text}, told=told, optional=optional)


def _pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _blank(rng: random.Random) -> Draft:
    """An ordinary file, before anything is odd."""
    verb = _pick(rng, VERBS)
    family = _pick(rng, FAMILIES[verb])
    form = rng.choice(PREDICT_FORMS if verb == "predict" else FORMS[family])
    position = rng.choice(("first", "middle", "last", "middle", "last", "all"))
    draft = Draft(rng, verb, family, form, _pick(rng, SCRIPTS), position)
    draft.name = f"reviews{forms.suffix(form)}"
    many = 70 if rng.random() < 0.15 else rng.randint(10, 20)  # more than the rows that are looked at first
    texts = sentences(rng, draft.script, many)
    if draft.script != "english" and rng.random() < 0.2:
        texts = [mixed(rng, text) for text in texts]
    draft.rows = [Row(values) for values in _values(draft, texts)]
    if form in ("json-splits", "json-lists") or (form == "folder" and rng.random() < 0.5):
        for number, row in enumerate(draft.rows):
            row.split = ("train", "train", "train", "test")[number % 4]
    return draft


def _values(draft: Draft, texts: list[str]) -> list[dict[str, object]]:
    rng, family = draft.rng, draft.family
    pool = rng.choice(ASCII_LABELS if draft.script in ("english", *octets.OTHERS) else LABELS)
    if draft.form == "folder":
        pool = ("pos", "neg")
    if draft.form == "marked":
        pool = rng.choice((("good", "bad"), ("1", "0")))
    labels = [pool[k % len(pool)] for k in range(len(texts))]
    if family == "label" or (family == "texts" and rng.random() < 0.5):
        return [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    if family in ("texts", "documents"):
        one = texts[: rng.randint(2, 6)] if draft.form in ("txt", "md") else texts
        return [{"text": text} for text in one]
    if family == "pair":
        return [{"source": text, "target": f"{text} (2)"} for text in texts]
    if family == "score":
        draft.names = {"text": "sentence1", "second": "sentence2"}
        return [{"text": text, "second": f"{text} (2)", "score": k % 5 + 0.5} for k, text in enumerate(texts)]
    if family == "tags":
        return [{"tokens": list(w), "tags": list(t)} for w, t in (TAGGED[k % len(TAGGED)] for k in range(len(texts)))]
    draft.dialect["style"] = style = rng.choice(STYLES[3:] if draft.form == "csv" else STYLES)
    return [{"messages": _dialogue(rng, style, a, b)} for a, b in zip(texts[::2], texts[1::2], strict=False)]


def _dialogue(rng: random.Random, style: str, asked: str, said: str) -> list[dict[str, str]]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    if style in ("messages", "sharegpt") and rng.random() < 0.3:
        turns = [{"role": "system", "content": "Be brief."}, *turns]
    return turns
