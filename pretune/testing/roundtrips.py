"""Every task by every method: trained, saved, opened again, merged, exported, served - the same answers.

A cell is (task, base, method). `made` trains one and says what its folder, its bundle and the server answer;
`elsewhere` says what one new process answers for many folders. What cannot be says why before a model is loaded.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

import pretune
from pretune.base.errors import PretuneError
from pretune.infer.load import open_model
from pretune.serve.app import create_app
from pretune.testing.folders import build, write_model

NAMES = (
    *("full", "head", "lora", "freeze", "unfreeze", "bitfit", "layernorm"),
    *("adalora", "ia3", "bottleneck"),
)
METHODS: dict[str, Any] = {
    **{name: name for name in NAMES},
    **{f"lora-{variant}": {"kind": "lora", "variant": variant} for variant in ("rslora", "dora", "pissa", "lora+")},
    **{name: {"kind": name, "tokens": 4} for name in ("prefix", "prompt", "p-tuning")},
}
WORDS = ("cat", "hat", "the", "你好", "🙂")
NEAR = 1e-3
"""How far numbers of a bundle may be from those of its folder."""


@dataclass(frozen=True)
class World:
    """Labelled data of a task, and what its models are asked.

    Args:
        asked: inputs of `predict`; in JSON, so that another process reads the same.
        route: of the server, which is asked `{"input": ...}`; "": what writes is asked by messages, or by prompts.
    """

    rows: list[dict[str, Any]]
    asked: list[Any]
    route: str = ""
    bases: tuple[str, ...] = ("bert-labels", "qwen3")
    settings: Mapping[str, Any] = field(default_factory=dict)


def _texts() -> list[str]:
    return [f"{a} and {b} {k}" for k in range(2) for a in WORDS for b in WORDS]


def _marked(text: str) -> list[str]:
    return ["B-X" if word in WORDS[:2] else "O" for word in text.split()]


ASKED = ["the cat and the hat", "你好 and 🙂 7"]
WORLDS = {
    "classify": World([{"text": t, "label": t.split()[0]} for t in _texts()], ASKED, "/v1/classify"),
    "multilabel": World(
        [{"text": t, "labels": sorted({*t.split()} & {"cat", "hat", "the"})} for t in _texts()],
        ASKED,
        "/v1/classify",
        settings={"task": "classify"},
    ),
    "regress": World([{"text": t, "score": len(t) / 3} for t in _texts()], ASKED, "/v1/score"),
    "tag": World([{"tokens": t.split(), "tags": _marked(t)} for t in _texts()], ASKED, "/v1/tag"),
    "answer": World(
        [
            {
                "question": f"what {k}",
                "context": f"{t}, the hat",
                "answers": [{"text": t.split()[0], "answer_start": 0}],
            }
            for k, t in enumerate(_texts())
        ],
        [{"question": "what 3", "context": "the hat and 你好"}],
        "/v1/answer",
        settings={"task": {"kind": "answer", "stride": 8}},
    ),
    "chat": World(
        [{"prompt": f"say {t.split()[0]}", "completion": t} for t in _texts()], ASKED, bases=("qwen3-chat", "gpt2-chat")
    ),
    "seq2seq": World(
        [{"source": t, "target": t.split()[0]} for t in _texts()],
        ASKED,
        bases=("qwen3", "t5"),
        settings={"task": {"kind": "seq2seq", "beams": 3, "length_penalty": 0.5, "no_repeat_ngram": 4}},
    ),
}
WORLDS["lopsided"] = World(
    [{"text": t, "label": "cat" if t.startswith("cat") and k % 3 else "other"} for k, t in enumerate(_texts())],
    ASKED,
    "/v1/classify",
    settings={"task": {"kind": "classify", "thresholds": True, "loss": "focal", "label_smoothing": 0.1}},
)
PAIRED = [{"source": f"what is {t}", "target": f"{t} it is"} for t in _texts()]
PREFERRED = [{"prompt": f"say {t}", "chosen": t.split()[0], "rejected": f"no {t}"} for t in _texts()]
QUERIED = [{"query": "what is the cat", "candidates": ["the cat it is", "hat and 🙂", "你好"]}]
WORLDS |= {
    "embed": World(PAIRED, ASKED, "/v1/embeddings"),
    "rank": World(PAIRED, QUERIED, "/v1/rerank"),
    "prefer": World(PREFERRED, ASKED, bases=("qwen3-chat", "gpt2-chat")),
    "reward": World(PREFERRED, [["say the cat", "hat"]], "/v1/score", bases=("qwen3-chat", "gpt2-chat")),
}
CELLS = [(task, base, method) for task, world in WORLDS.items() for base in world.bases for method in METHODS]


def write_base(folder: Path, base: str) -> Path:
    """A model of two layers whose heads are of no use: each task puts its own on."""
    kind, path = base.removesuffix("-chat"), folder / base
    if not path.is_dir():
        write_model(path, folder / f"{base}-words", kind, chat=base.endswith("-chat"), model=build(kind, spread=False))
    return path


@dataclass(frozen=True)
class Made:
    """What a cell gave: its folder and what was answered, by who answered; or why it was refused."""

    folder: str
    answers: dict[str, list[Any]]
    refused: str = ""
    unexported: str = ""


def made(folder: Path, task: str, base: str, method: str) -> Made:
    """Train a cell in a folder of its own and ask what came out."""
    world, place = WORLDS[task], folder / f"{task}-{base}-{method}"
    place.mkdir()
    data = place / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in world.rows), encoding="utf-8")
    usual: dict[str, Any] = {"task": task, "steps": 4, "batch": 8, "max_length": 48, "precision": "float32"}
    usual |= {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "quiet": True, "method": METHODS[method]}
    try:
        found = pretune.fine_tune(write_base(folder, base), data, out=place / "tuned", **usual | dict(world.settings))
    except PretuneError as error:
        assert not (place / "tuned.scratch" / "choices.json").is_file(), "refused before anything was loaded"
        return Made(str(place), {}, refused=error.problem)
    opened = open_model(found.path)
    answers = {"folder": told(opened, world.asked), "server": served(opened, world)}
    try:
        bundle = found.export(out=place / "bundle", to=[{"kind": "onnx", "prompts": 5, "tokens": 16}])
    except PretuneError as error:
        return Made(str(found.path), answers, unexported=error.problem)
    return Made(str(found.path), {**answers, "bundle": told(open_model(bundle.path), world.asked)})


def told(opened: Any, asked: Sequence[Any]) -> list[Any]:
    """Answers as JSON; a list of two is a pair."""
    given = [tuple(one) if isinstance(one, list) else one for one in asked]
    return [json.loads(json.dumps(answer.to_json())) for answer in opened.answer(given, max_tokens=8)]


def served(opened: Any, world: World) -> list[Any]:
    """What a client of the server gets."""
    with TestClient(create_app({"m": opened}), base_url="http://127.0.0.1") as client:
        if not world.route:
            return [_written(client, one, chats=opened.chat is not None) for one in world.asked]
        if world.route == "/v1/rerank":
            return [_ranked(client, one) for one in world.asked]
        given = [
            dict(zip(("text", "second"), one, strict=True)) if isinstance(one, list) else one for one in world.asked
        ]
        got = client.post(world.route, json={"input": given}).json()
    return [
        {SAID_OTHERWISE.get(k, k): value for k, value in one.items() if k not in ("index", "object")}
        for one in got["data"]
    ]


SAID_OTHERWISE = {"embedding": "vector"}
"""Keys that OpenAI calls otherwise."""


def _ranked(client: TestClient, one: Mapping[str, Any]) -> dict[str, Any]:
    found = client.post("/v1/rerank", json={"query": one["query"], "documents": one["candidates"]}).json()["results"]
    return {"order": [each["index"] for each in found], "scores": [each["relevance_score"] for each in found]}


def _written(client: TestClient, text: str, *, chats: bool) -> dict[str, str]:
    body: dict[str, Any] = {"temperature": 0, "max_tokens": 8}
    if not chats:
        choice = client.post("/v1/completions", json={"prompt": text, **body}).json()["choices"][0]
        return {"answer": choice["text"]}
    body |= {"messages": [{"role": "user", "content": text}]}
    choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    return {"answer": choice["message"]["content"]}


PROGRAM = """
import json, sys
from pretune.infer.load import open_model
from pretune.testing.roundtrips import told
for line in sys.stdin:
    folder, asked = json.loads(line)
    print(json.dumps(told(open_model(folder), asked)), flush=True)
"""


def elsewhere(folders: Sequence[tuple[str, Sequence[Any]]]) -> Iterator[list[Any]]:
    """What one new process answers for these folders, each asked its own."""
    lines = "".join(json.dumps(one) + "\n" for one in folders)
    command, root = [sys.executable, "-c", PROGRAM], Path(__file__).parents[1]
    done = subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=True, cwd=root)
    yield from map(json.loads, done.stdout.splitlines())


def alike(one: Any, other: Any, near: float = 0.0) -> bool:
    """Whether two answers are the same, numbers within `near`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k], near) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(lambda a, b: alike(a, b, near), one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=near, abs_tol=near)
    return bool(one == other)
