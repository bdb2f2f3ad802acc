"""Web pages with their main text known by construction: eighteen kinds of content within the furniture of a site.

Content is drawn from one list of words and furniture (menus, related stories, forms, comments on news, side columns)
from another, so what is lost and what slipped in can be counted word by word.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

WORDS = [
    "river",
    "stone",
    "amber",
    "cedar",
    "harbour",
    "lantern",
    "meadow",
    "copper",
    "thistle",
    "marble",
    "willow",
    "falcon",
    "saffron",
    "orchard",
    "glacier",
    "violin",
    "compass",
    "barley",
    "juniper",
    "quarry",
    "velvet",
    "heron",
    "walnut",
    "basalt",
    "ribbon",
    "tundra",
    "ginger",
    "pebble",
    "anchor",
    "clover",
    "monsoon",
    "garnet",
]
HAN = "河石杉港灯草铜柳鹰园冰琴罗麦矿绒鹭桃岩带姜锚云雨金山水木火土春夏秋冬东南西北日月星光花鸟鱼虫"
MENU = [
    "Homepage",
    "Overview",
    "Imprint",
    "Newsletter",
    "Subscribe",
    "Login",
    "Register",
    "Sitemap",
    "Partners",
    "Careers",
    "Mobile",
    "Archive",
]
HAN_MENU = ["首页", "登录", "注册", "专题", "视频", "滚动", "客户端", "返回顶部", "联系我们", "广告服务"]
SHARE = '<ul class="share-buttons"><li><a href="#">Facebook</a></li><li><a href="#">Twitter</a></li><li>Print</li></ul>'
RUBY = (
    ("東京", "とうきょう"),
    ("新聞", "しんぶん"),
    ("学校", "がっこう"),
    ("図書館", "としょかん"),
    ("電車", "でんしゃ"),
)


WORD = re.compile(r"[一-鿿]|[^\W_一-鿿]+")
LIST_MARK = re.compile(r"^[ \t]*(?:[•◦▪‣-]|\d+\.)[ \t]", re.M)


@dataclass(frozen=True)
class Page:
    kind: str
    html: str
    gold: list[str]
    """The lines of its main text."""


@dataclass
class Draft:
    """A page as it is written: markup, and the gold with it."""

    draw: random.Random
    han: bool = False
    gold: list[str] = field(default_factory=list)
    count: int = 0

    def say(self, line: str) -> str:
        self.gold.append(line)
        return line

    def words(self, low: int, high: int) -> str:
        """New text; every piece has a word of its own, so no two are alike."""
        self.count += 1
        number = self.draw.randint(low, high)
        if self.han:
            return f"第{self.count}件" + "".join(self.draw.choice(HAN) for _ in range(2 * number))
        return " ".join([*(self.draw.choice(WORDS) for _ in range(number)), f"w{self.count}"])

    def sentence(self) -> str:
        parts = [self.words(4, 10) for _ in range(self.draw.randint(1, 3))]
        return ("，".join(parts) + "。") if self.han else (", ".join(parts).capitalize() + ".")

    def paragraph(self, low: int = 2, high: int = 5) -> str:
        joint = "" if self.han else " "
        return f"<p>{self.say(joint.join(self.sentence() for _ in range(self.draw.randint(low, high))))}</p>"

    def paragraphs(self, low: int = 2, high: int = 5) -> str:
        return "\n".join(self.paragraph() for _ in range(self.draw.randint(low, high)))

    def heading(self, level: int = 2) -> str:
        return f"<h{level}>{self.say(self.words(2, 5))}</h{level}>"


# ---- content ------------------------------------------------------------------------------------


def items(page: Draft, tag: str = "ul", low: int = 2, high: int = 7) -> str:
    inner = "".join(f"<li>{page.say(page.words(1, 9))}</li>" for _ in range(page.draw.randint(low, high)))
    return f"<{tag}>{inner}</{tag}>"


def news(page: Draft) -> str:
    body = page.heading(1) + SHARE + page.paragraphs(4, 9)
    if page.draw.random() < 0.5:
        body += page.heading() + page.paragraphs(2, 4)
    return body + _related(page.draw) + (_comments(page.draw) if page.draw.random() < 0.5 else "")


def lists(page: Draft) -> str:
    tag = page.draw.choice(["ul", "ol"])
    return page.heading(1) + page.paragraph() + items(page, tag) + page.paragraphs(1, 3) + items(page)


def list_at_the_end(page: Draft) -> str:
    return page.heading(1) + page.paragraphs(1, 4) + page.heading() + items(page, page.draw.choice(["ul", "ol"]))


def nested_lists(page: Draft) -> str:
    parts = [page.heading(1), page.paragraphs(1, 3), "<ul>"]
    for _ in range(page.draw.randint(2, 4)):
        parts += [f"<li>{page.say(page.words(1, 4))}", items(page, "ul", 2, 4), "</li>"]
    return "".join([*parts, "</ul>", page.paragraph()])


def quoted_lists(page: Draft) -> str:
    quote = f"<blockquote>{page.paragraph(1, 2)}{items(page)}</blockquote>"
    return page.heading(1) + page.paragraphs(1, 3) + quote + page.paragraph()


def sections(page: Draft) -> str:
    made = [f"<section>{page.heading()}{page.paragraph()}{items(page)}</section>" for _ in range(3)]
    return page.heading(1) + "".join(made)


def definitions(page: Draft) -> str:
    pairs = [f"<dt>{page.say(page.words(1, 2))}</dt><dd>{page.say(page.sentence())}</dd>" for _ in range(6)]
    return page.heading(1) + page.paragraph() + f"<dl>{''.join(pairs)}</dl>"


def linked_lists(page: Draft) -> str:
    """Items of a link and a sentence: a glossary, a list of programs. They are text."""
    made = [f'<li><a href="/x">{page.say(page.words(1, 2))}</a> – {page.say(page.sentence())}</li>' for _ in range(6)]
    return page.heading(1) + page.paragraphs(1, 2) + f"<ul>{''.join(made)}</ul>"


def tables(page: Draft) -> str:
    start = page.heading(1) + page.paragraphs(1, 3)
    head = "".join(f"<th>{page.say(page.words(1, 1))}</th>" for _ in range(3))
    rows = [
        "".join(f"<td>{page.say(page.words(1, 3))}</td>" for _ in range(3)) for _ in range(page.draw.randint(3, 12))
    ]
    table = f"<table class=data><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    return start + table + (page.paragraph() if page.draw.random() < 0.5 else "")


def code(page: Draft) -> str:
    parts = [page.heading(1), page.paragraph()]
    for _ in range(page.draw.randint(2, 4)):
        name, value = page.draw.choice(WORDS), page.draw.randint(2, 999)
        lines = [f"def {name}_{value}(x):", f"    if x < {value}:", f"        return x & {value}", "    return None"]
        text = page.draw.choice(["{}", "<code>{}</code>", '<code class="python">{}</code>'])
        inner = text.format("\n".join(page.say(line) for line in lines).replace("&", "&amp;").replace("<", "&lt;"))
        parts += [f'<div class="highlight"><pre>{inner}</pre></div>', page.paragraph(1, 2)]
    return "".join(parts)


def ruby(page: Draft) -> str:
    parts = []
    for _ in range(page.draw.randint(4, 9)):
        (word, reading), n = page.draw.choice(RUBY), page.draw.randint(1, 99)
        page.say(f"これは{word}({reading})の話で、{n}年前からあります。とても面白い本です。")
        each = "".join(
            f"{word[i]}<rt>{reading[i * len(reading) // len(word) : (i + 1) * len(reading) // len(word)]}</rt>"
            for i in range(len(word))
        )
        marked = page.draw.choice([f"{word}<rt>{reading}</rt>", f"{word}<rp>(</rp><rt>{reading}</rt><rp>)</rp>", each])
        parts.append(f"<p>これは<ruby>{marked}</ruby>の話で、{n}年前からあります。とても面白い本です。</p>")
    return "".join(parts)


def forum(page: Draft) -> str:
    shape = page.draw.choice(
        [
            '<div class="post"><div class="postprofile"><a href="/u">user{n}</a></div><div class="postbody">{text}</div></div>',
            '<article class="message"><div class="user"><a href="/u">user{n}</a></div><div class="bbWrapper">{text}</div></article>',
            '<table class="plhin"><tr><td class="pls"><a href="/u">user{n}</a></td><td class="t_f">{text}</td></tr></table>',
            '<div class="comment"><div class="tagline"><a href="/u">user{n}</a></div><div class="md">{text}</div></div>',
            '<div class="answer"><div class="votecell">7</div><div class="post-text">{text}</div></div>',
        ]
    )
    posts = [shape.format(n=n, text=_post(page)) for n in range(page.draw.randint(3, 8))]
    return f"<h1>{page.say(page.words(3, 6))}</h1>" + "".join(posts)


def _post(page: Draft) -> str:
    return page.paragraph(1, 3) + (items(page) if page.draw.random() < 0.4 else "")


def two_articles(page: Draft) -> str:
    made = []
    for _ in range(page.draw.randint(2, 3)):
        made.append(f"<article>{page.heading()}{page.paragraphs(1, 3)}{items(page)}</article>")
    return "".join(made)


def docs(page: Draft) -> str:
    links = [page.draw.choice(WORDS) for _ in range(6)]
    contents = "".join(f'<li><a href="#{word}">Jump {word}</a></li>' for word in links)
    body = f'<div class="toc"><ul>{contents}</ul></div>{page.heading(1)}{page.paragraph()}'
    for _ in range(3):
        signature = page.say(f"{page.draw.choice(WORDS)}.{page.words(1, 1).replace(' ', '_')}(path, *, mode)")
        note = f"<dd>{page.paragraph(1, 2)}{items(page)}</dd>"
        body += f'<dl class="function"><dt><code>{signature}</code></dt>{note}</dl>'
    return body


def shop(page: Draft) -> str:
    described = page.heading(1) + page.paragraphs(1, 3) + page.heading() + items(page) + page.heading()
    rows = [f"<tr><th>{page.say(page.words(1, 1))}</th><td>{page.say(page.words(1, 3))}</td></tr>" for _ in range(6)]
    return described + f'<table class="specs">{"".join(rows)}</table>' + _related(page.draw, card="product-card")


def questions(page: Draft) -> str:
    return page.heading(1) + "".join(page.heading(3) + page.paragraph(1, 3) for _ in range(page.draw.randint(4, 8)))


def only_a_list(page: Draft) -> str:
    return items(page, low=3)


KINDS: dict[str, Callable[[Draft], str]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        news, lists, list_at_the_end, nested_lists, quoted_lists, sections, definitions, linked_lists, tables, code,
        ruby, forum, two_articles, docs, shop, questions, only_a_list,
    )
}  # fmt: skip
IN_CHINESE = ("news", "lists", "tables", "forum", "shop", "list-at-the-end")


# ---- furniture ----------------------------------------------------------------------------------


def _related(draw: random.Random, card: str = "card") -> str:
    cards = [
        f'<div class="{card}"><a href="/{n}"><img src=x><h3>Story teaser {draw.choice(MENU)} {n}</h3></a></div>'
        for n in range(draw.randint(3, 6))
    ]
    return f'<div class="related-stories"><h2>Recommended</h2>{"".join(cards)}</div>'


def _comments(draw: random.Random) -> str:
    made = [
        f'<div class="comment"><b>guest{n}</b><p>Whatever, {draw.choice(MENU)} is nonsense.</p></div>' for n in range(3)
    ]
    return f'<div id="comments"><h3>Opinions</h3>{"".join(made)}</div>'


def _menu(draw: random.Random, *, han: bool) -> str:
    names = draw.sample(HAN_MENU if han else MENU, draw.randint(3, 9))
    links = "".join(f'<li><a href="/{n}">{name}</a></li>' for n, name in enumerate(names))
    around = ["<nav><ul>{}</ul></nav>", '<div id="menu"><ul>{}</ul></div>', '<div class="navbar"><ul>{}</ul></div>']
    return draw.choice(around).format(links)


def _side(draw: random.Random) -> str:
    links = "".join(f'<li><a href="/{n}">Popular {draw.choice(MENU)}</a></li>' for n in range(6))
    form = "<form><label>Newsletter</label><input name=q><button>Subscribe</button></form>"
    around = ["<aside>{}</aside>", '<div class="sidebar">{}</div>', '<div id="sidebar">{}</div>']
    return draw.choice(around).format(f"<h4>Popular</h4><ul>{links}</ul>{form}")


def _footer(draw: random.Random) -> str:
    links = "".join(f'<a href="/{name}">{name}</a> | ' for name in draw.sample(MENU, 4))
    return draw.choice(["<footer>{}</footer>", '<div id="footer">{}</div>']).format(f"{links}© Example Ltd.")


AROUND = (
    "{}", '<div id="content">{}</div>', '<div class="container"><div class="col-8">{}</div></div>', "<main>{}</main>",
    "<div>{}</div>", "<section>{}</section>", '<div class="article-body">{}</div>', '<div role="main">{}</div>',
    '<div class="page"><div class="body">{}</div></div>',
)  # fmt: skip


def page_of(kind: str, seed: int, *, han: bool = False) -> Page:
    draw = random.Random(f"{kind} {seed} {han}")
    draft = Draft(draw, han=han)
    content = draw.choice(AROUND).format(KINDS[kind](draft))
    menu, side, footer = _menu(draw, han=han), _side(draw), _footer(draw)
    body = draw.choice([f"{menu}{content}{side}{footer}", f"{menu}{side}{content}{footer}", f"{menu}{content}{footer}"])
    head = f'<head><meta charset="utf-8"><title>{draft.gold[0]}</title><style>p {{ color: red }}</style></head>'
    name = f"{kind}-zh" if han else kind
    return Page(name, f"<!doctype html><html>{head}<body>{body}<script>var a = 1;</script></body></html>", draft.gold)


def pages(each: int) -> Iterator[Page]:
    """`each` pages of every kind, the same at every call."""
    for kind in KINDS:
        yield from (page_of(kind, seed) for seed in range(each))
    for kind in IN_CHINESE:
        yield from (page_of(kind, seed, han=True) for seed in range(each))


# ---- scores -------------------------------------------------------------------------------------


def words(text: str) -> Counter[str]:
    """Words, of Chinese characters, as often as they come."""
    return Counter(WORD.findall(text.casefold()))


def scores(found: Counter[str], gold: Counter[str]) -> dict[str, float]:
    """Precision: the share of what was found that is gold; recall: the share of the gold that was found."""
    both = sum((found & gold).values())
    precision, recall = both / max(1, found.total()), both / max(1, gold.total())
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def judged(text: str, page: Page) -> dict[str, float]:
    """The scores of a text against the page's gold; the marks of lists are no words."""
    return scores(words(LIST_MARK.sub("", text)), words("\n".join(page.gold)))
