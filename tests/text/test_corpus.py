import json
import random
import subprocess
import sys
import textwrap

import pytest

from pretune.base import extras
from pretune.base.errors import EmptyInput, MissingExtra, NoSuchColumn, NotText, SettingsError
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.text.clean.quality.statistics import COLUMNS
from pretune.text.corpus import raw_shards, workers
from pretune.text.corpus.stage import CorpusStage
from pretune.text.read.shards import read_rows
from tests.text.measured import measure

SENTENCES = [f"Sentence {i} says 你好 🙂 {'and more ' * (i % 5)}" for i in range(40)]


def world(folder):
    (folder / "logs").mkdir()
    (folder / "docs").mkdir()
    lines = [json.dumps({"text": s, "when": i}, ensure_ascii=False) + "\n" for i, s in enumerate(SENTENCES)]
    (folder / "logs" / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "docs" / "page.md").write_bytes("# Title\r\n\r\nWords e\u0301\r\n".encode())
    (folder / "docs" / "gbk.txt").write_bytes("这是一个中国的老文件，我们都看过。\n".encode("gb18030"))
    (folder / "docs" / ".hidden.txt").write_text("hidden", encoding="utf-8")
    (folder / "docs" / "code.py").write_text("def f():\n\treturn 1\n", encoding="utf-8")
    (folder / "docs" / "empty.py").write_text("", encoding="utf-8")
    return {"logs": [str(folder / "logs" / "*.jsonl")], "docs": [str(folder / "docs")]}


def rows_of(artifact):
    return {split: list(read_rows(artifact.path, split)) for split in ("train", "validation", "test", "dropped")}


def test_every_document_stands_in_exactly_one_split_with_its_text_whole(tmp_path, run_stage):
    rows = rows_of(run_stage("corpus", read=world(tmp_path), validation=0.2, test=0.2))
    kept = [r["text"] for split in ("train", "validation", "test") for r in rows[split]]
    docs = ["# Title\n\nWords é\n", "这是一个中国的老文件，我们都看过。\n", "def f():\n\treturn 1\n"]
    assert sorted(kept) == sorted([*SENTENCES, *docs])
    assert rows["validation"]
    assert rows["test"]
    assert rows["dropped"] == []


def test_the_card_counts_what_the_files_hold(tmp_path, run_stage):
    artifact = run_stage("corpus", read=world(tmp_path), validation=0.2, test=0.2)
    rows, card = rows_of(artifact), artifact.card.metrics
    everything = [r for s in ("train", "validation", "test") for r in rows[s]]
    assert card["documents"] == len(everything) == 43
    assert card["bytes"] == sum(len(r["text"].encode()) for r in everything)
    assert card["characters"] == sum(len(r["text"]) for r in everything)
    assert {n: f["documents"] for n, f in card["sources"].items()} == {"docs": 3, "logs": 40}
    assert card["splits"]["validation"]["documents"] == len(rows["validation"])
    assert card["dropped"] == {"empty file": 1}


def test_columns_are_those_of_the_contract(tmp_path, run_stage):
    row = next(read_rows(run_stage("corpus", read=world(tmp_path)).path, "train"))
    first = ["id", "text", "source", "origin", "language", "cluster", "meta", "bytes", "language_confidence"]
    assert list(row) == [*first, *COLUMNS]
    assert {name: row[name] for name in COLUMNS} == pytest.approx(measure(row["text"]))
    assert row["origin"] == "a.jsonl#0" or row["origin"].startswith("a.jsonl#")
    assert json.loads(row["meta"])["when"] == int(row["origin"].partition("#")[2])


def test_of_equal_texts_the_first_is_kept_and_the_others_name_it(tmp_path, run_stage):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "one text"}\n{"text": "one\\u0020text"}\n{"text": " "}\n{"text": "other"}\n', encoding="utf-8"
    )
    artifact = run_stage("corpus", read=str(tmp_path / "a.jsonl"), validation=0, test=0)
    rows = rows_of(artifact)
    assert [r["text"] for r in rows["train"]] == ["one text", "other"]
    assert [(r["reason"], r["because_of"]) for r in rows["dropped"]] == [
        ("duplicate", rows["train"][0]["id"]),
        ("empty", None),
    ]


