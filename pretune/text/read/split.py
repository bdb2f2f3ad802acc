"""Which split a text falls on: train, validation or test.

A keyed hash of the text's cluster gives u in [0, 1). Validation takes the low end and test the high end:

    0 ....... validation ........................................ 1 - test ....... 1

So text that is added later moves nothing, copies fall in one split, and a smaller share lies inside a
larger one: what a corpus holds out at 1 % is held out by a data set at 10 %.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

from pretune.text.read.characters import alphanumeric, codes_of

SPLITS = ("train", "validation", "test")
NAMES = {"train": "train", "test": "test", **dict.fromkeys(("dev", "valid", "validation", "val"), "validation")}
FORMS = [(mark, unicodedata.normalize("NFKC", mark)) for mark in "\u3000，：；！？（）％～…"]
"""Full-width marks of Chinese text."""
ASCII_MARKS = bytes(k for k in range(128) if not chr(k).isalnum())
KEY = b"pretune split 1"


def near_exact(text: str) -> str:
    """Letters and figures alone, in one case and width: what two near-equal copies share."""
    if text.isascii():
        return text.lower().encode().translate(None, delete=ASCII_MARKS).decode() or text
    codes = codes_of(_normalised(text).casefold())
    return codes[alphanumeric()[codes]].tobytes().decode("utf-32-le", "surrogatepass") or text


def _normalised(text: str) -> str:
    """NFKC. A mark that has another form there is replaced beforehand: a text without any is known at once."""
    if text.isascii():
        return text
    for mark, form in FORMS:
        text = text.replace(mark, form)
    return unicodedata.normalize("NFKC", text)


def cluster_of(text: str) -> str:
    """The cluster of a text: 32 hex digits, equal for copies that differ in case, spaces or marks."""
    return hashlib.blake2b(near_exact(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def place_of(cluster: str) -> float:
    """A keyed hash of the cluster, in [0, 1)."""
    return int.from_bytes(hashlib.blake2b(cluster.encode(), key=KEY, digest_size=8).digest(), "big") / 2**64


def split_of(cluster: str, *, validation: float, test: float) -> str:
    """The split of a cluster for these shares (0 ... 1 each, together at most 1)."""
    return _split_at(place_of(cluster), validation, test)


def _split_at(place: float, validation: float, test: float) -> str:
    if place < validation:
        return "validation"
    return "test" if place >= 1 - test else "train"


def split_all(clusters: Iterable[str], *, validation: float, test: float) -> dict[str, str]:
    """The split of every cluster; a wanted split is never empty where there are three clusters or more."""
    places = {c: place_of(c) for c in dict.fromkeys(clusters)}
    found = {c: _split_at(place, validation, test) for c, place in places.items()}
    there = set(found.values())
    if len(found) >= 3:
        if validation and "validation" not in there:
            found[min(found, key=lambda c: (places[c], c))] = "validation"
        if test and "test" not in there:
            found[max(found, key=lambda c: (places[c], c))] = "test"
    return found
