"""Models that share memory: who goes, who stays, and what is never there together."""

import asyncio
import json
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file
from starlette.testclient import TestClient
from tokenizers import Tokenizer

from pretune.base.errors import BadFile, DoesNotFit, UserError
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.infer.predictor import Facts
from pretune.infer.size import weight_bytes
from pretune.serve.app import create_app
from pretune.serve.kept import Closed, Kept, check_fits, num_bytes
from pretune.serve.leaving import Running
from pretune.serve.logs import RECORD, Record
from pretune.serve.requests import Limits
from pretune.serve.run import Opened, Options, _server, address, kept_in, listening
from tests.serve.conftest import Babbler, Counter


def several(counter: TextClassifier, sizes: dict[str, int], most: int) -> tuple[Kept, list[str]]:
    """Models of these sizes, and the order in which they were opened."""
    order: list[str] = []

    def opener(name: str) -> Callable[[], TextClassifier]:
        return lambda: order.append(name) or counter  # type: ignore[func-returns-value]

    return Kept({name: Closed(opener(name), takes) for name, takes in sizes.items()}, most), order


def test_the_one_asked_longest_ago_goes_before_another_is_opened(counter: TextClassifier) -> None:
    kept, order = several(counter, {"a": 4, "b": 4, "c": 6}, 10)

    async def ask() -> None:
        for name in ("a", "b", "a", "c", "a", "b"):
            await kept.open(name)
            assert kept.taken <= 10

    asyncio.run(ask())
    assert order == ["a", "b", "c", "b"]  # c needs one of them gone: b, asked longest ago; then c is older than a


def test_a_model_in_use_is_waited_for_and_given_to_nobody_else_meanwhile(counter: TextClassifier) -> None:
    kept, order = several(counter, {"a": 1, "b": 1}, 1)

    async def ask() -> list[str]:
        told: list[str] = []

        async def hold(name: str, seconds: float) -> None:
            record = Record()
            RECORD.set(record)
            await kept.take(name, most_waiting=9)
            assert kept.taken == 1
            told.append(name)
            await asyncio.sleep(seconds)
            for call in record.done:
                call()

        first = asyncio.create_task(hold("a", 0.05))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(hold(name, 0)) for name in ("b", "a")]
        await asyncio.sleep(0.01)
        assert told == ["a"]
        await asyncio.gather(first, *others)
        return told

    assert asyncio.run(ask()) == ["a", "b", "a"] == order


def test_who_leaves_while_waiting_for_room_changes_nothing(counter: TextClassifier) -> None:
    kept, order = several(counter, {"a": 1, "b": 1}, 1)

    async def ask() -> None:
        record = Record()
        RECORD.set(record)
        await kept.take("a", most_waiting=9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.take("b", most_waiting=9), 0.01)
        assert list(kept.opened) == ["a"]
        for call in record.done:
            call()
        await kept.take("b", most_waiting=9)

    asyncio.run(ask())
    assert order == ["a", "b"]


