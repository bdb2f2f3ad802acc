"""Searches for the likeliest answer, token for token those of transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pretune.infer.searching import Search, likeliest
from pretune.model.generate import TorchDecoder, TorchTranslator
from pretune.testing.folders import build


def shaken(kind: str, seed: int) -> Any:
    """A random model whose answers differ from token to token, and end."""
    model = build(kind)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "t5"])
@pytest.mark.parametrize("seed", range(3))
def test_a_search_writes_what_transformers_does(kind: str, seed: int) -> None:
    model, ends = shaken(kind, seed), (1, 2, 3) if seed % 2 else (1,)
    prompts = torch.randint(6, 300, (3, 7), generator=torch.Generator().manual_seed(seed))
    engine, apart = (TorchTranslator(model), (0,)) if kind == "t5" else (TorchDecoder(model), ())
    for search in (
        Search(4),
        Search(3, 0.0),
        Search(2, 2.0, 2),
        Search(5, -0.5, 3),
        Search(no_repeat_ngram=2),
        Search(),
    ):
        settings: dict[str, Any] = {"num_beams": search.beams, "no_repeat_ngram_size": search.no_repeat_ngram}
        settings |= {"length_penalty": search.length_penalty} if search.beams > 1 else {}
        settings |= {"do_sample": False, "max_new_tokens": 16, "eos_token_id": list(ends), "pad_token_id": 0}
        rows = model.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)
        theirs = [row[1 if apart else 7 :] for row in rows.tolist()]
        wanted = [row[: next((k for k, token in enumerate(row) if token in ends), len(row))] for row in theirs]
        found = likeliest(engine, prompts.numpy(), search, ends=ends, room=16, apart=apart)
        assert found == wanted, search


class Chain:
    """A decoder whose next token depends on the last one alone, by a table of probabilities; its cache is a count."""

    vocab_size, max_length = 4, 99
    TABLE = np.array([[0.1, 0.5, 0.4, 0.0], [0.1, 0.3, 0.3, 0.3], [0.0, 0.05, 0.05, 0.9], [0.25, 0.25, 0.25, 0.25]])

    def start(self) -> int:
        return 0

    def feed(self, state: int, ids_BL: np.ndarray) -> tuple[np.ndarray, int]:
        with np.errstate(divide="ignore"):
            return np.log(self.TABLE[ids_BL[:, -1]]).astype(np.float32), state + ids_BL.shape[1]

    def select(self, state: int, rows: np.ndarray) -> int:
        return state

    def whole(self, ids: Any, keep: int) -> np.ndarray:
        raise AssertionError("nobody asks")


def test_two_beams_find_the_likelier_text_that_greed_misses() -> None:
    # 0 ▶ 1 is likeliest (0.5), but 0 ▶ 2 ▶ end has 0.4 * 0.9 = 0.36, more than any text that begins with 1.
    prompt = np.array([[0]])
    assert likeliest(Chain(), prompt, Search(), ends=(3,), room=1) == [[1]]
    assert likeliest(Chain(), prompt, Search(2, 0.0), ends=(3,), room=5) == [[2]]


def test_no_run_of_tokens_stands_twice_and_the_settings_travel_by_transformers_names() -> None:
    (found,) = likeliest(Chain(), np.array([[0]]), Search(no_repeat_ngram=1), ends=(3,), room=3)
    assert found == [1, 2]  # 0 stands in the prompt, 1 was said; then the end
    search = Search(4, 0.6, 3)
    assert search.generation() == {"num_beams": 4, "length_penalty": 0.6, "no_repeat_ngram_size": 3}
    assert Search.of(search.generation()) == Search.of(search.to_json()) == search
    assert Search(1, 0.6).generation() == {}
