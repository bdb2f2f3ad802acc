"""What the quickstart says at its end, in English and Chinese: each figure next to its baseline.

Where a figure is not sure to be better than its baseline, the line says what would bring it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pretune.base.json import JsonMap

WORD_FOR_WORD = 0.9
"""The share of unseen wordings that the quickstart aims to answer word for word."""
BASELINES = {
    "nearest": ("the answer to the most similar question", "照搬最相似问题的答案"),
    "most_frequent": ("always the most frequent answer", "总答最常见的那句"),
    "question": ("the words of the question", "照抄问题"),
    "majority": ("always the same label", "总答同一个标签"),
    "tfidf_svm": ("a linear SVM on TF-IDF of words and pairs of words", "词和词对的 TF-IDF 加线性 SVM"),
}
"""Baselines, in English and Chinese."""

CLOSING = """
Asked over HTTP, in a wording it has not seen / 换一种没见过的问法，通过 HTTP 提问:
  you    {question}
  model  {answer}
  source {read}

{figures}

A very small model that has read for minutes: what it has read it repeats; about everything else it guesses, always
fluently, often wrongly.
这是一个只读了几分钟的很小的模型：读过的内容它能复述；没读过的，它会流畅地猜，而且常常猜错。

{minutes:.1f} minutes / 分钟. The whole story / 完整报告: {report}
Next / 接下来:
  pretune serve {out}/served             # a chat page and an OpenAI-compatible API / 聊天页面与接口
  pretune chat {out}/chat                # in the terminal / 在终端里聊
  pretune new my-bot --from ./my-texts         # the same with your own text / 换成你自己的文本
"""


@dataclass(frozen=True)
class Said:
    """A figure in both languages; `more` is what would bring it where it is not reached."""

    english: str
    chinese: str
    is_reached: bool
    more: str
    more_zh: str

    def text(self) -> str:
        if self.is_reached:
            return f"{self.english}\n{self.chinese}"
        return f"{self.english} {self.more}\n{self.chinese}{self.more_zh}"


def closing_words(result: JsonMap, out: str) -> str:
    """The last words: a question and its answer, the figures, where to go on."""
    given = {name: result[name] for name in ("question", "answer", "read", "report")}
    lines = "\n\n".join(one.text() for one in said_of(result["figures"]))
    return CLOSING.format(out=out, minutes=result["seconds"] / 60, figures=lines, **given)


def said_of(figures: Mapping[str, JsonMap]) -> Iterator[Said]:
    """What each report's figures are worth; of a group without an example, nothing."""
    chat = figures["chat_report"]
    yield predicting(figures["base_report"])
    if "remembered_rouge_l" in chat:
        yield remembering(chat)
    if "guessed_rouge_l" in chat:
        yield guessing(chat)
    yield ordering(figures["order_report"])


def predicting(found: JsonMap) -> Said:
    """Bits per byte next to the 5-gram model's, and xz for comparison."""
    mine, ngram, packed = (found[f"{name}bits_per_byte"] for name in ("", "ngram_", "xz_"))
    return Said(
        f"It predicts unread text with {mine:.2f} bits per byte; a 5-gram model of all the text needs {ngram:.2f}, "
        f"xz -9 with the text before its eyes {packed:.2f} (less is better).",
        f"预测没读过的文本：每字节 {mine:.2f} 比特；"
        f"统计全部文本的 5-gram 模型 {ngram:.2f}，xz -9 {packed:.2f}（越小越好）。",
        mine < ngram,
        "It is behind; more minutes would bring it below the 5-gram model: base.minutes=15.",
        "仍落后；训练更久会低于 5-gram 模型：base.minutes=15。",
    )


def remembering(found: JsonMap) -> Said:
    """Answers word for word; looking up is the ceiling."""
    share, rouge, most = (found[f"remembered_{n}"] for n in ("word_for_word", "rouge_l", "nearest_rouge_l"))
    return Said(
        f"Of what it has read it answers {share:.0%} word for word, in unseen wordings (ROUGE-L {rouge:.2f}; "
        f"looking the answer up, the ceiling, gives {most:.2f}).",
        f"读过的内容，换没见过的问法，{share:.0%} 逐字答对（ROUGE-L {rouge:.2f}；直接查表是上限，{most:.2f}）。",
        share >= WORD_FOR_WORD,
        "More minutes, or fewer functions, would bring more: chat.minutes=10.",
        "训练更久或少学一些函数会更好：chat.minutes=10。",
    )


def standing(mine: float, other: float) -> tuple[str, str]:
    """How a figure that is not sure to be better stands, in English and Chinese."""
    if mine > other:
        return "It is ahead, perhaps by chance", "略有领先，也许只是偶然"
    return "It is behind", "仍落后"


def guessing(found: JsonMap) -> Said:
    """Answers about functions whose docstrings were kept out of all text."""
    mine, baseline = found["guessed_rouge_l"], found["guessed_baseline"]
    other, (english, chinese) = found[f"guessed_{baseline}_rouge_l"], BASELINES[baseline]
    return Said(
        f"What it has not read it guesses with ROUGE-L {mine:.3f}; {english}: {other:.3f}.",
        f"没读过的内容靠猜：ROUGE-L {mine:.3f}；{chinese}：{other:.3f}。",
        found["guessed_baseline_beaten"],
        f"{standing(mine, other)[0]}; a base that reads for longer guesses better: base.minutes=15.",
        f"{standing(mine, other)[1]}；基础模型读得更久，会猜得更好：base.minutes=15。",
    )


def ordering(found: JsonMap) -> Said:
    """Code in order or shuffled, next to a linear SVM."""
    mine, baseline = found["accuracy"], found["baseline"]
    other, (english, chinese) = found[f"{baseline}_accuracy"], BASELINES[baseline]
    return Said(
        f"Whether four lines of code are in order or shuffled it tells right in {mine:.0%} of the cases; "
        f"{english}: {other:.0%}.",
        f"四行代码是原来的顺序还是打乱的：答对 {mine:.0%}；{chinese}：{other:.0%}。",
        found["baseline_beaten"],
        f"{standing(mine, other)[0]}; more minutes would bring it: order.minutes=5.",
        f"{standing(mine, other)[1]}；训练更久就能超过：order.minutes=5。",
    )
