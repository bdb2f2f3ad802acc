"""Filters: documents that are left out, each with the reason, which the corpus keeps beside them."""

from __future__ import annotations

from pydantic import Field

from pretune.base.config import Choice, Variant
from pretune.text.document import Document


class Filter(Variant):
    """Says of a document why it is left out."""

    def reject(self, document: Document) -> str | None:
        """The reason in a word or two, or None to keep it."""
        raise AssertionError(f"{type(self).__name__} has no reject()")


class Short(Filter):
    """Leaves out texts with few characters (letters of any script count alike)."""

    min_characters: int = Field(default=20, ge=1)
    """Texts with fewer characters, white space at both ends not counted, are left out."""

    def reject(self, document: Document) -> str | None:
        return "short" if len(document.text.strip()) < self.min_characters else None


FILTER = Choice(Filter, {"short": "pretune.text.filters:Short"}, group="pretune.filters")
