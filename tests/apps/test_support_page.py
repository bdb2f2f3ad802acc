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


def ask(customer: Any, *questions: str) -> None:
    for question in questions:
        customer.fill("#text", question)
        customer.keyboard.press("Enter")
        customer.locator("#talk .user", has_text=question).wait_for()
        customer.locator("#send:enabled").wait_for()


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


def test_who_types_and_reads_at_the_inbox_keeps_what_is_typed_when_another_ticket_is_sent(
    browser: Any, url: str
) -> None:
    wrong: list[str] = []
    customer, desk = opened(browser, wrong, locale="en-US"), opened(browser, wrong, locale="en-US")
    customer.goto(url)
    ask(customer, "Do you repair pianos?", "Do you repair violins?")
    desk.goto(f"{url}/inbox")
    pianos = desk.locator("#waiting article", has_text="pianos")
    violins = desk.locator("#waiting article", has_text="violins")
    violins.locator("textarea").fill("No, but")
    desk.evaluate("window.kept = [...document.querySelectorAll('#waiting article')].at(-1)")
    pianos.locator("textarea").fill("No.")
    pianos.get_by_text("Answer", exact=True).click()
    desk.locator("#answered article", has_text="pianos").wait_for()
    assert violins.locator("textarea").input_value() == "No, but"
    assert desk.evaluate("kept === document.querySelector('#waiting article')")
    desk.locator("#language").click()
    violins.get_by_text("回复", exact=True).wait_for()
    assert violins.locator("textarea").input_value() == "No, but"
    assert desk.locator("#answered article", has_text="pianos").locator("textarea").input_value() == "No."
    assert wrong == []


def test_a_look_for_a_person_s_answer_draws_what_has_changed_alone(browser: Any, url: str) -> None:
    wrong: list[str] = []
    customer = opened(browser, wrong, locale="en-US")
    customer.goto(url)
    ask(customer, "Can I dim the lamps?", "Do you repair <i>harps</i>?")
    customer.locator("summary").click()
    customer.evaluate("window.kept = [...get('talk').children]")
    customer.fill("#text", "And")
    customer.evaluate("look()")
    assert customer.evaluate("waits && kept.every((one, k) => one === get('talk').children[k])")
    customer.get_by_label("Helpful", exact=True).focus()
    customer.keyboard.press("Enter")
    customer.locator('[aria-pressed="true"]').wait_for()
    assert customer.evaluate("kept.map((one, k) => one === get('talk').children[k])") == [False, True]
    assert customer.locator("details[open]").count() == 1
    assert customer.evaluate("document.activeElement.getAttribute('aria-label')") == "Helpful"
    assert customer.input_value("#text") == "And"
    assert wrong == []


def test_a_server_that_is_gone_is_told_once_and_the_question_is_not_lost(browser: Any, url: str) -> None:
    customer = opened(browser, [], locale="en-US")
    customer.goto(url)
    customer.route("**/v1/*", lambda route: route.abort())
    customer.fill("#text", "Do you repair pianos?")
    customer.keyboard.press("Enter")
    customer.get_by_text("The server cannot be reached.").wait_for()
    assert customer.input_value("#text") == "Do you repair pianos?"
    customer.evaluate("talk = 'any', waits = true, look().then(look)")
    assert customer.get_by_text("The server cannot be reached.").count() == 1
    assert customer.locator("#talk .said").count() == 0
    customer.unroute("**/v1/*")
    customer.evaluate("talk = null")
    customer.locator("#send").click()
    customer.get_by_text("passed on to a person").wait_for()
    assert customer.locator("#problem").is_hidden()
