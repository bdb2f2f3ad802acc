"""What is told of an answer's tokens, and what is asked of them, by hand."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.infer.language import LanguageModel
from pretune.infer.sampling import Sampling, adjusted
from pretune.tokens.encode.tokenizer import encode_text
from tests.infer.conftest import Script, Table


def logits_of(model: LanguageModel, prompt: list[int], written: list[int]) -> np.ndarray:
    """float64, in front of every token that was written."""
    state, found = model.decoder.start(), []
    for fresh in ([prompt], *([[token]] for token in written[:-1])):
        logits_BV, state = model.decoder.feed(state, np.array(fresh))
        found.append(logits_BV[0].astype(np.float64))
    return np.array(found)


@pytest.mark.parametrize("asked", [{}, {"temperature": 1.7, "top_p": 0.5, "frequency_penalty": 1.0, "seed": 3}])
def test_log_probabilities_are_log_softmax_of_the_models_own_logits(
    tokenizer: Tokenizer, asked: dict[str, float]
) -> None:
    model = LanguageModel(Table(tokenizer.get_vocab_size()), tokenizer, (0,))
    sampling = Sampling(max_tokens=12, top_logprobs=3, **asked)  # type: ignore[arg-type]
    told = [one for piece in model.stream([5, 6], sampling) for one in piece.chosen]
    assert len(told) == 12
    for one, logits_V in zip(told, logits_of(model, [5, 6], [one.token for one in told]), strict=True):
        log_V = np.log(np.exp(logits_V) / np.exp(logits_V).sum())
        assert one.log_p == pytest.approx(log_V[one.token], abs=1e-12)
        best = sorted(range(len(log_V)), key=lambda k: -log_V[k])[:3]
        assert [token for token, _ in one.top] == best
        assert [log_p for _, log_p in one.top] == pytest.approx(log_V[best], abs=1e-12)


def test_what_is_told_costs_no_draw(tokenizer: Tokenizer) -> None:
    model = LanguageModel(Table(tokenizer.get_vocab_size()), tokenizer, (0,))
    sampling = Sampling(temperature=1.0, seed=4, max_tokens=20)
    assert model.write([5], sampling) == model.write([5], Sampling(1.0, seed=4, max_tokens=20, top_logprobs=0))


@pytest.mark.parametrize("stop", [(), ("ld, h",), ("wor", "x")])
def test_tokens_told_are_those_whose_text_is_shown_each_with_the_piece_that_shows_it(
    tokenizer: Tokenizer, stop: tuple[str, ...]
) -> None:
    says = tuple(encode_text(tokenizer, "Hello world, 你好 🙂 hello"))
    model = LanguageModel(Script(400, (*says, 0)), tokenizer, (0,))
    text, told = "", []
    for piece in model.stream([5], Sampling(stop=stop, top_logprobs=0)):
        text, told = text + piece.text, [*told, *(one.token for one in piece.chosen)]
        if piece.finish is None:
            assert tokenizer.decode(told).startswith(text), "nothing is shown whose token is not told"
    assert told == list(says[: len(told)])
    shown = tokenizer.decode(told)
    assert shown.startswith(text) and not tokenizer.decode(told[:-1]).startswith(text)


def test_penalties_and_biases_by_hand() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25, logit_bias=((0, 10.0), (3, -100.0)))
    found = adjusted(np.array([1.0, 2.0, 3.0, 4.0]), [1, 2, 1], sampling)
    assert found.tolist() == [11.0, 2.0 - 0.5 - 0.5, 3.0 - 0.5 - 0.25, -96.0]


def test_penalties_count_the_answer_and_not_the_prompt(tokenizer: Tokenizer) -> None:
    model = LanguageModel(Script(400, (7,)), tokenizer, (0,))
    draft = model.draft([7, 7], Sampling(presence_penalty=2.0, max_tokens=3))
    logits_V = np.zeros(10)
    logits_V[7] = 1.0
    assert [draft.take(logits_V) and draft.written[-1] for _ in range(2)] == [7, 0]
