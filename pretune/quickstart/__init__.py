"""`pretune quickstart`: say what will be done, run the recipe, serve the result, ask it, say what came out.

How much is done follows the measured speed of the machine (plan.py); what the figures mean is told in words.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.yaml import read_yaml
from pretune.quickstart.plan import Scale, plan_text, row_of, seconds_of, settings_of
from pretune.quickstart.words import closing_words

QUESTION = "Can you tell me what `shutil.copytree` does?"
"""In a wording that the model has not seen; its own docstring is what it has read."""
REPORTS = ("base_report", "chat_report", "order_report")


def quickstart(
    out: str,
    settings: tuple[str, ...],
    *,
    size: str | None,
    log: Log,
    command: str,
    stopping: Callable[[bool], Callable[[], bool]],
) -> Json:
    """Run the shipped recipe into `out` and use the result; returns the figures that are printed."""
    from pretune.evaluate.card import write_cards

    started = time.monotonic()
    row = None if size else planned(log)
    recipe = read_recipe(out, (*(settings_of(row) if row else ()), *settings), size)
    seconds = seconds_of(row) if row else {}
    made = recipe.run(log=log, command=command, stopping=stopping, seconds=seconds)
    write_cards(made.values())
    answer = ask(made["served"].path, QUESTION)
    report = Path(out) / "report.html"
    report.write_bytes((made["report"].path / "report.html").read_bytes())
    result = {
        "seconds": round(time.monotonic() - started, 1),
        "report": report.as_posix(),
        "question": QUESTION,
        "answer": answer,
        "read": _docstring(),
        "figures": {name: made[name].card.metrics for name in REPORTS},
        "expected_seconds": seconds,
        "stage_seconds": {name: artifact.card.made["seconds"] for name, artifact in made.items()},
    }
    log.info(closing_words(result, out))
    return result


def planned(log: Log) -> Scale:
    """What is done at this machine's speed; the plan is printed."""
    flops = measured_speed(log)
    row = row_of(flops)
    log.info(plan_text(row, flops, seconds_of(row)))
    return row


def measured_speed(log: Log) -> float:
    """Operations per second that training reaches here; measured once and remembered, as `pretune doctor` does."""
    from pretune.train.forecast.speed import best_precision, training_speed
    from pretune.train.loop.runtime import device_of

    device = device_of()
    return training_speed(best_precision(device, log), device, log)


def read_recipe(out: str, settings: tuple[str, ...] = (), size: str | None = None) -> Recipe:
    """The recipe that ships with the package, writing to `out`."""
    path = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
    tree, lines = read_yaml(path)
    return Recipe.build({**tree, "work": out}, overrides=settings, size=size, source="quickstart.yaml", lines=lines)


def ask(bundle: Path, question: str) -> str:
    """Serve the bundle, ask over HTTP as any client would, and stop the server."""
    from pretune.infer.load import open_model
    from pretune.serve.run import serving

    with serving({"quickstart": open_model(bundle)}) as url:
        body = {"model": "quickstart", "messages": [{"role": "user", "content": question}], "max_tokens": 64}
        headers = {"Content-Type": "application/json"}
        request = Request(f"{url}/v1/chat/completions", data=json.dumps(body).encode(), headers=headers)
        with urlopen(request, timeout=60) as reply:
            content: str = json.load(reply)["choices"][0]["message"]["content"]
    return content


def _docstring() -> str:
    import inspect
    import shutil

    return (inspect.getdoc(shutil.copytree) or "").partition("\n")[0]
