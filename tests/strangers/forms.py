"""How a draft is written: its rows as a table, lines, a tree of JSON, or files in folders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.strangers.draft import ABSENT, CSV_FORMS, LONE, Draft, Row
from tests.strangers.reading import written

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
SUFFIXES = {
    **{
        "csv": ".csv",
        "csv-semicolon": ".csv",
        "csv-tab": ".csv",
        "tsv": ".tsv",
        "jsonl": ".jsonl",
        "ndjson": ".ndjson",
    },
    **{"txt": ".txt", "md": ".md", "marked": ".txt", "tabs": ".txt", "conll": ".conll", "lines": ".txt"},
    "parquet": ".parquet",
}


def suffix(form: str) -> str:
    return SUFFIXES.get(form, ".json")


def record_of(draft: Draft, row: Row) -> dict[str, Any]:
    """The row by the names of its columns."""
    values = _turned(draft, row.values) if "messages" in row.values else row.values
    return {draft.names.get(role, role): value for role, value in values.items() if value is not ABSENT}


def _turned(draft: Draft, values: dict[str, Any]) -> dict[str, Any]:
    """A dialogue in the style of its file."""
    messages, style = values["messages"], draft.dialect["style"]
    rest = {k: v for k, v in values.items() if k not in ("messages", "written")}
    if "written" in values:
        return {**rest, **values["written"]}
    if style == "messages":
        return {**rest, "messages": messages}
    if style == "sharegpt":
        back = {role: name for name, role in ROLES.items()}
        return {**rest, "conversations": [{"from": back[m["role"]], "value": m["content"]} for m in messages]}
    asked, said = (m["content"] for m in messages)
    names = {"prompt": ("prompt", "completion"), "alpaca": ("instruction", "output"), "qa": ("question", "answer")}
    prompt, reply = names[style]
    more = {"input": ""} if style == "alpaca" else {}
    return {**rest, prompt: asked, **more, reply: said}


# ---- text ---------------------------------------------------------------------------------------


def serialised(draft: Draft) -> str:
    """The text of the file."""
    records = [record_of(draft, row) for row in draft.rows]
    if draft.form in (*CSV_FORMS, "tsv"):
        return draft.head + _csv(draft, records)
    if draft.is_json:
        return draft.head + _JSON[draft.form](records, draft)
    return draft.head + "".join(_lines(draft))


def columns_of(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _csv(draft: Draft, records: list[dict[str, Any]]) -> str:
    names = columns_of(records)
    out = io.StringIO()
    rows = [] if draft.dialect.get("headless") else [names]
    rows += [[written(record.get(name), draft.form) for name in names] for record in records]
    rows = [row + [""] * draft.dialect.get("behind", 0) for row in rows]
    if draft.dialect.get("doubled"):
        rows = [[*row, row[0]] for row in rows]
    if draft.form == "tsv" and not draft.dialect.get(
        "excel"
    ):  # as most programs write it: nothing is quoted, and no cell holds a tab or an end of line
        return "".join("\t".join(row) + "\n" for row in rows)
    delimiter = {"csv": ",", "csv-semicolon": ";", "csv-tab": "\t", "tsv": "\t"}[draft.form]
    settings = {k: v for k, v in draft.dialect.items() if k in ("quoting", "doublequote", "escapechar")}
    csv.writer(out, delimiter=delimiter, lineterminator="\n", **settings).writerows(rows)
    return out.getvalue()


def _dumped(value: Any, **settings: Any) -> str:
    """JSON with NaN and Infinity as Python writes them, and a half of a surrogate pair by its escape."""
    return json.dumps(value, ensure_ascii=False, **settings).replace(LONE, "\\ud800")


def _jsonl(records: list[dict[str, Any]], draft: Draft) -> str:
    return "".join(_dumped(record) + "\n" for record in records)


def _by_split(records: list[dict[str, Any]], draft: Draft) -> dict[str, list[dict[str, Any]]]:
    splits: dict[str, list[dict[str, Any]]] = {}
    for record, row in zip(records, draft.rows, strict=True):
        splits.setdefault({"validation": "val"}.get(row.split or "train", row.split or "train"), []).append(record)
    return splits


def _columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A list a column, as pandas writes it."""
    return {name: [record.get(name) for record in records] for name in columns_of(records)}


def _lists(records: list[dict[str, Any]], draft: Draft) -> str:
    names = (draft.names.get("text", "text"), draft.names.get("label", "label"))
    splits = _by_split(records, draft)
    return _dumped({split: [[r.get(n) for n in names] for r in many] for split, many in splits.items()})


_JSON: dict[str, Callable[[list[dict[str, Any]], Draft], str]] = {
    "jsonl": _jsonl,
    "ndjson": _jsonl,
    "json": lambda records, draft: _dumped(records) + "\n",
    "json-pretty": lambda records, draft: _dumped(records, indent=2) + "\n",
    "json-data": lambda records, draft: _dumped({"version": "1.0", "data": records}),
    "json-splits": lambda records, draft: _dumped(_by_split(records, draft), indent=1),
    "json-lists": _lists,
    "json-columns": lambda records, draft: _dumped(_columns(records)),
    "json-index": lambda records, draft: _dumped({n: dict(enumerate(c)) for n, c in _columns(records).items()}),
    "json-ids": lambda records, draft: _dumped({f"{k + 100}": r for k, r in enumerate(records)}),
}


# ---- lines --------------------------------------------------------------------------------------


def _lines(draft: Draft) -> Iterator[str]:
    for row in draft.rows:
        text, label = (written(row.values.get(role), draft.form) for role in ("text", "label"))
        if draft.form == "marked":
            yield f"__label__{label} {text}\n" if label else f"{text}\n"
        elif draft.form == "tabs":
            yield f"{text}\t{label}\n"
        elif draft.form == "conll":
            blank = draft.dialect.get("blank", " ")
            yield "".join(f"{w}{blank}{t}\n" for w, t in zip(row.values["tokens"], row.values["tags"], strict=True))
            yield "\n"
        elif draft.form == "md":
            yield f"# {text}\n\n{text}\n\n- {text}\n"
        else:
            yield f"{text}\n"


# ---- files --------------------------------------------------------------------------------------


def parquet(draft: Draft) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [record_of(draft, row) for row in draft.rows]
    names = columns_of(records)
    types = draft.dialect.get("types", {})
    columns = [pa.array([record.get(name) for record in records], type=types.get(name)) for name in names]
    out = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), out, row_group_size=draft.dialect.get("group", 1024))
    return out.getvalue()


def foldered(draft: Draft) -> dict[str, str]:
    """A folder of texts per class."""
    texts: dict[str, str] = {}
    for number, row in enumerate(draft.rows):
        split = f"{row.split}/" if row.split else ""
        texts[f"{split}{written(row.values['label'], draft.form)}/{number}.txt"] = written(
            row.values["text"], draft.form
        )
    return texts
