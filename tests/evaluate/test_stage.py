import json
import math
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported, WrongValue


def report_of(artifact):
    return json.loads((artifact.path / "report.json").read_text(encoding="utf-8"))


def html_of(artifact):
    return (artifact.path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reports(world):
    found = {
        "labels": world.run("evaluate", model=str(world.classifier), data=str(world.reviews), title="Reviews 评论"),
        "answers": world.run("evaluate", model=str(world.decoder), data=str(world.dialogues), max_tokens=8),
        "text": world.run("evaluate", model=str(world.decoder), data=str(world.tokens)),
    }
    parts = [str(a.path) for a in found.values()] + [str(world.decoder), str(world.tokens)]
    return found | {"all": world.run("summary", of=parts, title="All <of> it", text="一行\nline two")}


def test_the_figures_on_the_card_are_those_of_report_json(reports):
    for name in ("labels", "answers", "text"):
        assert reports[name].card.metrics == report_of(reports[name])["metrics"]


def test_accuracy_is_the_share_of_right_rows_in_predictions(reports):
    rows = pq.read_table(reports["labels"].path / "predictions.parquet").to_pylist()
    metrics = report_of(reports["labels"])["metrics"]
    assert metrics["accuracy"] == pytest.approx(sum(r["said"] == r["label"] for r in rows) / len(rows), abs=1e-6)
    assert metrics["examples"] == len(rows)
    assert metrics["majority_accuracy"] < metrics["tfidf_svm_accuracy"]


def test_an_untrained_classifier_is_said_to_be_behind_its_baseline(reports):
    group = report_of(reports["labels"])["groups"]["all"]
    assert group["beaten"] is False
    assert group["verdict"].startswith("The model is still behind its baseline, a linear SVM")
    assert group["verdict"].replace("'", "&#39;") in html_of(reports["labels"])


def test_what_is_remembered_and_what_is_guessed_are_told_apart(reports):
    report = report_of(reports["answers"])
    assert {name: g["examples"] for name, g in report["groups"].items()} == {"all": 4, "remembered": 3, "guessed": 1}
    baselines = {f["name"]: f["metrics"] for f in report["groups"]["remembered"]["baselines"]}
    assert baselines["nearest"]["word_for_word"] == 1.0  # the same tool under another question
    assert "remembered_rouge_l" in report["metrics"] and "guessed_nearest_rouge_l" in report["metrics"]


def test_looking_up_is_a_ceiling_of_what_was_read_and_a_baseline_of_what_is_guessed(reports):
    groups = report_of(reports["answers"])["groups"]
    ceilings = {name: [f["name"] for f in group["baselines"] if f["is_ceiling"]] for name, group in groups.items()}
    assert ceilings == {"all": ["nearest"], "remembered": ["nearest"], "guessed": []}
    assert "nearest question&#39;s answer (the ceiling)" in html_of(reports["answers"])


def test_an_untrained_language_model_knows_about_as_much_as_even_chances(reports, world):
    metrics = report_of(reports["text"])["metrics"]
    size = json.loads((world.tokens / "manifest.json").read_text(encoding="utf-8"))["vocab_size"]
    assert metrics["nats_per_token"] == pytest.approx(math.log(size), abs=0.15)
    expected = metrics["nats_per_token"] * metrics["targets"] / math.log(2) / metrics["bytes"]
    assert metrics["bits_per_byte"] == pytest.approx(expected, rel=1e-4)
    assert metrics["ngram_bits_per_byte"] < metrics["bits_per_byte"] and not metrics["baseline_beaten"]
    assert metrics["xz_bits_per_byte"] > 0


def test_the_same_evaluation_twice_gives_the_same_bytes(reports, world):
    again = world.run("evaluate", model=str(world.decoder), data=str(world.dialogues), max_tokens=8)
    assert again.card.id == reports["answers"].card.id


def test_payload_holds_no_path_and_the_page_is_a_note(reports, world):
    for one in reports.values():
        assert "report.html" in one.card.notes and "report.html" not in one.card.files
        assert str(world.root) not in (one.path / "report.json").read_text(encoding="utf-8")


def test_text_from_data_never_becomes_markup(reports):
    for one in reports.values():
        assert "<script" not in html_of(one).lower()
        assert "<b>bold" not in html_of(one)
    assert "&lt;script&gt;alert(&#39;data&#39;)" in html_of(reports["labels"])
    assert "&lt;script&gt;alert(&#39;chat&#39;)" in html_of(reports["answers"])
    assert "<h1>All &lt;of&gt; it</h1>" in html_of(reports["all"])


def test_the_page_shows_curves_lineage_and_the_command(reports):
    page = html_of(reports["answers"])
    assert page.count("<polyline") == 2 and "held out: 4.50 at the end" in page
    assert "model: <b>model</b>" in page and "data: <b>dataset</b>" in page and "read.0: <b>files</b>" in page
    assert "pretune evaluate" in page


def test_a_report_without_training_split_says_that_there_is_no_baseline(world):
    rows = [{"text": "a lovely film", "label": "good"}, {"text": "a dull film", "label": "bad"}]
    path = world.root / "test.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    data = world.run("dataset", read=[str(path)])
    group = report_of(world.run("evaluate", model=str(world.classifier), data=str(data.path)))["groups"]["all"]
    assert group["baselines"] == [] and group["beaten"] is None
    assert group["verdict"].startswith("There is no baseline")


def test_the_summary_repeats_the_figures_of_its_reports(reports):
    metrics = reports["all"].card.metrics
    for name in ("labels", "answers", "text"):
        for key, value in reports[name].card.metrics.items():
            assert metrics[f"{reports[name].path.name}.{key}"] == value
    page = html_of(reports["all"])
    assert page.count("<section>") == 6 and "<p>一行</p>\n<p>line two</p>" in page and "Reviews 评论" in page
    assert "0 of 3 reports beat their baseline by more than chance explains; these do not: Reviews 评论" in page


def test_a_split_that_is_absent_is_named_with_those_that_exist(world):
    with pytest.raises(EmptyInput, match=r"'tset'.*\n.*train, .*test"):
        world.run("evaluate", model=str(world.classifier), data=str(world.reviews), split="tset")


def test_a_model_that_talks_is_not_measured_on_labels_and_the_other_way_round(world):
    with pytest.raises(NotSupported, match="gives text, the data holds labels"):
        world.run("evaluate", model=str(world.decoder), data=str(world.reviews))
    with pytest.raises(NotSupported, match="gives labels, the data holds dialogues"):
        world.run("evaluate", model=str(world.classifier), data=str(world.dialogues))
    with pytest.raises(NotSupported, match="gives labels and predicts no text"):
        world.run("evaluate", model=str(world.classifier), data=str(world.tokens))


def test_tokens_of_another_tokenizer_are_refused(world):
    corpus = Artifact.open(world.tokens).source("corpus")
    other = world.run("tokenizer", corpus=str(corpus.path), vocab_size=300)
    tokens = world.run("tokens", corpus=str(corpus.path), tokenizer=str(other.path))
    with pytest.raises(NotSupported, match="made with another tokenizer"):
        world.run("evaluate", model=str(world.decoder), data=str(tokens.path))


def test_a_model_with_control_tokens_behind_those_of_the_text_reads_it(world, tmp_path):
    from pretune.evaluate.language import made_with
    from pretune.tokens.encode.additions import add_controls
    from pretune.tokens.encode.tokenizer import load_tokenizer

    more = add_controls(world.decoder, {"<|fim|>": None}, tmp_path / "more")
    assert made_with(load_tokenizer(more), Artifact.open(world.tokens))


def test_labels_that_the_model_does_not_know_count_as_wrong_and_are_told(world):
    rows = [{"text": f"film {k}", "label": label} for k, label in enumerate(["good", "bad", "odd", "odd"])]
    path = world.root / "validation.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    data = world.run("dataset", read=[str(path)])
    report = report_of(world.run("evaluate", model=str(world.classifier), data=str(data.path), split="validation"))
    assert report["classes"]["odd"]["recall"] == 0.0 and report["metrics"]["accuracy"] <= 0.5
    assert any("2 examples carry a label that the model does not know" in note for note in report["notes"])


def test_fewer_examples_are_spread_over_the_split(world):
    found = world.run("evaluate", model=str(world.decoder), data=str(world.dialogues), max_tokens=2, max_examples=2)
    rows = pq.read_table(found.path / "predictions.parquet").to_pylist()
    assert [r["question"] for r in rows] == ["Tell me about tool 0.", "Tell me about tool 2."]


def test_the_stages_are_found_without_importing_torch():
    code = "import sys, pretune.evaluate.stage, pretune.evaluate.summary; print([m for m in ('torch', 'transformers', 'sklearn', 'numpy', 'pyarrow') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_bits_per_byte_of_each_source_and_language_make_up_those_of_all(world):
    import numpy as np

    lines = {
        "english": ["The fox jumps over the dog.", "The lazy dog sleeps."],
        "中文": ["你好，世界。", "今天天气很好。"],
    }
    folder = world.root / "two"
    folder.mkdir()
    for name, two in lines.items():
        rows = [{"text": f"{k} {text} {text}"} for text in two for k in range(9)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    read = {name: [str(folder / f"{name}.jsonl")] for name in lines}
    corpus = world.run("corpus", read=read, validation=0.2, test=0.4)
    tokens = world.run("tokens", corpus=str(corpus.path), tokenizer=str(world.decoder))
    report = report_of(world.run("evaluate", model=str(world.decoder), data=str(tokens.path)))
    whole = report["metrics"]
    for what in ("source", "language"):
        table = report[f"{what}s"]
        assert sum(row["bytes"] for row in table) == whole["bytes"]
        for figure in ("bits_per_byte", "ngram_bits_per_byte"):
            mean = np.average([row[figure] for row in table], weights=[row["bytes"] for row in table])
            assert mean == pytest.approx(whole[figure], rel=1e-5)
    assert [row["source"] for row in report["sources"]] == ["english", "中文"]


def test_a_stride_is_told_and_one_that_leaves_tokens_out_is_refused(world):
    report = report_of(world.run("evaluate", model=str(world.decoder), data=str(world.tokens), stride=16))
    assert any("windows of 96 tokens, 16 apart; a token sees more than 80 of the tokens" in n for n in report["notes"])
    with pytest.raises(WrongValue, match="stride is 97, but a window has 96 tokens"):
        world.run("evaluate", model=str(world.decoder), data=str(world.tokens), stride=97)
