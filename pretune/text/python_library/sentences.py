"""The first sentence of a docstring, and the words by which an answer is recognised."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from pretune.text.read.characters import word_set

MIN_CHARACTERS, MAX_CHARACTERS = 15, 200

# "range(stop) -> range object", "S.find(sub) -> int", "D.keys() -> a set-like object ..."
_SIGNATURE = re.compile(r"^[A-Za-z_][\w.]*\(.*?\)\]?(?P<rest>\s*(->|=>|=|--|:).*)?$")
_LISTING = re.compile(r"\s*([-*] |>>> |\w+ = |:\w+)")
_SENTENCE_END = re.compile(r"[.!?](?=['\")`]*(\s|$))['\")`]*")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|eg|ie|etc|vs|cf|approx|resp|incl|No|Mr|St|[A-Z])|\.\.)\.$")
_TRIVIAL = re.compile(
    r"(?i)^(return self\b|return value\b|implement |helper for|initialize self|x\.__|see |same as |alias |todo|"
    r"private|internal|this (method|function|class) is (called|used)|undocumented|override|overridden|like )|"
    r"deprecated|obsolete|https?://|>>>"
)
_COMMON = word_set(
    "about above after again against also always another argument arguments because been before being below between "
    "both call called calls cannot could does done each either else ever every false first following from function "
    "given have having here into itself just last less like make many method might more most must need never none "
    "only onto other otherwise over return returned returning returns same self should since some such than that "
    "their them then there these they this those through true under until upon used uses using value values very want "
    "were what when where whether which while will with within without would your object objects class instance"
)


def first_sentence(doc: str) -> str | None:
    """The first sentence on one line, word for word; None where there is none that could be an answer.

    Signatures at the head of a compiled function's docstring are passed over. A first paragraph without a full stop
    counts as one sentence. Shorter than 15 or longer than 200 characters, trivial, or deprecated: None.
    """
    text = " ".join(_first_paragraph(doc).split())
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[: end.start() + 1]) and _starts_sentence(text[end.end() :]):
            text = text[: end.end()]
            break
    is_usable = MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and len(text.split()) >= 3 and text[0].isalpha()
    return text if is_usable and not _TRIVIAL.search(text) and not text.endswith(":") else None


def _starts_sentence(rest: str) -> bool:
    rest = rest.lstrip()
    return not rest or not rest[0].islower()


def _first_paragraph(doc: str) -> str:
    """The first paragraph that is prose: behind signatures, or behind the ` -- ` of one."""
    for paragraph in re.split(r"\n\s*\n", doc):
        lines = paragraph.splitlines()
        said = ""
        while lines and (found := _SIGNATURE.match(lines[0].strip())):
            # "S.keys() -- the names" says something; "range(stop) --> range object" does not.
            said = said or (found["rest"] or "").partition("-- ")[2].strip()
            lines = lines[1:]
        lines = lines[: next((k for k, line in enumerate(lines) if _LISTING.match(line)), len(lines))]
        if said or lines:
            return "\n".join([*([said] if said else []), *lines])
    return ""


def keywords(answer: str, name: str, frequencies: Counter[str]) -> list[str]:
    """Up to two words that the name does not give away, the rarest over all answers, in the answer's order.

    A word counts as given away when the name holds its first four letters, so that "copies" does not prove that
    `copytree` was known. Only words in lower case count: they read the same wherever an answer puts them.
    """
    seen = dict.fromkeys(word for word in re.findall(r"[A-Za-z]+", answer) if len(word) >= 4 and word.islower())
    fitting = [word for word in seen if word not in _COMMON and word[:4] not in name.lower()]
    best = sorted(fitting, key=lambda word: (frequencies[word], word))[:2]
    return [word for word in fitting if word in best]


def word_frequencies(answers: Iterable[str]) -> Counter[str]:
    """In how many answers a word occurs."""
    return Counter(word for answer in answers for word in sorted(set(re.findall(r"[a-z]+", answer))))