def test_the_same_text_in_another_folder_gives_the_same_bytes(tmp_path, run_stage):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ids = [run_stage("corpus", read=world(tmp_path / name)).card.id for name in ("a", "b")]
    assert ids[0] == ids[1]


def test_three_documents_are_enough_to_hold_one_out(tmp_path, run_stage):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"text number {i} of three", encoding="utf-8")
    splits = run_stage("corpus", read=[str(tmp_path / "*.txt")], validation=0.01, test=0).card.metrics["splits"]
    assert {s: f["documents"] for s, f in splits.items()} == {"train": 2, "validation": 1, "test": 0}


def test_a_single_book_is_held_out_by_its_tail_and_loses_nothing(tmp_path, run_stage):
    book = "".join(f"Line {i} of the book.\n" for i in range(500))
    (tmp_path / "book.txt").write_text(book, encoding="utf-8")
    artifact = run_stage("corpus", read=str(tmp_path / "book.txt"))
    rows = rows_of(artifact)
    assert rows["train"][0]["text"] + rows["validation"][0]["text"] == book
    assert rows["test"] == []
    assert 0.09 < len(rows["validation"][0]["text"]) / len(book) < 0.12
    assert artifact.card.metrics["tails_held_out"] == 1


def test_a_book_beside_a_short_readme_is_still_held_out_by_its_tail(tmp_path, run_stage):
    (tmp_path / "README").write_text("a short word about the book", encoding="utf-8")
    (tmp_path / "book.txt").write_text("".join(f"Line {i} of the book.\n" for i in range(500)), encoding="utf-8")
    splits = run_stage("corpus", read=str(tmp_path)).card.metrics["splits"]
    assert {s: f["documents"] for s, f in splits.items()} == {"train": 2, "validation": 1, "test": 0}


def test_what_cannot_be_read_lies_in_quarantine_with_its_reason_and_the_work_goes_on(tmp_path, run_stage):
    (tmp_path / "a.txt").write_text("words of a page", encoding="utf-8")
    (tmp_path / "b.md").write_bytes(b"\0\1\2\3")
    (tmp_path / "c.jsonl").write_text('{"text": "one line"}\n{"text": \n{"text": "another line"}\n', encoding="utf-8")
    artifact = run_stage("corpus", read=str(tmp_path), validation=0, test=0)
    assert [r["text"] for r in rows_of(artifact)["train"]] == ["words of a page", "one line", "another line"]
    assert artifact.card.metrics["quarantined"] == 2
    lines = (artifact.path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    reported = {row["file"]: row["reason"] for row in map(json.loads, lines)}
    assert set(reported) == {"b.md", "c.jsonl:2"}
    assert not any(str(tmp_path) in reason for reason in reported.values()), "no payload holds a path of this machine"


def test_a_picture_beside_pages_is_left_out_and_a_picture_alone_is_an_error(tmp_path, run_stage):
    (tmp_path / "a.txt").write_text("words of a page", encoding="utf-8")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r")
    assert run_stage("corpus", read=str(tmp_path)).card.metrics["left_out_files"] == ["b.png"]
    with pytest.raises(NotText, match=r"b\.png"):
        run_stage("corpus", read=str(tmp_path / "b.png"))
    (tmp_path / "c.md").write_bytes(b"\0\1\2\3")
    with pytest.raises(NotText, match=r"c\.md"):
        run_stage("corpus", read=str(tmp_path / "c.md"))


def test_a_reader_that_is_not_installed_is_told_and_puts_no_page_into_quarantine(tmp_path, run_stage, monkeypatch):
    (tmp_path / "a.txt").write_text("words of a page", encoding="utf-8")
    (tmp_path / "b.html").write_text("<p>words of another</p>", encoding="utf-8")
    monkeypatch.setitem(extras.MODULES, "data", ("a_module_that_nobody_has",))
    with pytest.raises(MissingExtra, match="a_module_that_nobody_has"):
        run_stage("corpus", read=str(tmp_path), workers=1)


def test_a_missing_column_is_told_with_those_that_exist(tmp_path, run_stage):
    (tmp_path / "a.csv").write_text("id,inhalt\n1,Worte\n", encoding="utf-8")
    with pytest.raises(NoSuchColumn, match="id, inhalt"):
        run_stage("corpus", read=str(tmp_path / "a.csv"))
    with pytest.raises(NoSuchColumn, match="did you mean 'inhalt'"):
        run_stage("corpus", read=str(tmp_path / "a.csv"), text="inhal")
    assert run_stage("corpus", read=str(tmp_path / "a.csv"), text="inhalt").card.metrics["documents"] == 1


def test_nothing_left_is_an_error_with_the_reasons(tmp_path, run_stage):
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": null}\n', encoding="utf-8")
    with pytest.raises(EmptyInput, match="2 empty"):
        run_stage("corpus", read=str(tmp_path / "a.jsonl"))


def test_short_texts_are_left_out_only_when_asked(tmp_path, run_stage):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "好"}\n{"text": "a text of more than twenty characters"}\n', encoding="utf-8"
    )
    assert run_stage("corpus", read=str(tmp_path / "a.jsonl")).card.metrics["documents"] == 2
    card = run_stage("corpus", read=str(tmp_path / "a.jsonl"), filters=["short"]).card.metrics
    assert (card["documents"], card["dropped"]) == (1, {"short": 1})


