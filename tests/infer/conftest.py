"""A tiny world: a byte-level tokenizer over eight sentences, and decoders that are tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = [
    "Hello world, how are you?",
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return x + 1\n",
    "你好，世界 🙂",
    "今天天气怎么样？",
    "naïve café",
    "one two three",
    "Numbers: 1 2 3.14",
]
SPECIALS = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>", "<s>", "[CLS]", "[SEP]"]
CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = [AddedToken(text, special=True, normalized=False) for text in SPECIALS]
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


@dataclass(frozen=True)
class Table:
    """A decoder whose next token depends on the last one and on how many were read."""

    vocab_size: int
    max_length: int = 64
    seed: int = 0

    def start(self) -> Any:
        return 0

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        position = state + ids_BL.shape[1]
        rows = [
            np.random.default_rng([self.seed, position, int(k)]).normal(size=self.vocab_size) for k in ids_BL[:, -1]
        ]
        return np.asarray(rows, dtype=np.float32) * 3, position


@dataclass(frozen=True)
class Script:
    """A decoder that says what it was given, whatever it is asked."""

    vocab_size: int
    says: tuple[int, ...]
    max_length: int = 512

    def start(self) -> Any:
        return 0

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        logits_BV = np.zeros((len(ids_BL), self.vocab_size), dtype=np.float32)
        logits_BV[:, self.says[min(state, len(self.says) - 1)]] = 20
        return logits_BV, state + 1


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


@pytest.fixture(scope="session")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's folder, ChatML included."""
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(path / "tokenizer.json"))
    config = (
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|pad|>",'
        ' "cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 24}'
    )
    (path / "tokenizer_config.json").write_text(config, encoding="utf-8")
    (path / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def chatml() -> str:
    return CHATML


@pytest.fixture(scope="session")
def table() -> type[Table]:
    return Table


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script
