"""Does a name, a gender or a region change the answer? Sentences in which only that is swapped. And the files of ours.

    swaps:gender-en   swaps:gender-zh   swaps:names-en   swaps:names-zh   swaps:regions-en   swaps:regions-zh

The scheme `swaps:` (base/artifact.py) finds them; templates.py says what a file holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretune.base.errors import NotSupported, UnknownKind, did_you_mean
from pretune.base.json import Json
from pretune.text.read.document import Document

VERSION = "1"


def files(part: str) -> list[Path]:
    """The file of ours of this name; raises UnknownKind with the names that there are."""
    known = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    if part not in known:
        raise UnknownKind(f"there are no swaps {part!r}", hint=did_you_mean(part, known))
    return [known[part]]


def documents(part: str) -> Iterator[Document]:
    """No text to learn from: raises NotSupported."""
    raise NotSupported(f"swaps:{part} holds templates", hint=f"pretune evaluate MODEL swaps=swaps:{part} --out REPORT")


def rows(part: str) -> Iterator[Json]:
    """No labelled data: raises NotSupported."""
    yield from documents(part)  # type: ignore[misc]
