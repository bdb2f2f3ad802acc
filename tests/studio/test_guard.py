"""Who comes into the studio, and that nothing of what hostile pages and paths ask for is done or shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from starlette.testclient import TestClient

from pretune.base.errors import Locked, OutsideFolder
from pretune.base.lock import started
from pretune.studio.app import create_app
from pretune.studio.folder import Folder
from pretune.studio.guard import cookie_name
from pretune.studio.start import opened
from tests.studio.conftest import HOST, RECIPE, SECRET, TOKEN

PATHS = (
    "../secret.txt", "..", "/etc/passwd", "link.txt", "outside/secret.txt", "outside", ".env", ".studio/lock",
    "inner/../../secret.txt", "a\0b", "x" * 5000, "./.studio", "/proc/self/environ", "~/.ssh", "inner/../.env",
)  # fmt: skip
READING = ("/files", "/raw", "/data", "/artifacts", "/recipe", "/label", "/label/next", "/tokens", "/compare")
OWN = f"http://{HOST}"
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "https://127.0.0.1:8100"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": OWN, "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example", "Host": "evil.example"},
    {"Origin": "http://127.0.0.1.evil.example", "Host": "127.0.0.1.evil.example"},
)
RUNS = {"path": "tiny.yaml", "do": "run", "corpus.kind": "corpus", "corpus.read": "[texts.txt]"}


def files_of(folder: Folder) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.root.rglob("*")) if p.is_file()}


def test_the_token_opens_the_studio_once_and_leaves_the_address(stranger: TestClient) -> None:
    assert stranger.get("/files").status_code == 401
    answer = stranger.get("/data", params={"token": TOKEN, "path": "mails.csv"})
    assert answer.status_code == 303 and answer.headers["location"] == "/data?path=mails.csv"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert stranger.get("/files").status_code == 200


@pytest.mark.parametrize("asked", ["/files", "/files?token=wrong", "/?token=", "/static/live.js", "/runs", "/try/1/"])
def test_without_the_token_everything_is_401(stranger: TestClient, asked: str) -> None:
    assert stranger.get(asked).status_code == 401


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_folder_or_to_what_is_hidden(client: TestClient, folder: Folder, path: str) -> None:
    before = files_of(folder)
    for address in READING:
        answer = client.get(address, params={"path": path})
        assert answer.status_code == 403 and SECRET not in answer.text, address
    changing: list[tuple[str, dict[str, Any]]] = [
        ("/act", {"path": path, "do": "check"}),
        ("/try", {"path": path}),
        ("/recipe", {**RUNS, "path": path + ".yaml"}),
        ("/recipe", {**RUNS, "corpus.read": json.dumps([path])}),
        ("/label/save", {"path": path, "text": "a", "label": "b"}),
        ("/recipes/new", {"name": "x", "source": path}),
    ]
    for address, form in changing:
        assert client.post(address, data=form).status_code in (400, 403, 404, 422), (address, form)
    assert files_of(folder) == before


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_other_page_starts_or_changes_anything(client: TestClient, folder: Folder, headers: dict[str, str]) -> None:
    before = files_of(folder)
    client.headers.pop("Origin")
    given = {name: value for name, value in headers.items() if value}
    for address, form in (("/recipe", RUNS), ("/try", {"path": "inner"}), ("/label/save", {"path": "mails.csv"})):
        # A wrong host has no cookie: its name is another one's.
        assert client.post(address, data=form, headers=given).status_code in (401, 403), address
    assert files_of(folder) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    assert client.request(method, "/files").status_code == 403


def test_a_body_of_more_than_a_megabyte_is_refused(client: TestClient) -> None:
    assert client.post("/tokens", content=b"text=" + b"a" * (1 << 20)).status_code == 413


def test_a_form_that_is_cut_off_half_way_changes_nothing(folder: Folder) -> None:
    """The client went away after half of what Content-Length said; ASGI says so by a disconnect."""
    whole = urlencode({"path": "mails.csv", "label": "good", "text": "a long text"}).encode()
    cookie = f"{cookie_name(HOST)}={TOKEN}"
    headers = {"host": HOST, "origin": OWN, "cookie": cookie, "content-length": str(len(whole))}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/label/save",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    come: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": whole[:-4], "more_body": True}, {"type": "http.disconnect"}]
    )
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(come)

    async def send(message: Any) -> None:
        said.append(message)

    anyio.run(create_app(folder, TOKEN), scope, receive, send)
    assert said[0]["status"] == 400 and not (folder.root / "mails.labelled.jsonl").exists()


@pytest.mark.parametrize("value", ["[" * 1200, "{a: " * 1200, "!!python/object:os.system x", "&a [*a, *a]"])
def test_values_that_attack_the_yaml_reader_are_mistakes(client: TestClient, folder: Folder, value: str) -> None:
    answer = client.post("/recipe", data={**RUNS, "do": "save", "corpus.read": value})
    assert answer.status_code in (400, 422)
    assert (folder.root / "tiny.yaml").read_text(encoding="utf-8") == RECIPE


def test_a_size_of_a_recipe_reads_nothing_outside(client: TestClient, folder: Folder) -> None:
    """The overrides of a size are part of what would run."""
    wild = RECIPE.replace("base.steps: 3", "corpus.read: [/etc/passwd]")
    (folder.root / "wild.yaml").write_text(wild, encoding="utf-8")
    answer = client.get("/recipe", params={"path": "wild.yaml"})
    assert "is outside of what is shown here" in answer.text


@pytest.mark.parametrize("read", ["[inner]", '["inner/*"]', '["inner/**"]', '["inner/b*/*"]'])
def test_links_that_a_recipe_follows_read_nothing_outside(folder: Folder, client: TestClient, read: str) -> None:
    (folder.root / "inner" / "deep").mkdir()
    (folder.root / "inner" / "back").symlink_to(folder.root / "inner" / "deep")
    form = {**RUNS, "corpus.read": read, "corpus.links": "follow", "path": "tiny.yaml"}
    (folder.root / "inner" / "deep" / "near.txt").symlink_to(folder.root / "texts.txt")
    told = client.post("/recipe/check", data=form).json()["wrong"]
    assert "corpus.read" not in told, "links within the folder are read"
    (folder.root / "inner" / "deep" / "far.txt").symlink_to(folder.root.parent / "secret.txt")
    if read in ("[inner]", '["inner/**"]', '["inner/b*/*"]'):
        assert "is outside of" in client.post("/recipe/check", data=form).json()["wrong"]["corpus.read"][0]
    told = client.post("/recipe/check", data={**form, "corpus.links": "refuse"}).json()["wrong"]
    assert "corpus.read" not in told, "they are not read"


def test_a_recipe_that_was_changed_since_shows_nothing_that_lies_outside(client: TestClient, folder: Folder) -> None:
    out = folder.root.parent / "elsewhere" / "base"
    out.mkdir(parents=True)
    (out / "samples.jsonl").write_text(json.dumps({"step": 1, "prompt": "", "text": SECRET}), encoding="utf-8")
    (out / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}', encoding="utf-8")
    (folder.root / "tiny.yaml").write_text(RECIPE.replace("runs/tiny", "../elsewhere"), encoding="utf-8")
    home = folder.own / "runs" / "0001"
    home.mkdir(parents=True)
    known = {"words": ["run", "./tiny.yaml"], "pid": 1, "began": 0.0}
    (home / "run.json").write_text(json.dumps(known), encoding="utf-8")
    answer = client.get("/runs/0001")
    assert answer.status_code == 200 and SECRET not in answer.text


def test_nothing_is_written_next_to_the_folder_or_through_a_link(client: TestClient, folder: Folder) -> None:
    victim = folder.root.parent / "victim.jsonl"
    (folder.root / "mails.labelled.jsonl").symlink_to(victim)
    before = sorted(folder.root.parent.iterdir())
    for path in ("", ".", "mails.csv"):
        form = {"path": path, "text": "a", "label": "b"}
        assert client.post("/label/save", data=form).status_code == 403
        assert client.post("/label/save", data={**form, "do": "undo"}).status_code == 403
    for action in ("export", "evaluate"):
        assert client.post("/act", data={"path": "", "do": action, "to": "onnx"}).status_code == 403
    assert sorted(folder.root.parent.iterdir()) == before and not victim.exists()


def test_a_page_that_is_found_in_the_folder_can_do_nothing(client: TestClient) -> None:
    answer = client.get("/raw", params={"path": "inner/page.html"})
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_going_back_after_the_language_leads_nowhere_else(client: TestClient) -> None:
    for back in ("//evil.example", "/\\evil.example", "http://evil.example"):
        answer = client.post("/language", data={"back": back, "language": "zh"})
        assert answer.headers["location"] == "/"


def test_what_lies_elsewhere_is_read_only_where_it_was_named_at_the_start(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(OutsideFolder):
        folder.check_input(str(tmp_path / "secret.txt"))
    Folder.of(folder.root, (str(tmp_path),)).check_input(str(tmp_path / "secret.txt#3"))
    folder.check_input("python:code")


def test_two_studios_in_one_folder_are_refused_and_a_dead_one_is_not(folder: Folder) -> None:
    import os
    import socket

    lock = folder.own / "lock"
    folder.own.mkdir()
    other = {"pid": os.getppid(), "host": socket.gethostname(), "started": started(os.getppid())}
    lock.write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(Locked, match="as its studio"), opened(folder.root):
        pass
    lock.write_text(json.dumps({**other, "started": "0"}), encoding="utf-8")
    with opened(folder.root):
        assert lock.is_file()
    assert not lock.exists()
