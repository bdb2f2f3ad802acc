"""`pretune check` on labelled data: digests where there is a card, then the doctor; its exit code and its words."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.text.dataset.doctor.findings import CHECK
from pretune.text.dataset.doctor.rows import ROW_CHECKS
from tests.text.format_samples import tarred, zipped

Run = Callable[..., tuple[int, str, str]]


def write(name: str, rows: list[tuple[str, str]], column: str = "label") -> None:
    lines = [json.dumps({"text": text, column: label}, ensure_ascii=False) for text, label in rows]
    path = Path("data") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def numbered(start: int, number: int) -> list[tuple[str, str]]:
    words = "天地人山水火木金土日月星云雨风雪春夏秋冬东南西北"
    return [
        (f"{words[k % 24]}{words[k * 7 % 24]} {k * k} 你好 number {k}", "ab"[k % 2])
        for k in range(start, start + number)
    ]


def test_raw_files_with_a_leak_end_with_1_and_say_which_row(pretune: Run) -> None:
    write("train.jsonl", numbered(0, 40))
    write("dev.jsonl", numbered(40, 10))
    write("test.jsonl", [*numbered(50, 10), numbered(3, 1)[0]])
    code, out, _ = pretune("check", "data")
    assert code == 1
    assert "error    leaks" in out
    assert "1 row of 11 of test is in train too" in out
    assert "test.jsonl#10 (like train.jsonl#3)" in out
    assert sorted(p.name for p in Path().iterdir()) == ["data"], "nothing is written"


def test_clean_raw_files_end_with_0_and_json_has_every_finding(pretune: Run) -> None:
    for name, start, number in (("train", 0, 40), ("dev", 40, 10), ("test", 50, 10)):
        write(f"{name}.jsonl", numbered(start, number))
    code, out, _ = pretune("check", "data", "--json")
    told = json.loads(out)
    assert code == 0
    assert [row["ok"] for row in told["digests"]] == [True]
    assert {f["level"] for f in told["doctor"]} == {"hint"}
    assert all(set(f) == {"name", "level", "count", "problem", "advice", "rows", "like"} for f in told["doctor"])


def test_settings_of_the_dataset_name_the_column(pretune: Run) -> None:
    write("train.jsonl", numbered(0, 40), column="points")
    code, _, err = pretune("check", "data")
    assert (code, "label=COLUMN" in err) == (2, True)
    code, out, _ = pretune("check", "data", "label=points")
    assert (code, "the doctor:" in out) == (0, True)


def test_a_dataset_shows_its_digests_and_what_the_doctor_found_when_it_was_made(pretune: Run) -> None:
    write("train.jsonl", [*numbered(0, 40), *numbered(0, 2)])
    write("test.jsonl", numbered(50, 10))
    assert pretune("dataset", "data", "--out", "made", "validation=0", "balance=over", "augment=noise")[0] == 0
    code, out, _ = pretune("check", "made")
    assert code == 0
    assert "ok   dataset   made" in out
    assert "2 rows of 52 say what an earlier row of the split says" in out, "copies that were made do not count"
    page = Path("made/report.html").read_text(encoding="utf-8")
    assert "2 rows of 52 say what an earlier row" in page
    assert "train.jsonl#40 (like train.jsonl#0)" in page
    data = bytearray(Path("made/train.parquet").read_bytes())
    data[-20] ^= 1
    Path("made/train.parquet").write_bytes(data)
    code, _, _ = pretune("check", "made")
    assert code == 1


def test_tokens_are_counted_with_a_tokenizer_and_guessed_without(
    pretune: Run, model_folder: Callable[..., Path]
) -> None:
    from pretune.report.numbers import share
    from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

    write("train.jsonl", numbered(0, 60))
    folder = model_folder("bert-labels")
    code, out, _ = pretune("check", "data", "--tokenizer", str(folder), "--max-length", "20", "--json")
    (found,) = [f for f in json.loads(out)["doctor"] if f["name"] == "truncation"]
    lengths = sorted(len(ids) for ids in encode_texts(load_tokenizer(folder), [text for text, _ in numbered(0, 60)]))
    cut = sum(n > 20 for n in lengths)
    lost = sum(max(0, n - 20) for n in lengths) / sum(lengths)
    fit = -(-(lengths[59] + 2) // 8) * 8  # 99 of 100 rows of 60 are all of them
    assert cut > 3
    assert (code, found["level"], found["count"]) == (0, "warning", cut)
    assert (
        f"{cut} rows of 60 cut at 20 tokens, {share(lost, 1)} of all lost; max_length={fit} leaves 99"
        in found["problem"]
    )
    assert f"longest has {lengths[-1]} tokens" in found["problem"]
    assert "estimated" in pretune("check", "data")[1]
    code, _, err = pretune("check", "data", "--max-length", "0")
    assert (code, "max_length" in err) == (2, True)


@pytest.mark.parametrize(
    "line", ["just text", "a lovely film@good", "good a lovely film", "good: 很好看 🙂", "a lovely film, good"]
)
def test_files_in_which_no_label_is_seen_are_told_with_what_was_looked_for(pretune: Run, line: str) -> None:
    Path("a.txt").write_text(f"{line}\n" * 8, encoding="utf-8")
    code, out, _ = pretune("check", "a.txt")
    first, second = out.strip().split("\n\n")
    assert (code, first) == (0, "ok   files     a.txt")
    assert second.startswith(
        "labels   none seen, so nobody has looked at any; looked for: tables (.jsonl, .ndjson, .json, "
    )
    for shape in ("words and tags (.conll)", "line by line", "lines of __label__LABEL", "lines of text, tab and label"):
        assert shape in second
    assert "write each line as text, tab, label" in second
    in_json = json.loads(pretune("check", "a.txt", "--json")[1])
    assert (in_json["labels"], in_json["digests"][0]["ok"]) == (" ".join(second.split()), True)


def test_what_check_asks_for_is_seen(pretune: Run) -> None:
    for name, form in (("tab.txt", "{0}\t{1}"), ("mark.txt", "__label__{1} {0}")):
        Path(name).write_text("\n".join(form.format(*row) for row in numbered(0, 12)), encoding="utf-8")
        assert "none seen" not in pretune("check", name)[1]


def test_a_file_that_says_what_it_is_and_cannot_be_read_so_is_an_error(pretune: Run) -> None:
    Path("a.conll").write_text("Ann B-PER\nlives\n", encoding="utf-8")
    Path("b.txt").write_text("__label__a x\n" * 9000 + "no mark\n", encoding="utf-8")
    for name, told in (("a.conll", "a.conll:2 has no tag"), ("b.txt", "b.txt:9001 has no __label__")):
        code, _, err = pretune("check", name)
        assert (code, told in err) == (2, True), name


def test_the_doctor_looks_into_an_archive(pretune: Run) -> None:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("data/train.csv", "text,label\n" + "".join(f"{t},{b}\n" for t, b in numbered(0, 40)))
    code, out, _ = pretune("check", "a.zip")
    assert (code, "the doctor:" in out) == (0, True)


def test_a_data_set_of_another_program_is_looked_at_when_it_is_checked(pretune: Run) -> None:
    from pretune.base.artifact import Artifact
    from pretune.text.dataset.doctor.visit import visit

    write("train.jsonl", [*numbered(0, 40), *numbered(0, 2)])
    assert pretune("dataset", "data", "--out", "made", "validation=0", "test=0")[0] == 0
    made = Artifact.open("made")
    told = visit(made)
    made.card.metrics.pop("doctor")
    assert visit(made) == told
    assert {f.name for f in told or ()} <= {*CHECK.table, *ROW_CHECKS}


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_what_lies_in_an_archive_is_looked_at_as_if_it_lay_in_a_folder(pretune: Run, name: str) -> None:
    write("train.jsonl", numbered(0, 20))
    found = json.loads(pretune("check", "data", "--json")[1])["doctor"]
    table = {"data/train.jsonl": Path("data/train.jsonl").read_bytes()}
    Path(name).write_bytes(zipped(table) if name.endswith("zip") else tarred(table, "gz"))
    told = json.loads(pretune("check", name, "--json")[1])["doctor"]
    assert [(f["name"], f["count"]) for f in told] == [(f["name"], f["count"]) for f in found]


def test_a_file_of_words_and_tags_that_is_damaged_is_not_called_sound(pretune: Run) -> None:
    Path("a.conll").write_text("Ann B-PER\nlives\nhere O\n\nBob B-PER\n", encoding="utf-8")
    code, _, err = pretune("check", "a.conll")
    assert (code, "a.conll:2 has no tag" in err) == (2, True)
