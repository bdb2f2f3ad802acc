"""What can be wrong with a run, as a table of rules: each looks for one trouble and tells it with its evidence.

    under-fit      much above the references, or still falling fast: more steps, a larger model, a higher rate
    over-fit       the text is known by heart, other text is not: fewer epochs, more text, a smaller model
    rate           the loss jumped or never left the level of single words: a lower rate
    leak           text that is held out is known as well as text that was read, too well: it was read
    duplicates     text is known by heart that was read once: it holds copies
    tokenizer      tokens are too short for this language, or unknown: another tokenizer

Only metrics.jsonl and cards are read. A threshold says where it comes from: the runs that we made (docs/LOG.md,
2026-11-25), healthy ones and ones with the trouble planted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretune.base.artifact import Card
from pretune.report.numbers import share
from pretune.train.optim.settings import OPTIM
from pretune.train.watch.diagnosis.reading import Run
from pretune.train.watch.diagnosis.reference import Band, band, bytes_per_token


@dataclass(frozen=True)
class Finding:
    """A trouble: its name (`pretune explain NAME`), what is seen, and what to do."""

    name: str
    says: str
    do: str
    evidence: dict[str, float]


@dataclass(frozen=True)
class Case:
    """A run with the figures that the rules look at, each in bits per byte, nan where it is not known.

    Args:
        band: where references of this size, text and length end; None where that is not known.
    """

    run: Run
    band: Band | None
    train: float
    held_out: float

    @classmethod
    def of(cls, run: Run) -> Case:
        text = run.text
        if text is None or not run.tokens or math.isnan(run.bits_per_byte):
            return cls(run, None, math.nan, run.bits_per_byte)
        # Reading a text up to four times teaches nearly as much as new text (Muennighoff 2023, arXiv:2305.16264).
        worth = run.num_bytes / run.epochs * min(run.epochs, 4.0)
        here = band(text.language, run.matrices, worth)
        return cls(run, here, run.train_at_end() * text.bits("train"), run.bits_per_byte)

    @property
    def gap(self) -> float:
        """How much harder held-out text is than text that was read: 1 is alike."""
        return self.held_out / self.train

    @property
    def is_by_heart(self) -> bool:
        """Text that was read is known better than any honest run of this size and length knows it."""
        return self.band is not None and self.train < self.band.low


GAP = 1.25
"""Held-out over read. Honest runs that read their text up to once: 0.96 to 1.15 (the end of a book of plays)."""
ONCE = 1.5
"""Epochs up to which nothing can be known by heart unless the text repeats itself."""
TOO_GOOD = 0.95
"""Of the band's lower end. Held-out text that stood in the training text: 0.89; honest over-fitting: 1.09."""
JUMP = 0.5
"""Nats that the loss ends above its own lowest point; honest runs end within 0.1 of it."""
STEEP, FLAT = 1.2, 1.025
"""Validation loss at half-time over that at the end. Honest runs: 1.017 to 1.16. A rate 100 times the usual: 1.007 and
1.018; as an honest run may be as flat at its end, this tells only of rates that are high. 30 times the usual: 1.048."""
HARDLY = 0.95
"""Of the loss of mere guessing, ln(vocabulary). After 8 steps 0.97; honest runs of 20 steps and more: 0.93 and less."""
FEW_STEPS = 20
"""Our shortest runs; in fewer the rate rises and falls before anything is learnt."""
PARTED = 1.1
"""Validation loss at the end over its lowest: of a few hundred examples a tenth is chance."""
FEW_EXAMPLES = 128
"""Up to which examples are few: eight labels of sixteen, the most of SetFit's tables."""
HIGH_RATE = 5.0
"""Times the optimizer's usual rate."""
SHORT_TOKENS = 0.6
"""Bytes per token over those of our tokenizers on that language: 1,000 words reach 0.74, 300 words 0.41."""
FLOOR_TOKENS = 1.5
"""Bytes per token of a language that we did not run: hardly more than bytes."""


def rate(case: Case) -> Finding | None:
    """The loss jumped, steps were refused, or with a rate far above the usual it soon stopped falling."""
    run, guessing = case.run, guess(case.run)
    losses, refused = [loss for _, loss in run.train], int(run.card.metrics.get("refused_steps", 0))
    worst, rise = max(losses, default=0.0), run.train_at_end() - min(losses, default=math.nan)
    times = times_usual(run.card.settings.get("optim", {}))
    seen = {
        f"{refused} steps were refused": refused > 0,
        f"the training loss rose to {worst:.2f} nats, above the {guessing:.2f} of mere guessing": worst
        > guessing + JUMP,
        f"the training loss ended {rise:.2f} nats above its own lowest point": rise > JUMP,
        "the loss hardly fell in the second half": times >= HIGH_RATE and fall(run) < FLAT and run.epochs < ONCE,
    }
    if not any(seen.values()):
        return None
    return Finding(
        "rate-too-high",
        f"{_true(seen)}; the rate is {times:.3g} times the optimizer's usual",
        "lower optim.learning_rate (and optim.matrix_rate of Muon) tenfold",
        {"refused_steps": refused, "highest_loss": worst, "rise": rise, "times_usual": times, "fall": fall(run)},
    )


