"""The closing words: every outcome in both languages, and what would bring a figure that stays behind."""

from __future__ import annotations

import pytest

from pretune.quickstart.words import closing_words, guessing, ordering, predicting, remembering, said_of

GOOD = {
    "base_report": {"bits_per_byte": 1.44, "ngram_bits_per_byte": 1.5, "xz_bits_per_byte": 1.31},
    "chat_report": {
        "remembered_word_for_word": 0.94,
        "remembered_rouge_l": 0.97,
        "remembered_nearest_rouge_l": 0.99,
        "guessed_rouge_l": 0.19,
        "guessed_baseline": "nearest",
        "guessed_nearest_rouge_l": 0.15,
        "guessed_most_frequent_rouge_l": 0.16,
        "guessed_baseline_beaten": True,
    },
    "order_report": {"accuracy": 0.81, "baseline": "tfidf_svm", "tfidf_svm_accuracy": 0.56, "baseline_beaten": True},
}
BAD = {
    "base_report": GOOD["base_report"] | {"bits_per_byte": 1.8},
    "chat_report": GOOD["chat_report"] | {"remembered_word_for_word": 0.7, "guessed_baseline_beaten": False},
    "order_report": GOOD["order_report"] | {"accuracy": 0.55, "baseline_beaten": False},
}


def words(figures: dict) -> str:
    result = {"question": "What?", "answer": "That.", "read": "This.", "report": "r.html", "seconds": 540}
    return closing_words(result | {"figures": figures}, "runs/quickstart")


def test_each_figure_is_told_beside_its_baseline_in_english_and_chinese() -> None:
    told = words(GOOD)
    for english, chinese in (
        (
            "1.44 bits per byte; a 5-gram model of all the text needs 1.50",
            "每字节 1.44 比特；统计全部文本的 5-gram 模型 1.50",
        ),
        ("xz -9 with the text before its eyes 1.31", "xz -9 1.31"),
        ("answers 94% word for word, in unseen wordings", "换没见过的问法，94% 逐字答对"),
        ("looking the answer up, the ceiling, gives 0.99", "直接查表是上限，0.99"),
        ("ROUGE-L 0.190; the answer to the most similar question: 0.150", "ROUGE-L 0.190；照搬最相似问题的答案：0.150"),
        (
            "right in 81% of the cases; a linear SVM on TF-IDF of words and pairs of words: 56%",
            "答对 81%；词和词对的 TF-IDF 加线性 SVM：56%",
        ),
        ("9.0 minutes / 分钟", "完整报告"),
    ):
        assert english in told and chinese in told
    assert "would bring" not in told and "minutes=" not in told


MORE = {
    "base_report": (
        "It is behind; more minutes would bring it below the 5-gram model: base.minutes=15.",
        "仍落后；训练更久会低于 5-gram 模型：base.minutes=15。",
    ),
    "order_report": (
        "It is behind; more minutes would bring it: order.minutes=5.",
        "仍落后；训练更久就能超过：order.minutes=5。",
    ),
}


@pytest.mark.parametrize("behind", MORE)
def test_a_figure_that_stays_behind_says_what_would_bring_it_and_the_others_do_not(behind: str) -> None:
    told = words(GOOD | {behind: BAD[behind]})
    assert all(more in told for more in MORE[behind])
    assert told.count("minutes=") == 2  # once in each language


def test_of_the_answers_each_of_the_two_figures_says_what_would_bring_it() -> None:
    told = words(GOOD | {"chat_report": BAD["chat_report"]})
    assert "answers 70% word for word" in told and "chat.minutes=10." in told and "chat.minutes=10。" in told
    assert "ahead, perhaps by chance; a base that reads for longer guesses better: base.minutes=15." in told
    assert "略有领先，也许只是偶然；基础模型读得更久，会猜得更好：base.minutes=15。" in told


def test_no_outcome_shouts() -> None:
    assert "NOT" not in words(BAD) and "NOT" not in words(GOOD)


def test_the_words_depend_on_what_is_sure_not_on_a_lead_within_chance() -> None:
    assert not guessing(GOOD["chat_report"] | {"guessed_baseline_beaten": False}).is_reached
    assert not ordering(GOOD["order_report"] | {"baseline_beaten": False}).is_reached
    assert not predicting(GOOD["base_report"] | {"bits_per_byte": 1.5}).is_reached
    assert remembering(GOOD["chat_report"] | {"remembered_word_for_word": 0.9}).is_reached


def test_the_baseline_that_is_hardest_to_beat_is_the_one_that_is_named() -> None:
    told = guessing(GOOD["chat_report"] | {"guessed_baseline": "most_frequent"}).text()
    assert "always the most frequent answer: 0.160" in told and "总答最常见的那句：0.160" in told


def test_of_a_group_that_nobody_was_asked_about_nothing_is_said() -> None:
    assert len([*said_of(GOOD)]) == 4
    assert len([*said_of(GOOD | {"chat_report": {"rouge_l": 0.5}})]) == 2