def test_requests_for_models_that_do_not_fit_together_are_all_answered(counter: TextClassifier) -> None:
    kept, order = several(counter, {"a": 3, "b": 3, "c": 3}, 6)

    async def ask() -> list[Any]:
        for name in kept.models:
            await kept.open(name)
        transport = httpx.ASGITransport(app=create_app({}, kept=kept))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            listed = (await client.get("/v1/models")).json()["data"]
            assert [one["task"] for one in listed] == ["classify"] * 3  # of the one that had to go too
            calls = [client.post("/v1/classify", json={"model": n, "input": "a"}) for n in "abcabc"]
            return [reply.status_code for reply in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == [200] * 6
    assert all(not served.users for served in kept.opened.values()) and kept.taken <= 6 and len(order) > 3


@pytest.mark.parametrize("writes", [False, True])
def test_a_model_that_goes_is_gone_before_the_next_is_opened(
    tokenizer: Tokenizer, writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the engine's thread nor a connection that stays open holds it; --memory is a bound at every moment."""
    monkeypatch.setattr("pretune.infer.batching.IDLE_SECONDS", 0.5)  # longer than a collection of garbage
    known: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def made() -> Any:
        alive.append(sum(one() is not None for one in known))
        facts = Facts("classify", "label", 64, ("long", "short"))
        talker = LanguageModel(Babbler(tokenizer.get_vocab_size(), 2), tokenizer, (2,))
        model = talker if writes else TextClassifier(Counter(), tokenizer, facts)
        known.append(weakref.ref(model))
        return model

    path, body = ("completions", {"prompt": "a"}) if writes else ("classify", {"input": "a"})
    opened = Opened({}, kept=Kept({"a": Closed(made), "b": Closed(made)}, 1))
    with listening("127.0.0.1", 0) as listener, httpx.Client(base_url=address(listener)) as client:
        running = Running(_server(opened, Options()), listener)
        for name in "abab":
            assert client.post(f"/v1/{path}", json={**body, "model": name}, timeout=20).status_code == 200
        running.leave(0)
        running.join(20)
    assert alive == [0, 0, 0, 0]


def test_no_more_requests_wait_for_a_model_on_disk_than_may(counter: TextClassifier) -> None:
    class Slow(Counter):
        def logits(self, rows: list[list[int]]) -> np.ndarray:
            time.sleep(0.3)
            return super().logits(rows)

    slow = replace(counter, encoder=Slow())
    app = create_app(
        {}, kept=Kept({"a": Closed(lambda: slow), "b": Closed(lambda: counter)}, 1), limits=Limits(max_waiting=2)
    )

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            calls = [client.post("/v1/classify", json={"model": n, "input": "x"}) for n in "a" + 10 * "b"]
            return [(await reply).status_code for reply in asyncio.as_completed(calls)]

    assert asyncio.run(ask()) == [429] * 8 + [200] * 3  # before room is made for b


def test_a_model_whose_files_have_gone_is_our_error_and_its_path_is_not_told() -> None:
    def gone() -> TextClassifier:
        raise BadFile("/srv/secret/model.safetensors cannot be read")

    kept = Kept({"m": Closed(gone)}, 1)
    client = TestClient(create_app({}, kept=kept), base_url="http://localhost", raise_server_exceptions=False)
    answer = client.post("/v1/classify", json={"input": "a"})
    assert answer.status_code == 500 and "/srv" not in answer.text


def test_a_model_that_can_never_fit_is_named(counter: TextClassifier) -> None:
    kept, _ = several(counter, {"small": 10**9, "large": 3 * 10**9}, 2 * 10**9)
    with pytest.raises(DoesNotFit, match=r"more than the 2\.00 GB of --memory: large \(3\.00 GB\)"):
        check_fits(kept.models, kept.most)


def test_sizes_are_read_as_people_write_them() -> None:
    assert [num_bytes(text) for text in ("2GB", "500 MB", "1.5GiB", "7", "1k")] == [
        2 * 10**9, 5 * 10**8, 3 << 29, 7, 1000,
    ]  # fmt: skip
    for text in ("", "GB", "-1", "2 XB", "1,5GB"):
        with pytest.raises(UserError, match="is no size"):
            num_bytes(text)


def test_weights_are_counted_by_the_files_as_they_are_once_opened(tmp_path: Path) -> None:
    """float16 in a folder is opened as float32; of a bundle, the graph of the format that is answered with."""
    model, adapter, bundle = (tmp_path / name for name in ("model", "adapter", "bundle"))
    for folder in (model, adapter, bundle / "onnx", bundle / "gguf"):
        folder.mkdir(parents=True)
    save_file({"a": np.zeros((3, 5), np.float16), "b": np.zeros(7, np.float32)}, model / "model.safetensors")
    assert weight_bytes(model) == 4 * (15 + 7)
    save_file({"a": np.zeros((2, 2), np.float32)}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model)}), encoding="utf-8")
    assert weight_bytes(adapter) == 4 * 4 + weight_bytes(model)
    (bundle / "bundle.json").write_text("{}", encoding="utf-8")
    for name, size in (("onnx/model.onnx", 10), ("onnx/model.onnx.data", 100), ("gguf/model.gguf", 1000)):
        (bundle / name).write_bytes(b"x" * size)
    assert weight_bytes(bundle) == 110
    (model / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(BadFile, match="no readable safetensors"):
        weight_bytes(model)


def test_models_under_a_cap_are_opened_by_their_folders_and_a_damaged_one_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: TextClassifier
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_file({"w": np.zeros(25, np.float32)}, tmp_path / name / "model.safetensors")
    names = {name: tmp_path / name for name in ("a", "b")}
    monkeypatch.setattr("pretune.serve.run.open_model", lambda path: counter)
    kept = kept_in(names, 150)
    assert list(kept.opened) == ["b"] and set(kept.facts) == {"a", "b"}
    with pytest.raises(DoesNotFit, match=r"a .* b "):
        kept_in(names, 99)
    (tmp_path / "a" / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadFile):
        kept_in(names, 150)
