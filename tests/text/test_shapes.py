"""Every shape from each of the forms it comes in; which shape wins; what is wrong is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import BadFile, NoSuchColumn
from pretune.text.dataset.example import (
    SHAPES,
    Answer,
    Dialogue,
    Labelled,
    Message,
    MultiLabelled,
    Pair,
    Preference,
    Question,
    Ranking,
    ScoredText,
    Tagged,
    read_split,
)

ORIGIN = "train.jsonl#0"
ASKED, SAID = Message("user", "你好"), Message("assistant", "Hello 🙂")
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CONTEXT = "范廷颂于1963年被任为主教。"
LIKED = Preference((ASKED,), "Hello 🙂", "Go away", ORIGIN)

FORMS: list[tuple[dict[str, Any], Any]] = [
    # label, labels, score
    ({"text": "a b", "label": 1}, Labelled("a b", "1", ORIGIN)),
    ({"premise": "a", "hypothesis": "b", "label": "yes"}, Labelled("a", "yes", ORIGIN, "b")),
    ({"sentence1": "a", "sentence2": "b", "label": 0}, Labelled("a", "0", ORIGIN, "b")),
    ({"text": "a", "labels": ["y", "x", "y"]}, MultiLabelled("a", ("x", "y"), ORIGIN)),
    ({"text": "a", "score": 4.5}, ScoredText("a", 4.5, ORIGIN)),
    ({"sentence1": "a", "sentence2": "b", "score": "3"}, ScoredText("a", 3.0, ORIGIN, "b")),
    # tags
    ({"tokens": ["a", "b"], "ner_tags": ["B-X", "O"]}, Tagged(("a", "b"), ("B-X", "O"), ORIGIN)),
    ({"words": "a b", "tags": "B-X O"}, Tagged(("a", "b"), ("B-X", "O"), ORIGIN)),
    ({"text": ["你", "好"], "labels": ["B-X", "I-X"]}, Tagged(("你", "好"), ("B-X", "I-X"), ORIGIN)),
    ({"text": "a b", "entities": [[0, 1, "X"]]}, Tagged(("a", "b"), ("B-X", "O"), ORIGIN)),
    # span
    (
        {"question": "何时？", "context": CONTEXT, "answers": [{"text": "1963年", "answer_start": 4}]},
        Question("何时？", CONTEXT, (Answer("1963年", 4),), ORIGIN),
    ),
    (
        {"question": "何时？", "context": CONTEXT, "answers": {"text": ["1963年"], "answer_start": [4]}},
        Question("何时？", CONTEXT, (Answer("1963年", 4),), ORIGIN),
    ),
    (
        {"question": "何时？", "context": CONTEXT, "answer": "1963年"},
        Question("何时？", CONTEXT, (Answer("1963年", 4),), ORIGIN),
    ),
    (
        {"question": "何时？", "context": CONTEXT, "answers": [], "is_impossible": True},
        Question("何时？", CONTEXT, (), ORIGIN),
    ),
    # pair
    ({"src": "a", "tgt": "b"}, Pair("a", ("b",), ORIGIN)),
    ({"source": "a", "targets": ["b", "c"]}, Pair("a", ("b", "c"), ORIGIN)),
    ({"document": "a", "summary": "b"}, Pair("a", ("b",), ORIGIN)),
    ({"context": "a", "continuation": "b"}, Pair("a", ("b",), ORIGIN)),
    ({"zh": "你", "en": "you", "id": 7}, Pair("you", ("你",), ORIGIN)),
    ({"translation": {"de": "du", "en": "you"}}, Pair("du", ("you",), ORIGIN)),
    # dialogue
    ({"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello 🙂"}]}, (ASKED, SAID)),
    ({"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "Hello 🙂"}]}, (ASKED, SAID)),
    ({"messages": [{"role": "usr", "content": "你好"}, {"role": "sys", "content": "Hello 🙂"}]}, (ASKED, SAID)),
    ({"dialog": ["你好", "Hello 🙂"]}, (ASKED, SAID)),
    ({"instruction": "你好", "input": "", "output": "Hello 🙂"}, (ASKED, SAID)),
    ({"question": "你好", "answer": "Hello 🙂"}, (ASKED, SAID)),
    ({"instruction": "你好", "instances": [{"input": "", "output": "Hello 🙂"}]}, (ASKED, SAID)),
    (
        {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        (ASKED, Message("assistant", "", json.dumps([CALL]))),
    ),
    (
        {"conversations": [{"from": "human", "value": "你好"}, {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'}]},
        (ASKED, Message("assistant", "", json.dumps([CALL]))),
    ),
    # preference
    ({"prompt": "你好", "chosen": "Hello 🙂", "rejected": "Go away"}, LIKED),
    (
        {
            "conversations": [{"from": "human", "value": "你好"}],
            "chosen": {"from": "gpt", "value": "Hello 🙂"},
            "rejected": {"from": "gpt", "value": "Go away"},
        },
        LIKED,
    ),
    (
        {
            "chosen": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello 🙂"}],
            "rejected": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Go away"}],
        },
        LIKED,
    ),
    (
        {
            "chosen": "\n\nHuman: 你好\n\nAssistant: Hello 🙂",
            "rejected": "\n\nHuman: 你好\n\nAssistant: Go away",
        },
        LIKED,
    ),
    ({"instruction": "你好", "input": "", "chosen": "Hello 🙂", "rejected": "Go away"}, LIKED),
    ({"prompt": "你好", "completion": "Go away", "label": False}, Preference((ASKED,), "", "Go away", ORIGIN)),
    (
        {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello 🙂"}], "label": True},
        Preference((ASKED,), "Hello 🙂", "", ORIGIN),
    ),
    # ranking
    ({"query": "q", "choices": ["a", "b"], "gold": 1}, Ranking("q", ("a", "b"), (0.0, 1.0), ORIGIN)),
    ({"anchor": "q", "positive": "a", "negative": ["b", "你好"]}, Ranking("q", ("a", "b", "你好"), (1.0, 0.0, 0.0), ORIGIN)),
    ({"question": "q", "A": "a", "B": "b", "answer": "B"}, Ranking("q", ("a", "b"), (0.0, 1.0), ORIGIN)),
    (
        {"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"},
        Ranking("q", ("a", "b"), (0.0, 1.0), ORIGIN),
    ),
    ({"query": "q", "candidates": ["a", "b"], "scores": [3, 1.5]}, Ranking("q", ("a", "b"), (3.0, 1.5), ORIGIN)),
    (
        {"user_id": "7", "item_id": "x", "rating": 4, "timestamp": 9},
        Ranking("7", ("x",), (4.0,), ORIGIN, (9,)),
    ),
]  # fmt: skip


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n", encoding="utf-8")
    return path


def read_one(tmp_path: Path, run_stage: Any, rows: list[Any], **settings: Any) -> Any:
    path = write(tmp_path / "train.jsonl", rows)
    return run_stage("dataset", read=str(path), validation=0, test=0, **settings)


@pytest.mark.parametrize(("record", "example"), FORMS, ids=lambda value: ",".join(value) if type(value) is dict else "")
def test_a_record_of_any_known_form_is_the_example_that_it_means(
    tmp_path: Path, run_stage: Any, record: dict[str, Any], example: Any
) -> None:
    wanted = Dialogue(example, ORIGIN) if isinstance(example, tuple) else example
    rows = [record]
    if isinstance(wanted, Labelled):  # a single label is refused
        rows.append({**record, "label": "other"})
    artifact = read_one(tmp_path, run_stage, rows)
    assert read_split(artifact.path, "train")[0] == wanted


@pytest.mark.parametrize("shape", SHAPES)
def test_the_files_of_a_data_set_are_read_as_the_data_set_that_they_are(
    tmp_path: Path, run_stage: Any, shape: str
) -> None:
    example = next(
        e for _, e in FORMS if isinstance(e, SHAPES[shape].example) or (shape == "dialogue" and type(e) is tuple)
    )
    rows = [record for record, e in FORMS if e is example]
    rows += [{**rows[0], "label": "other"}] if shape == "label" else []
    first = read_one(tmp_path, run_stage, rows)
    again = run_stage("dataset", read=str(first.path), validation=0, test=0)
    assert read_split(again.path, "train") == read_split(first.path, "train")
    assert again.card.id == first.card.id


# ---- which shape, which columns -----------------------------------------------------------------


def shape_of_rows(tmp_path: Path, run_stage: Any, rows: list[Any], **settings: Any) -> str:
    shape: str = read_one(tmp_path, run_stage, rows, **settings).card.metrics["shape"]
    return shape


def test_where_two_shapes_fit_the_order_decides_and_a_setting_overrides(tmp_path: Path, run_stage: Any) -> None:
    both = [{"question": "q", "answer": "a", "text": f"t{k}", "label": k} for k in range(2)]
    assert shape_of_rows(tmp_path, run_stage, both) == "dialogue"
    assert shape_of_rows(tmp_path, run_stage, both, shape="label") == "label"
    assert shape_of_rows(tmp_path, run_stage, both, columns={"label": "label"}) == "label"
    scored = [{"text": f"t{k}", "label": k, "score": 0.5} for k in range(2)]
    assert shape_of_rows(tmp_path, run_stage, scored) == "label"
    assert shape_of_rows(tmp_path, run_stage, scored, shape="score") == "score"
    assert shape_of_rows(tmp_path, run_stage, scored, shape="labels") == "labels"


@pytest.mark.parametrize(
    ("row", "columns", "example"),
    [
        ({"q": "a", "r": "b"}, {"prompt": "q", "reply": "r"}, Dialogue((Message("user", "a"), Message("assistant", "b")), ORIGIN)),
        ({"x": "a", "y": "b"}, {"source": "x", "target": "y"}, Pair("a", ("b",), ORIGIN)),
        ({"en": "a", "de": "b", "fr": "c"}, {"source": "fr", "target": "en"}, Pair("c", ("a",), ORIGIN)),
        ({"x": "a", "y": "2"}, {"text": "x", "score": "y"}, ScoredText("a", 2.0, ORIGIN)),
        ({"w": ["a"], "t": ["B-X"]}, {"tokens": "w", "tags": "t"}, Tagged(("a",), ("B-X",), ORIGIN)),
        ({"w": "ab", "s": [[0, 2, "X"]]}, {"text": "w", "entities": "s"}, Tagged(("ab",), ("B-X",), ORIGIN)),
        ({"f": "q", "p": "abc", "r": "b"}, {"question": "f", "context": "p", "answers": "r"}, Question("q", "abc", (Answer("b", 1),), ORIGIN)),
        ({"x": "q", "g": "1", "b": "2"}, {"prompt": "x", "chosen": "g", "rejected": "b"}, Preference((Message("user", "q"),), "1", "2", ORIGIN)),
        ({"who": "u", "what": "i"}, {"query": "who", "candidates": "what"}, Ranking("u", ("i",), (1.0,), ORIGIN)),
    ],
)  # fmt: skip
def test_given_columns_say_the_shape_too(tmp_path: Path, run_stage: Any, row: Any, columns: Any, example: Any) -> None:
    assert read_split(read_one(tmp_path, run_stage, [row], columns=columns).path, "train") == [example]


def test_the_nearest_column_is_named(tmp_path: Path, run_stage: Any) -> None:
    rows = [{"text": "a", "lable": k} for k in range(2)]
    with pytest.raises(NoSuchColumn, match=r"'train\.jsonl' has no column(.|\n)*columns\.label=lable"):
        read_one(tmp_path, run_stage, rows)
    with pytest.raises(NoSuchColumn, match=r"no column 'labels'(.|\n)*did you mean 'lable'"):
        read_one(tmp_path, run_stage, rows, columns={"label": "labels"})
    with pytest.raises(NoSuchColumn, match=r"the shape 'pair' has not: columns\.label=lable"):
        read_one(tmp_path, run_stage, rows, shape="pair", columns={"label": "lable"})


def test_a_table_without_the_column_is_named_with_the_line_of_its_names(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "a.csv").write_text("review,stars\nx,1\ny,2\n", encoding="utf-8")
    with pytest.raises(
        NoSuchColumn, match=r"'a\.csv:1' has no column 'star'; it has: review, stars(.|\n)*mean 'stars'"
    ):
        run_stage("dataset", read=str(tmp_path / "a.csv"), columns={"label": "star"})
    with pytest.raises(NoSuchColumn, match=r"no column 'star'"):
        run_stage("dataset", read=str(tmp_path / "a.csv"), label="star")  # the short spelling


def test_files_of_two_shapes_are_refused_by_their_names(tmp_path: Path, run_stage: Any) -> None:
    write(tmp_path / "train.jsonl", [{"text": "a", "label": 0}])
    write(tmp_path / "test.jsonl", [{"src": "a", "tgt": "b"}])
    with pytest.raises(BadFile, match=r"'test\.jsonl' is read as pair and 'train\.jsonl' as label"):
        run_stage("dataset", read=str(tmp_path))


# ---- what is wrong ------------------------------------------------------------------------------

WRONG = [
    ({"text": "a", "score": 1}, {"text": "b", "score": "much"}, {"shape": "score"}, "column 'score' holds 'much', not a number"),
    ({"text": "a", "score": 1}, {"text": "b", "score": "nan"}, {"shape": "score"}, "'nan', not a finite number"),
    ({"text": "a", "label": 1}, {"text": "b", "label": {}}, {"shape": "label"}, "column 'label' must hold a single value, not an object"),
    ({"text": "a", "label": 1}, {"text": ["b"], "label": 1}, {"shape": "label"}, "column 'text' must be text, not a list"),
    ({"messages": [{"role": "user", "content": "a"}]}, {"messages": [{"role": "asistant", "content": "a"}]}, {}, "unknown role 'asistant'(.|\n)*did you mean 'assistant'"),
    ({"messages": [{"role": "user", "content": "a"}]}, {"messages": "hello"}, {"shape": "dialogue"}, "column 'messages' must be a list of turns, not text"),
    ({"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"], "tags": [3]}, {}, "column 'tags' holds numbers instead of names"),
    ({"query": "q", "choices": ["a"], "gold": 0}, {"query": "q", "choices": ["a"], "gold": 4}, {}, "column 'gold' holds 4, which is none of 1 candidates"),
    ({"query": "q", "candidates": ["a"], "scores": [1]}, {"query": "q", "candidates": ["a"], "scores": []}, {}, "has 0 scores for 1 candidates"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "settings", "problem"), WRONG)
def test_a_wrong_record_is_told_with_file_line_and_column(
    tmp_path: Path, run_stage: Any, good: Any, bad: Any, settings: Any, problem: str
) -> None:
    with pytest.raises(BadFile, match=rf"train\.jsonl:2: .*{problem}"):
        read_one(tmp_path, run_stage, [good, bad], **settings)


def test_all_wrong_records_of_a_file_are_told_at_once(tmp_path: Path, run_stage: Any) -> None:
    rows = ["text,score"] + [f"t{k},{'x' if k % 2 else k}" for k in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        run_stage("dataset", read=str(tmp_path), shape="score")
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()[:5]] == [f"a.csv:{k}" for k in (3, 5, 7, 9, 11)]  # fmt: skip
    assert "and 5 more such records" in str(caught.value)


def test_keywords_may_be_patterns_and_one_that_does_not_compile_is_refused_with_its_line(
    tmp_path: Path, run_stage: Any
) -> None:
    def row(keywords: Any) -> dict[str, Any]:
        return {"question": "q", "answer": "a", "keywords": keywords}

    said = [row(["a", "/b{1,2}/"]), row("a, /b{1,2}/,c/d, /e/"), row("/usr, x")]
    found = read_split(read_one(tmp_path, run_stage, said).path, "train")
    assert [e.keywords for e in found] == [("a", "/b{1,2}/"), ("a", "/b{1,2}/", "c/d", "/e/"), ("/usr", "x")]
    with pytest.raises(
        BadFile, match=r"jsonl:2: the keyword '/\(/' is no regular expression: missing \), unterminated"
    ):
        read_one(tmp_path, run_stage, [row("a"), row(["/(/"])])


def test_what_is_mended_in_a_dialogue_is_counted(tmp_path: Path, run_stage: Any) -> None:
    greeted = {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}  # fmt: skip
    odd = {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "add(1)"}]}
    artifact = read_one(tmp_path, run_stage, [greeted])
    (found,) = read_split(artifact.path, "train")
    assert [m.content for m in found.messages] == ["q", "a"]
    assert artifact.card.metrics["mended"] == {"replies before any question were left out": 1}
    artifact = read_one(tmp_path, run_stage, [odd])
    assert read_split(artifact.path, "train")[0].messages[1] == Message("assistant", "add(1)")
    assert artifact.card.metrics["mended"] == {"tool calls that are not JSON were kept as text": 1}


def test_a_wrong_offset_goes_to_the_nearest_place_of_the_answer(tmp_path: Path, run_stage: Any) -> None:
    context = "one two one three one"
    rows = [
        {"question": "q", "context": context, "answers": [{"text": "one", "answer_start": at}]} for at in (1, 5, 12, 99)
    ]
    rows.append({"question": "q", "context": context, "answers": [{"text": "four", "answer_start": 0}]})
    artifact = read_one(tmp_path, run_stage, rows)
    assert [e.answers[0].start for e in read_split(artifact.path, "train")] == [0, 8, 8, 18]
    metrics = artifact.card.metrics
    assert metrics["mended"] == {"answers not in the context": 1, "answers put where their text stands": 4}
    assert metrics["dropped"] == {"no answer that stands in the context": 1}


def turns_with(name: str, *values: Any) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[k % 2], "content": f"t{k}"} for k in range(len(values))]
    return {"messages": [t | ({} if v is None else {name: v}) for t, v in zip(said, values, strict=True)]}


@pytest.mark.parametrize("name", ["weight", "train", "loss"])
def test_a_reply_of_weight_zero_is_kept_as_context_that_is_not_learnt(
    tmp_path: Path, run_stage: Any, name: str
) -> None:
    rows = [turns_with(name, None, 0, None, 1), turns_with(name, None, False, 0, True), turns_with(name, *[None] * 4)]
    artifact = read_one(tmp_path, run_stage, rows)
    found = [[m.learnt for m in e.messages] for e in read_split(artifact.path, "train")]
    assert found == [[True, False, True, True]] * 2 + [[True] * 4]
    assert artifact.card.metrics.get("mended", {}) == {}


def test_weights_that_cannot_be_kept_are_told_or_refused(tmp_path: Path, run_stage: Any) -> None:
    asked = turns_with("loss", True, True)
    nothing = turns_with("weight", None, 0)
    metrics = read_one(tmp_path, run_stage, [asked, nothing]).card.metrics
    assert metrics["mended"] == {
        "`weight`, `train` or `loss` of turns that are no replies were left out: only replies are learnt": 1
    }
    assert metrics["dropped"] == {"no reply that is learnt (weight, train or loss is 0)": 1}
    for value in (0.5, 2, "yes", [1]):
        with pytest.raises(BadFile, match=r"weight=.*, which is neither 0 nor 1"):
            read_one(tmp_path, run_stage, [turns_with("weight", None, value)])
