"""Vectors and orders end to end on a tiny world: what is trained is what is saved, answers, is judged and exported."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import pretune
from pretune.api import Loaded
from pretune.base.errors import NoTarget, NotSupported, OneClass, PretuneError, WrongValue
from pretune.infer.answers import Ranking, Score, Vector
from pretune.infer.load import open_model
from pretune.serve.app import create_app
from pretune.testing.folders import write_model

WORDS = ("red", "green", "blue", "cat", "hat", "好", "世界", "🙂")
PAIRS = [{"source": f"{a} {b}", "target": f"the {b} of a {a}"} for a in WORDS for b in WORDS]
SCORED = [
    {"sentence1": f"the {a} hat", "sentence2": f"a {b} cat", "score": 5.0 * (a == b)} for a in WORDS for b in WORDS
]
LISTS = [
    {"query": f"{a} {b}", "candidates": [f"a {w} thing" for w in WORDS], "scores": [(w == "cat") + 2 * (w == "好") for w in WORDS]}
    for a in WORDS
    for b in WORDS
]  # fmt: skip
DATA: dict[str, list[dict[str, Any]]] = {"pairs": PAIRS, "scored": SCORED, "lists": LISTS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("near")
    write_model(folder / "encoder", folder / "words", "bert-labels")
    write_model(folder / "decoder", folder / "words", "qwen3")
    for name, rows in DATA.items():
        write(folder / f"{name}.jsonl", rows)
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def tuned(world: Path, name: str, data: str, task: Any, base: str = "encoder", **settings: Any) -> Loaded:
    usual: dict[str, Any] = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "batch": 16, "epochs": 6}
    usual |= {"max_length": 32, "precision": "float32", "quiet": True}
    return pretune.fine_tune(world / base, world / f"{data}.jsonl", out=world / name, task=task, **usual | settings)


@pytest.fixture(scope="module")
def embedder(world: Path) -> Loaded:
    return tuned(world, "embedder", "pairs", "embed")


@pytest.fixture(scope="module")
def ranker(world: Path) -> Loaded:
    return tuned(world, "ranker", "lists", "rank", epochs=12)


def vectors_by_hand(folder: Path, texts: list[str]) -> torch.Tensor:
    """By transformers alone and what sentence-transformers' files say, one text at a time."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    assert [m["type"].rpartition(".")[2] for m in modules] == ["Transformer", "Pooling", "Normalize"]
    pooling = json.loads((folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    assert pooling["word_embedding_dimension"] == model.config.hidden_size
    frames = [[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] if model.config.model_type == "bert" else [*ids, tokenizer.eos_token_id] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]  # fmt: skip
    found = []
    for ids in frames:
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        places = {"pooling_mode_mean_tokens": hidden.mean(0), "pooling_mode_cls_token": hidden[0], "pooling_mode_lasttoken": hidden[-1]}  # fmt: skip
        found += [vector for name, vector in places.items() if pooling[name]]
    return torch.nn.functional.normalize(torch.stack(found), dim=-1)


def test_an_embedder_learns_and_its_folder_gives_the_vectors_that_its_files_say(embedder: Loaded) -> None:
    assert embedder.metrics["validation_mrr"] > 0.5
    texts = ["red cat", "the 世界 of a 🙂", "x"]
    answers = [a.values for a in embedder.predict(texts) if isinstance(a, Vector)]
    assert np.abs(np.array(answers) - vectors_by_hand(embedder.path, texts).numpy()).max() < 1e-6
    (score,) = embedder.predict([(texts[0], texts[1])])
    assert isinstance(score, Score) and score.value == pytest.approx(np.dot(answers[0], answers[1]), abs=1e-6)
    (order,) = embedder.predict({"query": texts[0], "candidates": texts})
    assert isinstance(order, Ranking) and order.order[0] == 0 and order.scores[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("base", "data", "method", "pooling"),
    [("decoder", "lists", "full", "last"), ("encoder", "scored", "lora", "cls")],
)
def test_vectors_come_back_from_every_way_to_the_folder(
    world: Path, base: str, data: str, method: str, pooling: str
) -> None:
    name = f"{base}-{data}-{method}"
    found = tuned(world, name, data, {"kind": "embed", "pooling": pooling}, base, method=method, epochs=2)
    report = found.evaluate(f"{found.path}.dataset", split="validation")
    main = "spearman" if data == "scored" else "ndcg_10"
    assert report.metrics[main] == pytest.approx(found.metrics[f"validation_{main}"], abs=1e-6)
    assert found.model.facts.more["pooling"] == pooling
    texts = ["red cat", "好 🙂"]
    if method == "full":
        ours = [a.values for a in found.predict(texts) if isinstance(a, Vector)]
        assert np.abs(np.array(ours) - vectors_by_hand(found.path, texts).numpy()).max() < 1e-6


def test_a_new_process_gives_the_same_answers(embedder: Loaded, ranker: Loaded) -> None:
    asked = {"query": "red cat", "candidates": ["a cat thing", "a red thing", "你好"]}
    program = (
        "import json, sys, pretune\n"
        "asked = json.loads(sys.argv[1])\n"
        "print(json.dumps([pretune.load(p).predict(asked)[0].to_json() for p in sys.argv[2:]]))"
    )
    command = [sys.executable, "-c", program, json.dumps(asked), str(embedder.path), str(ranker.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [one.predict(asked)[0].to_json() for one in (embedder, ranker)]


def test_a_ranker_learns_and_gives_the_numbers_of_plain_transformers(ranker: Loaded) -> None:
    assert ranker.metrics["validation_ndcg_10"] > 0.9
    model = AutoModelForSequenceClassification.from_pretrained(ranker.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(ranker.path)
    asked = {"query": "red cat", "candidates": ["a cat thing", "a red thing", "你好"]}
    query, *texts = tokenizer([asked["query"], *asked["candidates"]], add_special_tokens=False)["input_ids"]
    theirs = []
    for ids in texts:
        row = [tokenizer.cls_token_id, *query, tokenizer.sep_token_id, *ids, tokenizer.sep_token_id]
        types = [0] * (len(query) + 2) + [1] * (len(ids) + 1)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row]), token_type_ids=torch.tensor([types])).logits
        theirs.append(float(logits.double().sigmoid()))
    (answer,) = ranker.predict(asked)
    assert isinstance(answer, Ranking)
    assert list(answer.order) == sorted(range(3), key=lambda k: -theirs[k])
    assert list(answer.scores) == pytest.approx(sorted(theirs, reverse=True), abs=1e-6)
    assert (ranker.model.facts.task, ranker.model.facts.answers) == ("rank", "ranking")


@pytest.mark.parametrize("name", ["embedder", "ranker"])
def test_a_report_gives_the_figures_of_its_rows_next_to_bm25_and_the_order_of_the_data(
    request: pytest.FixtureRequest, name: str
) -> None:
    found: Loaded = request.getfixturevalue(name)
    report = found.evaluate(f"{found.path}.dataset", out=f"{found.path}.report", split="validation")
    rows = pq.read_table(report.path / "predictions.parquet").to_pylist()
    assert report.metrics["mrr"] == pytest.approx(np.mean([1 / row["place"] for row in rows]), abs=1e-5)
    assert report.metrics["ndcg_10"] == pytest.approx(found.metrics["validation_ndcg_10"], abs=1e-6)
    assert {"as_given_ndcg_10", "bm25_ndcg_10"} <= report.metrics.keys()
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert "BM25" in page and "nDCG@10" in page


@pytest.mark.parametrize("name", ["embedder", "ranker"])
def test_a_bundle_gives_the_answers_of_its_model(request: pytest.FixtureRequest, name: str) -> None:
    found: Loaded = request.getfixturevalue(name)
    bundle = found.export(out=f"{found.path}.bundle", data=f"{found.path}.dataset")
    parity = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert parity["is_same"] and parity["longest"] == 32 and parity["max_logit_difference"] < 1e-4
    asked = {"query": "red cat", "candidates": ["a cat thing", "a red thing", "你好", "long " * 90]}
    ours, theirs = found.predict(asked)[0], open_model(bundle.path).answer([asked])[0]
    assert isinstance(ours, Ranking) and isinstance(theirs, Ranking)
    assert ours.order == theirs.order and theirs.scores == pytest.approx(ours.scores, abs=1e-5)


@pytest.fixture(scope="module")
def client(embedder: Loaded, ranker: Loaded) -> TestClient:
    app = create_app({"embedder": embedder.model, "ranker": ranker.model})
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def test_embeddings_are_served_as_openai_serves_them(client: TestClient, embedder: Loaded) -> None:
    texts = ["red cat", "好 🙂"]
    ours = [list(a.values) for a in embedder.predict(texts) if isinstance(a, Vector)]
    tree = client.post("/v1/embeddings", json={"model": "embedder", "input": texts}).json()
    assert [one["embedding"] for one in tree["data"]] == ours and tree["usage"]["prompt_tokens"] > 4
    packed = client.post("/v1/embeddings", json={"model": "embedder", "input": texts[0], "encoding_format": "base64"})
    (one,) = packed.json()["data"]
    assert np.frombuffer(base64.b64decode(one["embedding"]), "<f4").tolist() == ours[0] and one["index"] == 0
    refused = client.post("/v1/embeddings", json={"model": "embedder", "input": texts, "dimensions": 8})
    assert refused.status_code == 400 and "not supported" in refused.json()["error"]["message"]
    wrong = client.post("/v1/embeddings", json={"model": "ranker", "input": texts}).json()
    assert wrong["error"]["message"].endswith("ask it at /v1/rerank")
    two = client.post("/v1/score", json={"model": "embedder", "input": {"text": texts[0], "second": texts[1]}}).json()
    assert two["data"][0]["score"] == pytest.approx(np.dot(*ours), abs=1e-6)


@pytest.mark.parametrize("name", ["embedder", "ranker"])
def test_documents_are_reranked_as_cohere_and_jina_serve_it(
    client: TestClient, request: pytest.FixtureRequest, name: str
) -> None:
    texts = ["a cat thing", "a red thing", "a 好 thing"]
    body = {"model": name, "query": "red", "documents": [texts[0], {"text": texts[1]}, texts[2]]}
    tree = client.post("/v1/rerank", json={**body, "top_n": 2, "return_documents": True}).json()
    (wanted,) = request.getfixturevalue(name).predict({"query": "red", "candidates": texts})
    best = list(zip(wanted.order, wanted.scores, strict=True))[:2]
    assert [(one["index"], one["relevance_score"]) for one in tree["results"]] == best
    assert [one["document"]["text"] for one in tree["results"]] == [texts[k] for k, _ in best]
    refused = client.post("/v1/rerank", json={**body, "documents": []})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "documents"


def test_candidates_are_put_in_order_in_the_terminal_and_those_of_a_file_as_json(
    ranker: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pretune.cli import main

    asked = {"query": "red", "candidates": ["a cat thing", "a 好 thing"]}
    (wanted,) = ranker.predict(asked)
    assert isinstance(wanted, Ranking)
    path = write(tmp_path / "asked.jsonl", [asked])
    for words in (["--input", str(path), "--json"], ["--query", "red", *asked["candidates"]]):
        with pytest.raises(SystemExit, match="0"):
            main(["predict", str(ranker.path), "--quiet", *words])
    first, *lines = capsys.readouterr().out.rsplit("]\n", 1)
    assert json.loads(first + "]") == [{**asked, **wanted.to_json()}]
    shown = [f"{score:.3f}\t{asked['candidates'][k]}" for k, score in zip(wanted.order, wanted.scores, strict=True)]
    assert lines == ["\n".join(shown) + "\n"]


def test_pairs_are_ranked_next_to_others_of_the_split(world: Path) -> None:
    found = tuned(world, "pair-ranker", "pairs", {"kind": "rank", "loss": "pairwise"}, epochs=1)
    assert found.model.facts.answers == "ranking" and found.metrics["examples"] > 40


LIST = {"query": "q", "candidates": ["a", "b"], "scores": [1, 0]}
Bad = tuple[list[dict[str, Any]], Any, type[Exception], str]
BAD: list[Bad] = [
    ([{**LIST, "scores": [2, 2]}, {"query": "r", "candidates": ["a"], "scores": [1]}], "rank", NoTarget, "all 2 queries have one candidate"),
    ([{**LIST, "scores": [2, 2]}], "embed", NoTarget, "all 1 queries have one candidate"),
    ([{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": "a", "sentence2": "", "score": 2}], "embed", NotSupported, "1 of 2 examples have no second"),
    ([{"sentence1": "a", "sentence2": f"b{k}", "score": 1} for k in range(3)], "embed", OneClass, "have the score 1"),
    ([{"text": f"a{k}", "score": k} for k in range(3)], "embed", NotSupported, "learns from pairs of texts"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "task", "kind", "problem"), BAD)
def test_bad_examples_are_refused(
    world: Path, tmp_path: Path, rows: list[dict[str, Any]], task: str, kind: type[Exception], problem: str
) -> None:
    write(world / "bad.jsonl", rows)
    with pytest.raises(kind, match=problem):
        tuned(world, f"bad-{tmp_path.name}", "bad", task, dataset={"validation": 0, "test": 0})


def test_a_step_of_one_row_is_refused_unless_there_are_hard_negatives(world: Path) -> None:
    with pytest.raises(WrongValue, match="nothing to tell its text from"):
        tuned(world, "alone", "pairs", "embed", batch=1)
    found = tuned(world, "hard", "lists", "embed", batch=1, epochs=None, steps=1)
    assert found.metrics["steps_taken"] == 1


def test_a_method_that_trains_heads_alone_is_refused_and_so_is_a_body_among_several_heads(world: Path) -> None:
    with pytest.raises(PretuneError, match="puts no new head on the model"):
        tuned(world, "headless", "pairs", "embed", method="head")
    with pytest.raises(PretuneError, match="trains the body itself"):
        tuned(world, "among", "pairs", {"near": "embed", "order": "rank"})


def test_queries_without_an_order_are_left_out_and_counted(world: Path) -> None:
    flat = [{**one, "scores": [1] * len(WORDS)} if k % 8 == 0 else one for k, one in enumerate(LISTS)]
    write(world / "flat.jsonl", flat)
    found = tuned(world, "left-out", "flat", "rank", epochs=None, steps=1, dataset={"validation": 0, "test": 0})
    assert (found.metrics["examples"], found.metrics["examples_left_out"]) == (56, 8)
