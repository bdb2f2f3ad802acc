"""Monitor, opened."""

from __future__ import annotations

from pretune.apps.app import App


class Monitor(App):
    """Not built yet."""