def _true(seen: Mapping[str, bool]) -> str:
    return "; ".join(said for said, is_so in seen.items() if is_so)


def times_usual(optim: Mapping[str, Any]) -> float:
    """The highest of an optimizer's rates over its usual one; 1 where nothing else was asked for."""
    kind = OPTIM.find(str(optim.get("kind", "muon")))
    usual = {name: field.default for name, field in kind.model_fields.items() if name.endswith("_rate")}
    usual["learning_rate"] = kind.usual_rate
    return float(max([1.0, *(optim[n] / value for n, value in usual.items() if value and optim.get(n))]))


def guess(run: Run) -> float:
    """Nats of mere guessing: ln of the vocabulary; infinite if that is not known."""
    return math.log(_vocabulary(run) or math.inf)


def _vocabulary(run: Run) -> int:
    sizes = [card.metrics.get("vocab_size", 0) for card in (run.text.tokenizers if run.text else [])]
    return max(sizes, default=0)


def tokenizer(case: Case) -> Finding | None:
    """Tokens are too short for this language, or many are unknown."""
    text = case.run.text
    if text is None:
        return None
    usual = bytes_per_token(text.language)
    there, wanted = text.bytes_per_token, usual[0] * SHORT_TOKENS if usual else FLOOR_TOKENS
    unknown = max((card.metrics.get("unknown", 0.0) for card in text.tokenizers), default=0.0)
    seen = {"bytes_per_token": there, "usual_bytes_per_token": usual[0] if usual else math.nan, "unknown": unknown}
    is_meant = any(_algorithm(card) in ("character", "byte") for card in text.tokenizers)
    if there < wanted and not is_meant:
        size = _vocabulary(case.run)
        beside = f"; tokenizers of {usual[1]:,} words reach {usual[0]:.2f} and more here" if usual else ""
        why = "its vocabulary is small" if size < 1000 else "was it learnt from other text?"
        says = (
            f"a token stands for {there:.2f} bytes of this text ({text.language or 'language unknown'}){beside}: {why}"
        )
        return Finding("tokenizer-trouble", says, "train a tokenizer on this text: tokenizer.vocab_size=8000", seen)
    if unknown > 0.005:
        says = f"{share(unknown, 1)} of the tokens are unknown: the model cannot tell them apart"
        return Finding("tokenizer-trouble", says, "train a tokenizer with bytes to fall back on: algorithm=bpe", seen)
    return None


def _algorithm(card: Card) -> str:
    return str(card.settings.get("algorithm", {}).get("kind", ""))


def duplicates(case: Case) -> Finding | None:
    """Text is known by heart that was read about once."""
    if case.run.epochs > ONCE or not (case.is_by_heart or case.gap > GAP):
        return None
    known = f"{case.train:.2f} bits per byte on text that was read {case.run.epochs:.1f} times"
    beside = f", {case.held_out:.2f} on held-out text; references end between {_band(case)}"
    return Finding(
        "duplicates",
        f"{known}{beside}: the text holds many copies of itself, or is made of few patterns{_settings(case, 'dedup')}",
        "leave copies out: corpus.dedup=minhash, and look at dropped-*.parquet",
        {"train": case.train, "validation": case.held_out, "epochs": case.run.epochs, **_edges(case)},
    )


def leak(case: Case) -> Finding | None:
    """Text was learnt by heart over several epochs, and held-out text just as well."""
    if not case.run.epochs > ONCE or not case.band or case.held_out > TOO_GOOD * case.band.low:
        return None
    return Finding(
        "leak",
        f"after {case.run.epochs:.1f} epochs {case.train:.2f} bits per byte on the training text, {case.held_out:.2f} "
        f"on held-out text, which cannot be known that well (references end between {_band(case)}): it stands in the "
        f"training text{_settings(case, 'dedup', 'max_overlap')}",
        "keep held-out text out of it: corpus.max_overlap=0.5, corpus.dedup=minhash",
        {"train": case.train, "validation": case.held_out, "epochs": case.run.epochs, **_edges(case)},
    )


def over_fit(case: Case) -> Finding | None:
    """Read text is known much better than held-out text, after several epochs."""
    if not (case.run.epochs > ONCE and case.gap > GAP):
        return None
    losses = [loss for _, loss in case.run.validation]
    rose = losses[-1] / min(losses) - 1
    best = next(step for step, loss in case.run.validation if loss == min(losses))
    turned = f"; its loss was lowest at step {best:,.0f} and has risen by {share(rose, 1)} since" if rose > 0.01 else ""
    return Finding(
        "over-fit",
        f"{case.train:.2f} bits per byte on the training text after {case.run.epochs:.1f} epochs, {case.held_out:.2f} "
        f"on held-out text{turned}",
        "fewer epochs, more text, a smaller model, or model.dropout=0.1 with optim.average=ema",
        {"train": case.train, "validation": case.held_out, "gap": case.gap, "rose": rose, "epochs": case.run.epochs},
    )


