"""Recommend, opened."""

from __future__ import annotations

from pretune.apps.app import App


class Recommend(App):
    """Not built yet."""
