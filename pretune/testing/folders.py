"""Tiny random models in folders, with a byte-level tokenizer of their own."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Gemma3TextForSequenceClassification,
    GPT2Config,
    GPT2ForQuestionAnswering,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForQuestionAnswering,
    Qwen3ForSequenceClassification,
    Qwen3ForTokenClassification,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from pretune.model.folder import save_model

SPECIALS = ["<pad>", "<eos>", "<cls>", "<sep>", "<user>", "<bot>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<user>' if m.role == 'user' else '<bot>' }}{{ m.content }}"
    "{% if m.role != 'user' %}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
ROPE3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
GPT2 = {
    "vocab_size": 300,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 96,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
WINDOWS: dict[str, Any] = {
    "head_dim": 16,
    "query_pre_attn_scalar": 12,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
}
EXPERTS: dict[str, Any] = {
    "head_dim": 16,
    "moe_intermediate_size": 24,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "mlp_only_layers": [],
}
T5 = {
    "vocab_size": 300,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BERT = {k: v for k, v in SIZES.items() if k not in ("num_key_value_heads", "bos_token_id")}
NAMES: dict[str, Any] = {
    "num_labels": 3,
    "id2label": {0: "坏", 1: "so-so", 2: "good"},
    "label2id": {"坏": 0, "so-so": 1, "good": 2},
}


def build(kind: str, *, spread: bool = True) -> Any:
    """A random float32 model; `spread` weights make answers differ from token to token."""
    torch.manual_seed(7)
    model: Any = {
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True)),
        "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=False)),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, rope_parameters={**ROPE3})
        ),
        "qwen3-moe": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **EXPERTS)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)),
        "qwen3-windows": lambda: Qwen3ForCausalLM(
            Qwen3Config(**SIZES, head_dim=16, use_sliding_window=True, sliding_window=4, max_window_layers=1)
        ),
        # of its two layers the first sees four tokens
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, **WINDOWS)),
        "gemma3-labels": lambda: Gemma3TextForSequenceClassification(Gemma3TextConfig(**SIZES, **WINDOWS, **NAMES)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
        "qwen3-spans": lambda: Qwen3ForQuestionAnswering(Qwen3Config(**SIZES, head_dim=16)),
        "gpt2-spans": lambda: GPT2ForQuestionAnswering(GPT2Config(**GPT2)),
        "qwen3-labels": lambda: Qwen3ForSequenceClassification(Qwen3Config(**SIZES, **NAMES, head_dim=16)),
        "gpt2-labels": lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2, **NAMES)),
        "bert-spans": lambda: BertForQuestionAnswering(BertConfig(**BERT)),
        "bert-labels": lambda: BertForSequenceClassification(BertConfig(**BERT, **NAMES)),
        "roberta-spans": lambda: RobertaForQuestionAnswering(RobertaConfig(**BERT | {"pad_token_id": 1})),
        "qwen3-tags": lambda: Qwen3ForTokenClassification(Qwen3Config(**SIZES, **NAMES, head_dim=16)),
        "gpt2-tags": lambda: GPT2ForTokenClassification(GPT2Config(**GPT2, **NAMES)),
        "bert-tags": lambda: BertForTokenClassification(BertConfig(**BERT, **NAMES)),
        "roberta-tags": lambda: RobertaForTokenClassification(RobertaConfig(**BERT | NAMES | {"pad_token_id": 1})),
        # its first token has position 2, so it reads 94 tokens
        "roberta-labels": lambda: RobertaForSequenceClassification(RobertaConfig(**BERT | NAMES | {"pad_token_id": 1})),
    }[kind]()
    with torch.no_grad():
        for parameter in model.parameters() if spread else ():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the cat and the hat. 你好 🙂"] * 8, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "cls_token": "<cls>",
        "sep_token": "<sep>",
        "model_max_length": 64,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_model(folder: Path, words: Path, kind: str, *, chat: bool = False, model: Any = None) -> Path:
    """A model of a kind (see `build`), or the given one, in `folder`; its tokenizer comes by way of `words`."""
    for each in (words, folder):
        each.mkdir(exist_ok=True)
    write_tokenizer(words)
    if chat:
        (words / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    save_model(model if model is not None else build(kind), folder, tokenizer=words)
    return folder
