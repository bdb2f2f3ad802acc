from itertools import pairwise

import numpy as np
import pytest

from pretune.evaluate.answers import has_keyword, is_cjk, longest_common, rouge_l, word_for_word, words_of
from pretune.evaluate.scores import bootstrap, class_scores, confusion, label_figures, report_text, wilson

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


def test_wilson_is_the_textbook_interval_and_stays_inside_0_and_1():
    assert wilson(8, 10).pair() == pytest.approx([0.4902, 0.9433], abs=1e-4)  # Wilson 1927, as statsmodels gives it
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == pytest.approx(1.0) and wilson(10, 10).high <= 1.0
    assert wilson(0, 0).pair() == [0.0, 1.0]


def test_bootstrap_of_a_share_agrees_with_wilson_and_is_the_same_for_a_seed():
    hits = [1.0] * 300 + [0.0] * 100
    found = bootstrap(hits, seed=1)
    assert found.pair() == pytest.approx(wilson(300, 400).pair(), abs=0.01)
    assert found == bootstrap(hits, seed=1)


def test_bootstrap_divides_sums_by_weights_of_the_same_draw():
    sums = np.array([2.0, 4.0, 6.0])
    assert bootstrap(sums, [1.0, 2.0, 3.0], seed=0).pair() == pytest.approx([2.0, 2.0])


def test_rouge_l_has_the_golden_values_of_rouge_score():
    wanted = "The quick brown fox jumps over the lazy dog"
    assert rouge_l("The quick brown dog jumps on the log.", wanted) == pytest.approx(0.5882352941176471, abs=1e-12)
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(0.75)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(0.5)


def test_rouge_l_reads_every_han_character_as_a_word():
    assert words_of("你好 World_2 こん") == ["你", "好", "world", "2", "こ", "ん"]
    assert rouge_l("今天天气好", "今天的天气很好") == pytest.approx(2 * 5 / (5 + 7))


def test_an_empty_answer_scores_zero_and_not_nothing():
    assert rouge_l("", "a word") == 0.0
    assert rouge_l("!", "?") == 0.0


def test_longest_common_subsequence_agrees_with_trying_all_of_them():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (list(rng.integers(0, 3, size=rng.integers(0, 7))) for _ in range(2))
        kept = ([x for i, x in enumerate(a) if mask >> i & 1] for mask in range(2 ** len(a)))
        best = max(len(k) for k in kept if _is_within(k, b))
        assert longest_common(a, b) == best


def _is_within(part, whole):
    places = iter(whole)
    return all(any(x == y for y in places) for x in part)


def test_word_for_word_forgives_white_space_only():
    assert word_for_word(" Copy  a\ntree. ", "Copy a tree.")
    assert not word_for_word("Copy a tree", "Copy a tree.")
    assert not word_for_word("copy a tree.", "Copy a tree.")


def test_a_keyword_is_found_as_whole_words_in_any_case():
    assert has_keyword("Open the CAT file", "cat")
    assert not has_keyword("concatenate", "cat")
    assert has_keyword("请在七天内退款。", "退款")
    assert has_keyword("the C++ way", "++")
    assert has_keyword("a json  object", "JSON object") and not has_keyword("object json", "JSON object")


def test_a_text_is_cjk_when_most_of_it_is_han_or_kana():
    assert is_cjk("这个 movie 不错啊真的") and not is_cjk("a movie 不错") and not is_cjk("안녕하세요")


def test_intervals_grow_when_examples_are_fewer():
    widths = [wilson(n * 0.7, n).high - wilson(n * 0.7, n).low for n in (10, 100, 1000)]
    assert all(a > b for a, b in pairwise(widths))
