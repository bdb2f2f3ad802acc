"""Tags of every scheme come out in IOB2 with the pieces that conlleval finds (TRAPS 29)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.base.errors import BadFile
from pretune.text.dataset.example import read_split
from pretune.text.dataset.shapes.converter import Notes
from pretune.text.dataset.shapes.schemes import pieces_of, scheme_of, to_iob2, without_blanks
from pretune.text.dataset.shapes.tagged import apart, tagged

# Two people side by side, a place of one word, a group of three: what conlleval counts is 4 pieces.
MEANT = "B-PER I-PER B-PER O B-LOC B-ORG I-ORG I-ORG"
SAME = {
    "IOB1": "I-PER I-PER B-PER O I-LOC I-ORG I-ORG I-ORG",
    "IOB2": MEANT,
    "BIOES": "B-PER E-PER S-PER O S-LOC B-ORG I-ORG E-ORG",
    "BMES": "B-PER E-PER S-PER O S-LOC B-ORG M-ORG E-ORG",
    "BILOU": "B-PER L-PER U-PER O U-LOC B-ORG I-ORG L-ORG",
}


@pytest.mark.parametrize("scheme", SAME)
def test_the_same_names_in_every_scheme_give_the_same_iob2_and_the_scheme_is_told(scheme: str) -> None:
    tags = SAME[scheme].split()
    assert scheme_of([tags]) == scheme
    assert to_iob2(tags, scheme) == tuple(MEANT.split())


def pieces(tags: list[str]) -> list[tuple[int, int, str]]:
    """(first, last, kind), by the two rules of conlleval.pl, written out as they stand there."""
    found: list[tuple[int, int, str]] = []
    start, last, last_kind = 0, "O", ""
    for k, tag in enumerate([*tags, "O"]):
        part, _, kind = tag.partition("-")
        ends = (
            (last == "B" and part == "B")
            or (last == "B" and part == "O")
            or (last == "I" and part == "B")
            or (last == "I" and part == "O")
            or (last == "E" and part in "EIOB")
            or (last not in "O." and last_kind != kind)
        )
        begins = (
            (last == "B" and part == "B")
            or (last == "I" and part == "B")
            or (last == "O" and part == "B")
            or (last == "O" and part == "I")
            or (last == "E" and part == "E")
            or (last == "E" and part in "IB")
            or (last == "O" and part == "E")
            or (part not in "O." and last_kind != kind)
        )
        if ends and last != "O":
            found.append((start, k - 1, last_kind))
        if begins:
            start = k
        last, last_kind = part, kind
    return found


def all_sequences(tags: list[str], length: int) -> list[list[str]]:
    return [[]] if not length else [[t, *rest] for t in tags for rest in all_sequences(tags, length - 1)]


def test_of_every_sequence_of_four_tags_the_pieces_are_those_of_conlleval() -> None:
    for tags in all_sequences(["O", "B-X", "I-X", "E-X", "B-Y", "I-Y"], 4):
        assert pieces(list(to_iob2(tags, "BIOES"))) == pieces(tags), tags
        assert [(first, end - 1, kind) for first, end, kind in pieces_of(tags)] == pieces(tags), tags


@pytest.mark.parametrize(
    ("tags", "scheme", "iob2"),
    [
        ("I-PER O I-PER", "IOB1", "B-PER O B-PER"),
        ("O I-PER B-LOC I-PER", "IOB2", "O B-PER B-LOC B-PER"),  # IOB2 with mistakes
        ("PER PER O LOC", "IO", "B-PER I-PER O B-LOC"),
        ("DT NN NN", "POS", "B-DT B-NN B-NN"),
        ("B E S B M E", "BMES", "B-word I-word B-word B-word I-word I-word"),  # word segmentation
        ("B_PER I_PER O", "IOB2", "B-PER I-PER O"),
        ("O O", "IOB2", "O O"),
    ],
)
def test_other_ways_of_writing_tags_are_read_as_meant(tags: str, scheme: str, iob2: str) -> None:
    assert scheme_of([tags.split()]) == scheme
    assert " ".join(to_iob2(tags.split(), scheme)) == iob2


def test_tags_of_two_schemes_in_one_data_set_are_refused() -> None:
    with pytest.raises(BadFile, match="'PER' is of another scheme than 'B-LOC'"):
        scheme_of([["O", "PER"], ["B-LOC"]])


def test_an_empty_word_is_left_out_and_its_piece_goes_on() -> None:
    assert without_blanks(["a", " ", "b"], ["B-X", "I-X", "I-X"]) == (("a", "b"), ("B-X", "I-X"))
    assert without_blanks(["", "b", "c"], ["B-X", "I-X", "O"]) == (("b", "c"), ("B-X", "O"))
    assert without_blanks(["a", "", "b"], ["B-X", "B-Y", "I-Y"]) == (("a", "b"), ("B-X", "B-Y"))
    assert without_blanks(["a", "", "b"], ["B-X", "O", "B-X"]) == (("a", "b"), ("B-X", "B-X"))


def test_of_overlapping_pieces_the_longest_is_kept_and_the_others_are_counted() -> None:
    notes = Notes()
    assert apart([(0, 2, "LOC"), (0, 4, "ORG"), (3, 6, "PER"), (7, 8, "PER")], notes) == [(0, 4, "ORG"), (7, 8, "PER")]
    assert notes.mended == {"overlapping entities": 2}


def test_chinese_text_becomes_characters_and_english_text_words_cut_where_a_piece_is() -> None:
    assert tagged("在 北京市", [(2, 4, "LOC")]) == (tuple("在北京市"), ("O", "B-LOC", "I-LOC", "O"))
    words, tags = tagged("In New York-based", [(3, 11, "LOC")])
    assert words == ("In", "New", "York", "-", "based")
    assert tags == ("O", "B-LOC", "I-LOC", "O", "O")


# ---- as files -----------------------------------------------------------------------------------


def tags_of(artifact: Any) -> list[tuple[str, str]]:
    return [(" ".join(e.tokens), " ".join(e.tags)) for e in read_split(artifact.path, "train")]


@pytest.mark.parametrize("name", ["train.conll", "train.bmes", "train.txt", "train"])
def test_conll_is_told_by_its_name_or_its_content(tmp_path: Path, run_stage: Any, name: str) -> None:
    text = "-DOCSTART- -X- O\n\nAnn NNP B-PER\nsleeps VB O\n\n\nIn IN O\nRome NNP B-LOC\n"
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    artifact = run_stage("dataset", read=str(tmp_path / name), validation=0, test=0)
    assert tags_of(artifact) == [("Ann sleeps", "B-PER O"), ("In Rome", "O B-LOC")]
    assert artifact.card.metrics["scheme"] == "IOB2"
    assert artifact.card.metrics["labels"]["PER"]["train"] == 1


def test_empty_words_of_a_file_are_counted(tmp_path: Path, run_stage: Any) -> None:
    (tmp_path / "train.conll").write_text("中\tB-LOC\n\tI-LOC\n国\tI-LOC\n\u3000\tO\n", encoding="utf-8")
    artifact = run_stage("dataset", read=str(tmp_path), validation=0, test=0)
    assert tags_of(artifact) == [("中 国", "B-LOC I-LOC")]
    assert artifact.card.metrics["mended"] == {"empty words were left out": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Ann B-PER\nsleeps\n", r"train\.conll:2 has no tag: 'sleeps'"),
        ("Ann NNP B-PER\nsleeps O\n", r"train\.conll:2 has 2 columns, the lines before it 3"),
    ],
)
def test_a_line_that_is_no_word_with_a_tag_is_named(tmp_path: Path, run_stage: Any, text: str, problem: str) -> None:
    (tmp_path / "train.conll").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=problem):
        run_stage("dataset", read=str(tmp_path))


def test_a_wrong_number_of_tags_is_told_with_the_line(tmp_path: Path, run_stage: Any) -> None:
    rows = [{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a", "b"], "tags": ["O"]}]
    lines = "\n\n".join(map(json.dumps, rows))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(BadFile, match=r"a\.jsonl:3: column 'tags' has 1 tags for 2 words"):
        run_stage("dataset", read=str(tmp_path))


@pytest.mark.parametrize(
    "label",
    [
        {"LOC": {"北京": [[1, 2]]}},  # CLUENER: the last place included
        {"LOC": {"北京": [[1, 3]]}},  # one past it
        [[1, 3, "LOC"]],
        [{"start": 1, "end": 3, "label": "LOC"}],
        [{"start_offset": 1, "end_offset": 3, "type": "LOC"}],
    ],
)
def test_places_of_entities_are_read_however_they_are_written(tmp_path: Path, run_stage: Any, label: Any) -> None:
    row = json.dumps({"text": "在北京！", "label": label}, ensure_ascii=False)
    (tmp_path / "train.jsonl").write_text(row, encoding="utf-8")
    artifact = run_stage("dataset", read=str(tmp_path), validation=0, test=0)
    assert tags_of(artifact) == [("在 北 京 ！", "O B-LOC I-LOC O")]
    assert artifact.card.metrics["mended"] == {}


def test_an_entity_that_stands_elsewhere_is_found_by_its_text_and_counted(tmp_path: Path, run_stage: Any) -> None:
    label = {"LOC": {"北京": [[0, 1]], "上海": [[0, 1]]}}
    row = json.dumps({"text": "我在北京", "label": label}, ensure_ascii=False)
    (tmp_path / "train.jsonl").write_text(row, encoding="utf-8")
    artifact = run_stage("dataset", read=str(tmp_path), validation=0, test=0)
    assert tags_of(artifact) == [("我 在 北 京", "O O B-LOC I-LOC")]
    assert artifact.card.metrics["mended"] == {"entities not in the text": 1, "entities put right by their text": 1}


def test_a_place_outside_of_the_text_is_an_error_with_the_line(tmp_path: Path, run_stage: Any) -> None:
    rows = [{"text": "ab", "entities": [[0, 1, "X"]]}, {"text": "ab", "entities": [[1, 5, "X"]]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(BadFile, match=r"a\.jsonl:2: column 'entities' has a piece from 1 to 5 of a text of 2"):
        run_stage("dataset", read=str(tmp_path))
