import json

import pytest

from pretune.base.digest import digest
from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, OneClass
from pretune.text.dataset.example import Dialogue, Labelled, Message, read_labels, read_split, shape_of
from pretune.text.dataset.shapes.labelled import label_name
from pretune.text.dataset.stage import sort_labels
from pretune.text.read.split import cluster_of

SPLITS = ("train", "validation", "test")


def labelled(folder, name, number, start=0, label="label"):
    rows = [{"text": f"text {i} 你好 🙂", label: i % 2} for i in range(start, start + number)]
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def write(path, rows):
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return str(path)


def sizes(artifact):
    return {s: len(read_split(artifact.path, s)) for s in SPLITS}


def test_given_split_files_are_taken_as_they_are_and_others_left_alone(tmp_path, run_stage):
    for name, start in (("train", 0), ("dev", 10), ("test", 20), ("test_noleak", 30)):
        labelled(tmp_path, name, 10, start)
    (tmp_path / "README").write_text("not a table", encoding="utf-8")
    artifact = run_stage("dataset", read=str(tmp_path))
    assert [e.text.split()[1] for e in read_split(artifact.path, "validation")] == [str(i) for i in range(10, 20)]
    assert sizes(artifact) == dict.fromkeys(SPLITS, 10)
    assert artifact.card.metrics["left_alone"] == {"test_noleak.jsonl": 1}
    assert read_labels(artifact.path) == ["0", "1"]
    assert shape_of(artifact.path) == "label"
    assert read_split(artifact.path, "train")[1] == Labelled("text 1 你好 🙂", "1", "train.jsonl#1")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"all": 100}, {"train": (70, 90), "validation": (3, 20), "test": (3, 20)}),
        ({"train": 100}, {"train": (70, 90), "validation": (3, 20), "test": (3, 20)}),
        ({"train": 100, "test": 20}, {"train": (80, 97), "validation": (3, 20), "test": (20, 20)}),
        ({"train": 100, "dev": 20}, {"train": (100, 100), "validation": (20, 20), "test": (0, 0)}),
        ({"dev": 100, "test": 20}, {"train": (80, 97), "validation": (3, 20), "test": (20, 20)}),
        ({"test": 30}, {"train": (0, 0), "validation": (0, 0), "test": (30, 30)}),
        ({"dev": 30}, {"train": (0, 0), "validation": (30, 30), "test": (0, 0)}),
    ],
)
def test_missing_splits_are_taken_from_what_is_there_and_nothing_is_lost(tmp_path, run_stage, files, expected):
    for i, (name, number) in enumerate(files.items()):
        labelled(tmp_path, name, number, 1000 * i)
    got = sizes(run_stage("dataset", read=str(tmp_path)))
    assert sum(got.values()) == sum(files.values())
    for split, (low, high) in expected.items():
        assert low <= got[split] <= high, (split, got)


def test_copies_stay_in_one_split(tmp_path, run_stage):
    rows = [{"text": f"Text {i % 20}{'!' * (i % 3)}", "label": i % 2} for i in range(200)]
    artifact = run_stage("dataset", read=write(tmp_path / "a.json", rows))
    splits = {s: {cluster_of(e.text) for e in read_split(artifact.path, s)} for s in SPLITS}
    assert all(splits.values())
    assert (
        not splits["train"] & splits["validation"]
        | splits["train"] & splits["test"]
        | splits["validation"] & splits["test"]
    )


def test_texts_of_test_that_stand_in_train_are_counted(tmp_path, run_stage):
    labelled(tmp_path, "train", 20)
    labelled(tmp_path, "test", 10, 15)
    found = run_stage("dataset", read=str(tmp_path)).card.metrics["doctor"]
    (leak,) = [f for f in found if f["name"] == "leaks"]
    assert leak["count"] == 5 and leak["rows"][0] == "test.jsonl#0" and leak["like"][0] == "train.jsonl#15"


def test_a_column_split_is_honoured(tmp_path, run_stage):
    rows = [
        {"text": f"t {i}", "label": str(i % 2), "split": s}
        for i, s in enumerate(["train", "train", "dev", "test", "test_hard"])
    ]
    artifact = run_stage("dataset", read=write(tmp_path / "a.json", rows))
    assert sizes(artifact) == {"train": 2, "validation": 1, "test": 1}
    assert artifact.card.metrics["left_alone"] == {"rows with split 'test_hard'": 1}


@pytest.mark.parametrize(
    ("text", "label"), [("sentence", "sentiment"), ("Review", "Category"), ("评论", "标签"), ("query", "intent")]
)
def test_columns_are_found_by_their_names(tmp_path, run_stage, text, label):
    rows = [{"idx": i, label: "ab"[i % 2], text: f"words {i}"} for i in range(10)]
    artifact = run_stage("dataset", read=write(tmp_path / "a.json", rows))
    assert read_labels(artifact.path) == ["a", "b"]
    assert all(e.text.startswith("words") for e in read_split(artifact.path, "train"))


