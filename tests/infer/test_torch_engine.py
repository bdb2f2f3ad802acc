"""The torch engine against transformers' own generate, forward and peft."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
)

from pretune.base.errors import DoesNotFit, NoSuchFile, NotSupported
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.infer.load import open_model
from pretune.model.generate import TorchDecoder, TorchEncoder, architecture_of, from_objects

V = 340
SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[3] / "shared"))
TINY: dict[str, Any] = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
TINY |= {
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "eos_token_id": 0,
    "bos_token_id": None,
    "pad_token_id": 1,
}
HEADS: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8}


def causal(name: str) -> Any:
    torch.manual_seed(0)
    if name == "gpt2":
        config = GPT2Config(
            vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=0, bos_token_id=0
        )
        model: Any = GPT2LMHeadModel(config)
    elif name == "llama":
        model = LlamaForCausalLM(LlamaConfig(**TINY, **HEADS))
    elif name == "gemma3":  # one layer sees eight tokens, one all
        kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
        model = Gemma3ForCausalLM(Gemma3TextConfig(**TINY, **HEADS, **kinds))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**TINY, **HEADS))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def save(model: Any, folder: Path, tokenizer: Path, **settings: Any) -> Path:
    model.save_pretrained(folder, **settings)
    for path in tokenizer.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["qwen3", "llama", "gpt2"])
def test_greedy_tokens_are_those_of_transformers_generate(name: str, folder: Path) -> None:
    model = causal(name)
    ours = from_objects(model, folder)
    assert isinstance(ours, LanguageModel)
    prompts = [[5, 6, 7], [200, 201, 202], [9] * 20]
    for prompt, answer in zip(prompts, ours.generate_many(prompts, 12), strict=True):
        ids = torch.tensor([prompt])
        settings = {"do_sample": False, "max_new_tokens": 12, "pad_token_id": 1, "eos_token_id": list(ours.eos_ids)}
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :].tolist()
        assert answer == [token for token in theirs if token not in (*ours.eos_ids, 1)]


def test_fed_in_parts_the_logits_are_those_of_one_pass() -> None:
    decoder = TorchDecoder(causal("qwen3"))
    ids = np.arange(5, 25).reshape(2, 10)
    whole, _ = decoder.feed(decoder.start(), ids)
    state = decoder.start()
    for part in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):
        found, state = decoder.feed(state, part)
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)
    assert found.dtype == np.float32


def classifiers() -> list[Any]:
    torch.manual_seed(0)
    labels: dict[str, Any] = {
        "num_labels": 3,
        "id2label": {0: "a", 1: "坏", 2: "c"},
        "label2id": {"a": 0, "坏": 1, "c": 2},
    }
    models = [BertForSequenceClassification(BertConfig(**TINY, **labels))]
    models += [Qwen3ForSequenceClassification(Qwen3Config(**TINY, **HEADS, **labels))]
    return [model.eval() for model in models]


@pytest.mark.parametrize("which", [0, 1], ids=["bert", "qwen3"])
def test_labels_of_a_saved_classifier_are_those_of_its_logits_alone(which: int, tmp_path: Path, folder: Path) -> None:
    model = classifiers()[which]
    ours = open_model(save(model, tmp_path, folder))
    assert isinstance(ours, TextClassifier)
    texts = ["Hello", "one two three, the quick brown fox", "你好 🙂", "x" * 200]
    rows = ours.rows(texts)
    assert max(map(len, rows)) == 24 == ours.facts.max_length
    with torch.inference_mode():
        alone = [model(input_ids=torch.tensor([row])).logits[0].numpy() for row in rows]
    np.testing.assert_allclose(ours.encoder.logits(rows), alone, rtol=1e-5, atol=1e-5)
    assert [label.name for label in ours.answer(texts)] == [["a", "坏", "c"][int(a.argmax())] for a in alone]


def test_without_a_pad_token_rows_go_one_by_one() -> None:
    model = classifiers()[1]
    padded = TorchEncoder(model, 1).logits([[5, 6], [7, 8, 9]])
    model.config.pad_token_id = None
    np.testing.assert_allclose(TorchEncoder(model, None).logits([[5, 6], [7, 8, 9]]), padded, rtol=1e-5, atol=1e-6)


def test_architecture_follows_what_transformers_lists() -> None:
    found = {name: architecture_of(name) for name in ("bert", "modernbert", "roberta", "qwen3", "llama", "gpt2")}
    assert [name for name, kind in found.items() if kind == "decoder"] == ["qwen3", "llama", "gpt2"]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft on transformers 5.23
@pytest.mark.parametrize("task", ["CAUSAL_LM", "SEQ_CLS"])
def test_adapter_folder_answers_as_peft_does_and_finds_its_base_beside_it(
    task: str, tmp_path: Path, folder: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    base = causal("qwen3") if task == "CAUSAL_LM" else classifiers()[1]
    save(base, tmp_path / "base", folder)
    settings: dict[str, Any] = {"modules_to_save": ["score"]} if task == "SEQ_CLS" else {}
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type=task, **settings))
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3) if "lora" in name or "score" in name else None
    adapted.eval()
    adapted.peft_config["default"].base_model_name_or_path = "../base"
    save(adapted, tmp_path / "adapter", folder, save_embedding_layers=False)
    (tmp_path / "adapter" / "labels.json").write_text(json.dumps(["a", "坏", "c"]), encoding="utf-8")
    ours, rows = open_model(tmp_path / "adapter"), [[5, 6, 7, 8]]
    with torch.inference_mode():
        theirs = adapted(input_ids=torch.tensor(rows)).logits.numpy()
    if isinstance(ours, LanguageModel):
        found, _ = ours.decoder.feed(ours.decoder.start(), np.array(rows))
        theirs = theirs[:, -1]
    else:
        assert ours.facts.labels == ("a", "坏", "c")
        found = ours.encoder.logits(rows)
    np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-5)


def test_adapter_without_its_base_names_where_it_was_looked_for(tmp_path: Path, folder: Path) -> None:
    settings = {"base_model_name_or_path": "../gone", "task_type": "CAUSAL_LM"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(NoSuchFile, match=r"\.\./gone"):
        open_model(tmp_path)


def test_model_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    path = save(causal("qwen3"), tmp_path, folder)
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(DoesNotFit, match=r"needs 158 KiB of memory, 1\.0 KiB are free"):
        open_model(path)


def test_model_without_a_head_says_to_fine_tune_it(tmp_path: Path, folder: Path) -> None:
    path = save(causal("qwen3").model, tmp_path, folder)
    with pytest.raises(NotSupported, match=r"Qwen3Model.*no head"):
        open_model(path)


@pytest.mark.skipif(not (SHARED / "models/stories15M").is_dir(), reason="../shared/models/stories15M is not here")
def test_sentencepiece_model_without_tokenizer_json_is_refused_clearly() -> None:
    with pytest.raises(NotSupported, match=r"no tokenizer\.json"):
        open_model(SHARED / "models/stories15M")


@pytest.mark.skipif(
    not (SHARED / "models/minimind2-small").is_dir(), reason="../shared/models/minimind2-small is not here"
)
def test_minimind_renders_and_answers_as_in_transformers() -> None:
    path = SHARED / "models/minimind2-small"
    ours = open_model(path)
    assert isinstance(ours, LanguageModel) and ours.chat is not None
    theirs = AutoTokenizer.from_pretrained(path)
    messages = [{"role": "user", "content": "你好，请介绍一下你自己。"}]
    wanted = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    prompt = ours.chat_prompt(messages)
    assert prompt == list(wanted)
    answer = ours.generate_many([prompt], 16)[0]
    decoder: Any = ours.decoder
    ids = torch.tensor([prompt])
    full = decoder.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
    assert answer == [t for t in full[0, len(prompt) :].tolist() if t not in ours.eos_ids]
