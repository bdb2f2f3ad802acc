"""Answers as JSON and as lines of a terminal; facts of a folder, and which kind of answer its classes give."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.infer.answers import Answer, Entity, Label, Labels, Ranking, Score, Span, Tags, Text, Vector, line
from pretune.infer.classify import TextClassifier, of_facts
from pretune.infer.engine import by_length, padded
from pretune.infer.language import LanguageModel
from pretune.infer.load import HEADS, PREDICTORS, PROBLEMS, head_of, task_of
from pretune.infer.predictor import Facts, Streams

CASES = [
    (Label("好", 0.75, {"好": 0.75, "坏": 0.25}), {"label": "好", "score": 0.75, "scores": {"好": 0.75, "坏": 0.25}}),
    (Labels(("a", "b"), {"a": 0.9, "b": 0.6}), {"labels": ["a", "b"], "scores": {"a": 0.9, "b": 0.6}}),
    (Score(3.5), {"score": 3.5}),
    (
        Tags(("B-PER", "O"), ("Ann", "is"), (Entity("Ann", 0, 3, "PER"),), 1),
        {
            "entities": [{"text": "Ann", "start": 0, "end": 3, "label": "PER"}],
            "words": ["Ann", "is"],
            "tags": ["B-PER", "O"],
            "unread": 1,
        },
    ),
    (
        Span("北京", 4, 0.5, (Span("京", 5, 0.25),), -1.5),
        {"answer": "北京", "start": 4, "score": 0.5, "others": [{"answer": "京", "start": 5, "score": 0.25}]},
    ),
    (Text("Hello 🙂", "length", 3, 2), {"answer": "Hello 🙂"}),
    (Vector((0.5, -1.0)), {"vector": [0.5, -1.0]}),
    (Ranking((2, 0, 1), (0.9, 0.5, 0.1)), {"order": [2, 0, 1], "scores": [0.9, 0.5, 0.1]}),
]


@pytest.mark.parametrize(("answer", "tree"), CASES, ids=lambda x: x.kind if isinstance(x, Answer) else "")
def test_every_answer_is_plain_json(answer: Answer, tree: dict[str, object]) -> None:
    assert json.loads(json.dumps(answer.to_json())) == tree


def test_kinds_of_answers_differ_and_those_that_are_answered_with_are_among_them() -> None:
    kinds = [answer.kind for answer, _ in CASES]
    assert len({*kinds}) == len(kinds) == 8
    assert {*PREDICTORS} <= {*kinds}


def test_the_terminal_shows_a_label_with_its_text_entities_in_it_a_text_alone_and_others_as_json() -> None:
    assert line(Label("good", 0.97), "a film") == "good\t0.970\ta film"
    entities = (Entity("Ann Lee", 0, 7, "PER"), Entity("北京", 17, 19, "LOC"))
    assert line(Tags((), (), entities), "Ann Lee lives in 北京.") == "[Ann Lee PER] lives in [北京 LOC]."
    assert line(Text("two\nlines"), "a film") == "two\nlines"
    assert line(Labels(("a", "b")), "a film") == "a, b\ta film"
    assert line(Labels(()), "a film") == "-\ta film"
    assert line(Score(3.5), "a film") == "3.5\ta film"
    assert line(Span("Rome", 4, 0.5), {"question": "Where?", "context": "..."}) == "Rome\t0.500\tWhere?"
    assert line(Span("", -1, 0.5), {"question": "Where?", "context": "..."}) == "-\t0.500\tWhere?"
    assert json.loads(line(Span("film", 2, 0.5), "a film"))["answer"] == "film"


def test_facts_survive_bundle_json() -> None:
    facts = Facts("classify", "label", 24, ("a", "坏"), before=(5,), after=(6,), between=(6, 6), more={"scale": [1, 2]})
    assert Facts.of(json.loads(json.dumps(facts.to_json()))) == facts
    assert Facts.of(json.loads(json.dumps(Facts("chat", "text", 9, eos_ids=(1, 2)).to_json()))).labels is None


def test_a_model_folder_names_its_task_by_its_head_and_its_chat_template(folder: Path, tmp_path: Path) -> None:
    assert task_of(["Qwen3ForCausalLM"], folder, {}) == ("chat", "text")
    assert task_of(["GPT2LMHeadModel"], tmp_path, {}) == ("complete", "text")
    assert task_of(["BertForSequenceClassification"], folder, {}) == ("classify", "label")
    for problem, found in PROBLEMS.items():
        assert task_of(["BertForSequenceClassification"], folder, {"problem_type": problem}) == found
    one = {"problem_type": None, "id2label": {"0": "LABEL_0"}}  # of a number, as transformers takes it
    assert task_of(["BertForSequenceClassification"], folder, one) == ("regress", "score")
    assert task_of(["Qwen3Model"], folder, {}) is None and head_of(["Qwen3Model"]) == "vector"
    pooled = {"pretune": {"pooling": "last", "normalize": True}}
    assert task_of(["Qwen3Model"], folder, pooled) == ("embed", "vector")
    ranks = {"problem_type": "regression", "pretune": {"task": "rank"}}
    assert task_of(["BertForSequenceClassification"], folder, ranks) == ("rank", "ranking")
    assert head_of(["Qwen3ForCausalLM"]) == "next"


def test_each_head_is_one_that_families_know_and_gives_answers_that_a_predictor_is_there_for() -> None:
    from pretune.model.families import family

    assert {head for head, _, _ in HEADS.values()} <= {*family.HEADS}
    assert {answers for _, _, answers in HEADS.values()} <= {*PREDICTORS}


class Counter:
    max_length = 64

    def logits(self, rows: list[list[int]]) -> np.ndarray:
        return np.array([[len(row), 4.0] for row in rows], dtype=np.float32)


def test_a_task_of_a_known_kind_of_answer_needs_no_predictor_of_its_own(folder: Path) -> None:
    model = of_facts(Counter(), folder, Facts("tells-spam", "label", 24, ("spam", "ham"), before=(5,), after=(6,)))
    assert model.facts.task == "tells-spam"
    assert [answer.name for answer in model.answer(["a", "one two three"])] == ["ham", "spam"]  # type: ignore[attr-defined]


def test_every_row_gets_its_own_result_where_tokens_are_scored_too() -> None:
    """Rows of like length run together, so results of one run are wider than those of another."""
    rows = [[7, 7, 7], [1], [2, 3], [5] * 9, []]
    found = by_length(rows, lambda some: padded(some, -1)[0] * 10, at_once=2)
    assert [one[: len(row)].tolist() for one, row in zip(found, rows, strict=True)] == [
        [10 * token for token in row] for row in rows
    ]


def test_what_streams_says_so_and_a_classifier_does_not(tokenizer: Tokenizer, table: type) -> None:
    assert isinstance(LanguageModel(table(300), tokenizer, (0,)), Streams)
    assert not isinstance(TextClassifier(Counter(), tokenizer, Facts("classify", "label", 9, ("a", "b"))), Streams)
