"""What the corpus stage takes out besides copies: repeated text, text that is held out, text unlike the good."""

import json
import random

import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, EmptyInput, SettingsError
from pretune.text.clean.quality.statistics import COLUMNS
from pretune.text.corpus import scoring
from pretune.text.read.shards import read_rows
from tests.text.dedup_worlds import chinese, english
from tests.text.measured import measure

NOTICE = "All rights reserved. No part of this publication may be reproduced in any form without permission."


def write(path, texts):
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), encoding="utf-8")
    return str(path)


def rows_of(artifact):
    return {split: list(read_rows(artifact.path, split)) for split in ("train", "validation", "test", "dropped")}


def test_a_notice_stays_in_its_first_document_and_columns_are_measured_anew(tmp_path, run_stage):
    rng = random.Random(0)
    bodies = [english(rng, 40) for _ in range(6)]
    read = write(tmp_path / "a.jsonl", [f"{body}\n\n{NOTICE}" for body in bodies] + [NOTICE])
    settings = {"read": read, "validation": 0, "test": 0, "filters": []}
    artifact = run_stage("corpus", remove_repeats="paragraphs", **settings)
    rows = rows_of(artifact)
    assert [NOTICE in r["text"] for r in rows["train"]] == [True] + [False] * 5
    assert [r["text"].strip() for r in rows["train"][1:]] == bodies[1:]
    assert [(r["reason"], r["text"]) for r in rows["dropped"]] == [("emptied", "")]
    assert artifact.card.metrics["repeats_removed"] == {"paragraphs": 6}
    for row in rows["train"]:
        assert {name: row[name] for name in COLUMNS} == pytest.approx(measure(row["text"]))
        assert row["bytes"] == len(row["text"].encode())


def test_a_stretch_that_stood_before_is_cut_after_the_paragraphs_and_an_emptied_document_left_out(tmp_path, run_stage):
    rng = random.Random(7)
    shared, bodies = chinese(rng, 300), [(f"{chinese(rng, 90)}{k}", f"{k}{chinese(rng, 90)}") for k in range(5)]
    read = write(tmp_path / "a.jsonl", [f"{a}{shared}{b}" for a, b in bodies] + [shared])
    settings = {"read": read, "validation": 0, "test": 0, "filters": [], "max_overlap": None}
    artifact = run_stage("corpus", remove_repeats=["paragraphs", "substrings"], **settings)
    rows = rows_of(artifact)
    assert rows["train"][0]["text"] == shared.join(bodies[0])
    assert [r["text"] for r in rows["train"][1:]] == [a + b for a, b in bodies[1:]]
    assert [(r["reason"], r["text"]) for r in rows["dropped"]] == [("emptied", "")]
    assert artifact.card.metrics["repeats_removed"] == {"substrings": 5}


def test_a_training_document_that_holds_an_evaluation_text_is_left_out_with_its_reason(tmp_path, run_stage):
    rng = random.Random(1)
    questions = [english(rng, 30), chinese(rng, 40)]
    texts = [english(rng, 300) for _ in range(20)]
    texts[3] = f"{texts[3]} {questions[0].upper()} {english(rng, 300)}"
    texts[5] = f"{chinese(rng, 300)}{questions[1]}{chinese(rng, 300)}"
    (tmp_path / "eval").mkdir()
    judged = [{"question": questions[0], "n": 1}, {"turns": [{"content": questions[1]}]}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in judged)
    (tmp_path / "eval" / "q.jsonl").write_text(lines, encoding="utf-8")
    read = write(tmp_path / "a.jsonl", texts)
    settings = {"read": read, "validation": 0, "test": 0, "filters": []}
    artifact = run_stage("corpus", evaluation=[str(tmp_path / "eval")], **settings)
    rows = rows_of(artifact)
    assert [r["origin"] for r in rows["dropped"]] == ["a.jsonl#3", "a.jsonl#5"]
    assert [r["reason"].partition(", ")[0] for r in rows["dropped"]] == [
        "held out: 100% of a text of q.jsonl#0",
        "held out: 100% of a text of q.jsonl#1",
    ]
    assert artifact.card.metrics["held_out"] == {"held_out_texts": 0, "evaluation_texts": 2, "left_out": 2}
    kept = run_stage("corpus", evaluation=[str(tmp_path / "eval")], max_overlap=None, **settings)
    assert kept.card.metrics["documents"] == 20


