"""What a pretraining run is watched by between its steps: validation, each source by itself, texts of its own.

    step 120: validation loss 4.1207 nats per token
    step 120: 'The old man' -> ' had been a good deal of the house, and'

None of it touches the run: modes and random state are as they were before, so the weights are the same bits with it
and without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.base.json import Json
from pretune.base.log import cut_lines
from pretune.infer.language import LanguageModel
from pretune.model.build import num_parameters
from pretune.model.generate import TorchDecoder
from pretune.objective.objective import Objective
from pretune.objective.routing import busiest
from pretune.report.numbers import share
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.tokens.rows import Row
from pretune.tokens.store.packing import spread
from pretune.train.loop.feed import Feed
from pretune.train.loop.runtime import evaluating
from pretune.train.loop.session import SAMPLES, Session, note_samples
from pretune.train.loop.sources import VALIDATION_ROWS
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.step import StepReport
from pretune.train.loop.stream import StoreStream
from pretune.train.watch.validate import Loss, bits_per_byte, loss_over

ROWS_BETWEEN = 48
"""Rows of a validation between steps at most; the last one takes all that the feed holds."""
SHARE_OF_LOOKS = 0.05
"""Of the time of the steps, what looking at a run between them may take; a row's loss costs a third of learning it."""
SAMPLE_TOKENS = 40
DOMAIN = "domain"
"""What the text that a model learns on is called next to those that it is not to forget."""


