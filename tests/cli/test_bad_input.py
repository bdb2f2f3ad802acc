"""Bad input gets a clear error, and nothing is lost: through the real command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def rows(path: str, *labels: str) -> None:
    lines = [json.dumps({"text": f"text number {i} 你好", "label": labels[i % len(labels)]}) for i in range(30)]
    Path(path).write_text("\n".join(lines), encoding="utf-8")


def test_a_missing_file(pretune: Run) -> None:
    code, _, err = pretune("corpus", "nowhere.txt", "--out", "c")
    assert code == 2
    assert "there is no 'nowhere.txt'  [no-such-file]" in err


def test_an_empty_file(pretune: Run) -> None:
    Path("a.txt").touch()
    code, _, err = pretune("corpus", "a.txt", "--out", "c")
    assert code == 2
    assert "[empty-input]" in err
    assert not Path("c").exists()


def test_a_binary_file(pretune: Run) -> None:
    Path("a.txt").write_bytes(bytes(range(256)) * 40)
    code, _, err = pretune("corpus", "a.txt", "--out", "c")
    assert (code, "a.txt" in err, "[not-text]" in err) == (2, True, True)


def test_broken_utf8_is_mended_where_it_is_rare_and_counted(pretune: Run) -> None:
    Path("a.txt").write_bytes("".join(f"good text, 你好, number {i}. " for i in range(50)).encode() + b"\xff\xfe tail")
    code, out, _ = pretune("corpus", "a.txt", "--out", "c", "--json")
    assert code == 0
    assert json.loads(out)["corpus"]["metrics"]["repaired"] >= 1


def test_a_csv_without_the_column_names_those_that_exist(pretune: Run) -> None:
    Path("a.csv").write_text("alpha,beta\none,two\n", encoding="utf-8")
    code, _, err = pretune("dataset", "a.csv", "--out", "d")
    assert code == 2
    assert "[no-such-column]" in err
    assert "alpha" in err
    assert "beta" in err


def test_one_class_only(pretune: Run) -> None:
    rows("a.jsonl", "same")
    code, _, err = pretune("dataset", "a.jsonl", "--out", "d")
    assert (code, "[one-class]" in err, "'same'" in err) == (2, True, True)


def test_an_unknown_setting_names_the_nearest_before_any_work(pretune: Run) -> None:
    rows("a.jsonl", "a", "b")
    code, _, err = pretune(
        "finetune", "a.jsonl", "--out", "d", "task=classify", "method=lora", "method.rnk=4", "model=m"
    )
    assert code == 2
    assert "method.rnk: no such setting; did you mean 'rank'? (got 4)  [unknown-setting]" in err
    assert not list(Path().glob("d*"))


def test_a_folder_that_is_no_artifact(pretune: Run) -> None:
    Path("f").mkdir()
    Path("f/x.txt").write_text("text", encoding="utf-8")
    code, _, err = pretune("serve", "f")
    assert code == 2
    assert "[" in err
    assert "hint" in err


def test_an_artifact_with_a_changed_byte(pretune: Run) -> None:
    Path("t").mkdir()
    for i in range(4):
        Path(f"t/{i}.txt").write_text(f"document number {i} about something", encoding="utf-8")
    assert pretune("corpus", "t", "--out", "c")[0] == 0
    shard = next(Path("c").glob("train-*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    code, _, err = pretune("tokenizer", "c", "--out", "k")
    assert code == 1
    assert f"{shard.name}" in err
    assert "[changed]" in err
    assert pretune("check", "c")[0] == 1
    code, out, _ = pretune("check", "c", "--json")
    assert [row["ok"] for row in json.loads(out)] == [False, True]


def test_a_port_in_use_is_told_before_a_model_is_read(pretune: Run) -> None:
    import socket

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        code, _, err = pretune("serve", "model", "--port", str(port))
    assert code == 2
    assert f"{port}" in err
    assert "[port-in-use]" in err


def test_other_machines_need_a_key(pretune: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRETUNE_API_KEY", raising=False)
    code, _, err = pretune("serve", "model", "--host", "0.0.0.0")
    assert (code, "[no-key]" in err) == (2, True)


def test_errors_in_json_are_json(pretune: Run) -> None:
    code, out, _ = pretune("show", "nowhere", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "no-such-file"


def test_an_input_that_no_field_takes(pretune: Run) -> None:
    Path("a.txt").write_text("text", encoding="utf-8")
    code, _, err = pretune("export", "a.txt", "--out", "e", "model=m")
    assert code == 2
    assert "no place for" in err or "[" in err


def test_a_word_that_is_no_setting_after_a_recipe(pretune: Run) -> None:
    code, _, err = pretune("run", "r.yaml", "stray")
    assert code == 2
    assert "'stray' is no setting" in err


def test_explain_answers_for_errors_settings_metrics_and_stages(pretune: Run) -> None:
    assert "three steps on end" in pretune("explain", "not-finite")[1]
    assert "default 16" in pretune("explain", "finetune.method.rank")[1]
    assert "comparable between tokenizers" in pretune("explain", "bits_per_byte")[1]
    assert "vocab_size" in pretune("explain", "tokenizer")[1]
    code, _, err = pretune("explain", "not-finit")
    assert (code, "did you mean 'not-finite'?" in err) == (2, True)


def test_every_error_class_has_a_code_and_a_text() -> None:
    from pretune.base.errors import all_errors

    for code, error in all_errors().items():
        assert error.__doc__ and len(error.__doc__) > 30, code
        assert code == code.lower()


def test_new_writes_a_recipe_that_plans(pretune: Run) -> None:
    Path("t").mkdir()
    for i in range(12):
        Path(f"t/{i}.txt").write_text(f"document number {i} about something " * 20, encoding="utf-8")
    assert pretune("new", "my-bot", "--from", "t")[0] == 0
    code, out, _ = pretune("plan", "my-bot.yaml", "--json")
    assert code == 0
    assert [s["status"] for s in json.loads(out)["stages"]] == ["will run"] * 5
    assert pretune("new", "my-bot", "--from", "t")[0] == 2


def test_a_link_out_of_a_folder_is_told_and_followed_only_when_asked(pretune: Run) -> None:
    Path("docs").mkdir()
    Path("docs/a.txt").write_text("A page of the manual.", encoding="utf-8")
    Path("mine.txt").write_text("a secret of mine", encoding="utf-8")
    Path("docs/b.txt").symlink_to("../mine.txt")
    code, _, err = pretune("corpus", "docs", "--out", "c")
    assert (code, "1 links lead out of docs and are not read (links=follow reads them): b.txt" in err) == (0, True)
    code, out, err = pretune("corpus", "docs", "--out", "d", "links=follow", "--json")
    assert (code, "lead out" in err, json.loads(out)["corpus"]["metrics"]["documents"]) == (0, False, 2)
    code, _, err = pretune("corpus", "docs", "--out", "e", "links=perhaps")
    assert (code, "'refuse' or 'follow'" in err) == (2, True)
