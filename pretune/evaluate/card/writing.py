"""A model card as Markdown, in English or Chinese; and README.md in the folders of models.

The README of a folder lies next to its card, is no part of it, and is written again when a report is made. One that
does not begin with our mark is somebody's own and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.json import JsonMap
from pretune.evaluate.card.facts import Facts, Made, Source, facts_of, reports_next_to
from pretune.evaluate.card.words import WORDS
from pretune.report.numbers import count, duration, metric, named, share, size

NAME = "README.md"
MARK = re.compile(r"<!-- pretune card (en|zh) -->")
LIMIT = 8
"""Figures of a group that a card shows."""


def write_card(model: Artifact) -> Path | None:
    """Write it into the model's folder; None where there is a README of somebody's, or nothing may be written."""
    path = model.path / NAME
    try:
        before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        mark = MARK.match(before)
        if before and not mark:
            return None
        path.write_text(card_text(model, language=mark[1] if mark else "en"), encoding="utf-8", newline="\n")
    except OSError:  # a folder that is only read is a model as well
        return None
    return path


def card_text(model: Artifact, reports: Sequence[Artifact] | None = None, *, language: str = "en") -> str:
    """The card; `reports`: of the model, by default those in the same folder.

    Args:
        language: en or zh.
    """
    found = reports_next_to(model) if reports is None else reports
    facts, words = facts_of(model, found), WORDS[language]
    sections = (_good, _forgot, _bias, _data, _training, _limits, _again)
    parts = [f"<!-- pretune card {language} -->", f"# {model.path.name}", *_what(facts, words)]
    for section in sections:
        parts += section(facts, words)
    return "\n\n".join([*parts, f"*{words['written']}*"]) + "\n"


Words = dict[str, Any]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _what(facts: Facts, words: Words) -> Iterator[str]:
    """What the model is: its class, its task, its base."""
    card = facts.model.card
    parameters = card.metrics.get("parameters")
    how = _how(facts.steps[0]) if facts.steps else ""
    bases = [one.name for one in facts.sources if one.role == "model"] + [one.name for one in facts.steps[1:]]
    yield words["is"].format(
        architecture=(facts.config.get("architectures") or [facts.config.get("peft_type", "?")])[0],
        parameters=f"{parameters:,}" if parameters else "?",
        stage=card.stage,
        how=f" ({how})" if how else "",
        base=words["from"].format(base=", ".join(f"`{name}`" for name in bases)) if bases else "",
    )
    if labels := facts.config.get("id2label"):
        yield words["labels"].format(labels=", ".join(map(str, labels.values())))


def _how(step: Made) -> str:
    """Task and method of a fine-tuning, objective of a pretraining."""
    names = (step.settings.get(name) for name in ("task", "method", "objective"))
    kinds = [one.get("kind", ", ".join(one)) if isinstance(one, dict) else one for one in names if one]
    return ", ".join(str(kind) for kind in kinds if isinstance(kind, str))


# ---- how good -----------------------------------------------------------------------------------


def _good(facts: Facts, words: Words) -> Iterator[str]:
    yield f"## {words['good']}"
    groups = [(one, name) for one in facts.reports for name in one.report["groups"] if not name.startswith("swaps_")]
    if not groups:
        yield words["none"].format(model=facts.model.path.name)
    for one, name in groups:
        group, data = one.report["groups"][name], one.report["data"]
        split = words["no_split" if data["kind"] == "files" else "split"].format(split=data["split"])
        title = one.name if name == "all" else f"{one.name}: {name}"
        yield words["report"].format(
            name=title, split=split, examples=count(group["examples"]), contamination=_read(one.report, words)
        )
        yield _scores(group, words)
        yield words[_compared(group)]


def _compared(group: JsonMap) -> str:
    """What to say of the hardest baseline; without an interval of the margin nothing is known of chance."""
    rivals = [one for one in group["baselines"] if not one["is_ceiling"]]
    if group["beaten"] is None:
        return "no_baseline"
    if not group["beaten"]:
        return "behind"
    return "beats" if all(one.get("interval") or one["name"] == "xz" for one in rivals) else "few"


def _read(report: JsonMap, words: Words) -> str:
    """How many of the texts the base model has read."""
    rows = report.get("read_before")
    if rows is None:
        return ""
    told = [words["contamination"].format(**row, part="" if row["whole"] else words["part_of_corpus"]) for row in rows]
    return "".join(told) or str(words["unknown_contamination"])


def _scores(group: JsonMap, words: Words) -> str:
    """The figures of a group next to its baselines'; the main one first."""
    main, others = group["main"], {one["name"]: one["metrics"] for one in group["baselines"]}
    keys = [main, *(key for key in group["metrics"] if key != main)][:LIMIT]
    rows = []
    for key in keys:
        spread = " – ".join(metric(end, key) for end in group["intervals"].get(key, ()))
        cells = [metric(of.get(key), key) for of in others.values()]
        rows.append([named(key), metric(group["metrics"][key], key), spread, *cells])
    return table([*words["columns"], *map(named, others)], rows)


def _forgot(facts: Facts, words: Words) -> Iterator[str]:
    lost = facts.model.card.metrics.get("forgotten")
    if facts.model.card.stage not in ("finetune", "pretrain"):
        return
    yield f"## {words['forgot']}"
    rows = [[name, f"{value:+.3f}"] for name, value in (lost or {}).items() if isinstance(value, int | float)]
    yield table(words["forgot_columns"], rows) if rows else words["not_watched"]


