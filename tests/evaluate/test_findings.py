from pretune.evaluate.findings import REMEDIES, Compared, Group, margin_of, rounded, verdict
from pretune.evaluate.overlap import overlap
from pretune.evaluate.scores import Interval


def group(margin, interval):
    baseline = Compared("tfidf_svm", "a linear SVM on TF-IDF", {"accuracy": 0.8}, margin, interval)
    return Group("all", 10, {"accuracy": 0.8 + margin}, {}, [baseline], "accuracy")


def test_the_verdict_says_plainly_when_the_baseline_was_not_beaten_and_what_would_bring_it():
    told = verdict(group(-0.1, Interval(-0.2, 0.0)))
    assert told == (
        "The model is still behind its baseline, a linear SVM on TF-IDF: accuracy 70.0 % against 80.0 %, 10.0 points worse "
        f"(95 % interval -20.0 to +0.0). What usually brings it: {REMEDIES['accuracy']}."
    )


def test_a_lead_within_chance_is_not_called_a_win():
    told = group(0.1, Interval(-0.05, 0.25))
    assert "not by more than chance explains" in verdict(told)
    assert told.flat()["baseline_beaten"] is False


def test_a_clear_lead_is_called_a_win():
    told = group(0.1, Interval(0.05, 0.15))
    assert verdict(told).startswith("The model beats its baseline")
    assert told.flat() == {
        "examples": 10,
        "accuracy": 0.9,
        "tfidf_svm_accuracy": 0.8,
        "baseline": "tfidf_svm",
        "baseline_margin": 0.1,
        "baseline_beaten": True,
    }


def test_all_baselines_must_be_beaten_and_the_hardest_is_named():
    baselines = {"sure": (0.2, 0.1), "unsure": (0.3, -0.1), "ahead": (-0.01, -0.02)}
    made = [Compared(n, n, {"accuracy": 0.5}, m, Interval(low, 0.5)) for n, (m, low) in baselines.items()]
    assert [Group("all", 9, {"accuracy": 0.7}, {}, made[:n], "accuracy").hardest.name for n in (1, 2, 3)] == [
        *baselines
    ]


def test_a_ceiling_is_told_but_is_no_baseline_that_could_be_lost_to():
    baseline = Compared("question", "the words of the question", {"rouge_l": 0.2}, 0.6, Interval(0.5, 0.7))
    ceiling = Compared("nearest", "the answer of the nearest", {"rouge_l": 0.99}, -0.19, Interval(-0.2, -0.1), True)
    found = Group("remembered", 500, {"rouge_l": 0.8}, {}, [baseline, ceiling], "rouge_l")
    assert found.hardest is baseline and found.flat()["baseline_beaten"] is True
    assert found.flat()["nearest_rouge_l"] == 0.99
    assert verdict(found).startswith(
        "The model beats its baseline, the words of the question: ROUGE-L 80.0 % against 20.0 %, 60.0 points better"
    )
    assert verdict(found).endswith("the ceiling is to look it up: ROUGE-L 99.0 %, the answer of the nearest.")


def test_bits_per_byte_are_told_in_bits_and_less_is_better():
    xz = Compared("xz", "xz -9", {"bits_per_byte": 1.303595}, 0.090732)
    told = verdict(Group("all", 12, {"bits_per_byte": 1.212863}, {}, [xz], "bits_per_byte"))
    assert told == "The model beats its baseline, xz -9: bits per byte 1.21 against 1.30, 0.091 better."


def test_the_margin_is_paired_so_equal_answers_leave_no_doubt():
    assert margin_of([1, 0, 1, 1, 0], [1, 0, 1, 1, 0], seed=0) == (0.0, Interval(0.0, 0.0))


def test_so_few_examples_that_an_interval_would_lie_get_none():
    assert margin_of([1, 1], [0, 0], seed=0) == (1.0, None)
    assert verdict(group(0.1, None)).endswith("With so few examples this may be chance.")


def test_numbers_in_reports_are_rounded_and_never_nan():
    assert rounded({"a": 0.12345678, "b": [float("inf"), True, 3]}) == {"a": 0.123457, "b": [None, True, 3]}


def test_a_text_counts_as_read_when_half_of_its_runs_stand_in_the_corpus(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pages = ["It is said: one two three four five six seven eight nine. And so on.", "你好世界今天天气很好啊"]
    pq.write_table(pa.table({"text": pages}), tmp_path / "train-00000.parquet")
    texts = [
        "one two three four five six seven eight nine",
        "nine eight seven six five four three two",
        "今天天气很好啊",
        "世界今天天气很好",
        "short",
    ]
    assert overlap(tmp_path, texts) == (2, 3, True)
