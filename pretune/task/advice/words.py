"""Advice in words, for the terminal."""

from __future__ import annotations

from pretune.base.json import Json
from pretune.base.new import DOES
from pretune.report.numbers import count, duration, figure, is_lower_better, size
from pretune.report.numbers import named as in_words

MARGIN = 10
FEW = 3
"""Labels, findings, sizes and models that are listed."""


def advice_text(told: Json) -> str:
    """What `advise` found, a line or a few for each question."""
    blocks = {"data": _data(told), "task": _task(told), "model": _model(told)}
    if told["task"]:
        blocks |= {"method": _method(told["method"]), "simple": _simple(told)}
    blocks |= {"takes": _takes(told), "type": [told["command"]]}
    return "\n".join(
        f"{name if not place else '':<{MARGIN}}{line}"
        for name, lines in blocks.items()
        for place, line in enumerate(lines)
    )


def _data(told: Json) -> list[str]:
    data = told["data"]
    if not told["task"]:
        return ["text without labels"]
    sizes = ", ".join(f"{number:,} {split}" for split, number in data["splits"].items())
    lines = [f"{sizes}; {data['read_as']}"]
    counts = sorted(data["labels"].items(), key=lambda one: -one[1])
    if counts:
        (most, high), (least, low) = counts[0], counts[-1]
        lines.append(f"{len(counts)} labels: {high:,} {most!r} ... {low:,} {least!r}")
    language = "in a language that was not recognised" if data["language"] == "und" else f"in {data['language']}"
    lines.append(f"half of the texts have at most {data['characters']:,.0f} characters, {language}")
    found = [f"{one['level']}: {one['problem']}. {one['advice']}" for one in data["doctor"] if one["level"] != "hint"]
    return [*lines, *found[:FEW], *(["more: pretune check " + data["given"]] if len(found) > FEW else [])]


def _task(told: Json) -> list[str]:
    task = told["task"]
    return [
        f"{task}: a model that {DOES[task]}" if task in DOES else task or "none; a model of its own learns the text"
    ]


def _model(told: Json) -> list[str]:
    if not told["task"]:
        return [f"about {count(told['parameters'])} parameters, from scratch" if told["parameters"] else "from scratch"]
    model = told["model"]
    if model is None:
        lines = [
            f"{one['name']}, {count(one['parameters'])} parameters, "
            f"{'fits' if one['fits'] else 'does not fit'}: {_cost(one)}"
            for one in told["sizes"]
        ]
        return [
            "none was found near; what would do:",
            *lines,
            f"one that was pretrained on texts in {told['data']['language']}",
        ]
    lines = [f"{model['path']}: {model['model_type']}, {count(model['parameters'])} parameters"]
    lines += [f"but {model['why_not']}"] if model["why_not"] else []
    return (
        lines
        + [f"not {one['path']}: {one['why_not'] or 'smaller, or does not fit'}" for one in told["other_models"]][:FEW]
    )


def _method(method: Json) -> list[str]:
    rests = method["rests_on"]
    passed = [f"not {one}" for one in method["passed"][:FEW]]
    if rests is None:
        return [f"{method['name']}; no figure stands behind that: nothing was measured on such data", *passed]
    best, what = rests["best"], f"{in_words(rests['figure'])} {rests['value']:.3f} after {duration(rests['seconds'])}"
    why = "the best" if best["name"] == method["name"] else f"the best, {best['name']}: {best['value']:.3f}"
    lost = "" if rests["forgotten"] is None else f"; general text rose by {rests['forgotten']:.3f} bits per byte"
    return [
        f"{method['name']}: {what} and {size(rests['memory_bytes'])} of memory ({why}{lost})",
        f"measured on {rests['data']} with {rests['model']} ({rests['processor']}): {rests['how_far']}",
        *passed,
    ]


def _simple(told: Json) -> list[str]:
    rests = told["method"]["rests_on"]
    if rests is None or rests["simplest"] is None or is_lower_better(rests["figure"]):
        return ["no figure of a simple system; `pretune evaluate` shows it next to the model"]
    name, value = rests["simplest"]["name"], rests["simplest"]["value"]
    return [f"there {in_words(name)} had {figure(value)}; `pretune evaluate` shows it for your data"]


def _takes(told: Json) -> list[str]:
    return [f"about {_cost(told['takes'])}; this machine has {size(told['machine']['memory_bytes'])}"]


def _cost(one: Json) -> str:
    time = f"{duration(one['seconds'])} at most, " if one["seconds"] else ""
    return f"{time}{size(one['memory_bytes'])} of memory"