def _bias(facts: Facts, words: Words) -> Iterator[str]:
    yield f"## {words['bias']}"
    swaps = {n: g for one in facts.reports for n, g in one.report["groups"].items() if n.startswith("swaps_")}
    if swaps:
        yield table(words["bias_columns"], [_swapped(name, group) for name, group in swaps.items()])
    told = [line for one in facts.reports for line in _subgroups(one.report, words)]
    yield from told
    if not swaps and not told:
        yield words["no_bias"].format(model=facts.model.path.name)


def _swapped(name: str, group: JsonMap) -> list[str]:
    figures, spread = group["metrics"], group["intervals"].get("flip_rate", ())
    shares = [metric(figures.get(key), key) for key in ("flip_rate", "same_group_flip_rate")]
    interval = " – ".join(metric(end, "flip_rate") for end in spread)
    return [name.removeprefix("swaps_"), shares[0], interval, shares[1], metric(figures["score_gap"], "score_gap")]


def _subgroups(report: JsonMap, words: Words) -> Iterator[str]:
    rows, main = report.get("subgroups", []), next(iter(report["groups"].values()))["main"]
    for column in dict.fromkeys(row["column"] for row in rows):
        low, *_, high = sorted((row for row in rows if row["column"] == column), key=lambda row: row[main]) * 2
        ends = {"low": metric(low[main], main), "low_name": low["value"]}
        ends |= {"high": metric(high[main], main), "high_name": high["value"]}
        yield words["subgroups"].format(column=column, **ends)


# ---- from what, how, and how far ----------------------------------------------------------------


def _data(facts: Facts, words: Words) -> Iterator[str]:
    if facts.sources:
        yield f"## {words['data']}"
        yield table(words["data_columns"], [_source_row(one, words) for one in facts.sources])


def _source_row(one: Source, words: Words) -> list[str]:
    languages = ", ".join(f"{name} {share(part)}" for name, part in one.languages.items())
    licence = one.licence or (words["unknown"] if one.role in ("files", "model") else "")
    return [words[one.role], f"`{one.name}`", _size(one.sizes, words), languages, licence]


def _size(sizes: JsonMap, words: Words) -> str:
    if "documents" in sizes:
        return str(words["documents"].format(number=count(sizes["documents"]), bytes=size(sizes.get("bytes", 0))))
    if "examples" in sizes:
        splits = ", ".join(f"{name} {number:,}" for name, number in sizes.get("splits", {}).items() if number)
        return str(words["examples"].format(number=count(sizes["examples"]), splits=splits))
    return size(sizes["bytes"]) if "bytes" in sizes else ""


def _training(facts: Facts, words: Words) -> Iterator[str]:
    if not facts.steps:
        return
    yield f"## {words['training']}"
    yield table(words["training_columns"], [_step_row(one, words) for one in facts.steps])
    made = facts.model.card.made
    yield words["machine"].format(
        machine=made.get("machine", ""),
        **{n: made.get("versions", {}).get(n, "?") for n in ("pretune", "torch", "transformers")},
    )


def _step_row(one: Made, words: Words) -> list[str]:
    energy, seconds = one.metrics.get("energy_joules"), one.metrics.get("train_seconds", one.made.get("seconds"))
    joules = f"{energy / 3600:,.1f} Wh" if energy else words["not_measured"]
    steps = one.metrics.get("steps_taken", one.metrics.get("steps", ""))
    seed, precision = one.settings.get("seed", ""), one.metrics.get("precision", "")
    return [one.name, _how(one) or one.stage, steps, seed, duration(seconds) if seconds else "", joules, precision]


def _limits(facts: Facts, words: Words) -> Iterator[str]:
    yield f"## {words['limits']}"
    yield "\n".join(f"* {line}" for line in _limit_lines(facts, words))


def _limit_lines(facts: Facts, words: Words) -> Iterator[str]:
    length = facts.model.card.settings.get("max_length") or facts.config.get("max_position_embeddings")
    if length:
        yield words["length"].format(length=f"{length:,}")
    if languages := dict.fromkeys(name for one in facts.sources for name in one.languages if name != "und"):
        yield words["languages"].format(languages=", ".join(languages))
    for one in facts.reports:
        if any(group["beaten"] is False for group in one.report["groups"].values()):
            yield words["loses"].format(name=one.name)
    if facts.reports:
        yield words["one_seed"]
    if (step := facts.model.card.metrics.get("over_fit_from")) is not None:
        yield words["overfit"].format(step=step)
    for part in facts.model.ancestors():
        if found := part.card.metrics.get("doctor"):
            yield words["doctor"].format(number=len(found), name=part.path.name, worst=found[0]["name"])
    if unknown := [f"`{one.name}`" for one in facts.sources if one.role in ("files", "model") and not one.licence]:
        yield words["no_licence"].format(names=", ".join(dict.fromkeys(unknown)))


def _again(facts: Facts, words: Words) -> Iterator[str]:
    yield f"## {words['again']}"
    made = sorted(
        (one.card for one in facts.model.ancestors() if one.card.made), key=lambda card: card.made.get("time", "")
    )
    commands = [str(card.made.get("command") or card.stage) for card in made]
    keys = [f"{card.stage:<10} key {card.key[:8]}  id {card.id[:8]}" for card in made]
    yield words["steps"]
    yield "\n".join(["```", *dict.fromkeys(commands), "```"])
    yield "\n".join(["```", *keys, "```"])
