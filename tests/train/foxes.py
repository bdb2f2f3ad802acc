"""Two small languages, one document a line, for runs through the real stages."""

from __future__ import annotations

import json
from pathlib import Path


def write_foxes(root: Path, *, chinese: int) -> tuple[str, ...]:
    """Write en.jsonl of sixty documents and zh.jsonl of so many; returns their names."""
    texts = {
        "en": [f"The fox {k} jumps over {k * k} lazy dogs. It sleeps. Then it runs {k} miles!" for k in range(60)],
        "zh": [f"第{k}只狐狸跳过了懒狗。它睡了{k * k}天。🙂 然后跑了！" for k in range(chinese)],
    }
    for name, lines in texts.items():
        rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in lines)
        (root / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    return (*texts,)
