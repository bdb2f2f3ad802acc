"""Files of every format, and what their names say of splits; samples; files that are broken."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand, BadFile, NoSuchColumn, NotText, PretuneError
from pretune.text.dataset.example import Labelled, Pair, Tagged, read_labels, read_split
from pretune.text.dataset.shapes.files import LabelledFile, splits_of
from tests.text.format_samples import zipped

SPLITS = ("train", "validation", "test")


def put(place: Path, files: dict[str, str]) -> str:
    folder = place / "in"  # next to what the stage writes
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8", newline="")
    return str(folder)


def by_split(artifact: Artifact) -> dict[str, list[Any]]:
    return {split: found for split in SPLITS if (found := read_split(artifact.path, split))}


# ---- formats ------------------------------------------------------------------------------------


def test_parallel_files_are_pairs_line_by_line(tmp_path: Path, run_stage: Any) -> None:
    files = {
        "raw__train.de.gz": "Hund\nKatze\n",
        "raw__train.en.gz": "dog\ncat\n",
        "raw__val.de.gz": "Maus\n",
        "raw__val.en.gz": "mouse\n",
        "raw__test_2016_flickr.de.gz": "Kuh\n",
        "raw__test_2016_flickr.en.gz": "cow\n",
    }
    found = by_split(run_stage("dataset", read=put(tmp_path, files)))
    told = {split: [(e.source, *e.targets) for e in group] for split, group in found.items()}
    assert told == {"train": [("Hund", "dog"), ("Katze", "cat")], "validation": [("Maus", "mouse")], "test": [("Kuh", "cow")]}  # fmt: skip
    assert found["validation"][0].origin == "raw__val.de.gz + raw__val.en.gz#0"
    turned = run_stage("dataset", read=str(tmp_path / "in"), columns={"source": "en", "target": "de"})
    assert read_split(turned.path, "test")[0] == Pair("cow", ("Kuh",), found["test"][0].origin)


def test_parallel_files_of_two_lengths_are_refused(tmp_path: Path, run_stage: Any) -> None:
    with pytest.raises(BadFile, match=r"train\.src ends after 1 lines"):
        run_stage("dataset", read=put(tmp_path, {"train.src": "a\n", "train.tgt": "b\nc\n"}))
    folder = put(tmp_path / "three", {"a.de": "x\n", "a.en": "y\n", "a.fr": "z\n"})
    with pytest.raises(NoSuchColumn, match=r"holds 3 languages: de, en, fr(.|\n)*columns\.source=de"):
        run_stage("dataset", read=folder)


def test_words_slots_and_intents_lie_side_by_side(tmp_path: Path, run_stage: Any) -> None:
    files = {"train.seq.in": "play jazz \nstop\n", "train.seq.out": "O B-genre\nO\n", "train.label": "Play\nStop\n"}
    folder = put(tmp_path, files)
    assert [(e.tokens, e.tags) for e in by_split(run_stage("dataset", read=folder, validation=0, test=0))["train"]] == [
        (("play", "jazz"), ("O", "B-genre")),
        (("stop",), ("O",)),
    ]
    intents = by_split(run_stage("dataset", read=folder, validation=0, test=0, shape="label"))["train"]
    assert [(e.text, e.label) for e in intents] == [("play jazz", "Play"), ("stop", "Stop")]
    (tmp_path / "in/train.seq.out").write_text("O B-genre\nO O\n", encoding="utf-8")
    with pytest.raises(BadFile, match=":2: column 'tags' has 2 tags for 1 words"):
        run_stage("dataset", read=folder)


def test_label_marks_give_one_label_or_several(tmp_path: Path, run_stage: Any) -> None:
    one = put(tmp_path / "one", {"train.txt": "__label__a x  y\n\n__label__b z\n"})
    assert by_split(run_stage("dataset", read=one, validation=0, test=0))["train"] == [
        Labelled("x  y", "a", "train.txt#0"),
        Labelled("z", "b", "train.txt#1"),
    ]
    several = put(tmp_path / "several", {"train.txt": "__label__a __label__c x\n__label__b z\n"})
    found = by_split(run_stage("dataset", read=several, validation=0, test=0))["train"]
    assert [(e.text, e.labels) for e in found] == [("x", ("a", "c")), ("z", ("b",))]


def test_lines_of_text_tab_label_need_no_header(tmp_path: Path, run_stage: Any) -> None:
    folder = put(tmp_path, {"train.txt": "词汇\t3\n考试\t3\n球赛\t7\n股市\t7\n"})
    found = by_split(run_stage("dataset", read=folder, validation=0, test=0))["train"]
    assert [(e.text, e.label) for e in found][:3] == [("词汇", "3"), ("考试", "3"), ("球赛", "7")]


def test_a_folder_of_texts_per_class(tmp_path: Path, run_stage: Any) -> None:
    files = {
        "README": "about",
        "train/pos/1.txt": "good\nfilm",
        "train/neg/1.txt": "bad",
        "train/neg/2.txt": "",
        "test/pos/9.txt": "fine",
    }
    artifact = run_stage("dataset", read=put(tmp_path, files), validation=0)
    assert by_split(artifact) == {
        "train": [Labelled("bad", "neg", "train/neg/1.txt"), Labelled("good\nfilm", "pos", "train/pos/1.txt")],
        "test": [Labelled("fine", "pos", "test/pos/9.txt")],
    }
    assert artifact.card.metrics["dropped"] == {"empty text": 1}


def test_ratings_become_one_ranking_per_user_with_titles(tmp_path: Path, run_stage: Any) -> None:
    files = {
        "m.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t5\t30\n2\t8\t1\t5\n1\t9\t2\t10\n",
        "m.item": "item_id:token\tmovie_title:token_seq\n7\tAlien\n8\tHeat\n9\tHeat\n",
        "m.user": "user_id:token\tage:token\n1\t30\n",
    }
    artifact = run_stage("dataset", read=put(tmp_path, files), validation=0, test=0)
    found = {e.query: (e.candidates, e.scores, e.times) for e in by_split(artifact)["train"]}
    assert found == {"1": (("Heat [9]", "Alien"), (2.0, 5.0), (10, 30)), "2": (("Heat [8]",), (1.0,), (5,))}
    assert artifact.card.metrics["left_alone"] == {}


def test_json_whose_records_lie_deeper_is_opened(tmp_path: Path, run_stage: Any) -> None:
    rows = [{"text": f"t{k}", "label": k % 2} for k in range(4)]
    trees: list[Any] = [
        {"data": rows},
        {str(1000 + k): row for k, row in enumerate(rows)},
        {"train": rows[:2], "dev": rows[2:]},
    ]
    for number, tree in enumerate(trees):
        path = put(tmp_path, {f"{number}.json": json.dumps(tree)}) + f"/{number}.json"
        found = by_split(run_stage("dataset", read=path, validation=0, test=0))
        assert [e.text for group in found.values() for e in group] == ["t0", "t1", "t2", "t3"]
        assert len(found.get("validation", [])) == (2 if number == 2 else 0)


ASKED = [("book a flight to 北京", "travel"), ("play some jazz", "music"), ("a train to Rome", "travel")]
SIDED: list[tuple[str, Any, Any]] = [
    ("lists", [list(pair) for pair in ASKED], [["any trains?", "travel"]]),
    ("lists, the label first", [[label, text] for text, label in ASKED], [["travel", "any trains?"]]),
    ("lists with their names", [["intent", "query"], *[[b, a] for a, b in ASKED]], [["travel", "any trains?"]]),
    ("objects", [{"text": a, "label": b} for a, b in ASKED], [{"text": "any trains?", "label": "travel"}]),
    (
        "objects by their ids",
        {f"id-{k}": {"text": a, "label": b} for k, (a, b) in enumerate(ASKED)},
        {"id-9": {"text": "any trains?", "label": "travel"}},
    ),
    (
        "columns",
        {"text": [a for a, _ in ASKED], "label": [b for _, b in ASKED]},
        {"text": ["any trains?"], "label": ["travel"]},
    ),
]


@pytest.mark.parametrize(("train", "val"), [case[1:] for case in SIDED], ids=[case[0] for case in SIDED])
def test_a_json_object_of_splits_gives_the_rows_of_each_in_any_form(
    tmp_path: Path, run_stage: Any, train: Any, val: Any
) -> None:
    tree = {"train": train, "val": val, "test": [], "oos_train": [["what is love", "oos"]], "version": "1.1"}
    made = run_stage("dataset", read=put(tmp_path, {"data_full.json": json.dumps(tree)}), validation=0, test=0)
    found = by_split(made)
    assert [(e.text, e.label) for e in found["train"]] == ASKED
    assert [(e.text, e.label) for e in found["validation"]] == [("any trains?", "travel")]
    assert made.card.metrics["left_alone"] == {"rows with split 'oos_train'": 1}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["a", "b"], "'train' holds a list of text"),
        ([["a", "b", "c"]], "'train' holds a list of lists of 3 without names"),
        ([["a", 1], ["b"]], "'train' holds a list of lists of 1 and 2 without names"),
        ({"a": "b"}, "'train' holds an object"),
    ],
)
def test_a_split_that_holds_no_rows_is_refused_by_its_name(
    tmp_path: Path, run_stage: Any, value: Any, told: str
) -> None:
    folder = put(tmp_path, {"a.json": json.dumps({"train": value, "test": [["a", "b"]]})})
    with pytest.raises(BadFile, match=rf"a\.json': {told}, and no rows that are known(.|\n)*a list for each column"):
        run_stage("dataset", read=folder)


def test_a_column_that_is_called_like_a_split_makes_no_record_a_tree(tmp_path: Path, run_stage: Any) -> None:
    rows = [{"prompt": f"p{k}", "completion": f"c{k}", "test": ["assert f(1)"]} for k in range(2)]
    folder = put(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, rows))})
    assert run_stage("dataset", read=folder).card.metrics["shape"] == "dialogue"


def test_names_of_classes_in_a_parquet_file_take_the_place_of_its_numbers(tmp_path: Path, run_stage: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tags = {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "Sequence"}
    said = json.dumps({"info": {"features": {"ner_tags": tags, "tokens": {"_type": "Sequence"}}}})
    table = pa.table({"tokens": [["Ann", "sleeps"]], "ner_tags": [[1, 0]]})
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), tmp_path / "train.parquet")
    artifact = run_stage("dataset", read=str(tmp_path / "train.parquet"), validation=0, test=0)
    assert by_split(artifact)["train"][0].tags == ("B-PER", "O")
    pq.write_table(table.replace_schema_metadata({"huggingface": "[]"}), tmp_path / "test.parquet")
    with pytest.raises(BadFile, match="holds numbers instead of names of tags"):
        run_stage("dataset", read=str(tmp_path / "test.parquet"))


def test_members_of_an_archive_are_files(tmp_path: Path, run_stage: Any) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("data/train.csv", "text,label\na,0\nb,1\n")
        archive.writestr("data/test.csv", "text,label\nc,0\n")
    artifact = run_stage("dataset", read=str(tmp_path / "all.zip"), validation=0)
    assert {s: [e.text for e in g] for s, g in by_split(artifact).items()} == {"train": ["a", "b"], "test": ["c"]}
    assert read_split(artifact.path, "test")[0].origin == "all.zip/data/test.csv#0"


# ---- splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stems", "splits"),
    [
        ("train dev test test_noleak", "train validation test -"),
        ("train test_noleak", "train -"),
        ("raw__train raw__val", "train validation"),
        ("train-00000-of-00002 train-00001-of-00002 test-00000-of-00001", "train train test"),
        ("reviews.train reviews.test", "train test"),
        ("train_histories", ""),  # alone, it says nothing that others do not
        ("train_histories test_analects", "train test"),
        ("train_histories others", " "),
        ("training", ""),
    ],
)
def test_a_name_says_the_split_exactly_or_all_of_them_begin_with_it(stems: str, splits: str) -> None:
    made = [LabelledFile(f"{stem}.jsonl", stem, lambda repairs: iter(()), ()) for stem in stems.split()]
    wanted = [None if split == "-" else split for split in splits.split(" ")]
    names: list[Any] = [{"": ""}.get(s, s) if s is not None else None for s in wanted]
    assert splits_of(made) == names


def test_of_parallel_files_two_for_one_split_are_left_alone() -> None:
    def split(*stems: str) -> list[str | None]:
        return splits_of([LabelledFile(f"{s}.de + {s}.en", s, lambda r: iter(()), (), is_parallel=True) for s in stems])

    assert split("train", "val", "test_2016") == ["train", "validation", "test"]
    assert split("train", "val", "test_2016", "test_2017") == ["train", "validation", None, None]


def test_what_only_tells_about_the_data_is_no_data(tmp_path: Path, run_stage: Any) -> None:
    about = {"README.md": "#", "LICENSE-MIT": "x", "readme.zh.txt": "x", "dataset_info.json": "{}", "load.py": "1"}
    folder = put(tmp_path, {**about, "notice.csv": "text,label\na,0\nb,1\n", "notes.txt": "free text\n"})
    metrics = run_stage("dataset", read=folder, validation=0, test=0).card.metrics
    assert list(metrics["read_as"]) == ["notice.csv"]
    assert metrics["left_alone"] == {"notes.txt (in no known format)": 1}  # told


def test_a_folder_named_after_a_split_is_that_split(tmp_path: Path, run_stage: Any) -> None:
    files = {"train/part-1.csv": "text,label\na,0\nb,1\n", "dev/part-1.csv": "text,label\nc,0\n"}
    assert {s: len(g) for s, g in by_split(run_stage("dataset", read=put(tmp_path, files), test=0)).items()} == {
        "train": 2,
        "validation": 1,
    }


# ---- samples ------------------------------------------------------------------------------------


def test_a_sample_is_the_same_each_time_and_lies_within_a_larger_one(tmp_path: Path, run_stage: Any) -> None:
    rows = "".join(json.dumps({"text": f"text number {k}", "label": k % 2}) + "\n" for k in range(300))
    path = put(tmp_path, {"all.jsonl": rows}) + "/all.jsonl"

    def texts(number: str) -> list[str]:
        artifact = run_stage("dataset", read=path + number)
        return [e.text for group in by_split(artifact).values() for e in group]

    small, large, again = texts("#40"), texts("#100"), texts("#40")
    assert (len(small), len(large), len(texts("#999"))) == (40, 100, 300)
    assert small == again
    assert set(small) < set(large)
    ids = {Artifact.open(path + number).card.id for number in ("", "#40", "#100")}
    assert len(ids) == 3
    assert Artifact.open(f"{path}#40").written(tmp_path / "in") == "all.jsonl#40"


def test_a_sample_is_found_again_through_the_card(tmp_path: Path, run_stage: Any) -> None:
    rows = "".join(json.dumps({"text": f"text {k}", "label": k % 2}) + "\n" for k in range(30))
    artifact = run_stage("dataset", read=put(tmp_path, {"all.jsonl": rows}) + "/all.jsonl#10")
    source = artifact.source("read.0")
    assert source is not None
    assert (source.sample, source.card.id) == (10, artifact.card.inputs["read.0"]["id"])


def test_a_sample_of_what_cannot_be_sampled_is_refused(tmp_path: Path, run_stage: Any) -> None:
    path = put(tmp_path, {"all.jsonl": '{"text": "a"}\n'}) + "/all.jsonl"
    with pytest.raises(BadCommand, match="corpus takes no sample"):
        run_stage("corpus", read=f"{path}#5")
    with pytest.raises(BadCommand, match="no example at all"):
        run_stage("dataset", read=f"{path}#0")
    (tmp_path / "odd#5").write_text('{"text": "a", "label": 0}', encoding="utf-8")
    assert Artifact.open(tmp_path / "odd#5").sample is None


# ---- what is broken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "kind", "problem"),
    [
        ("a.csv", b"text,label\na,0\nb,1,2\n", BadFile, r"a\.csv:3 has 3 cells, the first line has 2"),
        ("a.csv", b"text,text\na,0\n", BadFile, "two columns of one name"),
        ("a.jsonl", b'{"text": "a", "label": 0}\n{"text": "b", "la', BadFile, r"a\.jsonl:2 is not JSON"),
        ("a.json", b'[{"text": "a", "label": 0}, {"text": ', BadFile, r"a\.json:1 is not JSON"),
        ("a.csv", "text,label\ncafé,0\nnaïve,1\n".encode("latin-1"), NotText, "another encoding"),
        ("a.json", b"[1, 2]", BadFile, "not an object"),
        ("a.txt", b"__label__a x\n" * 9000 + b"no mark\n", BadFile, r"a\.txt:9001 has no __label__"),
        ("a.parquet", b"PAR1 and more", BadFile, "parquet"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    tmp_path: Path, run_stage: Any, name: str, data: bytes, kind: type[PretuneError], problem: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(kind, match=problem):
        run_stage("dataset", read=str(tmp_path))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "a.csv").write_text("text,label\n你好,0\n再见,1\n", encoding="utf-8-sig")
    found = by_split(run_stage("dataset", read=str(tmp_path / "a.csv"), validation=0, test=0))
    assert [e.text for e in found["train"]] == ["你好", "再见"]


def test_a_few_bytes_of_another_encoding_are_replaced_and_counted(tmp_path: Path, run_stage: Any) -> None:
    rows = ["text,label"] + [f"今天天气很好 {k},{k % 2}" for k in range(50)]
    (tmp_path / "a.csv").write_bytes("\n".join(rows).encode() + b"\nbad \xff\xfe byte,1\n")
    metrics = run_stage("dataset", read=str(tmp_path / "a.csv")).card.metrics
    assert (metrics["examples"], metrics["repaired"]) == (51, 1)


def test_labels_that_differ_by_a_blank_are_one_label_and_told(tmp_path: Path, run_stage: Any) -> None:
    text = "text,label\na,spam\nb, spam\nc,ham \nd,ham\n"
    artifact = run_stage("dataset", read=put(tmp_path, {"train.csv": text}), validation=0, test=0)
    assert read_labels(artifact.path) == ["ham", "spam"]
    assert artifact.card.metrics["mended"] == {"labels with blanks around them were stripped": 2}


def test_ten_megabytes_in_one_field_are_one_example(tmp_path: Path, run_stage: Any) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], ["word " * 2_000_000, "a"], ["short", "b"]])
    found = by_split(run_stage("dataset", read=str(tmp_path / "a.csv"), validation=0, test=0))["train"]
    assert [len(e.text) for e in found] == [10_000_000, 5]


def test_words_and_no_tag_at_all_are_refused(tmp_path: Path, run_stage: Any) -> None:
    with pytest.raises(PretuneError, match="all 1 examples to train on have no label at all"):
        run_stage("dataset", read=put(tmp_path, {"train.conll": "a O\nb O\n"}), validation=0, test=0)


def test_class_names_that_do_not_fit_are_not_taken(tmp_path: Path, run_stage: Any) -> None:
    rows = "text,label\na,0\nb,1\n"
    for names, labels in (("no\nyes\n", ["no", "yes"]), ("no\nyes\nperhaps\n", ["0", "1"]), ("no\nno\n", ["0", "1"])):
        folder = put(tmp_path, {"train.csv": rows, "class.txt": names})
        assert read_labels(run_stage("dataset", read=folder, validation=0, test=0).path) == labels


def test_an_example_of_tags_from_an_english_text_keeps_its_words(tmp_path: Path, run_stage: Any) -> None:
    row = {"text": "Ann lives in New York.", "entities": [{"start": 13, "end": 21, "label": "LOC"}]}
    artifact = run_stage("dataset", read=put(tmp_path, {"train.jsonl": json.dumps(row)}), validation=0, test=0)
    words, tags = ("Ann", "lives", "in", "New", "York", "."), ("O", "O", "O", "B-LOC", "I-LOC", "O")
    assert by_split(artifact)["train"] == [Tagged(words, tags, "train.jsonl#0")]


# ---- what is no end of a line, what is no row ---------------------------------------------------


@pytest.mark.parametrize("inside", ["\x85", "\u2028", "\u2029", "\f", "\v", "\x1c", "\x1e"])
def test_only_the_ends_of_lines_end_lines_with_labels(tmp_path: Path, run_stage: Any, inside: str) -> None:
    texts = [f"good{inside}film {k}" for k in range(4)]
    marked = put(tmp_path / "marked", {"train.txt": "".join(f"__label__{k % 2} {t}\n" for k, t in enumerate(texts))})
    tabs = put(tmp_path / "tabs", {"train.txt": "".join(f"{t}\t{k % 2}\r\n" for k, t in enumerate(texts))})
    for folder in (marked, tabs):
        found = by_split(run_stage("dataset", read=folder, validation=0, test=0))["train"]
        assert [(e.text, e.label) for e in found] == [(t, str(k % 2)) for k, t in enumerate(texts)]


COMMENTED = """# global.columns = FORM NER
# newdoc
# sent_id = 1
# text = Ann # lives
Ann B-PER
# a comment between two words
# O
#tag O
lives O

