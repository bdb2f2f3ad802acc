"""What the pages show is what the stages' own readers, tokenizers and cards say; labels are what stage dataset reads."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pretune.base.artifact import Artifact, Card
from pretune.base.lock import started, take
from pretune.studio.folder import Folder
from pretune.studio.outcome import made_of, outs_of
from pretune.text.dataset.recognised import recognised
from pretune.tokens.encode.shown import pieces_of
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer

TEXT = "naïve 你好 🙂 <|endoftext|>  end "


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One that cuts bytes, and one that drops what is between words."""
    bytes_, words = Tokenizer(models.BPE()), Tokenizer(models.WordPiece(unk_token="?"))
    bytes_.pre_tokenizer, bytes_.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    common = {"show_progress": False, "vocab_size": 300}
    bytes_.train_from_iterator(
        [TEXT], trainers.BpeTrainer(**common, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    )
    words.train_from_iterator(["end naïve"], trainers.WordPieceTrainer(**common, special_tokens=["?"]))
    found = []
    for name, one in (("bytes", bytes_), ("words", words)):
        folder = tmp_path_factory.mktemp(name)
        one.save(str(folder / "tokenizer.json"))
        found.append(folder)
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_pieces_are_the_whole_text_and_their_ids_those_of_the_tokenizer(tokenizers: list[Path], number: int) -> None:
    pieces = pieces_of(tokenizers[number], TEXT)
    assert "".join(piece for piece, _ in pieces) == TEXT
    ids = [one for _, some in pieces for one in some]
    assert ids == encode_text(load_tokenizer(tokenizers[number]), TEXT)


def test_the_rows_of_a_file_are_shown_from_where_one_asks_and_what_data_say_is_text(
    client: TestClient, folder: Folder
) -> None:
    rows = ["text,label", *(f"<b>row {k}</b>,{k % 2}" for k in range(120))]
    (folder.root / "rows.csv").write_text("\n".join(rows), encoding="utf-8")
    page = client.get("/data", params={"path": "rows.csv", "from": "50"}).text
    assert "&lt;b&gt;row 50&lt;/b&gt;" in page and "row 99" in page
    assert "row 49" not in page and "row 100" not in page
    assert "label (" in page, "what stage dataset reads it as"


def test_links_to_nowhere_and_pipes_hide_nothing_and_are_waited_for_by_nobody(
    client: TestClient, folder: Folder
) -> None:
    (folder.root / "nowhere.txt").symlink_to(folder.root / "gone.txt")
    os.mkfifo(folder.root / "pipe.csv")
    page = client.get("/files").text
    assert "mails.csv" in page and "nowhere" not in page and "pipe" not in page
    for where in ("files", "data", "raw", "label", "artifacts", "compare"):
        assert client.get(f"/{where}", params={"path": "pipe.csv"}).status_code == 404, where


def refused(paths: object) -> dict[str, str]:
    raise AssertionError("a digest of every byte for a page")


def test_a_look_at_a_folder_does_not_read_it_all(
    client: TestClient, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.base.artifact.file_digests", refused)
    monkeypatch.setattr("pretune.base.digest.read_digest", refused)
    rows = "text,label\n" + "a,b\n" * 20
    (folder.root / "inner" / "page.html").unlink()
    (folder.root / "inner" / "rows.csv").write_text(rows, encoding="utf-8")
    for path in ("inner", "inner/rows.csv"):
        assert "label (" in client.get("/data", params={"path": path}).text


def test_pages_of_artifacts_read_no_byte_of_raw_folders(
    client: TestClient, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of gigabytes a digest takes minutes: what an artifact was made from is what its card says."""

    monkeypatch.setattr("pretune.base.digest.read_digest", refused)
    raw = folder.root / "stranger"
    raw.mkdir()
    for name in ("config.json", "model.safetensors"):
        (raw / name).write_text("{}", encoding="utf-8")
    paths = {"read.0": "../inner", "read.1": "../in*/*", "base": "../stranger", "gone": "../gone", "py": "python:code"}
    inputs = {place: {"kind": "files", "id": f"{place:>8}", "path": path} for place, path in paths.items()}
    (folder.root / "made").mkdir()
    card = Card("model", key="k", id="i", stage="pretrain", inputs=inputs).sealed()
    (folder.root / "made" / "artifact.json").write_text(card.to_json(), encoding="utf-8")
    page = client.get("/artifacts", params={"path": "made"}).text
    assert page.count("(not to be found)") == 1 and "../stranger" in page
    assert client.get("/artifacts", params={"path": "stranger"}).status_code == 200
    assert client.get("/compare", params={"path": ["made", "stranger", "inner"]}).status_code == 200


def label(client: TestClient, path: str, **asked: str) -> list[str]:
    """The texts that wait for a label, in their order."""
    return [one["text"] for one in client.get("/label/next", params={"path": path, **asked}).json()["texts"]]


def test_labels_are_kept_at_once_taken_back_and_read_by_stage_dataset(client: TestClient, folder: Folder) -> None:
    assert label(client, "mails.csv") == ["late", "quick", "so so 你好", "broken"]
    for text, name in (("so so 你好", "fine"), ("late", "bad"), ("quick", "good")):
        client.post("/label/save", data={"path": "mails.csv", "text": text, "label": name})
    client.post("/label/save", data={"path": "mails.csv", "do": "undo"})
    assert label(client, "mails.csv") == ["quick", "broken"]
    kept = folder.root / "mails.labelled.jsonl"
    assert [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] == [
        {"text": "so so 你好", "label": "fine"},
        {"text": "late", "label": "bad"},
    ]
    assert recognised(Artifact.open(kept)).shape == "label"


def save(client: TestClient, **form: str) -> int:
    return client.post("/label/save", data={"path": "mails.csv", **form}).status_code


def test_two_pages_label_a_text_once_and_each_takes_back_its_own(client: TestClient, folder: Folder) -> None:
    for text, name in (("late", "bad"), ("quick", "good"), ("late", "good")):
        assert save(client, text=text, label=name) == 200
    kept = folder.root / "mails.labelled.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["bad", "good"]
    assert save(client, do="undo", text="late") == 200
    assert kept.read_text(encoding="utf-8").splitlines() == lines[1:]


def test_a_file_of_labels_that_was_edited_meanwhile_loses_nothing(client: TestClient, folder: Folder) -> None:
    kept = folder.root / "mails.labelled.jsonl"
    kept.write_bytes('\ufeff{"text": "late", "label": "bad", "by": "me"}\r\n\r\n{"text": "x", "label": "y"}'.encode())
    assert save(client, text="quick", label="good") == 200
    assert save(client, do="undo") == 200
    found = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert found == [{"text": "late", "label": "bad", "by": "me"}, {"text": "x", "label": "y"}]
    for broken in ("{", "[]", '{"text": "late"}', '{"text": 1, "label": "a"}'):
        text = kept.read_text(encoding="utf-8").splitlines()[0] + "\n" + broken
        kept.write_text(text, encoding="utf-8")
        assert {save(client, text="z", label="a"), save(client, do="undo")} == {400}
        page = client.get("/label", params={"path": "mails.csv"})
        assert page.status_code == 400 and "mails.labelled.jsonl:2" in page.text
        assert kept.read_text(encoding="utf-8") == text


def test_texts_of_which_the_model_is_least_sure_come_first(client: TestClient, folder: Folder) -> None:
    from pretune.studio.pages.label import _scores_file

    scores = _scores_file(folder, folder.root / "mails.csv", "clf")
    scores.parent.mkdir(parents=True)
    sure = [0.9, 0.51, 0.99, 0.6]
    lines = [json.dumps({"label": "a", "scores": {"a": p, "b": 1 - p}}) for p in sure]
    scores.write_text("\n".join(lines), encoding="utf-8")
    assert label(client, "mails.csv", model="clf") == ["quick", "broken", "late", "so so 你好"]


def answers(folder: Folder, lines: list[dict[str, object]]) -> None:
    """What a model `clf` answered to mails.csv."""
    from pretune.studio.pages.label import _scores_file

    scores = _scores_file(folder, folder.root / "mails.csv", "clf")
    scores.parent.mkdir(parents=True)
    scores.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def test_of_several_labels_the_one_that_is_nearest_to_its_threshold_says_how_sure_a_model_is(
    client: TestClient, folder: Folder
) -> None:
    """A text without any label may be the surest of all. The threshold of b is between 0.05 and 0.07."""
    chances = [(0.01, 0.0001), (0.99, 0.07), (0.6, 0.0001), (0.999, 0.0001)]
    said = [[], ["a", "b"], ["a"], ["a"]]
    lines = [{"labels": n, "scores": {"a": a, "b": b}} for n, (a, b) in zip(said, chances, strict=True)]
    answers(folder, lines)
    found = client.get("/label/next", params={"path": "mails.csv", "model": "clf"}).json()["texts"]
    assert [one["text"] for one in found] == ["quick", "so so 你好", "late", "broken"]
    assert [one["guess"] for one in found] == ["a, b", "a", "", "a"]


@pytest.mark.parametrize("answer", [{"order": [1, 0], "scores": [0.9, 0.1]}, {"score": 3.5}, {"error": "too-long"}])
def test_answers_without_probabilities_leave_the_order_of_the_file(
    client: TestClient, folder: Folder, answer: dict[str, object]
) -> None:
    answers(folder, [answer] * 4)
    assert label(client, "mails.csv", model="clf") == ["late", "quick", "so so 你好", "broken"]


def made(folder: Folder, name: str, rate: float, losses: list[float]) -> None:
    out = folder.root / name
    out.mkdir()
    settings = {"optim": {"learning_rate": rate}, "steps": 3}
    card = Card(
        "model", key=name, id=name, stage="pretrain", settings=settings, metrics={"validation_loss": losses[-1]}
    )
    (out / "artifact.json").write_text(card.sealed().to_json(), encoding="utf-8")
    points = [json.dumps({"step": k, "loss": loss}) for k, loss in enumerate(losses)]
    (out / "metrics.jsonl").write_text("\n".join(points), encoding="utf-8")


def test_runs_next_to_each_other_differ_in_what_was_changed(client: TestClient, folder: Folder) -> None:
    made(folder, "slow", 1e-4, [4.0, 3.5, 3.25])
    made(folder, "fast", 1e-3, [4.0, 3.0, 2.5])
    page = client.get("/compare", params={"path": ["slow", "fast"]}).text
    assert page.count("<polyline") == 2 and "3.25" in page and "2.50" in page
    differ = page.partition("Settings that differ")[2]
    assert "optim.learning_rate" in differ and "steps" not in differ


def test_a_run_is_followed_where_its_stages_write(folder: Folder) -> None:
    outs = outs_of(["run", "./tiny.yaml", "--size", "smoke"], folder.root)
    assert outs["base"] == folder.root / "runs/tiny/base" and list(outs) == ["corpus", "tokenizer", "tokens", "base"]
    assert made_of("base", outs["base"]).state == "waiting"
    scratch = folder.root / "runs/tiny/base.scratch"
    scratch.mkdir(parents=True)
    take(scratch / "lock", "base")
    points = [{"step": k, "loss": 4 - k, "tokens_per_second": 812.4, "memory_bytes": 2**30} for k in range(3)]
    (scratch / "metrics.jsonl").write_text("\n".join(map(json.dumps, points)) + '\n{"step": 3, "lo', encoding="utf-8")
    found = made_of("base", outs["base"])
    assert found.state == "working" and [one.title for one in found.charts] == ["Loss", "Speed", "Memory"]
    assert found.newest == {"step": "2", "loss": "2.00", "tokens_per_second": "812", "memory_bytes": "1.0 GiB"}


def test_a_run_that_was_killed_works_no_more_and_shows_how_far_it_came(folder: Folder) -> None:
    scratch = folder.root / "runs/tiny/base.scratch"
    scratch.mkdir(parents=True)
    dead = {"pid": os.getpid(), "host": socket.gethostname(), "started": "before"}
    (scratch / "lock").write_text(json.dumps(dead), encoding="utf-8")
    (scratch / "metrics.jsonl").write_text('{"step": 4, "loss": 2.5}', encoding="utf-8")
    found = made_of("base", folder.root / "runs/tiny/base")
    assert (found.state, found.newest["step"]) == ("interrupted", "4")


@pytest.mark.parametrize(
    ("alive", "code", "state"),
    [
        (True, None, "running"),
        (False, "0", "done"),
        (False, "130", "stopped"),
        (False, "2", "failed"),
        (False, None, "killed"),
    ],
)
def test_a_studio_that_is_started_again_knows_how_each_run_ended(
    client: TestClient, folder: Folder, alive: bool, code: str | None, state: str
) -> None:
    home = folder.own / "runs" / "0007"
    home.mkdir(parents=True)
    born = started(os.getpid()) if alive else "before"  # else its pid was given to another process
    (home / "run.json").write_text(
        json.dumps({"words": ["check", "./<b>"], "pid": os.getpid(), "began": 0.0, "born": born}), "utf-8"
    )
    (home / "log").write_text("said <script>\n", encoding="utf-8")
    if code is not None:
        (home / "exit").write_text(code, encoding="utf-8")
    page = client.get("/runs/0007").text
    assert f'data-state="{state}"' in page and "said &lt;script&gt;" in page and "<b>&#39;" not in page
