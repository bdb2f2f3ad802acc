"""Which words spoke for an answer: their places in the user's text, and who can say it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pretune.base.errors import NotSupported
from pretune.evaluate import page, reporting
from pretune.infer.classify import TextClassifier
from pretune.infer.explain import Word, can_explain, explain, marked
from pretune.infer.load import open_model
from pretune.report.pages import weighed
from pretune.serve.app import create_app
from pretune.testing.folders import build, write_model

TEXT = "the hat, 你好 🙂 and the cat"


@pytest.fixture(scope="module", params=["bert-labels", "qwen3-labels"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    folder = tmp_path_factory.mktemp("explain")
    found = open_model(write_model(folder / "model", folder / "words", request.param))
    assert isinstance(found, TextClassifier)
    table = found.encoder.model.get_input_embeddings().weight.data  # type: ignore[attr-defined]
    table[0] = table[1:].mean(0)  # so that the pad says as little as a blank
    return found


def test_words_are_the_users_own_with_their_places_chinese_by_characters(model: TextClassifier) -> None:
    (found,) = explain(model, [TEXT])
    (words,) = found.texts
    assert [word.text for word in words] == ["the", "hat", ",", "你", "好", "🙂", "and", "the", "cat"]
    assert all(TEXT[word.start : word.end] == word.text for word in words)
    assert found.answer == model.answer([TEXT])[0]
    assert found.completeness_error < 1e-3 and -1 <= found.leave_one_out <= 1


def test_the_words_weights_add_up_to_the_labels_logit_over_the_mean_of_the_others(model: TextClassifier) -> None:
    (found,) = explain(model, [TEXT])
    assert found.label is not None and model.facts.labels is not None
    (row,) = model.rows([TEXT])
    blank = [token if token in (1, 2, 3) else 0 for token in row]  # <eos> <cls> <sep> stay, the rest is <pad>
    wide, empty = (logits.astype(np.float64) for logits in model.encoder.logits([row, blank]))
    best = model.facts.labels.index(found.label)
    said = [1.0 if k == best else -0.5 for k in range(3)]
    total = sum(word.weight for word in found.texts[0])
    assert total == pytest.approx(float((wide - empty) @ said), abs=2e-3)


def test_of_two_texts_each_has_its_words_and_what_is_not_read_has_none(model: TextClassifier) -> None:
    (found,) = explain(model, [("the cat", "你好 " * 90)])
    first, second = found.texts
    assert [word.text for word in first] == ["the", "cat"]
    assert 0 < len(second) < 180, "behind max_length"
    tree = json.loads(json.dumps(found.to_json(), ensure_ascii=False))["explanation"]
    assert set(tree) == {"label", "words", "second", "completeness_error", "leave_one_out"}
    assert tree["words"][1].keys() == {"text", "start", "end", "weight"}


def test_a_text_without_a_word_is_explained_by_none(model: TextClassifier) -> None:
    assert [one.texts for one in explain(model, ["", " \n"])] == [((),), ((),)]


def test_bundles_and_models_that_write_are_refused_with_what_can_be_explained(
    model: TextClassifier, tmp_path: Path
) -> None:
    class Graph:
        max_length = 8

        def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
            return [np.zeros(3, np.float32)] * len(rows)

    with pytest.raises(NotSupported, match="no gradients"):
        explain(TextClassifier(Graph(), model.tokenizer, model.facts), ["a"])
    writer = open_model(write_model(tmp_path / "m", tmp_path / "w", "qwen3"))
    with pytest.raises(
        NotSupported, match="words of texts are weighed for labels, sets of labels, numbers; this model gives text"
    ):
        explain(writer, ["a"])
    rewarding: Any = replace(model, chat=object())
    assert not can_explain(rewarding)
    with pytest.raises(NotSupported, match="this model reads dialogues"):
        explain(rewarding, [("a", "b")])


def test_the_server_explains_when_it_is_asked_to_and_few_texts_at_once(model: TextClassifier) -> None:
    client = TestClient(create_app({"clf": model}), base_url="http://localhost")
    asked = client.post("/v1/classify", json={"input": TEXT, "explain": True}).json()["data"][0]
    assert asked["explanation"]["words"] == explain(model, [TEXT])[0].to_json()["explanation"]["words"]
    assert "explanation" not in client.post("/v1/classify", json={"input": TEXT}).json()["data"][0]
    assert client.post("/v1/classify", json={"input": [TEXT] * 17, "explain": True}).status_code == 400


def test_pages_and_terminals_mark_words_that_matter_and_escape_what_they_say() -> None:
    words = [Word("<b>", 0, 3, 2.0), Word("ok", 4, 6, -1.0), Word("so", 7, 9, 0.1)]
    assert [*marked("<b> ok so", words)] == [("", None), ("<b>", 2.0), (" ", None), ("ok", -1.0), (" so", None)]
    assert [weight for _, weight in marked("<b> ok so", words, least=0.0) if weight] == [2.0, -1.0, 0.1]
    assert [*marked("ok", [Word("ok", 0, 2, 0.0)])] == [("ok", None)]
    html = str(weighed(marked("<b> ok so", words)))
    assert '<mark class="for" style="--depth:1.00" title="+2">&lt;b&gt;</mark>' in html
    assert '<mark class="against" style="--depth:0.50" title="-1">ok</mark> so' in html


def test_the_command_line_prints_words_with_weights_and_both_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pretune.cli import main

    folder = write_model(tmp_path / "model", tmp_path / "words", "bert-labels", model=build("bert-labels"))
    with pytest.raises(SystemExit) as ended:
        main(["predict", folder.as_posix(), TEXT, "--explain"])
    assert not ended.value.code
    line, checks = capsys.readouterr().out.splitlines()
    (found,) = explain(open_model(folder), [TEXT])
    largest = max(found.texts[0], key=lambda word: abs(word.weight))
    assert f"[{largest.text} {largest.weight:+.2g}]" in line
    assert "off by" in checks and f"{found.leave_one_out:.2f}" in checks


def test_a_report_weighs_the_words_of_its_worst_rows_but_for_long_ones(
    model: TextClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "MOST_WEIGHED", 16)
    rows = [{"text": "the cat"}, {"text": "the hat " * 30}, {"text": "hat", "second": "cat"}]
    short, long, pair = reporting._explained(model, rows)
    assert long is None and [short, pair] == explain(model, ["the cat", ("hat", "cat")])
    shown = page._weighed(rows, [short, long, pair])
    assert "<mark" in shown[0]["text"] and shown[1] == rows[1] and "<mark" in shown[2]["second"]
    assert page._weighed(rows, []) == rows
    assert reporting._explained(replace(model, chat=object()), rows) == []  # type: ignore[arg-type]
