"""One way in which a file is odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.strangers.draft import Draft


@dataclass(frozen=True)
class Oddity:
    """One way in which a file is odd.

    Args:
        name: as the table calls it; `kind`: the part of the grammar it belongs to.
        fits: whether a draft can be odd in this way.
        make: does it; what is then to be read it says in the rows.
    """

    name: str
    kind: str
    fits: Callable[[Draft], bool]
    make: Callable[[Draft], None]
