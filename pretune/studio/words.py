"""What the studio says: English stands in the templates, zh.json has each text in Chinese.

Settings are explained in English, by their docstrings.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path


@cache
def chinese() -> dict[str, str]:
    """English -> Chinese."""
    found: dict[str, str] = json.loads(Path(__file__).with_name("zh.json").read_text(encoding="utf-8"))
    return found


def say(language: str, text: str) -> str:
    """A text of the pages in a language, `zh` or `en`; what has no translation, as a kind from elsewhere, as it is."""
    return chinese().get(text, text) if language == "zh" else text
