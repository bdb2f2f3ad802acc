"""The first sentence of a docstring, and the words by which an answer is recognised."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MIN_CHARACTERS, MAX_CHARACTERS = 15, 200

# "range(stop) -> range object", "S.find(sub) -> int", "D.keys() -> a set-like object ..."
_SIGNATURE = re.compile(r"^[A-Za-z_][\w.]*\(.*?\)\]?(?P<rest>\s*(->|=>|=|--|:).*)?$")
_SENTENCE_END = re.compile(r"[.!?](?=['\")`]*(\s|$))['\")`]*")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|eg|ie|etc|vs|cf|approx|resp|incl|No|Mr|St|[A-Z])|\.\.)\.$")
_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|\d+")
_TRIVIAL = re.compile(
    r"(?i)^(return self\b|return value\b|implement |helper for|initialize self|x\.__|see |same as |alias |todo|"
    r"private|internal|this (method|function|class) is (called|used)|undocumented|override|overridden|like )|deprecated|"
    r"obsolete|https?://|>>>"
)
_COMMON = frozenset(
    [
        "about",
        "above",
        "after",
        "again",
        "against",
        "also",
        "always",
        "another",
        "argument",
        "arguments",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "call",
        "called",
        "calls",
        "cannot",
        "could",
        "does",
        "done",
        "each",
        "either",
        "else",
        "ever",
        "every",
        "false",
        "first",
        "following",
        "from",
        "function",
        "given",
        "have",
        "having",
        "here",
        "into",
        "itself",
        "just",
        "last",
        "less",
        "like",
        "make",
        "many",
        "method",
        "might",
        "more",
        "most",
        "must",
        "need",
        "never",
        "none",
        "only",
        "onto",
        "other",
        "otherwise",
        "over",
        "return",
        "returned",
        "returning",
        "returns",
        "same",
        "self",
        "should",
        "since",
        "some",
        "such",
        "than",
        "that",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "true",
        "under",
        "until",
        "upon",
        "used",
        "uses",
        "using",
        "value",
        "values",
        "very",
        "want",
        "were",
        "what",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "will",
        "with",
        "within",
        "without",
        "would",
        "your",
        "object",
        "objects",
        "class",
        "instance",
    ]
)


def first_sentence(doc: str) -> str | None:
    """The first sentence on one line, word for word; None where there is none that could be an answer.

    Signatures at the head of a compiled function's docstring are passed over. A first paragraph without a full stop counts
    as one sentence. Shorter than 15 or longer than 200 characters, trivial, or deprecated: None.
    """
    text = " ".join(_first_paragraph(doc).split())
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[: end.start() + 1]) and _starts_anew(text[end.end() :]):
            text = text[: end.end()]
            break
    is_usable = MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and len(text.split()) >= 3 and text[0].isalpha()
    return text if is_usable and not _TRIVIAL.search(text) and not text.endswith(":") else None


def _starts_anew(rest: str) -> bool:
    rest = rest.lstrip()
    return not rest or not rest[0].islower()


def _first_paragraph(doc: str) -> str:
    """The first paragraph that is prose: behind signatures, or behind the ` -- ` of one."""
    for paragraph in re.split(r"\n\s*\n", doc):
        lines = paragraph.splitlines()
        told = ""
        while lines and (found := _SIGNATURE.match(lines[0].strip())):
            told = told or (found["rest"] or "").partition("--")[2].strip()
            lines = lines[1:]
        if told or lines:
            return "\n".join([*([told] if told else []), *lines])
    return ""


def words(text: str) -> list[str]:
    """The words of a text or a name in lower case: `ThreadPool.imap_unordered` has four."""
    return [word.lower() for word in _WORD.findall(text)]


def keywords(answer: str, name: str, frequencies: Counter[str]) -> list[str]:
    """Up to two words that the name does not give away, the rarest over all answers first; in the answer's order.

    A word counts as given away when it shares its first four letters with a word of the name, so that "copies" does
    not prove that `copytree` was known.
    """
    of_name = words(name)
    seen = dict.fromkeys(word for word in re.findall(r"[A-Za-z]+", answer) if len(word) >= 4 and word.islower())
    fitting = [word for word in seen if word not in _COMMON and not any(_is_kin(word, part, name) for part in of_name)]
    best = sorted(fitting, key=lambda word: (frequencies[word], word))[:2]
    return [word for word in fitting if word in best]


def _is_kin(word: str, part: str, name: str) -> bool:
    return word[:4] in name.lower() if len(part) >= 4 else word == part


def word_frequencies(answers: Iterable[str]) -> Counter[str]:
    """In how many answers a word occurs."""
    return Counter(word for answer in answers for word in sorted(set(re.findall(r"[a-z]+", answer))))
