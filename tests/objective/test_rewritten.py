"""What objectives of encoder-decoders ask: nothing of the text is lost, the rates are those asked for, and the loss is T5's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NotSupported, WrongValue
from pretune.objective.objective import OBJECTIVE
from pretune.objective.pretraining.span import sentinel, span_lengths
from pretune.testing.worlds import tiny
from pretune.tokens.rows import IGNORE, Row, Vocabulary

WORDS = 1000
CONTROLS = {**{sentinel(k): WORDS + k for k in range(100)}, "[R]": 1100, "[X]": 1101, "[S]": 1102}
VOCABULARY = Vocabulary(size=1103, pad=0, specials=(0, 3, *CONTROLS.values()), controls=CONTROLS, end=3)


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed])


def documents(number: int, least: int, most: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [np.append(rng.integers(4, WORDS, rng.integers(least, most)), 3) for _ in range(number)]


def row_of(texts: list[np.ndarray], padding: int = 0) -> Row:
    segments = np.repeat([*range(len(texts)), -1], [*map(len, texts), padding])
    return {"ids": np.concatenate([*texts, np.zeros(padding, int)]), "segments": segments}


def put_back(read: np.ndarray, written: np.ndarray) -> list[int]:
    """The text of a source with sentinels and the spans behind the same sentinels of its target."""
    at = [k for k, token in enumerate(written) if token >= WORDS]
    spans = {int(written[a]): written[a + 1 : b].tolist() for a, b in zip(at, [*at[1:], len(written)], strict=True)}
    found: list[int] = []
    for token in read.tolist():
        found += spans.get(token, [token])
    return found


def halves(row: Row) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is read and what is written of each document of a prepared row."""
    labels, of = np.asarray(row["labels"]), np.asarray(row["written"])
    numbers = range(int(row["segments"].max()) + 1)
    return [(np.asarray(row["ids"])[row["segments"] == k], labels[of == k]) for k in numbers]


# ---- spans -----------------------------------------------------------------------------------------


def test_spans_give_the_text_back_and_are_framed_as_t5_frames_them() -> None:
    texts = documents(3, 30, 60)
    for seed in range(30):
        row = OBJECTIVE("span").prepare(row_of(texts, padding=5), VOCABULARY, drawn(seed))
        for (read, written), text in zip(halves(row), texts, strict=True):
            assert put_back(read, written) == text.tolist()
            marks = [int(token) for token in read if token >= WORDS]
            assert marks == [WORDS + k for k in range(len(marks))], "each document has its own first sentinel"
            assert [int(token) for token in written if token >= WORDS] == [*marks, WORDS + len(marks)]
            assert written[-2:].tolist() == [WORDS + len(marks), 3]
            assert read[-1] == 3


def test_of_ten_thousand_documents_15_percent_are_hidden_in_spans_of_3() -> None:
    hidden, tokens, spans = 0, 0, 0
    for seed, text in enumerate(documents(10_000, 20, 120)):
        row = OBJECTIVE("span").prepare(row_of([text]), VOCABULARY, drawn(seed))
        marks = int((row["ids"] >= WORDS).sum())
        tokens += len(text) - 1
        hidden += len(row["labels"]) - marks - 2
        spans += marks
    assert abs(hidden / tokens - 0.15) < 0.002
    assert abs(hidden / spans - 3.0) < 0.05


def test_every_way_to_hide_two_spans_is_alike() -> None:
    """Of five tokens three are hidden in two spans, 1 + 2 or 2 + 1; a shown one is between them, the other anywhere."""
    found = [tuple(np.concatenate(span_lengths(5, 0.6, 1.5, drawn(k))).tolist()) for k in range(6000)]
    ways = [(*shown, *hidden) for shown in [(1, 1, 0), (0, 1, 1), (0, 2, 0)] for hidden in [(1, 2), (2, 1)]]
    assert set(found) == set(ways)
    assert all(abs(found.count(way) - 1000) < 130 for way in ways)


@pytest.mark.parametrize("length", [2, 3, 5])
def test_the_shortest_texts_show_a_token_and_hide_one(length: int) -> None:
    shown, hidden = span_lengths(length, 0.15, 3.0, drawn(0))
    assert (shown.sum() + hidden.sum(), hidden.sum()) == (length, 1)


def test_a_text_of_one_token_is_left_out_and_a_row_of_such_texts_has_no_target() -> None:
    row = OBJECTIVE("span").prepare(row_of([np.array([5, 3])], padding=3), VOCABULARY, drawn(0))
    assert row["labels"].tolist() == [IGNORE]
    batch = OBJECTIVE("span").collate([row], VOCABULARY)
    assert OBJECTIVE("span").counts(batch) == {"loss": 0.0}


