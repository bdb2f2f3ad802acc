"""The recommender's page, clicked through."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.apps.app import open_app
from pretune.apps.serving import serving_app
from tests.apps.test_recommend import made, tables
from tests.apps.test_support_page import opened
from tests.serve.test_page import CHROMIUM, PHONE, browser

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")


def test_a_guest_looks_for_an_item_has_seen_it_and_the_list_is_another(browser: Any, tmp_path: Any) -> None:
    items, events = tables(tmp_path)
    items.write_text(items.read_text("utf-8") + 'last,"<img src=x onerror=alert(1)>, a fish",1\n', "utf-8")
    shop = made([str(events), str(items), "ridge=1", "shrinkage=1"], tmp_path / "shop")
    wrong: list[str] = []
    with serving_app(open_app(shop.path)) as address:
        page = opened(browser, wrong, locale="zh-CN", viewport=PHONE, color_scheme="dark")
        page.goto(address)
        page.get_by_text("该用户还没有记录").wait_for()
        page.fill("#user", "guest")
        page.fill("#query", "动物")
        page.keyboard.press("Enter")
        page.get_by_text("搜索结果").wait_for()
        page.locator("#list li").first.get_by_text("看过", exact=True).click()
        page.get_by_text("已记录").wait_for()
        assert page.locator("#seen li").count() == 1
        assert page.locator("#list li").first.locator("small").last.inner_text().startswith("因为看过 猫")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator("#language").click()
        page.fill("#query", "fish")
        page.keyboard.press("Enter")
        page.get_by_text("<img src=x onerror=alert(1)>, a fish").first.wait_for()
        page.locator("#list li").first.get_by_text("similar", exact=True).click()
        page.get_by_text("Like ").wait_for()
        page.context.close()
    assert wrong == []
