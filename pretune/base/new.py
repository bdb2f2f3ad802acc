"""`pretune new NAME`: look at the data (`--from PATH`) and write a commented recipe, or begin with a shipped one."""

from __future__ import annotations

import shlex
from pathlib import Path

from pretune.base.errors import UserError, did_you_mean

SHIPPED = Path(__file__).parents[1] / "recipes"

PRETRAIN = """\
# Your own model from the text in {shown}.
#
#   pretune plan {recipe}      what would run, how long, does it fit
#   pretune run  {recipe}      run it; again: only what changed
#
# Every setting is explained by `pretune explain STAGE.SETTING`.
name: {name}
work: {work}
stages:
  # Read, repair, deduplicate, split by document.
  corpus:    {{kind: corpus, read: [{source}]}}
  # A byte-level BPE of your text; 8,000 tokens suit a few megabytes, 16,000 and more suit a hundred.
  tokenizer: {{kind: tokenizer, corpus: $corpus, vocab_size: 8000}}
  tokens:    {{kind: tokens, corpus: $corpus, tokenizer: $tokenizer}}
  # The size is chosen from your text and the time; give model: qwen3-mini to choose yourself.
  base:      {{kind: pretrain, tokens: $tokens, objective: causal, minutes: 10}}
  report:    {{kind: evaluate, model: $base, data: $tokens}}
sizes:
  smoke: {{base.steps: 3, base.minutes: null, base.batch: 2, tokenizer.vocab_size: 600}}
"""

DOES = {
    "classify": "labels texts",
    "multilabel": "labels texts",
    "regress": "scores texts",
    "answer": "finds answers in texts",
    "chat": "answers",
    "tag": "finds names in texts",
    "prefer": "replies as people prefer",
    "embed": "finds texts",
    "rank": "puts candidates in order",
    "seq2seq": "makes texts of texts",
}
"""What a model of a task does."""
FINETUNE = """\
# A model that {does}, from the examples in {shown}.
#
#   pretune plan {recipe}      what would run, how long, does it fit
#   pretune run  {recipe}      run it; again: only what changed
name: {name}
work: {work}
stages:
  # Read as {read_as}; columns: {{text: ..., label: ...}} names others (docs: shapes.md).
  data:   {{kind: dataset, read: [{source}]}}
  # A pretrained model: a folder in Hugging Face layout, or one that you pretrained with pretune.
  tuned:  {{kind: finetune, model: PATH/TO/MODEL, data: $data, task: {task}}}
  report: {{kind: evaluate, model: $tuned, data: $data}}
  served: {{kind: export, model: $tuned, data: $data, to: [onnx]}}
sizes:
  smoke: {{tuned.steps: 3}}
"""


def new_recipe(name: str, source: str, *, task: str | None, read_as: str = "") -> Path:
    """Write the recipe `NAME.yaml`, never over an existing file; its name is the last part of a path.

    Args:
        source: files of text, or of labelled data.
        task: what learns from labelled data; None for text.
        read_as: of labelled data, the columns.

    Raises:
        UserError: there is such a file, or the name cannot be one.
    """
    path, title = _place(name)
    return _written(path, recipe_text(path, title, source, task=task, read_as=read_as))


def like(name: str, shipped: str) -> Path:
    """Write the recipe `NAME.yaml` as a shipped one is, with its own name and folder.

    Raises:
        UserError: there is no such recipe, there is such a file, or the name cannot be one.
    """
    there = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
    if shipped not in there:
        raise UserError(f"no recipe {shipped!r} is shipped", hint=did_you_mean(shipped, there))
    path, title = _place(name)
    text = there[shipped].read_text(encoding="utf-8")
    own = {f"name: {shipped}": f"name: {_quoted(title)}", f"work: runs/{shipped}": f"work: {_quoted(f'runs/{title}')}"}
    lines = [own.get(line, line) for line in text.splitlines()]
    shown = [line.replace(f"recipes/{shipped}.yaml", _shown(path.as_posix())) for line in lines]
    return _written(
        path, "\n".join(line.replace(f"runs/{shipped}/", f"runs/{_shown(title)}/") for line in shown) + "\n"
    )


def _written(path: Path, text: str) -> Path:
    if path.exists():
        raise UserError(f"{path.as_posix()!r} exists", hint="choose another name, or delete it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        problem = f"{path.as_posix()!r} cannot be written: {error.strerror}"
        raise UserError(problem, hint="choose another name, or another folder") from None
    return path


def recipe_text(path: Path, title: str, source: str, *, task: str | None = None, read_as: str = "") -> str:
    """What stands in the recipe at `path`; the arguments are those of `new_recipe`."""
    words = {
        "name": _quoted(title),
        "work": _quoted(f"runs/{title}"),
        "source": _quoted(_plain(Path(source).as_posix())),
        "recipe": _shown(shlex.quote(path.as_posix())),
        "shown": _shown(Path(source).as_posix()),
        "read_as": _shown(read_as),
    }
    does = DOES.get(task or "", "learns")
    return (PRETRAIN if task is None else FINETUNE).format(task=task, does=does, **words)


def _place(name: str) -> tuple[Path, str]:
    """The recipe's file and its name."""
    title = Path(name).name
    if not title.strip(". ") or title.endswith(".") or "\0" in name:
        raise UserError(f"{name!r} is no name for a recipe", hint="letters and figures make a good one: my-bot")
    return Path(name).parent / f"{title}.yaml", title


def _plain(source: str) -> str:
    """A path that cannot be taken for a stage's `$name` or for `hf:org/name`."""
    return f"./{source}" if source.startswith("$") or (":" in source and not Path(source).is_absolute()) else source


def _quoted(text: str) -> str:
    """A text as YAML's text in double quotes: 2024 stays a name, and a quote ends nothing."""
    return '"' + "".join({'"': '\\"', "\\": "\\\\"}.get(c, _printable(c)) for c in text) + '"'


def _shown(text: str) -> str:
    """A text within the line of a comment."""
    return "".join(map(_printable, text))


def _printable(c: str) -> str:
    return c if c.isprintable() else f"\\U{ord(c):08x}"
