"""Two tiny models behind a server: a talker that is a table, and a classifier that counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from pretune.infer.chat import ChatFormat
from pretune.infer.classify import Frame, TextClassifier
from pretune.infer.language import LanguageModel
from pretune.infer.predictor import Facts
from pretune.infer.spans import Reader, SpanFinder
from pretune.tokens.encode.tokenizer import Specials

CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@dataclass
class Babbler:
    """A decoder with much Chinese, emoji and some ends in it; the next token depends on the last and the position."""

    vocab_size: int
    end: int
    max_length: int = 200
    fed: int = 0
    fail_after: int = 10**9

    def start(self) -> Any:
        return 0

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        self.fed += 1
        if self.fed > self.fail_after:
            raise RuntimeError("secret detail")
        position = state + ids_BL.shape[1]
        rows = [np.random.default_rng([position, int(k)]).normal(size=self.vocab_size) for k in ids_BL[:, -1]]
        logits_BV = np.asarray(rows, dtype=np.float32) * 3
        logits_BV[:, self.end] = 9.0 if position > 60 else -9.0
        return logits_BV, position


class Counter:
    max_length = 64

    def logits(self, rows: list[list[int]]) -> np.ndarray:
        return np.array([[len(row), 4.0] for row in rows], dtype=np.float32)


class First:
    """Scores the first token of each context highest, and no answer lower."""

    max_length = 64

    def logits(self, rows: list[list[int]]) -> list[np.ndarray]:
        return [
            np.arange(len(row), 0, -1, dtype=np.float32)[:, None] * (np.arange(len(row)) > 0)[:, None] * [1, 1]
            for row in rows
        ]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(t, special=True, normalized=False) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["你好，世界 🙂" * 3, "Hello world, how are you?", "one two three"], trainer)
    return tokenizer


@pytest.fixture
def talker(tokenizer: Tokenizer) -> LanguageModel:
    chat = ChatFormat(CHATML, tokenizer, Specials(eos=0))
    return LanguageModel(Babbler(tokenizer.get_vocab_size(), 2), tokenizer, tuple(chat.ends), chat)


@pytest.fixture
def completer(talker: LanguageModel) -> LanguageModel:
    return LanguageModel(talker.decoder, talker.tokenizer, talker.eos_ids)


@pytest.fixture
def counter(tokenizer: Tokenizer) -> TextClassifier:
    return TextClassifier(Counter(), tokenizer, Facts("classify", "label", 64, ("long", "短")))


@pytest.fixture
def finder(tokenizer: Tokenizer) -> SpanFinder:
    return SpanFinder(First(), Reader(tokenizer, Frame((0,), (0,)), 64, 8))
