"""The contract: what every plug-in keeps, as named checks.

    all                 settings, unknown-setting, light-import
    what trains         deterministic, cuts-float64, cuts-float32, resumes, saves-and-loads, refuses
    objective           prepare, padding, idle, row by row
    compressor          deterministic, saves-and-loads, refuses
    exporter            deterministic (its stage proves what was written), refuses

A check raises AssertionError that says what is not kept, with the figure; what it gives back is the figure of one that
holds. Modelled on river's `checks` and scikit-learn's `check_estimator`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from pretune.base.config import complete, describe
from pretune.base.errors import PretuneError, SettingsError
from pretune.base.json import Json
from pretune.infer.load import open_model
from pretune.model.folder import load_with_new
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.testing.bench import (
    GENTLE,
    PLACES,
    SHAPES_OF,
    TABLES,
    TRAINED,
    Bench,
    Plugin,
    plugin_of,
    registered,
    stopped,
)
from pretune.testing.worlds import LENGTH, VOCABULARY, packed_rows, paired_rows, tiny
from pretune.tokens.rows import Row, Vocabulary
from pretune.train.loop.checkpoint import TENSORS, checkpoints

BARS = {"float64": 1e-12, "float32": 1e-5}
Function = Callable[[Plugin, Bench], str]


@dataclass(frozen=True)
class Check:
    """One claim about one plug-in. Calling it in a bench raises AssertionError where it does not hold."""

    plugin: Plugin
    name: str
    function: Function

    def __call__(self, bench: Bench) -> str:
        return self.function(self.plugin, bench)

    def __str__(self) -> str:
        return f"{self.plugin}: {self.name}"


def checks(plugin: Any) -> list[Check]:
    """The checks of a plug-in: an instance (`Mine(width=3)`), or a Plugin with settings as a recipe has them."""
    found = plugin if isinstance(plugin, Plugin) else plugin_of(plugin)
    return [Check(found, name, function) for name, function in CHECKS[found.room].items()]


def all_checks() -> Iterator[Check]:
    """Every check of every kind that is registered."""
    for plugin in registered():
        yield from checks(plugin)


def each_once(found: Sequence[Check]) -> list[Check]:
    """A few of them in which every plug-in and, of each room, every check is there at least once."""
    chosen, seen = [], dict[str, int]()
    for plugin in dict.fromkeys(str(check.plugin) for check in found):
        mine = [check for check in found if str(check.plugin) == plugin]
        number = seen.get(mine[0].plugin.room, 0)
        seen[mine[0].plugin.room] = number + 1
        chosen.append(mine[number % len(mine)])
    missing = {(c.plugin.room, c.name): c for c in found if (c.plugin.room, c.name) not in _places(chosen)}
    return [*chosen, *missing.values()]


def _places(found: Sequence[Check]) -> set[tuple[str, str]]:
    return {(check.plugin.room, check.name) for check in found}


# ---- settings ------------------------------------------------------------------------------------


def settings_are_json_and_documented(plugin: Plugin, bench: Bench) -> str:
    """They come back from a card as they were, and each has a help text."""
    variant = plugin.variant
    again = TABLES[plugin.room](complete(variant))
    assert again == variant, f"{again!r} came back for {variant!r}"
    silent = [name for name, _, text in describe(type(variant)) if not text]
    assert not silent, f"settings without a text under them: {', '.join(silent)}"
    assert (type(variant).__doc__ or "").strip(), f"{type(variant).__name__} has no docstring"
    return f"{len(describe(type(variant)))} settings"


def an_unknown_setting_is_named(plugin: Plugin, bench: Bench) -> str:
    stages, wrong = bench.recipe(plugin), {**plugin.settings, "no_such_setting": 1}
    place: Json = {"to": [wrong]} if plugin.room == "exporter" else {PLACES[plugin.room]: wrong}
    try:
        bench.run({**stages, "made": {**stages["made"], **place}})
    except SettingsError as error:
        assert "no_such_setting" in error.problem, error.problem
        return "named"
    raise AssertionError("no_such_setting=1 was taken without a word")


def its_module_imports_no_torch(plugin: Plugin, bench: Bench) -> str:
    """Settings are read before torch is loaded: what a recipe gets wrong is told at once."""
    found = inspect.getsourcefile(type(plugin.variant))
    assert found, "its source is not to be found"
    tree = ast.parse(Path(found).read_text(encoding="utf-8"))
    names = [name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    heavy = [name for name in names if name.partition(".")[0] in ("torch", "transformers", "peft", "onnxruntime")]
    assert not heavy, f"{Path(found).name} imports {', '.join(heavy)} at its top; import inside the function"
    return "light"


# ---- what trains ---------------------------------------------------------------------------------


def the_same_run_twice_gives_the_same_files(plugin: Plugin, bench: Bench) -> str:
    first, second = (bench.run(bench.recipe(plugin)).card for _ in range(2))
    other = [n for n in first.files if first.files[n] != second.files.get(n)]
    assert first.id == second.id, f"other bytes in the second run: {', '.join(other)}"
    return first.id[:12]


def _masters(bench: Bench, plugin: Plugin, precision: str, micro: int) -> dict[str, torch.Tensor]:
    """The exact weights after three steps in micro-batches of so many rows."""
    how: Json = {"precision": precision, "micro_batch": micro, "save_every": 2}
    if precision == "float32" or plugin.settings["kind"] == "l2":
        how["optim"] = GENTLE
    scratch = stopped(bench, bench.recipe(plugin, **how)) / "made.scratch"
    tensors = load_file(checkpoints(scratch / "checkpoints")[0] / TENSORS)
    return {n: t for n, t in tensors.items() if n.startswith("master/")}


def _cuts(precision: str) -> Function:
    def cuts(plugin: Plugin, bench: Bench) -> str:
        whole, ones = (_masters(bench, plugin, precision, micro) for micro in (TRAINED["batch"], 1))
        assert whole.keys() == ones.keys(), f"other weights train: {sorted(whole.keys() ^ ones.keys())[:3]}"
        gaps = {name: float((whole[name] - ones[name]).abs().max()) for name in whole}
        worst = max(gaps, key=gaps.__getitem__)
        told = f"{gaps[worst]:.1e}"
        assert gaps[worst] <= BARS[precision], f"8 rows at once and one at a time differ by {told} in {worst}"
        return told

    return cuts


def a_stopped_run_ends_with_the_same_files(plugin: Plugin, bench: Bench) -> str:
    """With dropout, stopped after three of four steps and started again."""
    stages = bench.recipe(plugin, save_every=2, dropout=0.1)
    whole, work = bench.run(stages).card, stopped(bench, stages)
    again = bench.run(stages, work=str(work)).card
    other = [name for name in whole.files if whole.files[name] != again.files.get(name)]
    assert whole.id == again.id, f"other bytes after a stop: {', '.join(other)}"
    return whole.id[:12]


def a_saved_model_opens_with_every_weight(plugin: Plugin, bench: Bench) -> str:
    made = bench.run(bench.recipe(plugin))
    _, new = load_with_new(made.path, plugin.variant.head)
    assert not new, f"the folder has no weights for {', '.join(new)}"
    return "whole"


def a_saved_model_answers_alike_twice(plugin: Plugin, bench: Bench) -> str:
    """Opened twice, it gives the same answers, and finite ones."""
    made, asked = bench.run(bench.recipe(plugin)), _asked(plugin)
    first, second = ([a.to_json() for a in open_model(made.path).answer(asked, max_tokens=4)] for _ in range(2))
    assert first == second, f"{first} the first time, {second} the second"
    assert "nan" not in str(first).lower(), f"{first}"
    return str(first)[:60]


def _asked(plugin: Plugin) -> list[Any]:
    """Inputs that a model of the plug-in answers."""
    from pretune.testing.roundtrips import ASKED, QUERIED, WORLDS

    if plugin.room != "task":
        return list(ASKED)
    kind, shape = plugin.settings["kind"], plugin.variant.shape
    if kind.startswith("rank"):
        return list(QUERIED)
    if kind == "reward":
        return [("say the cat", "hat")]
    return list(WORLDS["answer"].asked) if shape == "span" else list(ASKED)


def other_examples_are_refused_before_anything_loads(plugin: Plugin, bench: Bench) -> str:
    """Data of a shape that is not learnt from: a PretuneError with what to do, and nothing was chosen or loaded."""
    learns = plugin.variant.shape if plugin.room == "task" else "label"
    other = next(shape for shape in ("tags", "span") if shape != learns)
    stages, work = bench.recipe(plugin), bench.work()
    stages["data"] = {"kind": "dataset", "read": [bench.data(other)]}
    return _refused(lambda: bench.run(stages, work=work), Path(work))


def a_model_without_its_head_is_refused(plugin: Plugin, bench: Bench) -> str:
    wrong = "bert" if plugin.variant.head in ("next", "text") else "qwen3"
    stages, work = bench.recipe(plugin, model=wrong), bench.work()
    return _refused(lambda: bench.run(stages, work=work), Path(work))


def _refused(run: Callable[[], Any], work: Path) -> str:
    try:
        run()
    except PretuneError as error:
        assert not (work / "made.scratch" / "choices.json").is_file(), "refused, but after the run had begun"
        assert error.hint or isinstance(error, SettingsError), f"no word of what to do: {error.problem}"
        return error.problem.splitlines()[-1].strip()[:80]
    raise AssertionError("it was taken without a word")


# ---- objectives, row by row ----------------------------------------------------------------------


def _rows(objective: Objective, number: int = 4) -> tuple[list[Row], Vocabulary]:
    """Rows of several documents in the form that it reads, prepared; its own control tokens are behind the last id."""
    own = {name: VOCABULARY.size + k for k, name in enumerate(objective.controls) if name not in VOCABULARY.controls}
    words = replace(VOCABULARY, size=VOCABULARY.size + len(own), controls={**VOCABULARY.controls, **own})
    form = objective.form(LENGTH, words)
    raw = paired_rows(number) if objective.packing == "pairs" else packed_rows(number, form.length + form.causal)
    return [objective.prepare(row, words, np.random.default_rng([5, k])) for k, row in enumerate(raw)], words


def _model(objective: Objective, words: Vocabulary) -> Any:
    return tiny(SHAPES_OF[objective.head], head=objective.head, words=words.size)


def _sums(objective: Objective, rows: Sequence[Row], words: Vocabulary) -> dict[str, float]:
    with torch.no_grad():
        found = objective.sums(_model(objective, words).eval(), objective.collate(rows, words))
    return {term: float(total) for term, total in found.items() if term in objective.weights}


def _plain(plugin: Plugin) -> Objective:
    """The objective, where it can be asked row by row: without a teacher, and not of others' rows."""
    if plugin.variant.is_alone or plugin.settings["kind"] in ("several", "distil"):
        raise NotAsked("it is made of other objectives, which are asked by themselves")
    return OBJECTIVE(plugin.settings)


