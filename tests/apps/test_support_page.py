"""The desk's two pages, clicked through: a customer asks, a person answers, the customer sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pretune.apps.app import open_app
from pretune.apps.serving import serving_app
from tests.apps.test_support import SHOP, made
from tests.serve.test_page import CHROMIUM, PHONE, browser

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    out = tmp_path_factory.mktemp("page") / "desk"
    with serving_app(
        open_app(made(out, SHOP / "docs", f"faq={SHOP / 'faq.csv'}", f"dev={SHOP / 'dev.csv'}", "words=60").path)
    ) as address:
        yield address


def opened(browser: Any, wrong: list[str], **settings: Any) -> Any:
    page = browser.new_context(**settings).new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    return page


def test_a_customer_asks_a_person_answers_and_the_customer_sees_it(browser: Any, url: str) -> None:
    wrong: list[str] = []
    customer = opened(browser, wrong, locale="zh-CN", viewport=PHONE, color_scheme="dark")
    customer.goto(url)
    assert customer.title() == "在线客服"
    customer.fill("#text", "台灯可以调光吗？")
    customer.keyboard.press("Enter")
    customer.get_by_text("来自常见问题").wait_for()
    customer.locator("summary").click()
    assert "型号以 D 结尾" in customer.locator("mark").first.inner_text()
    customer.get_by_label("有帮助", exact=True).click()
    customer.locator('[aria-pressed="true"]').wait_for()
    customer.fill("#text", "<b>推荐</b>一部好看的电影")
    customer.locator("#send").click()
    customer.get_by_text("已转人工").wait_for()
    assert customer.evaluate("document.documentElement.scrollWidth <= innerWidth")

    desk = opened(browser, wrong, locale="en-US")
    desk.goto(f"{url}/inbox")
    ticket = desk.locator("#waiting article").first
    assert ticket.locator("h3").inner_text() == "<b>推荐</b>一部好看的电影"
    ticket.locator("textarea").fill("我们只卖台灯。")
    ticket.get_by_text("Answer", exact=True).click()
    desk.get_by_text("Nothing is waiting.").wait_for()
    desk.fill("#text", "The shop is closed on Mondays.")
    desk.get_by_text("Keep", exact=True).click()
    desk.get_by_text("The shop is closed on Mondays.").wait_for()

    customer.reload()
    customer.get_by_text("人工回复").wait_for()
    customer.locator("#language").click()
    customer.get_by_text("answered by a person").wait_for()
    assert wrong == []
