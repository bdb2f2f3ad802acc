"""Which column of a table of items or events holds what."""

from __future__ import annotations

from pretune.base.config import Config

KNOWN: dict[str, tuple[str, ...]] = {
    "user": (
        *("user_id", "userid", "user", "customer_id", "customer", "reader", "visitor", "session_id"),
        *("用户", "用户编号", "读者"),
    ),
    "item": (
        *("item_id", "itemid", "item", "product_id", "article_id", "movie_id", "movieid", "book_id", "sku", "asin"),
        *("product", "article", "物品", "商品", "商品编号", "文章", "id"),
    ),
    "title": ("title", "name", "movie_title", "item_name", "product_name", "headline", "标题", "名称", "商品名称"),
    "rating": ("rating", "ratings", "score", "stars", "评分"),
    "time": ("timestamp", "time", "date", "datetime", "when", "ts", "时间", "日期"),
}
"""The names of each role's column, the surest first."""


class ShopColumns(Config):
    """The column of each role; one that is not given is found by its name."""

    user: str | None = None
    """Who did something."""
    item: str | None = None
    """With what; in both tables."""
    title: str | None = None
    """What an item is called on a page."""
    text: list[str] = []
    """What an item's text is made of; all columns that hold words if not given."""
    rating: str | None = None
    """What a user thought of an item."""
    time: str | None = None
    """When it was: seconds, or a date as ISO 8601 has it."""

    def of(self, role: str) -> str | None:
        """The column that was given for a role."""
        found: str | None = self.model_dump()[role]
        return found
