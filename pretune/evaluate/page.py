"""The sections of reports: figures beside their baselines, examples, curves. The page around them is base's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.drawing import Bar, bar_chart, line_chart, number
from pretune.base.page import shortened, shown, table

NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "rouge_l": "ROUGE-L",
    "word_for_word": "word for word",
    "any_keyword": "a keyword in the answer",
    "all_keywords": "all keywords in the answer",
    "bits_per_byte": "bits per byte",
    "nats_per_token": "nats per token",
    "majority": "most frequent label",
    "tfidf_svm": "TF-IDF + linear SVM",
    "question": "the question itself",
    "most_frequent": "most frequent answer",
    "nearest": "nearest question's answer",
    "ngram": "5-gram model",
    "xz": "xz -9",
}
SUBJECTS = {
    "classify": "Labels",
    "chat": "Answers",
    "language": "Foretelling text",
}
COLUMNS = {
    "classify": ("text", "label", "said", "chance_of_label"),
    "chat": ("question", "wanted", "answer", "baseline_answer", "rouge_l"),
    "language": ("group", "text", "bits_per_byte", "baseline_bits_per_byte"),
}
SHOWN_ROWS = 6


def named(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))


def report_section(
    report: dict[str, Any], rows: Sequence[dict[str, Any]], pictures: str = "", *, name: str = ""
) -> str:
    """One report: verdicts, figures beside baselines, curves, classes, examples, notes."""
    subject = report["title"] or SUBJECTS.get(report["what"], report["what"])
    about = f"{report['data']['split']} split, data {report['data']['id'][:8]}, model {report['model']['id'][:8]}"
    parts = [f"<h2>{escape(subject)}</h2><p class=soft>{escape(' · '.join(p for p in (name, about) if p))}</p>"]
    parts += [group_part(key, group, alone=len(report["groups"]) == 1) for key, group in report["groups"].items()]
    parts += [pictures, _classes(report), _confusion(report), _samples(report), examples_part(report, rows)]
    parts.append("".join(f"<p class=soft>{escape(note)}</p>" for note in report["notes"]))
    return f"<section>{''.join(parts)}</section>"


def group_part(name: str, group: dict[str, Any], *, alone: bool) -> str:
    """Verdict, bars and table of one group of examples."""
    mood = {True: "good", False: "bad", None: ""}[group["beaten"]]
    title = "" if alone else f"<h3>{escape(named(name))} ({group['examples']:,} examples)</h3>"
    said = f'<div class="verdict {mood}">{escape(group["verdict"])}</div>'
    return f"{title}{said}{_bars(group)}{_figures(group)}"


def _bars(group: dict[str, Any]) -> str:
    main = group["main"]
    spread = group["intervals"].get(main)
    bars = [Bar("this model", group["metrics"][main], True, tuple(spread) if spread else None)]
    bars += [Bar(_baseline_name(f), f["metrics"][main]) for f in group["baselines"]]
    most = None if main == "bits_per_byte" else 1.0
    better = "shorter is better" if main == "bits_per_byte" else "longer is better"
    caption = f"{named(main)}, {better}; the line is the 95 % interval"
    return f"<figure>{bar_chart(bars, most=most)}<figcaption>{escape(caption)}</figcaption></figure>"


def _baseline_name(baseline: dict[str, Any]) -> str:
    # Reports written before there were ceilings do not say.
    return named(baseline["name"]) + (" (the ceiling)" if baseline.get("is_ceiling") else "")


def _figures(group: dict[str, Any]) -> str:
    baselines = group["baselines"]
    head = ["", "this model", "95 % interval", *(_baseline_name(f) for f in baselines)]
    body = []
    for key, value in group["metrics"].items():
        spread = group["intervals"].get(key)
        interval = f"{number(spread[0])} – {number(spread[1])}" if spread else ""
        body.append([named(key), shown(value), interval, *(shown(f["metrics"].get(key)) for f in baselines)])
    return table(head, body, numeric=range(1, len(head)))


def _classes(report: dict[str, Any]) -> str:
    if "classes" not in report:
        return ""
    keys = ("precision", "recall", "f1", "support")
    body = [[name, *(shown(row[k]) for k in keys)] for name, row in report["classes"].items()]
    return "<h3>By label</h3>" + table(["label", "precision", "recall", "F1", "examples"], body, numeric=range(1, 5))


def _confusion(report: dict[str, Any]) -> str:
    """Rows are what the data says, columns what the model says; the deeper, the larger the share of the row."""
    if "confusion" not in report:
        return ""
    labels, counts = report["confusion"]["labels"], report["confusion"]["counts"]
    head = "<th></th>" + "".join(f"<th class=n>{escape(name)}</th>" for name in labels)
    rows = []
    for name, row in zip(labels, counts, strict=True):
        total = max(sum(row), 1)
        cells = (f'<td style="background:rgba(var(--tint),{0.65 * n / total:.2f})">{n or ""}</td>' for n in row)
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    told = "<p class=soft>Rows: what the data says. Columns: what the model says.</p>"
    grid = f"<div class=wide><table class=confusion><tr>{head}</tr>{''.join(rows)}</table></div>"
    return f"<h3>Confusion matrix</h3>{told}{grid}"


def _samples(report: dict[str, Any]) -> str:
    parts = []
    for sample in report.get("samples", []):
        beginning, model = escape(sample["beginning"]), escape(sample["model"])
        parts.append(f"<pre>{beginning}<b>{model}</b></pre><p class=soft>the document itself goes on:</p>")
        parts.append(f"<pre>{escape(sample['document'])}</pre>")
    return f"<h3>How it goes on (bold: the model)</h3>{''.join(parts)}" if parts else ""


def examples_part(report: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The best and the worst examples of each group."""
    if not rows:
        return ""
    ordered = sorted(rows, key=lambda row: row[report["better"]])
    worst, best = ordered[:SHOWN_ROWS], ordered[::-1][:SHOWN_ROWS]
    parts = [f"<details open><summary>Worst examples</summary>{_rows(report['what'], worst)}</details>"]
    return "".join([*parts, f"<details open><summary>Best examples</summary>{_rows(report['what'], best)}</details>"])


