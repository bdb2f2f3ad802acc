import numpy as np
import pytest

from pretune.task.judge.closeness import has_keyword, is_cjk, longest_common, rouge_l, word_for_word, words_of


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
