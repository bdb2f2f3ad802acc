"""The model card: a README.md that is written from what artifacts say of themselves, in English or Chinese."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pretune.base.artifact import Artifact


def write_cards(made: Iterable[Artifact]) -> list[Path]:
    """README.md of every model among what a recipe made, and of those that its reports are of.

    In English, or in the language of the card that is there.
    """
    every = list(made)
    if not {"model", "report"} & {one.card.kind for one in every}:
        return []  # what writes a card takes half a second to import
    from pretune.evaluate.card.writing import write_card

    models = {
        Path(os.path.normpath(one.path.absolute())): one for one in every if one.card.kind == "model" and not one.is_raw
    }
    judged = (one.source("model") for one in every if one.card.kind == "report" and "model" in one.card.inputs)
    others = (one for one in judged if one is not None and one.card.kind == "model" and not one.is_raw)
    models |= {Path(os.path.normpath(one.path.absolute())): one for one in others}
    return [path for path in map(write_card, models.values()) if path is not None]
