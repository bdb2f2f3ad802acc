"""What the quickstart does on a machine of which speed, and how long each of its parts takes there.

    speed of training  ->  a row of TABLE  ->  settings of the recipe, seconds of its stages

Training keeps to its minutes on any machine; what follows the speed is how much is asked of it in them: the size of
the model, the rows of a step, the number of functions it is to remember.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pretune.base.screen import duration

SMALL = "{kind: qwen3, layers: 4, width: 192, heads: 3, kv_heads: 1, hidden: 528}"
"""3.2 million parameters with 8,192 words; 22 million operations a token of training."""
MIDDLE = "{kind: qwen3, layers: 4, width: 256, heads: 4, kv_heads: 2, hidden: 704}"
"""5.0 million parameters; 33 million operations a token."""


@dataclass(frozen=True)
class Scale:
    """What is done from a speed on.

    Args:
        gflops: the least speed of training, in 10^9 operations a second, as `measured_speed` gives it.
        model: shape of the base model.
        base_batch, chat_batch, order_batch: rows of a step.
        base_minutes, chat_minutes, order_minutes: what each training may take, from its start to its end.
        functions, skimmed: how many functions are to be remembered, and how many more are read in passing.
        slower: how many times longer than `AROUND` the stages take that do not train.
    """

    gflops: float
    model: str
    base_batch: int
    base_minutes: float
    functions: int
    skimmed: int
    chat_batch: int
    chat_minutes: float
    order_batch: int
    order_minutes: float
    slower: float


TABLE = (
    # One old core: whatever it manages within the same time.
    Scale(0, SMALL, 8, 5.0, 100, 300, 8, 4.5, 16, 1.25, slower=3.0),
    # Two cores with AVX2, float32: 50-90. Steps of 8 rows: in 250 steps they learn more than larger ones in fewer. Of
    # 250 functions 95 % were answered word for word in unseen wordings after 384 steps of 8 x 256 (17 x 10^12
    # operations); with 900 skimmed 92 % after 443 (20 x 10^12).
    Scale(45, SMALL, 8, 5.0, 200, 600, 8, 4.5, 16, 1.25, slower=2.4),
    # Two cores with AVX-512, float32; four with AVX2: 100-140. With 4.5, 4 and 2 minutes: 97 % word for word, 84 % in
    # order (SVM 56), and guesses behind the nearest answer (.111, .123): so the base has more, the others less. With
    # 6.25 minutes for the base it guesses .118 to .127.
    Scale(95, SMALL, 8, 7.5, 330, 600, 8, 3.25, 16, 1.0, slower=1.8),
    # Two cores with bfloat16 in hardware (Zen 4): 250-320. With 4.2, 1 and 0.75 minutes on Zen 5: 1.31 bits per byte
    # (5-gram 1.50, xz 1.30), 99 % word for word, guesses .131 (.123), 71 % in order (56).
    Scale(180, MIDDLE, 16, 5.4, 330, 600, 8, 1.65, 16, 0.5, slower=1.3),
    # Twice as wide units (Zen 5, AMX), more cores, a GPU: 400 and more. On Zen 5: 1.21 bits per byte, 97 % word for
    # word, guesses .141 (.131), 71 % in order.
    Scale(400, MIDDLE, 16, 5.4, 700, 600, 16, 1.65, 16, 0.5, slower=1.0),
)

AROUND = {
    "corpus": 7.0,
    "tokenizer": 1.0,
    "tokens": 1.0,
    "questions": 2.0,
    "pieces": 2.0,
    "base_report": 9.0,
    "chat_report": 10.0,
    "order_report": 5.0,
    "small": 2.0,
    "served": 2.0,
    "report": 2.0,
}
"""Seconds of the stages that do not train, on two cores of a recent processor."""

DOES = {
    "corpus": "reads the sources and the documentation of the Python that is installed here",
    "tokenizer": "learns 8,192 words from them",
    "tokens": "writes the text in these words",
    "base": "trains a model from nothing to predict that text",
    "questions": "makes questions about {functions} functions, each in 28 wordings, and a few about {skimmed} more",
    "chat": "trains the model to answer them",
    "pieces": "takes code apart, and shuffles half of it",
    "order": "trains the model to tell which code is in order",
    "base_report": "measures how well it predicts text it has not read",
    "chat_report": "asks it in wordings it has not seen, and about functions it has not read",
    "order_report": "measures how well it tells code in order from shuffled",
    "small": "makes it four times smaller",
    "served": "writes it as a bundle that needs no torch",
    "report": "puts all figures on one page",
}


def row_of(flops: float) -> Scale:
    """The row for a speed of training, in operations a second."""
    return max((row for row in TABLE if row.gflops * 1e9 <= flops), key=lambda row: row.gflops)


def settings_of(row: Scale) -> tuple[str, ...]:
    """A row as settings of recipes/quickstart.yaml."""
    return (
        f"base.model={row.model}",
        f"base.batch={row.base_batch}",
        f"base.minutes={row.base_minutes}",
        f"questions.read=[python:questions?functions={row.functions}&skimmed={row.skimmed}]",
        f"chat.batch={row.chat_batch}",
        f"chat.minutes={row.chat_minutes}",
        f"order.batch={row.order_batch}",
        f"order.minutes={row.order_minutes}",
    )


def seconds_of(row: Scale) -> dict[str, float]:
    """Stage -> expected seconds, in the order in which they run."""
    minutes = {"base": row.base_minutes, "chat": row.chat_minutes, "order": row.order_minutes}
    return {stage: 60 * minutes[stage] if stage in minutes else row.slower * AROUND[stage] for stage in DOES}


def plan_text(row: Scale, flops: float, seconds: Mapping[str, float]) -> str:
    """What will be done and how long each part takes, a line each."""
    total, most = sum(seconds.values()), TABLE[-1].functions
    head = (
        f"Training runs at {flops / 1e9:,.0f} GFLOP/s here; everything takes about {duration(total)} (minutes:seconds)."
    )
    zh = f"这台机器的训练速度是 {flops / 1e9:,.0f} GFLOP/s，全部大约需要 {duration(total)}（分:秒）。"
    lines = [
        f"  {duration(s):>5}  {name:<13}{DOES[name].format(functions=row.functions, skimmed=row.skimmed)}"
        for name, s in seconds.items()
    ]
    if row.functions < most:
        told = f"On a faster machine it reads more: up to {most} functions in a larger model."
        lines.append(f"{told}\n更快的机器上模型更大，能读更多函数（最多 {most} 个）。")
    return "\n".join([head, zh, *lines])