class NotAsked(Exception):
    """The check says nothing of this plug-in; the text says why."""


def preparing_draws_from_what_it_is_given_alone(plugin: Plugin, bench: Bench) -> str:
    """`prepare` gives the same row for the same random numbers, and leaves the row that it was given as it was."""
    objective = _plain(plugin)
    row, words = packed_rows(1, LENGTH + 1)[0], _rows(objective)[1]
    if objective.packing == "pairs":
        row = paired_rows(1)[0]
    before = {name: np.array(value) for name, value in row.items()}
    twice = [objective.prepare(row, words, np.random.default_rng(3)) for _ in range(2)]
    assert twice[0].keys() == twice[1].keys()
    assert all(np.array_equal(twice[0][n], twice[1][n]) for n in twice[0]), "prepare() draws from elsewhere"  # type: ignore[literal-required]
    assert all(np.array_equal(before[n], row[n]) for n in before), "prepare() changed its row"  # type: ignore[literal-required]
    return "by its numbers"


def rows_together_count_and_cost_what_they_do_alone(plugin: Plugin, bench: Bench) -> str:
    """Padding: of rows of uneven lengths in one batch, the sums and counts are those of each row alone, added."""
    objective = _plain(plugin)
    rows, words = _rows(objective)
    together = _sums(objective, rows, words)
    alone = [_sums(objective, [_without_padding(row)], words) for row in rows]
    gap = max(abs(together[term] - sum(one[term] for one in alone)) for term in together)
    counts = objective.counts(objective.collate(rows, words))
    each = [objective.counts(objective.collate([row], words)) for row in rows]
    assert all(counts[term] == sum(one[term] for one in each) for term in counts), f"counts {counts} of {each}"
    assert gap < 1e-6, f"the sums differ by {gap:.1e}"
    return f"{gap:.1e}"


