import json
import subprocess
import sys
from pathlib import Path

import pytest

from pretune.base.errors import BadFile, NotSupported
from pretune.tokens.encode.tokenizer import (
    chat_template,
    encode_text,
    encode_texts,
    encode_with_controls,
    load_tokenizer,
    special_ids,
)
from pretune.tokens.learn.stage import SPECIALS, sample

TORTURE = [
    "Hello world, it's 3.14 C++ <b>x</b>\n\n\tindent    four  \r\n end ",
    "你好，世界。２①ﬁ 中文English混排 退款１２３",
    "Привет мир مرحبا بالعالم नमस्ते こんにちは 안녕 שלום ไทย",
    "🙂👩\u200d👩\u200d👧 é e\u0301 \u00a0\u3000\u200b\u2028\ufeff\x00\x7f",
    "",
    " ",
    "a" * 300 + "=" * 200 + " " * 50,
]


@pytest.fixture
def folder(make):
    return make()["tokenizer"].path


def test_what_is_encoded_is_decoded_exactly(folder):
    tokenizer = load_tokenizer(folder)
    for text in [*TORTURE, "raw <|endoftext|> and <|im_end|>"]:
        assert tokenizer.decode(encode_text(tokenizer, text), skip_special_tokens=False) == text


def test_control_tokens_in_raw_text_are_text(folder):
    tokenizer = load_tokenizer(folder)
    for special in SPECIALS:
        ids = encode_text(tokenizer, f"a {special} b{special}")
        assert not set(ids) & set(range(len(SPECIALS)))
        assert tokenizer.token_to_id(special) in encode_with_controls(tokenizer, f"a {special} b")
        assert not set(encode_text(tokenizer, special)) & set(range(len(SPECIALS)))


def test_batches_give_the_ids_of_single_texts_and_lone_surrogates_are_replaced(folder):
    tokenizer = load_tokenizer(folder)
    assert encode_texts(tokenizer, TORTURE) == [encode_text(tokenizer, t) for t in TORTURE]
    assert encode_text(tokenizer, "x\ud800") == encode_text(tokenizer, "x\ufffd")


def test_special_tokens_have_ids_of_their_own(folder):
    ids = special_ids(folder)
    assert (ids.eos, ids.pad, ids.mask, ids.cls, ids.sep) == (0, 1, 4, 5, 6)
    assert (ids.bos, ids.unk) == (None, None)
    assert load_tokenizer(folder).token_to_id("<|im_end|>") == 3


@pytest.mark.parametrize("config", [None, "qwen3", "gpt2", "bert", "llama"])
def test_autotokenizer_gives_equal_ids_beside_any_model_config(folder, tmp_path, config):
    import shutil

    import transformers

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if config:
        transformers.AutoConfig.for_model(config).save_pretrained(copy)
    theirs, ours = transformers.AutoTokenizer.from_pretrained(copy), load_tokenizer(folder)
    for text in [*TORTURE, "a <|im_end|> b"]:
        assert theirs(text).input_ids == ours.encode(text, add_special_tokens=False).ids
    assert (theirs.eos_token, theirs.pad_token, theirs.mask_token) == ("<|endoftext|>", "<|pad|>", "<|mask|>")


def test_the_chat_template_renders_chatml_and_transformers_reads_it(folder):
    import transformers

    messages = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello"}]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    told = theirs.apply_chat_template(messages, tokenize=False)
    assert told == "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    prompt = theirs.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert told.startswith(prompt)
    assert chat_template(folder).strip() == theirs.chat_template.strip()


def test_training_twice_gives_the_same_bytes(make):
    assert make("one")["tokenizer"].card.id == make("two")["tokenizer"].card.id


def test_a_licence_header_in_every_document_counts_once(make):
    artifacts = make()
    text = "".join(sample(artifacts["corpus"].path, 1.0))
    assert text.count("Zygomorphic") == 1
    assert text.count("def area_") == artifacts["corpus"].card.metrics["splits"]["train"]["documents"]
    vocabulary = load_tokenizer(artifacts["tokenizer"].path).get_vocab()
    assert not [w for w in vocabulary if "Zygo" in w or "Quixotic" in w]


def test_no_token_is_a_whole_chinese_sentence(make):
    vocabulary = load_tokenizer(make(vocab_size=600)["tokenizer"].path).get_vocab()
    assert max(len(w) for w in vocabulary if w not in SPECIALS) <= 24


def test_the_sample_is_the_asked_share_and_the_same_every_time(make):
    folder = make()["corpus"].path
    half = list(sample(folder, 0.5))
    assert half == list(sample(folder, 0.5))
    assert 0.2 < len(half) / len(list(sample(folder, 1.0))) < 0.8


def test_the_card_tells_bytes_per_token_by_counting(make):
    artifacts = make()
    tokenizer = load_tokenizer(artifacts["tokenizer"].path)
    from pretune.text.read.shards import read_rows

    texts = [r["text"] for r in read_rows(artifacts["corpus"].path, "validation")]
    size, tokens = sum(len(t.encode()) for t in texts), sum(len(encode_text(tokenizer, t)) for t in texts)
    card = artifacts["tokenizer"].card.metrics
    assert card["bytes_per_token"] == card["sources"]["notes"] == round(size / tokens, 4)
    assert card["measured_on"] == "validation"


def test_padding_and_truncation_in_the_file_are_not_obeyed(folder, tmp_path):
    tokenizer = load_tokenizer(folder)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(encode_text(load_tokenizer(tmp_path), "many words stand in this text")) > 8
    assert len(encode_text(load_tokenizer(tmp_path), "a")) == 1


def test_a_folder_without_a_tokenizer_or_with_a_broken_one_is_told(tmp_path):
    with pytest.raises(NotSupported, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadFile, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_special_tokens_and_templates_are_read_in_their_older_spellings(folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    config = {
        "eos_token": {"content": "<|im_end|>", "special": True},
        "chat_template": [{"name": "default", "template": "T"}],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "<|pad|>"}', encoding="utf-8")
    assert (special_ids(tmp_path).eos, special_ids(tmp_path).pad) == (3, 1)
    assert chat_template(tmp_path) == "T"


def test_text_and_tokens_import_neither_torch_nor_transformers():
    root = Path(__file__).parents[2] / "pretune"
    names = [
        f"pretune.{d}.{p.stem}"
        for d in ("text", "tokens")
        for p in sorted((root / d).glob("*.py"))
        if p.stem != "__init__"
    ]
    code = f"import sys, importlib\nfor n in {names}: importlib.import_module(n)\nprint(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert told.stdout.strip() == "[]"
