"""`pretune quickstart`: run the recipe, serve the result, ask it one question, say what such a model can do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.yaml import read_yaml

QUESTION = "Can you tell me what `shutil.copytree` does?"
"""In a wording that the model has not seen; its own docstring is what it has read."""


def quickstart(
    out: str,
    settings: tuple[str, ...],
    *,
    size: str | None,
    log: Log,
    command: str,
    stopping: Callable[[bool], Callable[[], bool]],
) -> dict[str, Any]:
    """Run the shipped recipe into `out` and use the result; returns the figures that are printed."""
    started = time.monotonic()
    recipe = read_recipe(out, settings, size)
    made = recipe.run(log=log, command=command, stopping=stopping)
    answer = ask(made["served"].path, QUESTION)
    report = Path(out) / "report.html"
    report.write_bytes((made["report"].path / "report.html").read_bytes())
    result = {
        "seconds": round(time.monotonic() - started, 1),
        "report": report.as_posix(),
        "question": QUESTION,
        "answer": answer,
        "read": _docstring(),
        "figures": {name: made[name].card.metrics for name in ("base_report", "chat_report", "area_report")},
    }
    log.info(closing_words(result, out))
    return result


def read_recipe(out: str, settings: tuple[str, ...] = (), size: str | None = None) -> Recipe:
    """The recipe that ships with the package, writing to `out`."""
    path = Path(__file__).parent / "recipes" / "quickstart.yaml"
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


CLOSING = """
Asked over HTTP, in a wording it has not seen:
  you    {question}
  model  {answer}
  source {read}

It is a very small model that read ten megabytes of code and documentation for minutes: it repeats what it has read, and
guesses - often wrongly, always fluently - about everything else. The report says how often each happens.
这是一个很小的模型，只用几分钟读了十兆字节的代码和文档：读过的内容它能复述；没读过的，它会流畅地猜，而且常常猜错。报告里有两者各自的比例。

{seconds:.0f} seconds. The whole story: {report}
Next / 接下来:
  pretune serve {out}/served             # a chat page and an OpenAI-compatible API / 聊天页面与接口
  pretune chat {out}/chat                # in the terminal / 在终端里聊
  pretune new my-bot --from ./my-texts         # the same with your own text / 换成你自己的文本
"""


def closing_words(result: dict[str, Any], out: str) -> str:
    return CLOSING.format(out=out, **{k: result[k] for k in ("question", "answer", "read", "seconds", "report")})