## sent_id = 2
#id = 2
Bob B-PER
"""


@pytest.mark.parametrize("name", ["train.conll", "train.txt"])
@pytest.mark.parametrize("between", [" ", "\t"])
def test_comments_between_words_and_tags_are_no_rows_and_the_word_hash_is_one(
    tmp_path: Path, run_stage: Any, name: str, between: str
) -> None:
    text = re.sub(r" (?=(B-PER|O)$)", between, COMMENTED, flags=re.MULTILINE)
    found = by_split(run_stage("dataset", read=put(tmp_path, {name: text}), validation=0, test=0))["train"]
    assert [(e.tokens, e.tags) for e in found] == [
        (("Ann", "#", "#tag", "lives"), ("B-PER", "O", "O", "O")),
        (("Bob",), ("B-PER",)),
    ]


def test_a_word_that_begins_with_a_hash_and_has_no_tag_is_refused(tmp_path: Path, run_stage: Any) -> None:
    with pytest.raises(BadFile, match=r"train\.conll:2 has no tag: '#tag'"):
        run_stage("dataset", read=put(tmp_path, {"train.conll": "a B-X\n#tag\n"}))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", '[{"text": "a", "label": "x"}, {"text": ', "set.zip/a.json:1 is not JSON"),
        ("a.conll", "Ann B-PER\nlives\n", "set.zip/a.conll:2 has no tag"),
        ("a.csv", "text,label\na,b,c\n", "set.zip/a.csv:2 has 3 cells"),
    ],
)
def test_what_is_wrong_in_an_archive_is_called_as_it_is_there(tmp_path, run_stage, name, text, told) -> None:
    (tmp_path / "set.zip").write_bytes(zipped({name: text}))
    with pytest.raises(BadFile) as error:
        run_stage("dataset", read=str(tmp_path / "set.zip"))
    assert str(error.value).startswith(told)


def test_names_in_the_first_line_of_text_tab_label_are_no_example(tmp_path, run_stage) -> None:
    rows = "".join(f"text {k} 你好\t{k % 2}\n" for k in range(6))
    (tmp_path / "a.txt").write_text(f"Sentence\tlabel\n{rows}", encoding="utf-8")
    made = run_stage("dataset", read=str(tmp_path / "a.txt"), validation=0, test=0)
    assert [e.text for e in read_split(made.path, "train")] == [f"text {k} 你好" for k in range(6)]
