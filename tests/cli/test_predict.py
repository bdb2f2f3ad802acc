"""`pretune predict --input --output` through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.testing.folders import write_model

Run = Callable[..., tuple[int, str, str]]


def test_each_text_of_a_file_gets_its_answer_in_order(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "bert-labels")
    texts = ["the cat\u2028and the hat", "你好 🙂", "half \ud83d"]
    rows = [{"review": text} for text in [*texts, None]]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, err = pretune("predict", "model", "--input", "a.jsonl", "--output", "b.jsonl")
    assert (code, out) == (0, "")
    assert "warning: 1 records without a text in 'review' were left out: a.jsonl:4" in err
    found = [json.loads(line) for line in Path("b.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["text"] for row in found] == [*texts[:2], "half \ufffd"]
    assert all(row["label"] in ("坏", "so-so", "good") for row in found)


def test_a_text_that_is_too_long_is_named_before_the_others_are_answered(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "qwen3")
    Path("a.txt").write_text(f"the cat\n{'the hat ' * 90}\nthe cat\n", encoding="utf-8")
    code, out, err = pretune("predict", "model", "--input", "a.txt")
    assert (code, out) == (2, "")
    assert "text 2 of 3: the prompt has " in err and "[too-long]" in err


def test_a_file_of_answers_says_which_row_has_none_and_is_written_once(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "qwen3")
    Path("a.txt").write_text(f"the cat\n{'the hat ' * 90}\nthe cat\n", encoding="utf-8")
    words = ("predict", "model", "--input", "a.txt", "--output", "b.jsonl", "--max-tokens", "4")
    code, out, err = pretune(*words, "--json")
    assert (code, json.loads(out)) == (0, {"output": "b.jsonl", "rows": 3, "failed": 1})
    assert "1 of 3 rows have no answer" in err
    first, second, third = map(json.loads, Path("b.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == third and first["answer"] and "error" not in first
    assert (second["answer"], second["error"]) == ("", "too-long")
    made = Path("b.jsonl").stat().st_ino
    code, _, err = pretune(*words)
    assert code == 0 and "nothing to do" in err and Path("b.jsonl").stat().st_ino == made
    code, _, err = pretune(*words, "--max-tokens", "5")
    assert code == 2 and "was made with another max_tokens=4" in err and "[other-answers]" in err
    assert pretune("predict", "model", "--input", "b.jsonl", "--output", "b.jsonl")[0] == 2


def test_answers_keep_to_choices_a_pattern_or_a_schema(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "qwen3")
    Path("s.json").write_text('{"enum": ["the cat", 5, "好"]}', encoding="utf-8")
    ways = {("--choices", "the cat,好 🙂"): ["the cat", "好 🙂"], ("--regex", "(the )?hat"): ["the hat", "hat"]}
    ways |= {("--schema", "s.json"): ['"the cat"', "5", '"好"']}
    for way, allowed in ways.items():
        code, out, _ = pretune("predict", "model", "the", *way)
        assert code == 0 and out.rstrip("\n") in allowed
    Path("a.txt").write_text("the\nhat\n", encoding="utf-8")
    words = ("predict", "model", "--input", "a.txt", "--output", "b.jsonl", "--choices")
    assert pretune(*words, "x,y")[0] == 0
    assert {json.loads(line)["answer"] for line in Path("b.jsonl").read_text("utf-8").splitlines()} <= {"x", "y"}
    code, _, err = pretune(*words, "x,z")
    assert code == 2 and "[other-answers]" in err


def test_a_form_that_cannot_be_kept_to_is_told_with_a_hint(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "qwen3")
    write_model(Path("labels"), Path("words"), "bert-labels")
    Path("s.json").write_text('{"not": {}}', encoding="utf-8")
    Path("t.json").write_text("[1]", encoding="utf-8")
    for words, told in [
        (("model", "the", "--schema", "s.json"), '["not"]'),
        (("model", "the", "--schema", "t.json"), "no JSON object"),
        (("model", "the", "--schema", "gone.json"), "[no-such-file]"),
        (("model", "the", "--regex", "("), "[bad-grammar]"),
        (("model", "the", "--regex", "a", "--choices", "b"), "choices and regex"),
        (("labels", "the", "--choices", "b"), "[not-supported]"),
    ]:
        code, out, err = pretune("predict", *words)
        assert (code, out) == (2, "") and told in err


@pytest.mark.parametrize("output", ["nowhere/b.jsonl", "."])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(pretune: Run, output: str) -> None:
    code, _, err = pretune("predict", "no-model", "--input", "no-input.txt", "--output", output)
    assert code == 2
    assert "no-input" not in err and "no-model" not in err
    assert "the answers" in err


def test_a_written_answer_stands_alone_on_the_terminal_and_with_its_text_in_json(pretune: Run) -> None:
    from pretune.infer.load import open_model

    write_model(Path("model"), Path("words"), "qwen3", chat=True)
    (answer,) = open_model("model").answer(["the cat"], max_tokens=5)
    assert pretune("predict", "model", "the cat", "--max-tokens", "5")[:2] == (0, f"{answer.text}\n")
    code, out, _ = pretune("predict", "model", "the cat", "--max-tokens", "5", "--json")
    assert (code, json.loads(out)) == (0, [{"text": "the cat", "answer": answer.text}])


def test_a_question_is_asked_about_each_text_or_each_record_of_a_table(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "bert-spans")
    code, out, _ = pretune("predict", "model", "--question", "who?", "the cat 🙂", "你好", "--json")
    found = json.loads(out)
    assert code == 0 and [row["context"] for row in found] == ["the cat 🙂", "你好"]
    assert all(row["answer"] and row["context"][row["start"] :].startswith(row["answer"]) for row in found)
    rows = [{"passage": row["context"], "query": "who?", "answer": "x"} for row in found]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"passage": "", "query": "who?"}])), encoding="utf-8")
    code, out, err = pretune("predict", "model", "--input", "a.jsonl", "--json")
    assert (code, json.loads(out)) == (0, found)
    assert "1 records without question or context were left out" in err
    assert pretune("predict", "model", "--question", "who?", "你好")[1].endswith("\twho?\n")


def test_texts_alone_are_refused_by_a_model_that_reads_a_context(pretune: Run) -> None:
    write_model(Path("model"), Path("words"), "bert-spans")
    Path("a.txt").write_text("the cat\n", encoding="utf-8")
    for words in (["the cat"], ["--input", "a.txt"]):
        code, out, err = pretune("predict", "model", *words)
        assert (code, out) == (2, "")
        assert "context" in err and "hint" in err
