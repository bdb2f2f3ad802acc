"""The studio clicked through in Debian's chromium: look, label, recipe, run, watch, talk; in Chinese and on a phone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tokenizers import Tokenizer

from pretune.base.lock import started
from pretune.infer.language import LanguageModel
from pretune.serve.leaving import Running
from pretune.serve.run import address, listening, serving
from pretune.studio.folder import Folder
from pretune.studio.start import server
from tests.serve.conftest import tokenizer  # noqa: F401  # a fixture
from tests.serve.test_page import CHROMIUM, PHONE, Says
from tests.studio.conftest import TOKEN, lay_out

playwright = pytest.importorskip("playwright.sync_api", reason="the pages are clicked through by playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")
RECIPE = """\
name: look
work: runs/look
stages:
  corpus: {kind: corpus, read: [texts.txt], dedup: none, filters: [], test: 0.0}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    found = lay_out(tmp_path_factory.mktemp("studio"))
    (found.root / "look.yaml").write_text(RECIPE, encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def url(folder: Folder) -> Iterator[str]:
    folder.own.mkdir()
    with listening("127.0.0.1", 0) as listener:
        running = Running(server(folder, TOKEN), listener)
        yield address(listener)
        running.leave(0)
        running.join(30)


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Any]:
    """A page that was opened with the token; whatever goes wrong in it fails the test."""
    wrong: list[str] = []
    with playwright.sync_playwright() as chromium:
        browser = chromium.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(locale="en-US").new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(url) else wrong.append(asked.url))
        page.goto(f"{url}/?token={TOKEN}")
        yield page
        browser.close()
    assert not wrong


def served(folder: Folder, model: str) -> None:
    """A run that serves a model, as its folder would be if this process were it."""
    home = folder.own / "runs" / "0900"
    home.mkdir(parents=True)
    port = urlsplit(model).port
    known = {
        "words": ["serve", "./talker", "--port", str(port)],
        "pid": os.getpid(),
        "began": 0.0,
        "born": started(os.getpid()),
    }
    (home / "run.json").write_text(json.dumps(known), encoding="utf-8")
    (home / "log").write_text(f"serving talker at http://127.0.0.1:{port}  (Ctrl-C stops)\n", encoding="utf-8")


def test_labels_are_given_by_keyboard(page: Any, url: str, folder: Folder) -> None:
    page.goto(f"{url}/files")
    page.click("text=mails.csv")
    page.click(".actions >> text=Label")
    page.fill("[name=labels]", "good, bad")
    page.press("[name=labels]", "Enter")
    page.wait_for_function("() => document.getElementById('text').textContent")
    for key in "2su1s1":
        page.keyboard.press(key)
    page.wait_for_function(
        "() => document.getElementById('done').textContent === '2' && document.getElementById('left').textContent === '2'"
    )
    kept = (folder.root / "mails.labelled.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in kept] == ["good", "good"]


def test_a_mistake_stands_at_its_field_and_a_mended_recipe_runs_and_is_watched(page: Any, url: str) -> None:
    page.goto(f"{url}/recipe?path=look.yaml")
    page.click("text=More settings")
    page.fill("[name='corpus.validation']", "much")
    told = page.wait_for_selector("[data-place='corpus.validation'].wrong .mistake")
    assert told.inner_text() == "must be a number"
    page.fill("[name='corpus.validation']", "0")
    page.select_option("[name='corpus.dedup']", "exact")
    page.wait_for_function("() => document.getElementById('yaml').textContent.includes('dedup: exact')")
    page.click("button[value=run]")
    assert page.inner_text("pre.command") == "pretune run ./look.yaml"
    page.wait_for_selector("[data-state=done]", timeout=60_000)
    page.click("a:has-text('runs/look/corpus')")
    assert "documents" in page.inner_text("main")
    page.click("text=Look at the data")
    assert "A small text. 你好 🙂" in page.inner_text("table.rows")


def test_a_model_is_talked_to_through_the_studio(
    page: Any,
    url: str,
    folder: Folder,
    tokenizer: Tokenizer,  # noqa: F811
) -> None:
    says = Says(tokenizer.get_vocab_size(), [*tokenizer.encode("two 你好").ids, 0])
    with serving({"talker": LanguageModel(says, tokenizer, (0,))}) as model:
        served(folder, model)
        page.goto(f"{url}/runs/0900")
        with page.expect_popup() as opened:
            page.click("text=Open the model")
        talk = opened.value
        talk.fill("#text", "one")
        talk.press("#text", "Enter")
        talk.wait_for_selector("#talk[aria-busy=false] > .said:not(.user)")
        assert talk.locator("#talk > .said").last.inner_text() == "two 你好"
        talk.close()
    shutil.rmtree(folder.own / "runs" / "0900")


@pytest.mark.parametrize(
    "where", ["files", "recipe?path=tiny.yaml", "runs", "data?path=mails.csv", "label?path=mails.csv&labels=a,b"]
)
def test_on_a_phone_and_in_chinese_nothing_is_wider_than_the_screen(page: Any, url: str, where: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{url}/{where}")
    if "中文" in page.inner_text("header"):
        page.click("header form button")
    assert page.url == f"{url}/{where}" and "文件" in page.inner_text("nav")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
