import pytest

from pretune.task.judge.baselines import features_of, most_frequent, nearest, svm_labels


def test_the_most_frequent_value_does_not_depend_on_order():
    assert most_frequent(["b", "a", "b", "a", "c"]) == most_frequent(["a", "c", "b", "a", "b"]) == "a"


def test_chinese_is_cut_into_characters_and_english_into_words():
    assert features_of("退款吗") == ["退", "款", "吗", "退 款", "款 吗", "退 款 吗"]
    assert features_of("a good film") == ["a", "good", "film", "a good", "good film"]


def test_the_svm_tells_labels_apart_in_chinese_and_english():
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    train = ["这部电影很好看", "很好看的电影", "真好看", "这部电影太难看", "难看极了", "真难看", "good", "bad"]
    labels = ["+", "+", "+", "-", "-", "-", "+", "-"]
    assert svm_labels(train, labels, ["好看", "难看", "a good one", "a bad one"], seed=2**40) == ["+", "-", "+", "-"]


def test_training_texts_without_a_single_word_are_no_error():
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    assert svm_labels(["!", "?"], ["a", "b"], ["...", "!!"], seed=0) in (["a", "a"], ["b", "b"])
    assert nearest(["!", "?"], ["..."]) == [0]


def test_the_nearest_question_is_the_one_that_shares_its_rare_words():
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    train = ["What does json.dumps do?", "What does shutil.copytree do?", "What does os.path.join do?"]
    assert nearest(train, ["Tell me what shutil.copytree does", "unknown words"]) == [1, 0]