def _without_padding(row: Row) -> Row:
    """The row as short as its text."""
    length, there = len(row["ids"]), row["segments"] >= 0
    whole: dict[str, Any] = {**row}
    short = {name: np.asarray(value)[there] for name, value in whole.items() if np.ndim(value) and len(value) == length}
    return cast(Row, {**whole, **short})


def an_idle_batch_weighs_nothing(plugin: Plugin, bench: Bench) -> str:
    """What a rank without rows computes: no target, a loss of 0, and a gradient all the same."""
    objective = _plain(plugin)
    rows, words = _rows(objective)
    batch = objective.idle(rows[0], words)
    counts = objective.counts(batch)
    assert not any(counts.values()), f"it counts {counts}"
    found = objective.sums(_model(objective, words), batch)
    losses = [found[term] for term in objective.weights]
    assert not any(float(loss.detach()) for loss in losses), f"it costs {losses}"
    assert any(loss.requires_grad for loss in losses), "no gradient reaches the model: the other ranks would wait"
    return "0"


# ---- what is made of models ----------------------------------------------------------------------


def what_it_needs_is_asked_for(plugin: Plugin, bench: Bench) -> str:
    """Input of a kind that it cannot take is refused before anything loads."""
    stages, work = bench.recipe(plugin), bench.work()
    wrong = bench.base("qwen3") if stages["made"]["model"] != bench.base("qwen3") else bench.tokens()["tokens"]
    return _refused(lambda: bench.run({**stages, "made": {**stages["made"], "model": wrong}}, work=work), Path(work))


