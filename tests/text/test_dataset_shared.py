"""Every labelled set next to the clone is read without a setting, and nothing of it is lost.

The numbers are those of each set's README, or counted in its files by hand: lines (`wc -l`), sentences (`awk` in
paragraph mode, less -DOCSTART-), questions and rows (`json`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.text.dataset.example import read_labels, read_split

SPLITS = ("train", "validation", "test")
SFT = "llamafactory-sft"
GIVEN = {
    # place: (shape, train, validation, test), where files say the splits
    "chnsenticorp": ("label", 9600, 1200, 1200),
    "cluener2020": ("tags", 10748, 1343, 0),
    "cmrc2018": ("span", 10142, 3219, 0),
    "crosswoz": ("dialogue", 0, 500, 0),
    "msra-ner": ("tags", 50612, 2123, 3442),
    "multi30k": ("pair", 29000, 1014, 1000),
    "scitldr-a": ("pair", 1992, 619, 618),
    "snips": ("tags", 13084, 700, 700),
    "sst2": ("label", 6920, 872, 1821),
    "wnut17": ("tags", 3394, 1009, 1287),
}
SPLIT = {
    # place: (shape, what is split, the test split if it is given)
    "agnews-small": ("label", 4992, 7600),
    "alpaca-zh": ("dialogue", 20465 - 11, None),  # 11 outputs are empty
    "banking77": ("label", 10003, 3080),
    "classical-modern": ("pair", 20000, None),
    "gsm8k": ("dialogue", 7473, None),
    "ml-100k": ("ranking", 943, None),
    "sec-filings": ("tags", 1164, 303),
    "self-instruct": ("dialogue", 175, None),
    "sms-spam": ("label", 5574, None),
    "squadshifts": ("span", 9803 + 9885, None),
    "thucnews-titles": ("label", 10000, 10000),
    "wikigold": ("tags", 1696, None),
    "zeroshot-suite/arc_easy.jsonl": ("ranking", 2376, None),
    "zeroshot-suite/piqa.jsonl": ("ranking", 1838, None),
    "zeroshot-suite/lambada_openai.jsonl": ("pair", 5153, None),
    f"{SFT}/alpaca_en_demo.json": ("dialogue", 999, None),
    f"{SFT}/alpaca_zh_demo.json": ("dialogue", 1000, None),
    f"{SFT}/identity.json": ("dialogue", 91, None),
    f"{SFT}/v1_sft_demo.jsonl": ("dialogue", 500, None),
    f"{SFT}/glaive_toolcall_en_demo.json": ("dialogue", 300, None),
    f"{SFT}/glaive_toolcall_zh_demo.json": ("dialogue", 300, None),
    f"{SFT}/dpo_en_demo.json": ("preference", 299, None),
    f"{SFT}/dpo_zh_demo.json": ("preference", 300, None),
    f"{SFT}/kto_en_demo.json": ("preference", 300, None),
}


@pytest.mark.parametrize("place", GIVEN)
def test_a_set_with_splits_is_read_without_a_setting_and_keeps_them(shared: Path, run_stage: Any, place: str) -> None:
    metrics = run_stage("dataset", read=str(shared / "data" / place)).card.metrics
    shape, *numbers = GIVEN[place]
    assert (metrics["shape"], list(metrics["splits"].values())) == (shape, numbers)
    assert metrics["dropped"] == {}


@pytest.mark.parametrize("place", SPLIT)
def test_a_set_without_splits_is_read_without_a_setting_and_all_of_it_is_split(
    shared: Path, run_stage: Any, place: str
) -> None:
    metrics = run_stage("dataset", read=str(shared / "data" / place)).card.metrics
    shape, whole, test = SPLIT[place]
    splits = metrics["splits"]
    assert metrics["shape"] == shape
    assert splits["train"] + splits["validation"] + (splits["test"] if test is None else 0) == whole
    assert test is None or splits["test"] == test
    for split in ("validation",) if test is not None else ("validation", "test"):
        assert 0.07 * whole < splits[split] < 0.17 * whole, splits


def examples(artifact: Any) -> list[Any]:
    return [e for split in SPLITS for e in read_split(artifact.path, split)]


def test_the_21_wrong_offsets_of_cmrc_are_mended_and_no_question_is_lost(shared: Path, run_stage: Any) -> None:
    artifact = run_stage("dataset", read=str(shared / "data/cmrc2018/train.json"))
    assert artifact.card.metrics["mended"] == {"answers put where their text stands": 21}
    found = examples(artifact)
    assert len(found) == 10142
    assert all(e.context.startswith(a.text, a.start) for e in found for a in e.answers)


def test_the_one_text_of_cluener_with_overlapping_names_keeps_the_longest(shared: Path, run_stage: Any) -> None:
    artifact = run_stage("dataset", read=str(shared / "data/cluener2020"))
    counts = artifact.card.metrics["labels"]
    kept = sum(n for splits in counts.values() for n in splits.values())
    lost = artifact.card.metrics["mended"]["overlapping entities"]
    assert kept + lost == 23972 + 3072  # all names in train and dev, counted with json
    assert sorted(counts) == sorted(
        ["address", "book", "company", "game", "government", "movie", "name", "organization", "position", "scene"]
    )


@pytest.mark.parametrize(
    ("place", "scheme"), [("wikigold", "IOB1"), ("sec-filings", "IOB1"), ("wnut17", "IOB2"), ("snips", "IOB2")]
)
def test_the_scheme_of_the_tags_is_on_the_card(shared: Path, run_stage: Any, place: str, scheme: str) -> None:
    assert run_stage("dataset", read=str(shared / "data" / place)).card.metrics["scheme"] == scheme


def test_numbers_take_the_names_of_class_txt_where_they_fit(shared: Path, run_stage: Any) -> None:
    artifact = run_stage("dataset", read=str(shared / "data/thucnews-titles"))
    names = (shared / "data/thucnews-titles/class.txt").read_text(encoding="utf-8").split()
    assert read_labels(artifact.path) == names
    by_text = {e.text: e.label for e in examples(artifact)}
    assert by_text["锌价难续去年辉煌"] == "finance"  # 0
    assert by_text["体验2D巅峰 倚天屠龙记十大创新概览"] == "game"  # 8


def test_snips_gives_intents_as_well_if_it_is_asked(shared: Path, run_stage: Any) -> None:
    artifact = run_stage("dataset", read=str(shared / "data/snips"), shape="label")
    assert len(read_labels(artifact.path) or []) == 7
    assert artifact.card.metrics["splits"] == {"train": 13084, "validation": 700, "test": 700}


def test_a_user_of_movielens_is_one_ranking_in_order_of_time(shared: Path, run_stage: Any) -> None:
    found = examples(run_stage("dataset", read=str(shared / "data/ml-100k")))
    assert sum(len(e.candidates) for e in found) == 100_000
    assert all(list(e.times) == sorted(e.times) for e in found)
    user = next(e for e in found if e.query == "196")
    # user 196 rated item 242, Kolya, 3 at 881250949: the first row of the file
    assert (3.0, 881250949) in zip(user.scores, user.times, strict=True)
    assert user.candidates[user.times.index(881250949)].startswith("Kolya")


def test_tools_and_calls_of_glaive_are_kept_as_json(shared: Path, run_stage: Any) -> None:
    found = examples(run_stage("dataset", read=str(shared / f"data/{SFT}/glaive_toolcall_en_demo.json")))
    with_tools = [e for e in found if e.tools]
    calls = [call for e in found for m in e.messages if m.calls for call in json.loads(m.calls)]
    assert len(with_tools) == 191  # the others say "[]"
    assert all(isinstance(json.loads(e.tools), list) for e in with_tools)
    assert sum(bool(m.calls) for e in found for m in e.messages) == 211  # turns `function_call`
    assert all(c["function"]["name"] and isinstance(json.loads(c["function"]["arguments"]), dict) for c in calls)
    assert {m.role for e in found for m in e.messages} == {"user", "assistant", "tool"}


def test_kto_has_one_reply_each_and_dpo_two(shared: Path, run_stage: Any) -> None:
    kto = examples(run_stage("dataset", read=str(shared / f"data/{SFT}/kto_en_demo.json")))
    assert all(bool(e.chosen) != bool(e.rejected) for e in kto)
    dpo = examples(run_stage("dataset", read=str(shared / f"data/{SFT}/dpo_en_demo.json")))
    assert all(e.chosen and e.rejected and e.messages[-1].role == "user" for e in dpo)
