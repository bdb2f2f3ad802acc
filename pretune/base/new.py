"""`pretune new NAME --from PATH`: look at the data, write a commented recipe."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError

PRETRAIN = """\
# {name}: your own model from the text in {source}.
#
#   pretune plan {name}.yaml      what would run, how long, does it fit
#   pretune run  {name}.yaml      run it; again: only what changed
#
# Every setting is explained by `pretune explain STAGE.SETTING`.
name: {name}
work: runs/{name}
stages:
  # Read, repair, deduplicate, split by document.
  corpus:    {{kind: corpus, read: ["{source}"]}}
  # A byte-level BPE of your text; 8,000 tokens suit a few megabytes, 16,000 and more suit a hundred.
  tokenizer: {{kind: tokenizer, corpus: $corpus, vocab_size: 8000}}
  tokens:    {{kind: tokens, corpus: $corpus, tokenizer: $tokenizer}}
  # The size is chosen from your text and the time; give model: qwen3-mini to choose yourself.
  base:      {{kind: pretrain, tokens: $tokens, objective: causal, minutes: 10}}
  report:    {{kind: evaluate, model: $base, data: $tokens}}
sizes:
  smoke: {{base.steps: 3, base.minutes: null, base.batch: 2, tokenizer.vocab_size: 600}}
"""

FINETUNE = """\
# {name}: a model that {does}, from the examples in {source}.
#
#   pretune plan {name}.yaml      what would run, how long, does it fit
#   pretune run  {name}.yaml      run it; again: only what changed
name: {name}
work: runs/{name}
stages:
  # The shape and the columns are found by themselves; columns: {{text: ..., label: ...}} names them (docs: shapes.md).
  data:   {{kind: dataset, read: ["{source}"]}}
  # A pretrained model: a folder in Hugging Face layout, or one that you pretrained with pretune.
  tuned:  {{kind: finetune, model: PATH/TO/MODEL, data: $data, task: {task}}}
  report: {{kind: evaluate, model: $tuned, data: $data}}
  served: {{kind: export, model: $tuned, data: $data, to: [onnx]}}
sizes:
  smoke: {{tuned.steps: 3}}
"""


def new_recipe(name: str, source: str) -> Path:
    """Write `NAME.yaml`; never over an existing file."""
    path = Path(f"{name}.yaml")
    if path.exists():
        raise UserError(f"{path.as_posix()!r} exists", hint="choose another name, or delete it")
    task = _task(Artifact.open(source).files())
    place = Path(source).as_posix()
    does = {"classify": "labels texts", "chat": "answers"}
    text = PRETRAIN if task is None else FINETUNE
    path.write_text(text.format(name=name, source=place, task=task, does=does.get(task or "")), encoding="utf-8")
    return path


def _task(files: list[Path]) -> str | None:
    """classify or chat when the first table has such columns; None for raw text."""
    tables = [f for f in files if f.suffix in (".csv", ".tsv", ".jsonl", ".json")]
    columns = _columns(tables[0]) if tables else set()
    if columns & {"messages", "conversations", "instruction"}:
        return "chat"
    return "classify" if columns & {"label", "class", "category", "sentiment", "intent"} else None


def _columns(path: Path) -> set[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix in (".csv", ".tsv"):
            rows = csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t")
            return {column.strip().lower() for column in next(rows, [])}
        head = "".join(islice(file, 400)).lstrip()
    return set(_first_object(head))


def _first_object(text: str) -> dict[str, Any]:
    """The first JSON object of a jsonl file or of a JSON array."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text.lstrip("[ \n\r\t"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