def no_model_is_refused(plugin: Plugin, bench: Bench) -> str:
    """A folder that is no model is refused before anything loads."""
    stages, work = bench.recipe(plugin), bench.work()
    wrong = {**stages["made"], "model": bench.tokens()["words"]}
    return _refused(lambda: bench.run({**stages, "made": wrong}, work=work), Path(work))


SETTINGS: Mapping[str, Function] = {
    "settings": settings_are_json_and_documented,
    "unknown-setting": an_unknown_setting_is_named,
    "light-import": its_module_imports_no_torch,
}
TRAINING: Mapping[str, Function] = {
    **SETTINGS,
    "deterministic": the_same_run_twice_gives_the_same_files,
    "cuts-float64": _cuts("float64"),
    "cuts-float32": _cuts("float32"),
    "resumes": a_stopped_run_ends_with_the_same_files,
}
FINETUNED: Mapping[str, Function] = {
    **TRAINING,
    "saves-and-loads": a_saved_model_answers_alike_twice,
    "refuses": other_examples_are_refused_before_anything_loads,
}
CHECKS: dict[str, Mapping[str, Function]] = {
    "objective": {
        **TRAINING,
        "prepare": preparing_draws_from_what_it_is_given_alone,
        "padding": rows_together_count_and_cost_what_they_do_alone,
        "idle": an_idle_batch_weighs_nothing,
        "saves-and-loads": a_saved_model_opens_with_every_weight,
        "refuses": a_model_without_its_head_is_refused,
    },
    "task": FINETUNED,
    "method": FINETUNED,
    "remember": FINETUNED,
    "compressor": {
        **SETTINGS,
        "deterministic": the_same_run_twice_gives_the_same_files,
        "saves-and-loads": a_saved_model_answers_alike_twice,
        "refuses": no_model_is_refused,
    },
    "exporter": {
        **SETTINGS,
        "deterministic": the_same_run_twice_gives_the_same_files,
        "refuses": what_it_needs_is_asked_for,
    },
}
"""Room -> name of a check -> what it runs."""