def test_a_missing_column_is_told_with_those_that_exist(tmp_path, run_stage):
    (tmp_path / "a.csv").write_text("words,kind\nx,1\ny,2\n", encoding="utf-8")
    with pytest.raises(NoSuchColumn, match=r"label; it has: words, kind(.|\n)*dataset\.columns\.label=COLUMN"):
        run_stage("dataset", read=str(tmp_path / "a.csv"))
    with pytest.raises(NoSuchColumn, match="did you mean 'words'"):
        run_stage("dataset", read=str(tmp_path / "a.csv"), text="word", label="kind")
    assert (
        sum(
            sizes(
                run_stage("dataset", read=str(tmp_path / "a.csv"), text="words", label="kind", validation=0, test=0)
            ).values()
        )
        == 2
    )


def test_one_class_is_refused(tmp_path, run_stage):
    with pytest.raises(OneClass, match="'spam'"):
        run_stage("dataset", read=write(tmp_path / "a.json", [{"text": f"t{i}", "label": "spam"} for i in range(9)]))


def test_rows_without_text_or_label_are_counted_and_left_out(tmp_path, run_stage):
    rows = [
        {"text": "a", "label": 0},
        {"text": "b", "label": 1},
        {"text": " ", "label": 1},
        {"text": "c", "label": None},
        {"text": "d", "label": 0},
    ]
    metrics = run_stage("dataset", read=write(tmp_path / "a.json", rows), validation=0, test=0).card.metrics
    assert metrics["dropped"] == {"empty text": 1, "no label": 1}
    with pytest.raises(EmptyInput, match="1 no label"):
        run_stage("dataset", read=write(tmp_path / "b.json", [{"text": "a", "label": None}]))


def test_labels_are_named_and_ordered():
    assert [label_name(v) for v in (1, 1.0, "1", True, None, 0.5, " a ")] == ["1", "1", "1", "true", "", "0.5", "a"]
    assert sort_labels({"10", "2", "-1"}) == ["-1", "2", "10"]
    assert sort_labels({"10", "2", "b"}) == ["10", "2", "b"]
    with pytest.raises(BadFile, match="single value"):
        label_name([1, 2])


MESSAGES = (Message("system", "Be kind."), Message("user", "你好"), Message("assistant", "Hello 🙂"))
SHAPES = {
    "messages": {"messages": [{"role": m.role, "content": m.content} for m in MESSAGES]},
    "parts": {"messages": [{"role": m.role, "content": [{"type": "text", "text": m.content}]} for m in MESSAGES]},
    "values": {"messages": [{"role": m.role, "content": [{"type": "text", "value": m.content}]} for m in MESSAGES]},
    "question": {"question": "你好", "answer": "Hello 🙂", "system": "Be kind."},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "Hello 🙂"}],
        "system": "Be kind.",
    },
    "alpaca": {"instruction": "你好", "input": "", "output": "Hello 🙂", "system": "Be kind."},
    "pair": {"prompt": "你好", "completion": "Hello 🙂", "system": "Be kind."},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_dialogue_gives_the_same_messages(tmp_path, run_stage, shape):
    rows = [{**SHAPES[shape], "keywords": ["Hello"]}]
    artifact = run_stage("dataset", read=write(tmp_path / "train.json", rows), validation=0, test=0)
    assert read_split(artifact.path, "train") == [Dialogue(MESSAGES, "train.json#0", ("Hello",))]
    assert (read_labels(artifact.path), shape_of(artifact.path)) == (None, "dialogue")


def test_alpaca_joins_instruction_and_input_and_keeps_the_history(tmp_path, run_stage):
    row = {"instruction": "Translate", "input": "你好", "output": "Hello", "history": [["q", "a"]]}
    artifact = run_stage("dataset", read=write(tmp_path / "train.json", [row]), validation=0, test=0)
    told = [(m.role, m.content) for m in read_split(artifact.path, "train")[0].messages]
    assert told == [("user", "q"), ("assistant", "a"), ("user", "Translate\n你好"), ("assistant", "Hello")]


def test_a_dialogue_without_a_reply_is_left_out_and_counted(tmp_path, run_stage):
    rows = [{"prompt": "a", "completion": ""}, {"prompt": "b", "completion": "c"}]
    assert run_stage("dataset", read=write(tmp_path / "a.json", rows)).card.metrics["dropped"] == {"no reply": 1}


def test_an_unknown_role_is_named_with_its_place(tmp_path, run_stage):
    rows = [{"messages": [{"role": "wizard", "content": "x"}]}]
    with pytest.raises(BadFile, match=r"a\.json#0: unknown role 'wizard'"):
        run_stage("dataset", read=write(tmp_path / "a.json", rows))


def test_plain_text_is_no_data_set(tmp_path, run_stage):
    (tmp_path / "a.txt").write_text("words", encoding="utf-8")
    with pytest.raises(NoSuchColumn, match="holds no table"):
        run_stage("dataset", read=str(tmp_path))


def test_the_same_rows_give_the_same_bytes(tmp_path, run_stage):
    labelled(tmp_path, "all", 50)
    ids = [run_stage("dataset", read=str(tmp_path / "all.jsonl")).card.id for _ in range(2)]
    assert ids[0] == ids[1]


def test_the_same_settings_write_what_they_wrote_before(tmp_path, run_stage):
    """If this fails, raise the `version` of the stage, then renew the digest."""
    labelled(tmp_path, "all", 50)
    path = run_stage("dataset", read=str(tmp_path / "all.jsonl")).path
    assert (
        digest([[[e.text, e.label, e.origin] for e in read_split(path, s)] for s in SPLITS])
        == "d30cceadf51462a9be6b128e0fd3e190"
    )