def parted(case: Case) -> Finding | None:
    """In a fine-tuning, the loss on the examples that are held out rose while that on the others still fell."""
    run = case.run
    if run.card.stage != "finetune" or len(run.validation) < 2:
        return None
    best, lowest = min(run.validation, key=lambda point: (point[1], point[0]))
    last, before, after = run.validation[-1][1], run.train_until(best), run.train_at_end()
    if not (last > PARTED * lowest and after < before):
        return None
    remedy = remedy_for(run.card)
    says = (
        f"from step {best:,.0f} on the loss of the training examples fell from {before:.3f} to {after:.3f}, that of "
        f"the validation split rose from {lowest:.3f} to {last:.3f}; the nearest remedy is {remedy}"
    )
    seen = {"step": best, "train_before": before, "train": after, "validation_before": lowest, "validation": last}
    return Finding("over-fit", says, remedy, seen)


def remedy_for(card: Card) -> str:
    """The setting that is nearest to keep a fine-tuning from learning its examples by heart."""
    task, number = card.settings.get("task", {}), card.metrics.get("examples", math.inf)
    kind = task.get("kind")
    if kind == "classify" and number <= FEW_EXAMPLES and not task.get("few_shot"):
        return "task.few_shot=true"
    if kind in ("classify", "multilabel") and not (task.get("r_drop") or task.get("mixup") or task.get("few_shot")):
        return "task.r_drop=1 (task.mixup=0.4 of a model without dropout)"
    if card.settings.get("method", {}).get("kind") == "full":
        return "method=lora"
    return "fewer epochs, or more examples (dataset.augment=eda)"


def under_fit(case: Case) -> Finding | None:
    """The loss was still falling fast when the run ended, or ended far above the references."""
    run, fell, losses = case.run, fall(case.run), case.run.validation or case.run.train
    last = losses[-1][1] if losses else math.nan
    seen = {
        f"{case.held_out:.2f} bits per byte, references end between {_band(case)}": bool(
            case.band and case.held_out > case.band.high
        ),
        f"the loss still fell by {share(1 - 1 / fell)} in the second half of {run.steps:,} steps": fell > STEEP,
        f"there were {run.steps:,} steps": run.steps < FEW_STEPS,
        f"it ended at {last:.2f} nats, little less than the {guess(run):.2f} of guessing": last > HARDLY * guess(run),
    }
    if not any(seen.values()):
        return None
    return Finding(
        "under-fit",
        _true(seen),
        "train longer (steps, epochs, minutes); if that does not help, raise optim.learning_rate or the model's size",
        {"validation": case.held_out, "fall": fell, "steps": run.steps, **_edges(case)},
    )


def fall(run: Run) -> float:
    """Validation loss at half-time over that at the end; training loss where nothing is held out."""
    points = run.validation if len(run.validation) > 1 else run.train
    if len(points) < 2:
        return 1.05  # neither steep nor flat: one point tells nothing of the way
    middle = [loss for step, loss in points if step <= run.steps / 2] or [points[0][1]]
    last = points[-1][1]
    return middle[-1] / last if last > 0 else math.inf


def _band(case: Case) -> str:
    return f"{case.band.low:.2f} and {case.band.high:.2f}" if case.band else "unknown"


def _edges(case: Case) -> dict[str, float]:
    return {"low": case.band.low, "high": case.band.high} if case.band else {}


def _settings(case: Case, *names: str) -> str:
    """What the corpus's card says of settings that would have kept the trouble out: " (corpus: dedup=none)"."""
    corpora = case.run.text.corpora if case.run.text else []
    found = [f"{n}={card.settings[n]}" for card in corpora for n in names if n in card.settings]
    return f" (corpus: {', '.join(found)})" if found else ""


Rule = Callable[[Case], Finding | None]
RULES: tuple[Rule, ...] = (tokenizer, rate, duplicates, leak, over_fit, parted, under_fit)
"""In this order; what an earlier rule explains is not told again by a later one."""
EXPLAINED: dict[str, set[str]] = {
    "rate-too-high": {"under-fit", "duplicates", "over-fit"},
    "tokenizer-trouble": {"under-fit", "rate-too-high"},
    "duplicates": {"under-fit"},
    "leak": {"over-fit", "under-fit"},
}


def diagnosed(run: Run) -> tuple[Case, list[Finding]]:
    """What the rules find in a run."""
    case = Case.of(run)
    found: list[Finding] = []
    for rule in RULES:
        told = rule(case)
        if told and not any(told.name in EXPLAINED.get(one.name, ()) for one in found):
            found.append(told)
    return case, found
