"""Labelled examples, still text: one label per text, or a dialogue. Read from a dataset folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.text.tables import read_rows

SPLIT_FILES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its label; `origin` is `path#record`."""

    text: str
    label: str
    origin: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns in order; `keywords` are words that a good last reply contains."""

    messages: tuple[Message, ...]
    origin: str
    keywords: tuple[str, ...] = ()


def read_split(folder: Path, split: str) -> list[Labelled] | list[Dialogue]:
    """The examples of `train`, `validation` or `test`, in order; empty if the split is absent."""
    rows = list(read_rows(folder, split))
    if rows and "messages" in rows[0]:
        return [_dialogue(row) for row in rows]
    return [Labelled(row["text"], row["label"], row["origin"]) for row in rows]


def _dialogue(row: dict[str, Any]) -> Dialogue:
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    return Dialogue(messages, row["origin"], tuple(row["keywords"] or ()))


def read_labels(folder: Path) -> list[str] | None:
    """The names of the labels in the order of their numbers, or None where there are none."""
    path = folder / "labels.json"
    if not path.exists():
        return None
    labels: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return labels


def shape_of(folder: Path) -> str:
    """ "labelled" or "dialogue"."""
    return "labelled" if (folder / "labels.json").exists() else "dialogue"
