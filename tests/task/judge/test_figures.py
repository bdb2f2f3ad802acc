import pytest

from pretune.task.judge.figures import class_scores, confusion, label_figures, report_text

GOLD = ["a", "a", "a", "b", "b", "c"]
SAID = ["a", "a", "b", "b", "c", "c"]


def test_label_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="the extra `evaluate` is not installed")
    ours = label_figures(GOLD, SAID, ["a", "b", "c", "never"])
    assert ours["accuracy"] == metrics.accuracy_score(GOLD, SAID)
    for mean in ("macro", "weighted"):
        assert ours[f"{mean}_f1"] == pytest.approx(metrics.f1_score(GOLD, SAID, average=mean), abs=1e-12)
    assert ours["macro_precision"] == pytest.approx(metrics.precision_score(GOLD, SAID, average="macro"), abs=1e-12)
    assert ours["macro_recall"] == pytest.approx(metrics.recall_score(GOLD, SAID, average="macro"), abs=1e-12)


def test_precision_recall_and_f1_by_hand():
    rows = class_scores(confusion(GOLD, SAID, ["a", "b", "c"]), ["a", "b", "c"])
    assert rows["a"] == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3})
    assert rows["b"] == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2})


def test_the_report_in_text_has_a_line_for_every_label_and_the_means():
    figures = label_figures(GOLD, SAID, ["a", "b", "c"])
    text = report_text(class_scores(confusion(GOLD, SAID, ["a", "b", "c"]), ["a", "b", "c"]), figures)
    assert text.splitlines()[1].split() == ["a", "1.0000", "0.6667", "0.8000", "3"]
    assert "macro F1" in text and "accuracy" in text
