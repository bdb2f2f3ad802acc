"""F1 and exact matches of answers: by hand what the official scripts reckon (SQuAD evaluate-v2.0, cmrc2018_evaluate)."""

from __future__ import annotations

import pytest

from pretune.infer.answers import Span
from pretune.task.judge.judge import Asked
from pretune.task.judge.passages import exact_and_f1, normalised, sentences_of
from pretune.task.judge.spans import SpanJudge, best_threshold, marked, nearest_sentences
from pretune.text.dataset.example import Question

ENGLISH, CHINESE = "The Normans came to England in 1066.", "他于1963年被任为北京的主教，后来去了上海。"


@pytest.mark.parametrize(
    ("given", "wanted", "exact", "f1"),
    [
        ("The Norman  Conquest!", ["norman conquest"], True, 1.0),
        ("Norman conquest", ["the Norman conquest of 1066"], False, 2 / 3),  # P 2/2, R 2/4
        ("an end of a war, a war", ["war and war"], False, 4 / 7),  # end of war war / war and war: P 2/4, R 2/3
        ("1066", ["in 1066", "1066 A.D."], False, 2 / 3),  # 1066 ad: the best of two
        ("don't", ["dont"], True, 1.0),
        ("England", ["Sicily"], False, 0.0),
        ("", ["Sicily"], False, 0.0),
        ("", [], True, 1.0),
        ("Sicily", [], False, 0.0),
        ("the", [], True, 1.0),  # an article is no word
    ],
)
def test_english_answers_score_as_the_script_of_squad(given: str, wanted: list[str], exact: bool, f1: float) -> None:
    assert exact_and_f1(given, wanted, ENGLISH) == (exact, pytest.approx(f1, abs=1e-12))


@pytest.mark.parametrize(
    ("given", "wanted", "exact", "f1"),
    [
        ("1963年", ["1963年"], True, 1.0),
        ("于1963年", ["1963年"], False, 4 / 5),  # 于 1963 年 / 1963 年: P 2/3, R 2/2
        ("北京的大学", ["北京大学"], False, 4 / 9),  # the longest run is two: P 2/5, R 2/4
        ("《北京》，", ["北京"], True, 1.0),
        ("大学北京", ["北京大学"], False, 1 / 2),
        ("iPhone 5手机", ["iphone手机"], False, 4 / 7),  # iphone 5 手 机 / iphone 手 机
        ("上海", ["北京"], False, 0.0),
    ],
)
def test_chinese_answers_score_as_the_script_of_cmrc(given: str, wanted: list[str], exact: bool, f1: float) -> None:
    assert exact_and_f1(given, wanted, CHINESE) == (exact, pytest.approx(f1, abs=1e-12))


def test_normalised_drops_case_ascii_punctuation_articles_and_blanks_in_this_order() -> None:
    assert normalised("A  cat's\n“An” the-an AN an.") == "cats “ ” thean"


def test_sentences_cover_the_text_and_a_point_in_a_number_ends_none() -> None:
    text = "It is 3.14. Really?! 你好。世界！ \n\nno end"
    assert [text[a:b] for a, b in sentences_of(text)] == ["It is 3.14.", "Really?!", "你好。", "世界！", "no end"]


def asked(question: str, context: str, wanted: list[str]) -> Asked:
    return Asked({"question": question, "context": context}, wanted, context, "a#0")


def test_the_baseline_takes_the_sentence_with_the_words_of_the_question() -> None:
    context = "Ann lives in Rome. Bob sleeps all day. 他在北京。"
    some = [asked("Who sleeps?", context, ["Bob"]), asked("谁在北京？", context, ["他"]), asked("x", "", [])]
    train = [Question("q", "Ann and Bob live. They sleep all day.", (), "t#0")]
    assert [s.text for s in nearest_sentences(some, train)] == ["Bob sleeps all day.", "他在北京。", ""]
    assert nearest_sentences(some, [])[0].start == context.index("Bob")  # what the contexts say is known without train


def test_the_threshold_is_where_most_answers_are_right() -> None:
    some = [asked("q", "c", wanted) for wanted in (["x"], [], ["x"], [], [])]
    answers = [Span("x", 0, 1.0, margin=m) for m in (-3.0, -2.0, -1.0, 1.0, 2.0)]
    # Answered up to: none 3 right, 1st 4, 2nd 3, 3rd 4, 4th 3 - the first best one is taken, between -3 and -2.
    assert best_threshold(SpanJudge(), answers, some) == -2.5
    assert best_threshold(SpanJudge(), answers[:1], some[:1]) == -2.0
    assert best_threshold(SpanJudge(), answers[1:2], some[1:2]) == -3.0


def test_an_answer_is_marked_between_what_is_around_it() -> None:
    context = "x" * 100 + "answer" + "y" * 10
    pieces = marked(context, 100, "answer")
    assert [text for text, is_marked in pieces if is_marked] == ["answer"]
    assert "".join(text for text, _ in pieces) == "… " + "x" * 60 + "answer" + "y" * 10
