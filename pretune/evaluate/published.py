"""Figures of others, as a recipe gives them. No torch."""

from __future__ import annotations

from pretune.base.config import Config


class Published(Config):
    """A figure that others published on the same data."""

    figure: float
    """Of the report's main figure, in its unit: 0.95 for 95 %."""
    by: str
    """The system."""
    source: str
    """Where it stands, and what is different there."""