def _rows(what: str, rows: Sequence[dict[str, Any]]) -> str:
    columns = COLUMNS[what]
    body = [[shortened(row[c]) for c in columns] for row in rows]
    numeric = [i for i, c in enumerate(columns) if isinstance(rows[0][c], float)]
    return table([named(c) for c in columns], body, numeric=numeric)


def card_section(part: Artifact) -> str:
    """An artifact by its card: what it is, its figures, and a model's curves."""
    metrics = {k: v for k, v in part.card.metrics.items() if isinstance(v, int | float | str)}
    head = f"<h2>{escape(part.path.name)}</h2><p class=soft>{escape(part.card.kind)} {escape(part.card.id[:8])}</p>"
    figures = table(["", ""], [[named(k), shown(v)] for k, v in metrics.items()], numeric=[1]) if metrics else ""
    return f"<section>{head}{curves(part.path) if part.card.kind == 'model' else ''}{figures}</section>"


def curves(folder: Path) -> str:
    """Pictures of a model's training from the metrics.jsonl in its folder; "" where there is none."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in read_lines(folder / "metrics.jsonl"):
        for name in ("loss", "validation_loss", "validation_accuracy", "validation_macro_f1"):
            if isinstance(line.get(name), int | float):
                series.setdefault(name, []).append((float(line["step"]), float(line[name])))
    losses = {
        {"loss": "training", "validation_loss": "validation"}[k]: v for k, v in series.items() if k.endswith("loss")
    }
    scores = {named(k.removeprefix("validation_")): v for k, v in series.items() if not k.endswith("loss")}
    pictures = [line_chart(losses, x_name="step", y_name="loss in nats per target")]
    pictures.append(line_chart(scores, x_name="step", y_name="score on the validation split"))
    captions = ("Loss while it was trained", "Scores while it was trained")
    drawn = [(picture, caption) for picture, caption in zip(pictures, captions, strict=True) if picture]
    return "".join(f"<figure>{p}<figcaption>{c}</figcaption></figure>" for p, c in drawn)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl that have a step; a line that cannot be read is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            tree = json.loads(line)
        except ValueError:
            continue
        if isinstance(tree, dict) and isinstance(tree.get("step"), int | float):
            found.append(tree)
    return found
