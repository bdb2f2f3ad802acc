"""Desk, opened."""

from __future__ import annotations

from pretune.apps.app import App


class Desk(App):
    """Not built yet."""