def test_no_training_document_shares_most_of_its_text_with_the_test_split(tmp_path, run_stage):
    """Exact dedup leaves near copies; those of held-out documents must not be trained on."""
    rng = random.Random(2)
    bodies = [english(rng, 120) for _ in range(60)]
    texts = [*bodies, *(f"{english(rng, 12)} {body} {english(rng, 12)}" for body in bodies)]
    rows = rows_of(run_stage("corpus", read=write(tmp_path / "a.jsonl", texts), validation=0.2, test=0.2, filters=[]))
    held = [r["text"] for split in ("validation", "test") for r in rows[split]]
    assert len(held) > 20
    by_id = {r["id"]: r["text"] for split in ("validation", "test") for r in rows[split]}
    left_out = [r for r in rows["dropped"] if r["reason"].startswith("held out:")]
    assert len(left_out) > 10
    assert all(_shared(r["text"], by_id[r["because_of"]]) >= 0.5 for r in left_out)
    for row in rows["train"]:
        assert all(_shared(row["text"], text) < 0.5 for text in held)


def _shared(one, other):
    grams = [{tuple(w[k : k + 13]) for k in range(len(w) - 12)} for w in (one.lower().split(), other.lower().split())]
    return len(grams[0] & grams[1]) / min(map(len, grams))


def test_liked_texts_make_a_column_that_a_filter_decides_by(tmp_path, run_stage):
    rng = random.Random(3)
    poems = [chinese(rng, 60) for _ in range(40)]
    prose = [english(rng, 60) for _ in range(40)]
    good = write(tmp_path / "good.jsonl", poems[:30])
    read = write(tmp_path / "a.jsonl", [*poems[30:], *prose])
    settings = {"read": read, "validation": 0, "test": 0, "quality": [good]}
    scored = run_stage("corpus", filters=[], **settings)
    scores = [r["quality"] for r in rows_of(scored)["train"]]
    assert min(scores[:10]) > max(scores[10:])
    between = (min(scores[:10]) + max(scores[10:])) / 2
    kept = rows_of(run_stage("corpus", filters=[{"kind": "quality", "min_score": between}], **settings))
    assert [r["text"] for r in kept["train"]] == poems[30:]
    assert {r["reason"].partition(":")[0] for r in kept["dropped"]} == {"quality"}
    filters = [{"kind": "quality", "min_score": between}]
    again = rows_of(run_stage("corpus", read=str(scored.path), filters=filters, validation=0, test=0))
    assert again["train"] == kept["train"], "a corpus keeps its scores"


def test_liked_without_texts_or_with_few_says_so(tmp_path, run_stage):
    read = write(tmp_path / "a.jsonl", ["some words of a text"] * 3)
    with pytest.raises(SettingsError, match="needs the column 'quality'"):
        run_stage("corpus", read=read, filters=["quality"])
    with pytest.raises(EmptyInput, match="too few"):
        run_stage("corpus", read=read, quality=[read])


def test_texts_that_are_all_alike_cannot_be_held_out_and_the_error_says_what_to_do(tmp_path, run_stage):
    text = english(random.Random(2), 60)
    settings = {"read": write(tmp_path / "a.jsonl", [f"{text} {n}" for n in range(8)]), "filters": []}
    with pytest.raises(EmptyInput, match="each of 7 training documents repeats half of a text that is held out"):
        run_stage("corpus", **settings)
    assert run_stage("corpus", max_overlap=None, **settings).card.metrics["splits"]["train"]["documents"] == 7


def test_the_page_shows_the_mixture_the_repeats_and_what_was_held_out(tmp_path, run_stage):
    rng = random.Random(4)
    shared = chinese(rng, 300)
    texts = [f"{english(rng, 60)}\n{k}{shared}{k}\n{english(rng, 60)}" for k in range(12)]
    read = {"pages": [write(tmp_path / "a.jsonl", texts)], "one": [write(tmp_path / "b.jsonl", [english(rng, 90)])]}
    settings = {
        "remove_repeats": "substrings",
        "filters": [],
        "validation": 0.2,
        "test": 0,
        "mixture": {"weights": {"pages": 1, "one": 1}},
    }
    artifact = run_stage("corpus", read=read, **settings)
    page = (artifact.path / "report.html").read_text(encoding="utf-8")
    assert "What is trained on" in page and "× 4.00" in page  # the one document is repeated as often as is allowed
    assert "repeated substrings removed" in page
    held = artifact.card.metrics["held_out"]["held_out_texts"]
    assert held > 0 and f"compared with {held} documents of the other splits and 0 evaluation texts" in page


def test_liked_texts_are_texts_and_no_python(tmp_path):
    rows = [{"text": f"A sentence of {k}."} for k in range(20)]
    rows += [{"text": None}, {"text": ["One more.", "And another one."]}]
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    texts = scoring._texts({"quality.0": Artifact.open(tmp_path / "good.jsonl")})
    assert texts[19:] == ["A sentence of 19.", "One more.\nAnd another one."]
    (tmp_path / "bad.jsonl").write_text('{"text": {"en": "a"}}', encoding="utf-8")
    with pytest.raises(BadFile, match=r"bad\.jsonl#0: column 'text' is an object"):
        scoring._texts({"quality.0": Artifact.open(tmp_path / "bad.jsonl")})
