"""Numbers as people read them: 2.7 GiB, 71 %, 1.2 million, 3 min 20 s. JSON keeps the raw ones."""

from __future__ import annotations

import math

SHARES = (
    *("accuracy", "f1", "precision", "recall", "rouge_l", "word_for_word", "keyword", "keywords"),
    *(
        "accuracy_per_token",
        "win_rate",
        "unfinished",
        "call_name",
        "call_arguments",
        "exact",
        "f1_of_text",
        "share_of_machine",
        "share",
        "data_wait",
        "chance_of_label",
        "accuracy_per_character",
        "ece",
        "rejected",
        "flip_rate",
    ),
)
"""How the names of metrics end that lie between 0 and 1."""

LOWER = (
    *("loss", "bits_per_byte", "perplexity", "mae", "rmse", "ece", "nll", "brier"),
    *("seconds", "bytes", "parameters", "unfinished", "flip_rate", "score_gap"),
)
"""How the names of metrics end of which less is better."""


def is_lower_better(name: str) -> bool:
    """Whether less is better of the metric of this name."""
    return name.endswith(LOWER)


def count(number: float) -> str:
    """812, 20,806, 1.2 million, 34.5 billion."""
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(number) >= 0.9995 * unit:
            return f"{number / unit:,.{1 if abs(number) < 99.95 * unit else 0}f} {name}"
    return f"{number:,.0f}"


def size(num_bytes: float) -> str:
    """812 bytes, 34 KiB, 2.7 GiB."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while abs(num_bytes) >= 999.5 and len(units) > 1:
        num_bytes, units = num_bytes / 1024, units[1:]
    return f"{num_bytes:,.{1 if abs(num_bytes) < 9.95 and units[0] != 'bytes' else 0}f} {units[0]}"


def share(value: float, digits: int = 0) -> str:
    """71 %; what is nearly nothing or nearly all is not rounded to it: 0.2 %, under 0.1 %, 99.7 %, over 99.9 %."""
    percent = 100 * value
    if 0 < percent < 0.1:
        return "under 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    if 0 < percent < 1 or 99 < percent < 100:
        digits = 1
    return f"{percent:.{0 if percent in (0, 100) else digits}f} %"


def duration(seconds: float) -> str:
    """0.4 s, 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    if seconds < 3599.5:
        return _two(round(seconds), 60, "min", "s")
    return _two(round(seconds / 60), 60, "h", "min") if seconds < 172_770 else _two(round(seconds / 3600), 24, "d", "h")


def _two(number: int, per: int, unit: str, rest: str) -> str:
    whole, part = divmod(number, per)
    return f"{whole} {unit} {part} {rest}" if part else f"{whole} {unit}"


def figure(value: float) -> str:
    """Three digits that count: 1.60, 0.0821, 12.3; from a thousand on, a count."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return count(value) if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def metric(value: object, name: str) -> str:
    """A metric of a card in the unit that its name says; a text as it is, "" for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    if name.endswith("bytes"):
        return size(value)
    if name.endswith("seconds"):
        return duration(value)
    if name.endswith(SHARES):
        return share(value, 1)
    return count(value) if isinstance(value, int) else figure(value)


NAMES = {
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro-F1",
    "spearman": "Spearman correlation",
    "ndcg_10": "nDCG@10",
    "mrr": "MRR",
    "recall_1": "recall@1",
    "recall_10": "recall@10",
    "auc": "AUC",
    "as_given": "order of the data",
    "bm25": "BM25",
    "ease": "EASE",
    "neighbours": "nearest items (ItemKNN)",
    "place": "place of the best",
    "baseline_place": "its place by BM25",
    "pearson": "Pearson correlation",
    "mae": "mean error",
    "rmse": "root mean square error",
    "ece": "calibration error (ECE)",
    "nll": "loss of the labels, nats",
    "brier": "Brier score",
    "auroc": "AUROC of texts in scope",
    "rejected": "share rejected",
    "in_scope_accuracy": "accuracy in scope",
    "subset_accuracy": "share with all labels right",
    "rouge_l": "ROUGE-L",
    "validation_loss": "validation loss, nats per target",
    "validation_bits_per_byte": "validation, bits per byte",
    "share_of_machine": "share of the machine's matrix product",
    "data_wait": "share of the time that steps waited for rows",
    "peak_memory_bytes": "memory at most",
    "gpu_memory_bytes": "memory of the GPU at most",
    "train_seconds": "time of training",
    "chance_of_label": "chance of the label",
    "bytes": "size",
    "f1": "F1",
    "exact": "exact matches",
    "sentence": "most similar sentence",
    "always_empty": "never an answer",
    "f1_of_text": "F1 of the text",
    "word_tags": "most frequent tag of each word",
    "crf": "CRF",
    "copy": "the source itself",
    "lead": "first sentences",
    "nearest_pair": "nearest source's target",
    "bleu": "BLEU",
    "chrf": "chrF",
    "support": "examples",
    "majority": "most frequent label",
    "tfidf_svm": "TF-IDF + linear SVM",
    "tfidf_ridge": "TF-IDF + ridge regression",
    "nearest": "nearest question's answer",
    "ngram": "5-gram model",
    "xz": "xz -9",
    "flip_rate": "answers that a swap changes",
    "same_group_flip_rate": "answers that another filling of the group changes",
    "score_gap": "largest gap between two groups",
    "flip_rate_low": "from",
    "flip_rate_high": "to",
    "score_gap_low": "from ",
    "score_gap_high": "to ",
    "win_rate": "preferences whose margin has grown",
    "accuracy_per_token": "accuracy by the mean per token",
    "accuracy_per_character": "accuracy by the sum per character",
    "chance_accuracy": "chance",
    "fewer_tokens": "fewer tokens",
    "fewer_tokens_accuracy": "fewer tokens",
    "ngram_accuracy": "5-gram model",
    "ngram_bits_per_byte": "5-gram model, bits per byte",
    "ngram_gain": "nats ahead by the 5-gram model",
    "margin": "margin of the chosen reply",
    "gain": "growth of that margin",
    "length": "the longer reply",
    "shorter": "the shorter reply",
    "start": "before fine-tuning",
}
"""Metrics, columns and baselines whose names are not their words."""


def named(name: str) -> str:
    """A metric, column or baseline in words."""
    return NAMES.get(name, name.replace("_", " "))