def test_a_length_with_more_spans_than_sentinels_is_refused_with_the_number_that_is_enough() -> None:
    with pytest.raises(WrongValue, match="length=4096 has up to 206 spans") as told:
        OBJECTIVE("span").form(4096, VOCABULARY)
    assert "objective.sentinels=207" in (told.value.hint or "")


# ---- prefixes --------------------------------------------------------------------------------------


def test_what_is_read_and_what_is_written_is_the_text_and_cuts_fall_evenly() -> None:
    text, cuts = documents(1, 41, 42)[0], []
    for seed in range(4000):
        row = OBJECTIVE("prefix").prepare(row_of([text]), VOCABULARY, drawn(seed))
        assert [*row["ids"][:-1], *row["labels"]] == text.tolist()
        cuts.append(len(row["ids"]) - 1)
    assert (min(cuts), max(cuts)) == (1, 40)
    assert abs(np.mean(cuts) - 20.5) < 0.8


def test_a_document_that_goes_on_in_another_row_has_no_end_to_be_written() -> None:
    row = OBJECTIVE("prefix").prepare(row_of([np.arange(4, 24)]), VOCABULARY, drawn(0))
    assert row["ids"][-1] == 3
    assert row["labels"][-1] == 23


# ---- mixtures --------------------------------------------------------------------------------------


def test_denoisers_are_drawn_alike_and_each_names_its_mode_to_every_document() -> None:
    objective, texts = OBJECTIVE("denoise"), documents(2, 100, 101)
    modes = {CONTROLS[f"[{letter}]"]: letter.lower() for letter in "RXS"}
    written: dict[str, list[float]] = {}
    for seed in range(1400):
        row = objective.prepare(row_of(texts), VOCABULARY, drawn(seed))
        assert [modes[int(read[0])] for read, _ in halves(row)] == [row["of"][0]] * 2
        words = (row["labels"] < WORDS) & (row["labels"] != 3)
        written.setdefault(row["of"], []).append(words.sum() / 200)
    shares = {"r3": 0.15, "r8": 0.15, "x3": 0.5, "x8": 0.5, "x64": 0.15, "x64_half": 0.5, "s": 0.255}
    assert {name: float(np.mean(found)) for name, found in written.items()} == pytest.approx(shares, abs=0.02)
    assert all(abs(len(found) - 200) < 50 for found in written.values())


# ---- the model -------------------------------------------------------------------------------------


def small(row: Row) -> Row:
    """The same row with the ids of a vocabulary of 40."""
    from pretune.testing.worlds import VOCABULARY as TINY

    found: Any = OBJECTIVE({"kind": "span", "rate": 0.3, "mean_length": 2, "sentinels": 8}).prepare(row, TINY, drawn(1))
    return found


@pytest.mark.parametrize("attention", ["eager", "sdpa", "pretune-blocks"])
def test_packed_texts_give_the_loss_and_the_gradient_that_t5_gives_each_alone(attention: str) -> None:
    from pretune.model.attention import register_attention
    from pretune.testing.worlds import VOCABULARY as TINY

    register_attention()
    objective, rng = OBJECTIVE("span"), np.random.default_rng(2)
    texts = [np.append(rng.integers(4, 28, size), 3) for size in (9, 14, 6)]
    row, model = small(row_of(texts, padding=2)), tiny("t5", attention=attention)
    packed = objective.sums(model, objective.collate([row, small(row_of(texts[:1]))], TINY))["loss"]
    packed.backward()
    gradient = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    alone = torch.zeros((), dtype=torch.float64)
    for read, written in [*halves(row), *halves(small(row_of(texts[:1])))]:
        ids, labels = (torch.from_numpy(part)[None] for part in (read, written))
        alone = alone + model(input_ids=ids, labels=labels).loss * labels.numel()
    alone.backward()
    assert abs(packed.item() - alone.item()) < 1e-10
    for name, parameter in model.named_parameters():
        assert torch.allclose(gradient[name], parameter.grad, rtol=1e-10, atol=1e-10), name


def test_texts_do_not_share_a_row_of_a_model_that_counts_positions_along_it() -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    sizes: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    heads: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    model = BartForConditionalGeneration(BartConfig(vocab_size=1103, d_model=8, **sizes, **heads))
    texts, objective = documents(2, 20, 21), OBJECTIVE("prefix")
    alone, both = (objective.prepare(row_of(some), VOCABULARY, drawn(0)) for some in (texts[:1], texts))
    assert objective.sums(model, objective.collate([alone], VOCABULARY))["loss"] > 0
    with pytest.raises(NotSupported, match="a bart model counts positions along a row"):
        objective.sums(model, objective.collate([both], VOCABULARY))
