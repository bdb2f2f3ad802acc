"""Adapters of one base behind a server: one set of weights, everybody their own answers, strangers refused by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from pretune.base.errors import UserError
from pretune.infer.load import open_model
from pretune.infer.predictor import Predictor
from pretune.model.folder import load_labelled
from pretune.model.generate import module_of
from pretune.model.methods.method import METHOD
from pretune.model.shelf import TorchShelf, shelf_of
from pretune.serve.app import create_app
from pretune.serve.requests import Limits
from pretune.testing.folders import write_model

ADAPTERS: dict[str, Any] = {
    "alice": "lora",
    "bob": {"kind": "lora", "variant": "dora", "rank": 3},
    "carol": {"kind": "prefix", "tokens": 3},
    "dave": {"kind": "bottleneck", "variant": "parallel", "width": 5},
    "小明": "ia3",
}
TEXTS = ["the cat", "你好 🙂", "hat and cat and the hat"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a head of its own and adapters with heads of theirs; `erin` was made next to other weights."""
    folder = tmp_path_factory.mktemp("shelf")
    write_model(folder / "base", folder / "words", "bert-labels")
    for seed, (name, method) in enumerate({**ADAPTERS, "erin": "ia3"}.items()):
        torch.manual_seed(seed)
        by, labels = METHOD(method), [f"{name}-{k}" for k in range(2 + seed % 2)]
        model, heads = load_labelled(folder / "base", "label", labels)
        found: Any = by.apply(model, heads=heads)
        with torch.no_grad():
            for parameter in found.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter) if parameter.requires_grad else 0.0)
        (out := folder / "users" / name).mkdir(parents=True)
        by.save(found, out, base="../../base", tokenizer=folder / "base", weights={})
    (folder / "users" / "erin" / "base.json").write_text(json.dumps({"weights": "other"}), encoding="utf-8")
    return folder


def shelf_in(world: Path) -> TorchShelf:
    return shelf_of({"base": world / "base"}, world / "users")


def asked(app: Any, names: list[str]) -> list[Any]:
    """Everybody's answers, all asked at once."""

    async def ask() -> list[Any]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            calls = [client.post("/v1/classify", json={"model": name, "input": TEXTS}) for name in names]
            return [reply.json() for reply in await asyncio.gather(*calls)]

    return asyncio.run(ask())


def test_requests_at_the_same_time_get_the_answers_of_each_folder_alone_though_some_were_pushed_out(
    world: Path,
) -> None:
    shelf = shelf_in(world)
    models = shelf.answering()
    before = {name: tensor.clone() for name, tensor in shelf.body.state_dict().items()}
    app = create_app(models, shelf=shelf, limits=Limits(max_adapters=2))
    names = [*ADAPTERS, "base"] * 2
    for name, reply in zip(names, asked(app, names), strict=True):
        alone = open_model(world / "base" if name == "base" else world / "users" / name).answer(TEXTS)
        for one, wanted in zip(reply["data"], [answer.to_json() for answer in alone], strict=True):
            assert reply["model"] == name and one["label"] == wanted["label"]
            assert one["scores"] == pytest.approx(wanted["scores"], abs=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in shelf.body.state_dict().items())


def test_the_adapter_that_was_asked_longest_ago_is_pushed_out_and_opened_anew(world: Path) -> None:
    opened: list[str] = []

    class Told(TorchShelf):
        def open(self, name: str) -> Predictor:
            opened.append(name)
            return super().open(name)

    plain = shelf_in(world)
    shelf = Told(plain.base, plain.folders, plain.refused)
    app = create_app(shelf.answering(), shelf=shelf, limits=Limits(max_adapters=2))
    for name in ("alice", "bob", "alice", "dave", "alice", "bob"):
        assert asked(app, [name])[0]["data"][0]["label"].startswith(name)
    assert opened == ["alice", "bob", "dave", "bob"]


def test_the_weights_of_the_base_are_in_memory_once(world: Path) -> None:
    shelf = shelf_in(world)
    shelf.answering()
    base = {p.data_ptr() for p in shelf.body.bert.parameters()}
    for name in ADAPTERS:
        mine = {p.data_ptr(): p.numel() for p in module_of(shelf.open(name)).parameters()}
        assert base <= mine.keys()
        own = 4 * sum(number for place, number in mine.items() if place not in base)
        # A head that PEFT keeps is there twice: as it was, and as it was trained.
        assert own <= (world / "users" / name / "adapter_model.safetensors").stat().st_size + 4 * 3 * 33


def test_an_adapter_of_another_base_is_refused_by_name_and_the_others_are_listed(world: Path) -> None:
    shelf = shelf_in(world)
    app = create_app(shelf.answering(), shelf=shelf)
    (reply,) = asked(app, ["erin"])
    assert reply["error"]["code"] == "model_not_found" and "trained next to other weights" in reply["error"]["message"]
    (reply,) = asked(app, ["frank"])
    assert "there is no model 'frank' here, but base, alice" in reply["error"]["message"]
    assert list(shelf.folders) == sorted(ADAPTERS) and shelf.task_of("alice") == "classify"


def test_adapters_without_one_base_or_none_that_fits_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs one base, and these were named: a, b"):
        shelf_of({"a": world / "base", "b": world / "base"}, world / "users")
    with pytest.raises(UserError, match=r"no folder with an adapter_config\.json"):
        shelf_of({"base": world / "base"}, tmp_path)