def test_a_lone_surrogate_is_replaced_and_counted(tmp_path, run_stage):
    (tmp_path / "a.jsonl").write_text('{"text": "x \\ud800 y", "k": "\\ud800"}\n', encoding="utf-8")
    artifact = run_stage("corpus", read=str(tmp_path / "a.jsonl"), validation=0, test=0, filters=[])
    assert next(read_rows(artifact.path, "train"))["text"] == "x \ufffd y"
    assert artifact.card.metrics["surrogates_mended"] == 1


def test_a_bare_string_a_list_and_named_sources_are_all_read():
    assert CorpusStage(read="docs").read == ["docs"]
    assert CorpusStage(read={"a": "docs", "b": ["x", "y"]}).read == {"a": ["docs"], "b": ["x", "y"]}
    assert [c.kind for c in CorpusStage(read="docs", clean="lines,nfc").clean] == ["lines", "nfc"]


# ---- processes, crashes, copies, second thoughts ------------------------------------------------


def many_files(folder, number=40):
    folder.mkdir()
    for i in range(number):
        rng = random.Random(i)
        words = ["".join(rng.choices("abcdefghijklmnop个词文本", k=rng.randrange(2, 8))) for _ in range(250 + 10 * i)]
        (folder / f"{i:03d}.txt").write_text("\n".join(textwrap.wrap(" ".join(words), 60)), encoding="utf-8")
    return str(folder)


@pytest.fixture
def small_jobs(monkeypatch):
    monkeypatch.setattr(raw_shards, "RAW_SHARD_BYTES", 8 << 10)


def test_any_number_of_processes_gives_the_same_corpus(tmp_path, run_stage, small_jobs):
    read = many_files(tmp_path / "many")
    ids = {run_stage("corpus", read=read, workers=workers, dedup="minhash").card.id for workers in (1, 2, 4)}
    assert len(ids) == 1


