"""The other side of benchmarks/tasks.py: sst2 by transformers alone, on a CPU.

    python benchmarks/tasks_transformers.py plain MODEL SST2 --out FILE --steps 868 --rate 5e-5   a plain loop
    python benchmarks/tasks_transformers.py trainer MODEL SST2 --out FILE                         the Trainer's defaults

plain     float32, AdamW, 32 rows a step, padded to the longest of them, 5 % warm-up, linear to 0, the best epoch by dev
trainer   TrainingArguments() as they are: 8 rows a step, three epochs, 5e-5; a look at dev four times an epoch

Writes a line of JSON into FILE at each look.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

Rows = list[dict[str, Any]]


def rows_of(path: Path, tokenizer: Any) -> Rows:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    ids = tokenizer([line["text"] for line in lines], truncation=True, max_length=128)["input_ids"]
    return [{"input_ids": i, "labels": line["label"]} for i, line in zip(ids, lines, strict=True)]


def accuracy(model: Any, rows: Rows, padded: Any) -> float:
    model.eval()
    with torch.no_grad():
        batches = [padded(rows[i : i + 32]) for i in range(0, len(rows), 32)]
        right = sum((model(**b).logits.argmax(-1) == b["labels"]).sum().item() for b in batches)
    model.train()
    return right / len(rows)


def tell(out: Path, **said: float) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(said) + "\n")


def by_trainer(model: Any, train: Rows, dev: Rows, padded: Any, out: Path) -> None:
    class Look(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **named: Any) -> None:
            if state.global_step % (len(train) // 32) == 0 or state.global_step == state.max_steps:
                tell(out, validation_accuracy=accuracy(model, dev, padded))

    given: dict[str, Any] = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    arguments = TrainingArguments(output_dir=f"{out}.made", **given)
    Trainer(model=model, args=arguments, train_dataset=train, data_collator=padded, callbacks=[Look()]).train()


def by_loop(model: Any, train: Rows, dev: Rows, padded: Any, *, steps: int, rate: float) -> float:
    """The best accuracy on dev, whose weights the model then has."""
    optim = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optim, int(0.05 * steps), steps)
    best: tuple[float, dict[str, Any]] = (0.0, {})
    order: list[Any] = []
    model.train()
    for step in range(1, steps + 1):
        order = order or list(torch.randperm(len(train)).split(32))
        model(**padded([train[k] for k in order.pop()])).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        schedule.step()
        optim.zero_grad()
        if (not order or step == steps) and (found := accuracy(model, dev, padded)) >= best[0]:
            best = found, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best[1])
    return best[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("plain", "trainer"))
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=868)
    parser.add_argument("--rate", type=float, default=5e-5)
    given = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForSequenceClassification.from_pretrained(given.model, num_labels=2, dtype=torch.float32)
    padded = DataCollatorWithPadding(tokenizer)
    train, dev, test = (rows_of(given.data / f"{split}.jsonl", tokenizer) for split in ("train", "dev", "test"))
    if given.side == "trainer":
        by_trainer(model, train, dev, padded, given.out)
    else:
        best = by_loop(model, train, dev, padded, steps=given.steps, rate=given.rate)
        tell(given.out, validation_accuracy=best, accuracy=accuracy(model, test, padded))


if __name__ == "__main__":
    main()
