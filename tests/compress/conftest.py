"""A tiny random model folder, and stages run through a recipe."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.model.folder import save_model

TEMPLATE = "{% for m in messages %}{{ '<user>' if m.role == 'user' else '<bot>' }}{{ m.content }}{% if m.role != 'user' %}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
LABELS: dict[str, Any] = {"num_labels": 2, "id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}


def build(kind: str) -> Any:
    torch.manual_seed(7)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=96)).eval()
    if kind == "bert":
        return BertForSequenceClassification(BertConfig(**SIZES, **LABELS)).eval()
    config = Qwen3Config(**SIZES, bos_token_id=None, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True)
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        words, folder = tmp_path / "words", tmp_path / kind
        words.mkdir(), folder.mkdir()
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<pad>", "<eos>", "<cls>", "<sep>", "<user>", "<bot>"]
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(["the cat and the hat. 你好 🙂"] * 8, trainer)
        tokenizer.save(str(words / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{f"{n}_token": f"<{n}>" for n in ("pad", "eos", "cls", "sep")},
        }
        (words / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        (words / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
        save_model(build(kind), folder, tokenizer=words)
        return folder

    return write


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Run stages by name; returns their artifacts."""

    def stages(**by_name: Any) -> Any:
        return Recipe.build({"work": str(tmp_path / "work"), "stages": by_name}).run(log=Log(quiet=True))

    return stages
