"""The dashboard, clicked through in a browser: on a phone, dark, in Chinese, then in English."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pretune.apps.app import Started
from pretune.apps.monitor.app import Monitor
from pretune.apps.monitor.reading import Models
from pretune.apps.monitor.settings import Setup
from pretune.apps.serving import serving_app
from pretune.base.artifact import Artifact, Card
from tests.apps.monitor.conftest import HOUR, Capitals, Words
from tests.apps.test_support_page import opened
from tests.serve.test_page import CHROMIUM, PHONE, browser

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")
HOSTILE = "negative news on the bank <img src=x onerror=alert(1)> 你好"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A watch that was fed eight days of news, the last hours of them bad."""
    now = time.time() // HOUR * HOUR
    rows = [
        {"time": now - (200 - k) * HOUR + 60 * j, "text": "positive news on rail"} for k in range(200) for j in range(4)
    ]
    rows += [{"time": now - 3 * HOUR + k, "text": f"{HOSTILE} {k}"} for k in range(30)]
    rows += [{"time": now - k * HOUR + 60, "text": f"positive news on Tiny rail {k}"} for k in (3, 2, 1)]
    (tmp_path / "news.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    models = Models(Words(("negative", "positive")), Words(("bank", "rail")), Capitals())
    artifact = Artifact(tmp_path / "watch", Card("app", "", "", "monitor"))
    app = Monitor(artifact, models, Setup(late_minutes=0, alert_on=("negative",)), tmp_path / "state")
    with serving_app(app, started=Started(lambda line: None, sources=[str(tmp_path / "news.jsonl")])) as address:
        for _ in range(1200):
            if app.opened_store().state.rows("select 1 from alerts"):
                break
            time.sleep(0.05)
        yield address


def test_an_alert_is_seen_its_texts_are_read_and_somebody_says_so(browser: Any, url: str) -> None:
    wrong: list[str] = []
    page = opened(browser, wrong, locale="zh-CN", viewport=PHONE, color_scheme="dark")
    page.on("dialog", lambda dialog: dialog.accept("李雷") if dialog.type == "prompt" else wrong.append(dialog.message))
    page.goto(url)
    alert = page.locator("#alerts li").filter(has_text="关于“bank”的“negative”文本激增").first
    alert.wait_for()
    alert.get_by_text("文本", exact=True).click()
    page.locator("#found li").first.wait_for()
    assert page.locator("#found li").count() == 30
    assert HOSTILE in page.locator("#found li").first.inner_text()
    alert.get_by_text("已知悉", exact=True).click()
    alert.get_by_text("已知悉： 李雷").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#lines figcaption").get_by_text("全部", exact=True).wait_for()

    page.locator("#language").click()
    page.get_by_text("negative texts on bank surged").first.wait_for()
    page.locator("#lines svg").nth(1).click()
    page.locator("#found li").first.wait_for()
    # An entity that has too few texts for a series has a line, and the texts behind it are its own.
    page.locator("#lines figure").filter(has_text="Tiny").locator("svg").click()
    page.locator("#found li").filter(has_text="on Tiny rail 3").wait_for()
    page.wait_for_function("document.querySelectorAll('#found li').length === 1")
    page.evaluate("refresh()")
    assert page.evaluate("get('subject').value") == '["entity","Tiny"]'
    page.locator("#ask button").press("Enter")
    assert page.locator("#lines polyline").count() >= 3
    assert wrong == []
