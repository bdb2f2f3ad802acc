"""The chat page, clicked through in a browser: Debian's chromium by the Python package playwright."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.infer.chat import ChatFormat
from pretune.infer.classify import TextClassifier
from pretune.infer.embed import Embedder
from pretune.infer.language import LanguageModel
from pretune.infer.predictor import Facts
from pretune.infer.rank import Ranker
from pretune.infer.spans import Reader, SpanFinder
from pretune.infer.tag import Tagger
from pretune.serve.run import serving
from pretune.tokens.encode.tokenizer import Specials
from tests.serve.conftest import CHATML, Counter, First, Frame

playwright = pytest.importorskip("playwright.sync_api", reason="the page is clicked through by playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")

SAID = """# A list
- **bold** and `code`
- *leaning*
  1. inner
> quoted 你好 🙂

```python
print("<b>no tag</b>")
```
See [the page](https://example.org/a?b=c) and http://example.org."""
PHONE = {"width": 360, "height": 640}
Open = Callable[..., Any]


@dataclass
class Says:
    """A decoder that writes what it is to write, then its end; slowly, if it is to."""

    vocab_size: int
    says: list[int]
    seconds: float = 0.0
    max_length: int = 4096
    fed: list[int] = field(default_factory=list)

    def start(self) -> Any:
        return 0

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        time.sleep(self.seconds)
        self.fed.append(ids_BL.shape[1])
        logits_BV = np.zeros((len(ids_BL), self.vocab_size), dtype=np.float32)
        logits_BV[:, self.says[state % len(self.says)]] = 99
        return logits_BV, state + 1


class Words:
    """An encoder that gives every token the same tag but the first, which is a name."""

    max_length = 64

    def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
        return [np.eye(2, dtype=np.float32)[[int(k == 1) for k in range(len(row))]] * 9 for row in rows]


class Twos(Counter):
    def logits(self, rows: list[list[int]]) -> np.ndarray:
        return np.array([[len(row) / 10, 1.0] for row in rows], dtype=np.float32)


@pytest.fixture(scope="module")
def slow(tokenizer: Tokenizer) -> Says:
    return Says(tokenizer.get_vocab_size(), tokenizer.encode("one ").ids, seconds=0.03)


@pytest.fixture(scope="module")
def url(tokenizer: Tokenizer, slow: Says) -> Iterator[str]:
    chat = ChatFormat(CHATML, tokenizer, Specials(eos=0))
    size, ends = tokenizer.get_vocab_size(), tuple(chat.ends)
    says = [*tokenizer.encode(SAID, add_special_tokens=False).ids, ends[0]]
    frame = {"before": (0,), "after": (0,), "between": (0,)}
    models: dict[str, Any] = {
        "talker": LanguageModel(Says(size, says), tokenizer, ends, chat),
        "slow": LanguageModel(slow, tokenizer, ends, chat),
        "begins": LanguageModel(Says(size, [*tokenizer.encode("*two*").ids, 0]), tokenizer, (0,)),
        "turns": LanguageModel(Says(size, [*tokenizer.encode("two").ids, 0]), tokenizer, (0,), source=Frame((), (0,))),
        "labels": TextClassifier(Counter(), tokenizer, Facts("classify", "label", 64, ("long", "短"))),
        "number": TextClassifier(Counter(), tokenizer, Facts("regress", "score", 64)),
        "tags": Tagger(Words(), tokenizer, Facts("tag", "tags", 64, ("O", "B-PER"), before=(0,), after=(0,))),
        "spans": SpanFinder(First(), Reader(tokenizer, Frame((0,), (0,)), 64, 8)),
        "vectors": Embedder(Twos(), tokenizer, Facts("embed", "vector", 64)),
        "order": Ranker(Twos(), tokenizer, Facts("rank", "ranking", 64, **frame)),
    }
    with serving(models) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Open]:
    """Opens the page of a model; whatever goes wrong in it fails the test."""
    contexts, wrong = [], list[str]()

    def start(model: str = "talker", **settings: Any) -> Any:
        context = browser.new_context(**{"locale": "en-US", **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda asked: None if asked.url.startswith(url) else wrong.append(asked.url))
        page.goto(url)
        page.select_option("#model", model)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not wrong


def ask(page: Any, text: str, second: str | None = None) -> None:
    if second is not None:
        page.fill("#second", second)
    page.fill("#text", text)
    page.press("#text", "Enter")


def answered(page: Any) -> Any:
    """The last answer, when it is whole."""
    page.wait_for_selector("#talk[aria-busy=false] > .said:not(.user)")
    return page.locator("#talk > .said").last


def test_markdown_becomes_nodes_and_links_open_elsewhere(opened: Open) -> None:
    page = opened()
    ask(page, "Hi 你好")
    box = answered(page)
    assert box.locator("h3").inner_text() == "A list"
    assert box.locator("ul > li").count() == 2 and box.locator("ul > li > ol > li").inner_text() == "inner"
    assert box.locator("strong").inner_text() == "bold" and box.locator("em").inner_text() == "leaning"
    assert box.locator("blockquote").inner_text() == "quoted 你好 🙂"
    assert box.locator("pre code").inner_text() == 'print("<b>no tag</b>")'
    links = box.locator("a").evaluate_all("found => found.map(a => [a.textContent, a.href, a.rel, a.target])")
    rel = "noopener noreferrer nofollow"
    assert links == [
        ["the page", "https://example.org/a?b=c", rel, "_blank"],
        ["http://example.org", "http://example.org/", rel, "_blank"],
    ]


def test_settings_go_with_the_question_which_is_asked_again_or_edited(opened: Open) -> None:
    page, asked = opened(), list[Any]()
    page.on("request", lambda one: asked.append(one.post_data_json) if one.method == "POST" else None)
    page.click("#open")
    for name, value in (
        ("temperature", "0.2"),
        ("top_p", "0.9"),
        ("max_tokens", "5"),
        ("seed", "7"),
        ("system", "Be brief."),
    ):
        page.fill(f"#{name}", value)
    ask(page, "Hi")
    answered(page)
    page.click("#again")
    playwright.expect(page.locator("#talk > .said")).to_have_count(2)
    answered(page)
    page.click("#edit")
    assert page.input_value("#text") == "Hi" and page.locator("#talk > .said").count() == 0
    page.fill("#seed", "")
    ask(page, "Ho")
    answered(page)
    question = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
    settings = {"model": "talker", "stream": True, "temperature": 0.2, "top_p": 0.9, "max_tokens": 5}
    first = {**settings, "seed": 7, "messages": [*question]}
    assert asked == [first, first, {**settings, "messages": [question[0], {"role": "user", "content": "Ho"}]}]


def test_a_text_that_is_turned_into_another_is_asked_for_in_its_likeliest_form(opened: Open) -> None:
    page = opened("turns")
    assert page.input_value("#temperature") == "0"
    ask(page, "one")
    assert answered(page).inner_text() == "two"
    page.select_option("#model", "talker")
    assert page.input_value("#temperature") == "0.7"


def test_escape_stops_an_answer_and_what_there_is_stays(opened: Open, slow: Says) -> None:
    page = opened("slow")
    ask(page, "Hi")
    playwright.expect(page.locator(".assistant")).to_contain_text("one one", timeout=20_000)
    assert page.inner_text("#send") == "Stop"
    page.press("#text", "Escape")
    assert answered(page).inner_text().startswith("one")
    assert page.inner_text("#send") == "Send" and page.locator(".error").count() == 0
    number = len(slow.fed)
    time.sleep(0.3)
    assert len(slow.fed) <= number + 2


def test_a_new_conversation_knows_nothing_of_the_answer_that_it_stopped(opened: Open) -> None:
    page, asked = opened("slow"), list[Any]()
    ask(page, "Hi")
    playwright.expect(page.locator(".assistant")).to_contain_text("one one", timeout=20_000)
    page.click("#reset")
    assert page.locator("#talk > .said").count() == 0
    page.on("request", lambda one: asked.append(one.post_data_json["messages"]))
    ask(page, "Ho")
    playwright.expect(page.locator(".assistant")).to_contain_text(
        "one", timeout=20_000
    )  # one without a word is taken away
    assert asked == [[{"role": "user", "content": "Ho"}]]
    page.click("#send")
    answered(page)


def test_shift_enter_breaks_the_line_and_enter_that_picks_a_chinese_word_sends_nothing(opened: Open) -> None:
    page = opened()
    page.fill("#text", "a")
    page.press("#text", "Shift+Enter")
    page.eval_on_selector(
        "#text", "one => one.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true}))"
    )
    assert page.input_value("#text") == "a\n" and page.locator("#talk > .said").count() == 0


def test_chinese_by_the_browsers_language_with_a_switch(opened: Open) -> None:
    page = opened(locale="zh-CN")
    assert (page.inner_text("#send"), page.get_attribute("html", "lang")) == ("发送", "zh-CN")
    assert "回车发送" in (page.get_attribute("#text", "placeholder") or "")
    page.click("#language")
    assert (page.inner_text("#send"), page.get_attribute("html", "lang")) == ("Send", "en")
    assert page.evaluate("Object.values(WORDS).every(both => both.length === 2 && both.every(Boolean))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen_and_colors_are_those_of_the_phone(
    opened: Open, scheme: str
) -> None:
    page = opened(viewport=PHONE, locale="zh-CN", color_scheme=scheme)
    ask(page, "long " * 30 + "x" * 300)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box = page.locator("#send").bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"] and box["y"] + box["height"] <= PHONE["height"]
    (red,) = {
        int(part)
        for part in page.eval_on_selector("body", "b => getComputedStyle(b).backgroundColor")[4:-1].split(",")[:1]
    }
    assert (red > 128) == (scheme == "light")


@pytest.mark.parametrize(
    ("model", "text", "second", "shown"),
    [
        ("begins", "Hello", None, "*two*"),
        ("labels", "one two", None, "long\n"),
        ("number", "one two", None, ".000"),
        ("tags", "🙂 Hello", None, "🙂PER Hello"),
        ("spans", "who?", "🙂 Hello", " %)\n🙂 Hello"),
        ("vectors", "one", None, "2 numbers"),
        ("vectors", "one", "one", "1.000"),
        ("vectors", "one", "one two three\none", "one  (1.000)\none two three  ("),
        ("order", "who", "one two three\nHello", "Hello"),
    ],
)
def test_each_kind_of_model_has_its_form(opened: Open, model: str, text: str, second: str | None, shown: str) -> None:
    page = opened(model)
    ask(page, text, second)
    box = answered(page)
    assert "error" not in (box.get_attribute("class") or "") and shown in box.inner_text()


HOSTILE = [
    "<script>hacked = 1</script><img src=x onerror='hacked = 1'><svg onload='hacked = 1'>",
    "[a](javascript:hacked=1) [b](JaVaScRiPt:hacked=1) [c](data:text/html,<script>) [d](//evil) <javascript:hacked=1>",
    "```<img src=x onerror=hacked=1>\n<script>hacked = 1</script>\n```\n# <img src=x onerror=hacked=1>",
    "- <iframe src='javascript:hacked=1'>\n> <style>body { display: none }</style>",
    *(sign * (100_000 // len(sign)) for sign in ("*", "`", "[", "**a", "[a](", "> ", "- ", "<a", "http://", "x")),
    "\n".join("> " * k + "- " * k for k in range(300)),
]


def test_a_hostile_answer_does_nothing(opened: Open) -> None:
    page = opened()
    said = iter(HOSTILE)

    def fulfil(route: Any) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": next(said)}}]}
        route.fulfill(body=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")

    page.route("**/v1/chat/completions", fulfil)
    for text in HOSTILE:
        page.click("#reset")
        ask(page, text[:1000])
        box = answered(page)
        assert box.locator("script, img, svg, iframe, style, object, form").count() == 0
        assert all(one.startswith("http") for one in box.locator("a").evaluate_all("all => all.map(a => a.href)"))
    assert page.evaluate("typeof hacked") == "undefined"


def test_an_error_is_shown_and_the_question_can_be_asked_again(opened: Open) -> None:
    page = opened()
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(status=429, json={"error": {"message": "<b>busy</b>"}})
    )
    ask(page, "Hi")
    assert answered(page).inner_text() == "<b>busy</b>"
    page.unroute("**/v1/chat/completions")
    page.click("#again")
    page.wait_for_selector("#talk[aria-busy=false] > .assistant h3")
    assert page.locator("#talk > .said").count() == 2