def test_shards_of_a_run_that_was_killed_are_kept_and_give_the_same_corpus(tmp_path, run_stage, monkeypatch):
    monkeypatch.setattr(raw_shards, "RAW_SHARD_BYTES", 8 << 10)
    read = many_files(tmp_path / "many")
    whole = run_stage("corpus", read=read).card.id
    tree = {"work": str(tmp_path / "killed"), "stages": {"it": {"kind": "corpus", "read": read}}}
    done, real = [], workers.measure_shard

    def killed(shard, settings, path):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(shard.number)
        real(shard, settings, path)

    monkeypatch.setattr(workers, "measure_shard", killed)
    with pytest.raises(BaseException):  # noqa: B017
        Recipe.build(tree).run(log=Log(quiet=True))
    monkeypatch.setattr(workers, "measure_shard", lambda *given: (done.append(given[0].number), real(*given)))
    assert Recipe.build(tree).run(log=Log(quiet=True))["it"].card.id == whole
    assert sorted(done) == sorted(set(done)), "no part is made twice"


def test_near_copies_fall_away_with_their_twin_named_and_share_a_cluster(tmp_path, run_stage):
    page = " ".join(f"Sentence number {i} of the first page tells about {w}." for i, w in enumerate("abcdefghijklmnop"))
    other = " ".join(f"Another matter, {w}, stands on page two of this book." for w in "qrstuvwxyz")
    near = page.replace("Sentence number 3", "Sentences number 3")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in (page, other, near)), "utf-8")
    artifact = run_stage("corpus", read=str(tmp_path / "a.jsonl"), dedup="minhash", validation=0, test=0)
    rows = rows_of(artifact)
    assert [r["text"] for r in rows["train"]] == [page, other]
    (dropped,) = rows["dropped"]
    assert (dropped["reason"], dropped["because_of"]) == ("near duplicate", rows["train"][0]["id"])
    assert dropped["cluster"] == rows["train"][0]["cluster"] != rows["train"][1]["cluster"]


def test_a_corpus_decided_anew_is_the_corpus_made_with_those_filters(tmp_path, run_stage):
    read = many_files(tmp_path / "many")
    rule = [{"kind": "short", "min_characters": 2200}]
    fresh = rows_of(run_stage("corpus", read=read, filters=rule, validation=0, test=0))
    first = run_stage("corpus", read=read, validation=0, test=0)
    again = rows_of(run_stage("corpus", read=str(first.path), filters=rule, validation=0, test=0))
    assert 0 < len(fresh["train"]) < 40
    for split in ("train", "dropped"):
        assert [r["id"] for r in again[split]] == [r["id"] for r in fresh[split]]


def test_masking_asked_of_a_corpus_that_is_only_decided_anew_is_refused_not_passed_over(tmp_path, run_stage):
    (tmp_path / "a.txt").write_text("write to somebody@example.com today", encoding="utf-8")
    first = run_stage("corpus", read=str(tmp_path / "a.txt"))
    with pytest.raises(SettingsError, match="not cleaned again"):
        run_stage("corpus", read=str(first.path), clean=["mask-pii"])


def test_a_script_without_a_guard_may_use_several_processes_and_runs_once(tmp_path):
    read = many_files(tmp_path / "many", 6)
    script = tmp_path / "script.py"
    tree = {"work": str(tmp_path / "out"), "stages": {"it": {"kind": "corpus", "read": read, "workers": 2}}}
    script.write_text(
        f"from pretune.base.log import Log\nfrom pretune.base.recipe import Recipe\nprint('once')\n"
        f"print(Recipe.build({tree!r}).run(log=Log(quiet=True))['it'].card.metrics['documents'])\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, encoding="utf-8", timeout=120
    )
    assert (done.stdout.split(), done.returncode) == (["once", "6"], 0), done.stderr


def test_a_mistake_found_in_another_process_reads_as_in_this_one(tmp_path, run_stage):
    (tmp_path / "a.csv").write_text("id,inhalt\n1,Worte\n", encoding="utf-8")
    reported = []
    for number in (1, 2):
        with pytest.raises(NoSuchColumn) as caught:
            run_stage("corpus", read=str(tmp_path / "a.csv"), workers=number)
        reported.append((str(caught.value), caught.value.problem, caught.value.hint))
    assert reported[0] == reported[1]
