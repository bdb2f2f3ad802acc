import numpy as np
import pytest
from tokenizers import Tokenizer

from pretune.base.errors import NotFinite, NotSupported
from pretune.infer.classify import Frame, TextClassifier, frame_for, softmax
from pretune.infer.engine import padded
from pretune.infer.predictor import Facts
from pretune.tokens.encode.tokenizer import Specials


class Lengths:
    """Scores a row by its number of tokens."""

    max_length = 8

    def logits(self, rows: list[list[int]]) -> np.ndarray:
        return np.array([[len(row), 4.0] for row in rows], dtype=np.float32)


def test_a_long_text_loses_its_end_and_keeps_its_frame() -> None:
    assert Frame((1,), (2,)).row([7, 8, 9], 4) == [1, 7, 8, 2]
    assert Frame((), (2,)).row([7, 8, 9], 2) == [7, 2]


def test_an_encoder_is_framed_by_cls_and_sep_a_decoder_ends_with_eos() -> None:
    specials = Specials(eos=9, cls=1, sep=2)
    assert frame_for("encoder", specials) == Frame((1,), (2,), (2,))
    assert frame_for("decoder", specials) == Frame((), (9,), (9,))
    with pytest.raises(NotSupported, match="no eos_token"):
        frame_for("decoder", Specials(cls=1, sep=2))


def test_labels_come_in_the_order_of_the_texts_with_probabilities_that_sum_to_one(tokenizer: Tokenizer) -> None:
    model = TextClassifier(Lengths(), tokenizer, Facts("classify", "label", 8, ("long", "短"), (), (1,), (2,)))
    found = model.answer(["", "one two three one two three one"])
    assert [label.name for label in found] == ["短", "long"]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-2)), rel=1e-12)
    assert all(sum(label.scores.values()) == pytest.approx(1, rel=1e-12) for label in found)
    assert model.answer([]) == []


def test_each_probability_is_divided_by_its_threshold_before_the_largest_is_taken(tokenizer: Tokenizer) -> None:
    # Logits of 8 and 4 at temperature 3: probabilities of 0.79 and 0.21.
    likely = 1 / (1 + np.exp(-4 / 3))
    for thresholds, name, chance in (([0.85, 0.15], "短", 1 - likely), ([0.75, 0.25], "long", likely)):
        more = {"temperature": 3.0, "thresholds": thresholds}
        facts = Facts("classify", "label", 8, ("long", "短"), (), (1,), (2,), more=more)
        (found,) = TextClassifier(Lengths(), tokenizer, facts).answer(["one two three one two three one"])
        assert (found.name, found.score) == (name, pytest.approx(chance, rel=1e-6))


def test_logits_that_are_no_numbers_become_no_label() -> None:
    with pytest.raises(NotFinite):
        softmax(np.array([[np.nan, 0.0]]))


def test_padding_stands_on_the_right_and_the_mask_tells_it() -> None:
    ids, mask = padded([[5, 6, 0], [7]], 0)
    assert ids.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
