"""Stage monitor."""

from __future__ import annotations

from typing import ClassVar

from pretune.base.stage import Stage


class MonitorStage(Stage):
    """Not built yet."""

    makes: ClassVar[str] = "app"
