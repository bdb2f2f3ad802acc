"""What a JSON object is as a type: cards, metrics, facts, reports, settings, records of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
"""An object that its owner may still add to."""
JsonMap = Mapping[str, Any]
"""One that is only read."""
