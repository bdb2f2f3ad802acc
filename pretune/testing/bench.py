"""What a check runs: a tiny recipe around one plug-in. Texts, data and bases are made once and shared.

objective    corpus, tokenizer, tokens ──▶ pretrain                    by the shape that its head asks for
task         base, examples of its shape ──▶ finetune
method       base, labelled texts ──▶ finetune
remember     base ──▶ finetune on moods ──▶ finetune on labels
compressor   base, tokens ──▶ compress
exporter     base or tokens ──▶ export
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.config import Choice, Variant, complete
from pretune.base.errors import Stopped
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.compress.compressor import COMPRESSOR
from pretune.export.exporter import EXPORTER
from pretune.model.methods.method import METHOD
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.task.remember.remember import REMEMBER
from pretune.task.task import TASK, Task
from pretune.testing.folders import NAMES, build, write_model
from pretune.testing.roundtrips import PAIRED, PREFERRED, WORDS, WORLDS
from pretune.testing.worlds import tiny_shape
from pretune.train.loop.saving import THREAD

PLACES = {"objective": "objective", "task": "task", "method": "method", "remember": "remember", "compressor": "method"}
"""Room -> the setting of the last stage that holds a plug-in; an exporter is the one of `to`."""
TABLES: dict[str, Choice[Any]] = {
    "objective": OBJECTIVE,
    "task": TASK,
    "method": METHOD,
    "remember": REMEMBER,
    "exporter": EXPORTER,
    "compressor": COMPRESSOR,
}
STEPS, BATCH = 4, 8
TRAINED: Json = {"batch": BATCH, "steps": STEPS, "precision": "float32", "micro_batch": BATCH, "device": "cpu"}
TEXTS = [" ".join(p) for p in itertools.islice(itertools.permutations([*WORDS, "and", "7"], 6), 0, None, 60)]
EXAMPLES: dict[str, list[Json]] = {
    "label": WORLDS["classify"].rows,
    "labels": WORLDS["multilabel"].rows,
    "score": WORLDS["regress"].rows,
    "tags": WORLDS["tag"].rows,
    "span": WORLDS["answer"].rows,
    "dialogue": WORLDS["chat"].rows,
    "pair": PAIRED,
    "preference": PREFERRED,
    "ranking": [
        {"query": f"what is {a} {k}", "candidates": [f"the {a} it is", f"{b} 🙂", "你好"], "scores": [1.0, 0.5, 0.0]}
        for k in range(3)
        for a in WORDS
        for b in WORDS
    ],
}
"""Rows by the shape of labelled examples."""
ROWS = WORLDS["classify"].rows
EXAMPLES_OF: dict[str, list[Json]] = {
    "labels-of-the-base": [{"text": row["text"], "label": [*NAMES["label2id"]][k % 3]} for k, row in enumerate(ROWS)],
    "embed-scores": [
        {"text": f"the {a}", "second": f"{b} it is", "score": float(a == b)} for a in WORDS for b in WORDS
    ],
}
BASES = {"seq2seq": "t5"}
WRITERS = ("dialogue", "preference")
"""Shapes that are learnt by a model with a chat template."""


@dataclass(frozen=True)
class Plugin:
    """What is checked.

    Args:
        room: objective, task, method, remember, exporter or compressor.
        settings: as in a recipe: a block with its kind.
    """

    room: str
    settings: Mapping[str, Any]

    @property
    def variant(self) -> Any:
        """The settings, validated; inputs that a check makes are named as in a recipe."""
        return TABLES[self.room](self.settings)

    def __str__(self) -> str:
        rest = {name: value for name, value in self.settings.items() if name != "kind"}
        return f"{self.room} {self.settings['kind']}" + (f" {json.dumps(rest)}" if rest else "")


def plugin_of(variant: Variant) -> Plugin:
    """The plug-in of an instance: `Mine(width=3)`. Its kind is the class where it has none."""
    room = next((room for room, table in TABLES.items() if isinstance(variant, table.base)), None)
    assert room, f"{type(variant).__name__} is none of: {', '.join(TABLES)}"
    kind = variant.kind or f"{type(variant).__module__}:{type(variant).__name__}"
    return Plugin(room, {**complete(variant), "kind": kind})


NEEDED: dict[tuple[str, str], Json] = {
    ("objective", "several"): {"of": {"next": "causal", "holes": "infill"}},
    ("objective", "distil"): {"teacher": "$teacher", "top_k": 5},
    ("task", "several"): {"of": {"mood": "classify", "names": "tag"}},
    ("method", "prefix"): {"tokens": 4},
    ("method", "prompt"): {"tokens": 4},
    ("method", "p-tuning"): {"tokens": 4},
    ("remember", "replay"): {"data": ["$moods"]},
    ("remember", "ewc"): {"data": ["$moods"], "weight": 1e3},
    ("remember", "average"): {"data": ["$moods"], "weight": 0.5},
    ("compressor", "distil"): {"steps": 2},
    ("compressor", "average"): {"others": ["$other_model"]},
    ("compressor", "vocabulary"): {"tokenizer": "$other_words"},
    ("compressor", "ladder"): {"rungs": ["prune", "int8"]},
}
"""Settings of registered kinds without which they do not begin, or do nothing in four steps."""


GENTLE: Json = {"kind": "adamw", "learning_rate": 1e-3, "eps": 1e-3}
"""An AdamW that moves a weight whose gradient is rounding alone by next to nothing. The usual one divides a gradient
by its own size: a bias of BERT's keys, whose gradient is 0 by arithmetic, moves by its rounding, a whole rate at a
time; and what holds weights at their start (l2) then pulls at that."""


def registered() -> list[Plugin]:
    """Every kind that is registered, those of other packages too."""
    pairs = [(room, kind) for room, table in TABLES.items() for kind in table.kinds()]
    return [Plugin(room, {"kind": kind, **NEEDED.get((room, kind), {})}) for room, kind in pairs]


@dataclass
class Bench:
    """A folder in which checks run their recipes; what they share is made at its first use.

    Args:
        examples: labelled rows by their shape; an author's own for a shape that is none of ours.
    """

    folder: Path
    examples: Mapping[str, list[Json]] = field(default_factory=dict)
    count: int = 0

    def base(self, kind: str, *, dropout: float = 0.0) -> str:
        """A model folder of two layers, without dropout unless it is asked for."""
        chat, name = kind.endswith("-chat"), f"{kind}-{dropout}"
        path = self.folder / name
        if not path.is_dir():
            model = build(kind.removesuffix("-chat"), spread=False)
            dropped = [n for n in vars(model.config) if n.endswith(("_dropout_prob", "dropout_rate", "_pdrop"))]
            for setting in [*dropped, "attention_dropout"]:
                setattr(model.config, setting, dropout)
            write_model(path, self.folder / f"{name}-words", "", chat=chat, model=model)
        return str(path)

    def data(self, shape: str, kind: str = "") -> str:
        """A file of labelled examples."""
        rows = {**EXAMPLES, **self.examples}.get(shape)
        rows = EXAMPLES_OF.get(kind, rows)
        assert rows, f"no examples of shape {shape!r} are known; give some: Bench(folder, {{shape: rows}})"
        path = self.folder / f"{kind or shape}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    def texts(self) -> str:
        path = self.folder / "texts"
        path.mkdir(exist_ok=True)
        for k, text in enumerate(TEXTS):
            (path / f"{k:02}.txt").write_text(f"{text} {k}. " * (1 + k % 3), encoding="utf-8")
        return str(path)

    def work(self) -> str:
        """A new folder for the artifacts of a recipe."""
        self.count += 1
        return str(self.folder / f"work-{self.count}")

    def run(self, stages: Mapping[str, Any], *, work: str = "", stop_after_saving: bool = False) -> Artifact:
        """The last stage's artifact.

        Args:
            work: of an earlier call, which this one goes on with.
            stop_after_saving: whether the run is asked to stop once it has a checkpoint.

        Raises:
            Stopped: it did.
        """
        work = work or self.work()
        last = list(stages)[-1]
        scratch = Path(work) / f"{last}.scratch"
        recipe = Recipe.build({"work": work, "stages": dict(stages)})
        made = recipe.run(
            log=Log(silent=True), stopping=lambda gently: lambda: stop_after_saving and has_saved(scratch)
        )
        return made[last]

    def tokens(self) -> dict[str, Json]:
        """Stages of a small token store; its artifacts are shared by all recipes."""
        shared = self.folder / "shared"
        if not (shared / "tokens").is_dir():
            sizes = {"vocab_size": 300}
            stages = {
                "corpus": {"kind": "corpus", "read": [self.texts()], "validation": 0.2},
                "words": {"kind": "tokenizer", "corpus": "$corpus", **sizes},
                "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
            }
            self.run(stages, work=str(shared))
        return {"tokens": str(shared / "tokens"), "words": str(shared / "words")}  # type: ignore[dict-item]

    # ---- a recipe around each kind of plug-in ----------------------------------------------------

    def recipe(self, plugin: Plugin, **more: Any) -> dict[str, Any]:
        """Stages of which the last one, `made`, has the plug-in; `more` are settings of that one."""
        makers: dict[str, Callable[..., dict[str, Any]]] = {
            "objective": self._objective,
            "task": self._task,
            "method": self._method,
            "remember": self._remember,
            "compressor": self._compressor,
            "exporter": self._exporter,
        }
        dropout = more.pop("dropout", 0.0)
        stages = makers[plugin.room](plugin, dropout)
        return {**stages, "made": {**stages["made"], **more}}

    def _objective(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        found: Objective = plugin.variant
        shape = SHAPES_OF[found.head]
        model = complete(tiny_shape(shape, dropout=dropout))
        run = {**TRAINED, "kind": "pretrain", "tokens": self.tokens()["tokens"], "length": 16, "model": model}
        made = {**run, "objective": dict(plugin.settings), "compile": "no"}
        teacher = {"teacher": {**run, "steps": 1}} if "$teacher" in plugin.settings.values() else {}
        return {**teacher, "made": made}

    def _finetune(self, base: str, data: str, task: Any, dropout: float, **more: Any) -> dict[str, Any]:
        run = {**TRAINED, "kind": "finetune", "model": self.base(base, dropout=dropout), "data": "$data"}
        return {
            "data": {"kind": "dataset", "read": [data]},
            "made": {**run, "task": task, "max_length": 48, **more},
        }

    def _task(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        found: Task = plugin.variant
        settings = dict(plugin.settings)
        if not found.shape:
            stages = self._finetune("bert-labels", self.data("label"), settings, dropout)
            names = {"kind": "dataset", "read": [self.data("tags")]}
            return {"names": names, **stages, "made": {**stages["made"], "data": {"mood": "$data", "names": "$names"}}}
        base = "qwen3-chat" if found.shape in WRITERS else BASES.get(plugin.settings["kind"], "bert-labels")
        return self._finetune(base, self.data(found.shape, plugin.settings["kind"]), settings, dropout)

    def _method(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        data = self.data("label")
        return self._finetune("bert-labels", data, "classify", dropout, method=dict(plugin.settings))

    def _remember(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        first = self._finetune("bert-labels", self.data("score"), "regress", dropout)
        then = self._finetune("bert-labels", self.data("label"), "classify", dropout, remember=dict(plugin.settings))
        earlier = {"moods": first["data"], "knows": {**first["made"], "data": "$moods"}}
        return {**earlier, **then, "made": {**then["made"], "model": "$knows"}}

    def _compressor(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        # What learns from the model as it was is of use behind what changed it, on a ladder.
        method = ["prune", dict(plugin.settings)] if plugin.settings["kind"] == "distil" else dict(plugin.settings)
        run = {"kind": "compress", "model": self.base("bert-labels"), "data": "$data", "method": method}
        other = {"other_words": {"kind": "tokenizer", "corpus": str(self.folder / "shared/corpus"), "vocab_size": 300}}
        if "$other_words" in plugin.settings.values():
            self.tokens()
        words = other if "$other_words" in plugin.settings.values() else {}
        if plugin.settings["kind"] == "average":
            run["method"] = {**plugin.settings, "others": [run["model"]]}
        data = {"kind": "dataset", "read": [self.data("label", "labels-of-the-base")]}
        return {**words, "data": data, "made": run}

    def _exporter(self, plugin: Plugin, dropout: float) -> dict[str, Any]:
        takes = EXPORTER.find(plugin.settings["kind"]).takes
        source = self.base("qwen3") if takes == "model" else self.tokens()["tokens"]
        return {"made": {"kind": "export", "model": source, "to": [dict(plugin.settings)]}}


SHAPES_OF = {"next": "qwen3", "masked": "bert", "pair": "bert", "replaced": "electra", "text": "t5"}
"""Head of an objective -> the shape that a check builds."""


def has_saved(scratch: Path) -> bool:
    """Whether a run has a checkpoint; waits for one that is being written: a short run would end before it is."""
    for thread in [one for one in threading.enumerate() if one.name == THREAD]:
        thread.join()
    return any((scratch / "checkpoints").glob("step-*[0-9]"))


def stopped(bench: Bench, stages: Mapping[str, Any]) -> Path:
    """The folder of a recipe whose last stage was stopped after its first checkpoint."""
    work = bench.work()
    try:
        bench.run(stages, work=work, stop_after_saving=True)
    except Stopped:
        return Path(work)
    raise AssertionError("the run was asked to stop after its first checkpoint, and went on to its end")