@dataclass(frozen=True)
class Watch:
    """Looks at a run between its steps.

    Args:
        general: texts that a model which goes on is not to forget, by name.
        goes_on: whether the model was trained before: then it is looked at before its first step too.
    """

    session: Session
    feed: Feed
    writer: Writer | None
    general: Mapping[str, Feed] = field(default_factory=dict)
    goes_on: bool = False

    @property
    def objective(self) -> Objective:
        return self.session.spec.objective

    @property
    def every(self) -> int:
        return self.session.spec.settings.evaluate_every or max(1, math.ceil(self.session.state.total / 6))

    @property
    def rows_between(self) -> int:
        """Rows of a validation between steps, as many again of the sources by themselves."""
        affordable = int(SHARE_OF_LOOKS * 3 / 2 * self.every * self.session.spec.settings.batch)
        return min(ROWS_BETWEEN, max(8, affordable))

    def resume(self) -> None:
        """Of a run that was ended behind its last step, drop the last look: it comes again."""
        session = self.session
        if session.state.step == session.state.total and session.leads:
            session.context.log.cut_metrics(session.state.step, last_with="validation_loss")
            cut_lines(session.context.scratch / SAMPLES, session.state.step, last_with="prompt")

    def begin(self) -> None:
        """Look at a model that was trained before, before its first step; what is seen is kept with the run."""
        state = self.session.state
        if self.goes_on and state.step == 0:
            with state.update.exact_weights(), self.session.context.log.timing("validation"):
                feeds = {DOMAIN: self.feed, **self.general}
                found = {name: self._figures(feed) for name, feed in feeds.items()}
                state.extra["before"] = {name: figures for name, figures in found.items() if figures}

    def _figures(self, feed: Feed) -> Json:
        """The loss on a validation split, and bits per byte where they can be told; nothing where there is none."""
        if not feed.validation:
            return {}
        loss, term = self._loss(feed.validation, VALIDATION_ROWS), self.objective.tells_bits
        bits = {"bits_per_byte": bits_per_byte(loss.terms[term], **feed.held_out)} if term else {}
        return {"loss": loss.per_target, **bits}

    def _compared(self, seen: Json) -> Json:
        """What was seen before the first step and after the last one, of a model that went on; said in a line each.

        Args:
            seen: the last validation, which is that of the domain.
        """
        if not (before := self.session.state.extra.get("before")):
            return {}
        after = {DOMAIN: {kind: seen[f"validation_{kind}"] for kind in before[DOMAIN]}} if DOMAIN in before else {}
        after |= {name: self._figures(feed) for name, feed in self.general.items() if name in before}
        for name, figures in after.items():
            told = [_moved(kind.replace("_", " "), before[name][kind], value) for kind, value in figures.items()]
            self.session.context.log.info(f"    {name} text: {', '.join(told)}")
        lost = {name: _main(after[name]) - _main(before[name]) for name in after if name != DOMAIN}
        return {"before": before, "after": after} | ({"forgotten": lost} if lost else {})

    def after(self, report: StepReport) -> bool:
        """Validate and write when it is due; never says enough."""
        if report.step % self.every == 0 and report.step < self.session.state.total:
            with self.session.context.log.timing("validation"), self.session.state.update.looked_at():
                self._validate(self.rows_between)
                self._write()
        return False

    def finish(self) -> Json:
        """The card's metrics: validation in float32 with the weights that were saved, on all rows."""
        state, session = self.session.state, self.session
        metrics: Json = {
            "parameters": num_parameters(state.model),
            "tokens": int(self._rows_read() * self.session.spec.length),
            "steps": state.step,
            "refused_steps": state.step - state.updates,
        }
        with state.update.exact_weights(), session.context.log.timing("validation"):
            found = self._validate(VALIDATION_ROWS)
            found |= self._compared(found)
            self._write()
        return metrics | found | session.summary()

    def _rows_read(self) -> int:
        stream = self.session.cut.stream
        assert isinstance(stream, StoreStream)
        return stream.rows_before(self.session.state.step)

    def _validate(self, most: int) -> Json:
        """Figures of the validation split, which are logged too; none where it is empty."""
        rows, log, step = self.feed.validation, self.session.context.log, self.session.state.step
        if not rows:
            return {}
        loss = self._loss(rows, most)
        self.session.judge(loss.per_target)
        found: Json = {f"validation_{k}": value for k, value in self.objective.named(loss.terms).items()}
        found |= {f"validation_{k}": value for k, value in loss.measures.items()}
        if term := self.objective.tells_bits:
            found["validation_bits_per_byte"] = bits_per_byte(loss.terms[term], **self.feed.held_out)
        if loss.loads:
            found["validation_expert_loads"] = [[round(n) for n in block] for block in loss.loads]
            found["validation_busiest_expert"] = {f"block {i}": busiest(b) for i, b in enumerate(loss.loads, 1)}
        found |= self._by_source(most)
        log.metrics(step=step, **found)
        log.info(f"    step {step}: validation loss {loss.per_target:.4f} nats per token{_told(found, loss)}")
        return found

    def _by_source(self, most: int) -> Json:
        """Loss of each source, and bits per byte where they can be told; nothing where there is one source."""
        sources = self.feed.sources
        losses = {n: self._loss(part.rows, most // len(sources)) for n, part in sources.items()}
        if not losses:
            return {}
        found = {"validation_loss_by_source": {name: loss.per_target for name, loss in losses.items()}}
        if term := self.objective.tells_bits:
            facts = {name: part.held_out for name, part in self.feed.sources.items()}
            bits = {name: bits_per_byte(loss.terms[term], **facts[name]) for name, loss in losses.items()}
            found["validation_bits_per_byte_by_source"] = bits
        return found

    def _loss(self, rows: Sequence[Row], most: int) -> Loss:
        """The loss of at most so many of these rows, evenly spread."""
        session = self.session
        model, micro, vocabulary = session.state.model, session.micro, session.spec.vocabulary
        some = [rows[i] for i in spread(len(rows), most)]
        return loss_over(model, self.objective, some, vocabulary, session.runtime, batch=micro)

    def _write(self) -> None:
        state = self.session.state
        if self.writer is not None and not self.session.runtime.rank:
            note_samples(self.session.context, state.step, self.writer.texts(state.model))


def _main(figures: Mapping[str, float]) -> float:
    return figures.get("bits_per_byte", figures["loss"])


def _moved(what: str, before: float, after: float) -> str:
    return f"{what} {before:.4f} -> {after:.4f} ({after / before - 1:+.1%})"


def _told(found: Mapping[str, Any], loss: Loss) -> str:
    """What stands behind a validation's loss: its terms, what else was measured, and each source."""
    parts = [f"{name} {value:.4f}" for name, value in loss.terms.items() if len(loss.terms) > 1]
    parts += [f"{name.replace('_', ' ')} {share(value)}" for name, value in loss.measures.items()]
    parts += [f"{name} {value:.4f}" for name, value in found.get("validation_loss_by_source", {}).items()]
    return f" ({', '.join(parts)})" if parts else ""


@dataclass(frozen=True)
class Writer:
    """What the model is asked to go on with; always the likeliest token, so nothing random is drawn."""

    tokenizer: Any
    eos_ids: tuple[int, ...]
    prompts: Mapping[str, Sequence[int]]

    def texts(self, model: Any) -> list[tuple[str, str]]:
        """Each prompt with how the model goes on, at most 40 tokens; its modes stay what they were."""
        with evaluating(model):
            language = LanguageModel(TorchDecoder(model), self.tokenizer, self.eos_ids)
            answers = language.generate_many(list(self.prompts.values()), SAMPLE_TOKENS)
        pairs = zip(self.prompts.items(), answers, strict=True)
        return [(text, language.text_of(ids, answer)) for (text, ids), answer in pairs]


def writer_of(spec: TrainSpec, feed: Feed, folder: Path) -> Writer | None:
    """Who writes texts for this run; None where the model does not write, or nothing was asked."""
    if not spec.objective.writes:
        return None
    tokenizer = load_tokenizer(folder)
    eos = special_ids(folder).eos
    ends = (eos,) if eos is not None else ()
    asking = LanguageModel(TorchDecoder(None), tokenizer, ends)
    room = max(1, spec.length // 2)
    if spec.settings.prompts is None:
        prompts = {tokenizer.decode(ids, skip_special_tokens=False): ids[:room] for ids in feed.beginnings}
    else:
        prompts = {text: asking.text_prompt(text)[-room:] for text in spec.settings.prompts}
    prompts = {text: ids for text, ids in prompts.items() if ids}
    return Writer(tokenizer, ends, prompts) if prompts else None
