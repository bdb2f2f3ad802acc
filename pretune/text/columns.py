"""Which column holds the text, and which the label: the one given, or the first well-known name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pretune.base.errors import NoSuchColumn, did_you_mean

TEXT = (
    *("text", "sentence", "content", "review", "query", "question", "title", "comment", "message", "utterance"),
    *("tweet", "headline", "body", "document", "description", "input", "文本", "内容", "评论", "句子", "标题"),
)
LABEL = (
    *("label", "class", "category", "sentiment", "intent", "target", "labels", "tag", "topic", "label_text", "type"),
    *("polarity", "rating", "stars", "标签", "类别", "情感", "分类"),
)


def find_column(
    names: Collection[str], *, given: str | None, known: Sequence[str], what: str, where: str, stage: str
) -> str:
    """The column for `what` ("text" or "label"), case ignored.

    Raises:
        NoSuchColumn: names the columns that exist.
    """
    by_case = {n.lower(): n for n in reversed([str(n) for n in names])}
    found = [by_case[n] for n in ([given.lower()] if given else known) if n in by_case]
    if found:
        return found[0]
    there = ", ".join(map(str, names)) or "none"
    hint = f"name it: {stage}.{what}=COLUMN"
    if given:
        raise NoSuchColumn(f"{where!r} has no column {given!r}; it has: {there}", hint=did_you_mean(given, by_case))
    raise NoSuchColumn(f"{where!r} has no column that could be the {what}; it has: {there}", hint=hint)
