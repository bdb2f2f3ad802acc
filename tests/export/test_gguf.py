"""GGUF: what llama.cpp makes of the file next to what torch makes of the folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NoParity, NotSupported
from pretune.base.log import Log
from pretune.export.bundle import write_bundle
from pretune.export.exporter import Job
from pretune.export.gguf_bundle import Gguf, compare_ids, stored, whole_blocks
from pretune.export.gguf_tensors import Weight
from pretune.export.gguf_tokenizer import vocabulary_of
from pretune.model.generate import open_folder
from pretune.testing.folders import ROPE3, SIZES, WINDOWS, build, write_model

gguf = pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("cyllama", reason="llama.cpp is not installed: pretune[llamacpp]")
PROMPTS = ("Once upon a time", "今天天气很好，我们去", "the cat 你好 🙂")
KINDS = ("qwen3", "llama", "mistral", "gpt2", "gemma3", "qwen3_moe", "linear")


def made_here(kind: str) -> Any:
    """Kinds that pretune.testing.folders does not build."""
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        MistralConfig,
        MistralForCausalLM,
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
    )

    torch.manual_seed(7)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True}
    linear = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    models = {
        "linear": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=linear)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
        "qwen3_moe": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **experts, head_dim=16)),
    }
    if kind not in models:
        return build(kind)
    model = models[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def exported(folder: Path, out: Path, **settings: Any) -> Path:
    """The GGUF file of a folder, proven."""
    out.mkdir(exist_ok=True)
    exporter = Gguf(kind="gguf", **{"prompts": 3, "tokens": 8, **settings})
    write_bundle([exporter], Job(folder, open_folder(folder), None, out), Log(quiet=True))
    return out / "gguf" / "model.gguf"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """(folder, file) of a kind of model; each is exported once."""
    found: dict[str, tuple[Path, Path]] = {}
    at = tmp_path_factory.mktemp("gguf")

    def one(kind: str) -> tuple[Path, Path]:
        if kind not in found:
            folder = write_model(at / kind, at / "words", kind, chat=kind == "qwen3", model=made_here(kind))
            (at / "words" / "chat_template.jinja").unlink(missing_ok=True)
            found[kind] = folder, exported(folder, at / f"{kind}-out")
        return found[kind]

    return one


def opened(file: Path, max_length: int = 96) -> Any:
    from pretune.export.llama_cpp import LlamaCpp

    return LlamaCpp.open(file, max_length)


def llama_writes(engine: Any, ids: list[int], length: int) -> list[int]:
    found: list[int] = []
    state, fresh = engine.start(), ids
    for _ in range(length):
        logits_BV, state = engine.feed(state, np.array([fresh]))
        fresh = [int(logits_BV[0].argmax())]
        found += fresh
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_gives_the_ids_of_the_folder_and_writes_its_greedy_text(kind: str, written: Any) -> None:
    folder, file = written(kind)
    model, engine = open_folder(folder), opened(file)
    assert compare_ids(model, engine, vocabulary_of(folder, 300)) > 900
    for text in PROMPTS:
        ids = engine.encode(text)
        assert ids == model.text_prompt(text)
        reference = torch.tensor([ids])
        with torch.inference_mode():
            theirs = model.decoder.model.generate(
                reference, max_new_tokens=64, min_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0
            )
        assert llama_writes(engine, ids, 64) == theirs[0, len(ids) :].tolist()


def test_a_chat_template_and_its_end_go_with_the_file_and_the_bytes_are_the_same_again(
    written: Any, tmp_path: Path
) -> None:
    folder, file = written("qwen3")
    reader = gguf.GGUFReader(file)
    assert reader.fields["tokenizer.chat_template"].contents() == (folder / "chat_template.jinja").read_text("utf-8")
    assert [reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("eos_token_id", "add_bos_token")] == [
        1,
        False,
    ]
    assert exported(folder, tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("type", "bits"), [("q8_0", 8), ("q5_0", 5), ("q4_0", 4), ("q6_k", 6), ("q5_k", 5), ("q4_k", 4)]
)
def test_a_rounded_matrix_is_as_near_as_its_bits_allow(type: Any, bits: int) -> None:
    if type.endswith("_k"):
        pytest.importorskip("libgguf")
    array = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
    blocks, kind = stored(Weight("blk.0.attn_q.weight", array), type)
    back = gguf.dequantize(blocks, kind)
    width = 32 if type.endswith("_0") else 16
    ranges = np.ptp(array.reshape(-1, width), axis=1) / 2**bits
    error = np.abs(back - array).reshape(-1, width).max(axis=1)
    assert (error <= 1.6 * np.maximum(ranges, np.median(ranges))).all()
    assert blocks.nbytes * 8 / array.size == pytest.approx({8: 8.5, 6: 6.5625, 5: 5.5, 4: 4.5}[bits])


def test_f16_and_bf16_are_what_torch_rounds_to() -> None:
    array = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    for type, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        back = gguf.dequantize(*stored(Weight("blk.0.attn_q.weight", array), type))  # type: ignore[arg-type]
        assert np.array_equal(back, torch.from_numpy(array).to(dtype).float().numpy())


def test_an_int8_folder_keeps_its_whole_numbers_in_q8_0(
    written: Any, stage_run: Callable[..., Any], tmp_path: Path
) -> None:
    small = stage_run("compress", "small", model=str(written("llama")[0])).path
    from safetensors.numpy import load_file

    from pretune.compress.quantise import read_scales

    file = exported(small, tmp_path / "out", type="q8_0")
    tensors = {one.name: one for one in gguf.GGUFReader(file).tensors}
    name = "model.layers.1.mlp.up_proj.weight"
    weight, scale = load_file(small / "model.safetensors")[name], read_scales(small)[name]
    back = gguf.dequantize(tensors["blk.1.ffn_up.weight"].data, gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(back, np.rint(weight / scale) * scale.astype(np.float16).astype(np.float32))


def test_whole_numbers_that_are_kept_are_nearer_than_those_that_are_found_again() -> None:
    from pretune.model.rounding import on_grid, scales_of

    array = np.random.default_rng(3).normal(size=(8, 256)).astype(np.float32)
    scale, kind = scales_of(array, 0), gguf.GGMLQuantizationType.Q8_0
    weight = on_grid(array, scale)
    kept, found = (gguf.dequantize(b, kind) for b in (whole_blocks(weight, scale), gguf.quantize(weight, kind)))
    assert np.abs(kept - weight).mean() < 0.1 * np.abs(found - weight).mean()


def test_blocks_of_whole_numbers_are_those_of_the_package_where_both_can_be_exact() -> None:
    whole = np.random.default_rng(2).integers(-127, 128, (2, 64)).astype(np.float32)
    whole[:, ::32] = 127  # the package takes its scale from the largest
    scale = np.array([[0.5], [0.25]], np.float32)
    kind = gguf.GGMLQuantizationType.Q8_0
    assert np.array_equal(whole_blocks(whole * scale, scale), gguf.quantize(whole * scale, kind))


def test_whole_numbers_of_eight_bits_are_rounded_again_for_four_where_a_row_is_one_block() -> None:
    from pretune.model.rounding import on_grid, scales_of

    array = np.random.default_rng(4).normal(size=(5, 32)).astype(np.float32)
    scale = scales_of(array, 0)
    weight = on_grid(array, scale)
    blocks, kind = stored(Weight("blk.0.attn_q.weight", weight, scale), "q4_0")
    assert np.array_equal(blocks, gguf.quantize(weight, kind))


# ---- tokenizers ---------------------------------------------------------------------------------


def tokenizer_of(kind: str) -> Any:
    """A tokenizer learnt on texts with figures, contractions, signs and many scripts, by one of the known patterns."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers.tokenization_utils_base import generate_merges

    from pretune.infer.compare import TEXTS
    from pretune.tokens.encode.encoding import PROBES
    from pretune.tokens.learn.bpe import alphabet
    from pretune.tokens.learn.splitting import pattern

    texts = [*TEXTS, *PROBES] * 3
    tokenizer = Tokenizer(models.BPE())
    if kind.startswith("pieces"):
        texts = [text.replace(" ", "▁").replace("\0", "") for text in texts]
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, show_progress=False))
        first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        tokens = first + sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
        vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
        merges = generate_merges(vocab, {token: -float(number) for token, number in vocab.items()})
        tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        if kind == "pieces":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence(parts)
        tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        return tokenizer
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "gpt-2")
    if kind != "gpt-2":
        name: Any = "one" if kind == "nfc" else kind
        words = pre_tokenizers.Split(Regex(pattern(name)), behavior="isolated")
        in_bytes = pre_tokenizers.Sequence([words, in_bytes])
    tokenizer.normalizer = normalizers.NFC() if kind == "nfc" else None
    tokenizer.pre_tokenizer, tokenizer.decoder = in_bytes, decoders.ByteLevel()
    specials = ["<unk>", "<s>", "</s>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=specials, initial_alphabet=alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


SIZE = 1300
"""Ids of a model, more than its tokenizer has tokens."""


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """(folder, file) of a small Llama with a tokenizer of a kind; with Qwen2's normaliser, of a Qwen2."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    from pretune.model.folder import save_model

    found: dict[str, tuple[Path, Path]] = {}

    def one(kind: str) -> tuple[Path, Path]:
        if kind not in found:
            words, folder = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp(kind)
            tokenizer_of(kind).save(str(words / "tokenizer.json"))
            names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
            (words / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
            torch.manual_seed(3)
            config = {**SIZES, "vocab_size": SIZE, "eos_token_id": 2, "bos_token_id": 1}
            save_model(LlamaForCausalLM(LlamaConfig(**config)).eval(), folder, tokenizer=words)
            if kind == "nfc":  # AutoTokenizer makes another tokenizer of a Qwen2 folder, which save_model refuses
                Qwen2ForCausalLM(Qwen2Config(**config)).save_pretrained(folder)
            found[kind] = folder, exported(folder, tmp_path_factory.mktemp(f"{kind}-out"))
        return found[kind]

    return one


@pytest.mark.parametrize(
    ("kind", "name", "bos"),
    [
        ("gpt-2", "gpt-2", False),
        ("one", "qwen2", False),
        ("nfc", "qwen2", False),
        ("three", "dbrx", False),
        ("pieces", "default", True),
    ],
)
def test_ids_of_a_tokenizer_that_cuts_much_are_those_of_llama_cpp(
    kind: str, name: str, bos: bool, tokenized: Any
) -> None:
    folder, file = tokenized(kind)
    fields = gguf.GGUFReader(file).fields
    assert [fields[f"tokenizer.ggml.{key}"].contents() for key in ("pre", "add_bos_token")] == [name, bos]
    model, engine = open_folder(folder), opened(file)
    assert compare_ids(model, engine, vocabulary_of(folder, SIZE)) > 900
    text = "It's 12345 </s> 的 x"
    assert engine.encode(text, start=True) == model.text_prompt(text)
    assert (2 in engine.encode(text), 2 in engine.encode(text, controls=True)) == (False, True)
    assert (engine.encode(text, start=True)[0] == 1) == bos


@pytest.mark.parametrize(
    ("algorithm", "name", "shape"),
    [
        ({"kind": "bpe"}, "qwen2", "qwen3"),
        ({"kind": "bpe", "digits": "three"}, "dbrx", "gpt2"),
        ({"kind": "byte"}, "qwen2", "gemma3"),
    ],
)
def test_what_pretune_learns_and_builds_itself_chats_in_llama_cpp(
    algorithm: dict[str, str], name: str, shape: str, tmp_path: Path
) -> None:
    from pretune.infer.compare import TEXTS
    from pretune.model.build import build_model
    from pretune.model.folder import save_model
    from pretune.model.shape import SHAPE
    from pretune.tokens.encode.encoding import PROBES
    from pretune.tokens.encode.tokenizer import special_ids
    from pretune.tokens.learn.algorithm import ALGORITHM, Learning
    from pretune.tokens.learn.stage import save_tokenizer

    for folder in (words := tmp_path / "words", made := tmp_path / "made"):
        folder.mkdir()
    learnt = ALGORITHM(algorithm).learn(Learning(lambda: iter([*TEXTS, *PROBES] * 3), 900))
    save_tokenizer(learnt, words)
    heads: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2}
    heads |= {} if shape == "gpt2" else {"head_width": 16, "hidden": 48}
    heads |= {"pattern": 2} if shape == "gemma3" else {}
    sizes = {"vocab_size": 960, "max_length": 96, "specials": special_ids(words), "seed": 1}
    model = build_model(SHAPE({"kind": shape, **heads}), "next", **sizes)  # type: ignore[arg-type]
    save_model(model.eval(), made, tokenizer=words)
    file = exported(made, tmp_path / "out")
    fields, engine, ready = gguf.GGUFReader(file).fields, opened(file), open_folder(made)
    assert fields["tokenizer.ggml.pre"].contents() == name
    assert compare_ids(ready, engine, vocabulary_of(made, 960)) > 900
    assert set(ready.eos_ids) <= engine.ends()
    assert "<|im_start|>user" in (file.parent / "Modelfile").read_text(encoding="utf-8")


def test_what_is_known_to_differ_is_told_in_the_bundle(tokenized: Any) -> None:
    folder, file = tokenized("pieces-metaspace")
    told = json.loads((file.parents[1] / "bundle.json").read_text(encoding="utf-8"))["formats"]["gguf"]
    assert told["differs"] == ["a text that begins with a space gets one token more"]
    model, engine = open_folder(folder), opened(file)
    assert len(engine.encode(" x", start=True)) == len(model.text_prompt(" x")) + 1


def test_a_bos_is_put_first_where_dialogues_have_one_and_nowhere_else(tokenized: Any, tmp_path: Path) -> None:
    turn = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    for name, template in (("without", turn), ("with", "{{ bos_token }}" + turn)):
        folder = tmp_path / name
        shutil.copytree(tokenized("pieces")[0], folder)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        file = exported(folder, tmp_path / f"{name}-out")  # the ids of a dialogue are compared there
        told = json.loads((file.parents[1] / "bundle.json").read_text(encoding="utf-8"))["formats"]["gguf"]
        assert gguf.GGUFReader(file).fields["tokenizer.ggml.add_bos_token"].contents() == (name == "with")
        assert ("differs" in told) == (name == "without")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "it has the normalizer Lowercase"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "its words come from Whitespace"),
    ],
)
def test_a_tokenizer_without_an_equivalent_is_refused_by_what_it_has(
    part: dict[str, Any], said: str, tokenized: Any, tmp_path: Path
) -> None:
    tree = json.loads((tokenized("one")[0] / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree | part), encoding="utf-8")
    with pytest.raises(NotSupported, match=said):
        vocabulary_of(tmp_path, SIZE)


@pytest.mark.parametrize("algorithm", ["unigram", "character"])
def test_our_tokenizers_of_pieces_are_refused(algorithm: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    from pretune.tokens.learn.algorithm import UNKNOWN
    from pretune.tokens.learn.fallback import first_tokens, frame, with_scores

    tokenizer = with_scores([("a", -1.0), ("b", -2.0)])
    if algorithm == "character":
        vocabulary = {token: number for number, token in enumerate([*first_tokens(), "a"])}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN, byte_fallback=True))
        frame(tokenizer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(NotSupported, match="GGUF has no equivalent of this tokenizer"):
        vocabulary_of(tmp_path, SIZE)


@pytest.mark.parametrize(("token", "said"), [("a\0b", "has a NUL"), ("[PAD1290]", "ids without a token")])
def test_tokens_over_which_llama_cpp_would_end_the_process_are_refused(
    token: str, said: str, tokenized: Any, tmp_path: Path
) -> None:
    from pretune.tokens.encode.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tokenized("one")[0])
    tokenizer.add_tokens([token])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(NotSupported, match=said):
        vocabulary_of(tmp_path, SIZE)


# ---- refusals -----------------------------------------------------------------------------------


class Spoilt(Gguf):
    """A format whose file is damaged before it is proven."""

    def prove(self, job: Job) -> Any:
        file = job.out / "model.gguf"
        data = bytearray(file.read_bytes())
        data[-9] ^= 64
        file.write_bytes(bytes(data))
        return super().prove(job)


def test_a_damaged_file_is_refused_by_the_name_of_its_tensor(written: Any, tmp_path: Path) -> None:
    folder, _ = written("gpt2")
    (tmp_path / "out").mkdir()
    with pytest.raises(NoParity, match=r"first tensor of model\.gguf that differs from its model is output_norm"):
        write_bundle([Spoilt(kind="gguf")], Job(folder, open_folder(folder), None, tmp_path / "out"), Log(quiet=True))
    assert not (tmp_path / "out" / "gguf").exists()


def test_another_models_answers_are_refused_with_the_first_token_that_differs(written: Any, tmp_path: Path) -> None:
    from pretune.export.parity import Parity, Thresholds
    from pretune.infer.compare import compare_written
    from pretune.infer.load import predictor_of

    model = open_folder(written("llama")[0])
    other = predictor_of(opened(written("mistral")[1]), written("mistral")[0], model.facts)
    found = compare_written(model, other, [[9, 8, 7], [11, 12]], num_tokens=8)
    with pytest.raises(NoParity, match=r"first at input 0, token \d+, prompt "):
        Parity(found, Thresholds(1e-3, 1.0)).demand()


def test_other_ids_are_refused_with_the_text_and_the_place(tokenized: Any, tmp_path: Path) -> None:
    folder, file = tokenized("one")
    data, name = file.read_bytes(), b"\x05" + bytes(7)
    assert data.count(name + b"qwen2") == 1
    (tmp_path / "model.gguf").write_bytes(data.replace(name + b"qwen2", name + b"gpt-2"))
    with pytest.raises(NoParity, match=r"other ids for .* first at token \d+"):
        compare_ids(open_folder(folder), opened(tmp_path / "model.gguf"), vocabulary_of(folder, SIZE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sliding_window": 16}, "sees everything, this model a window"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "'yarn' are not written"),
        ({"hidden_act": "gelu"}, "llama.cpp computes silu"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(change: dict[str, Any], said: str) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    from pretune.export.gguf_tensors import keys_of

    model = MistralForCausalLM(MistralConfig(**{**SIZES, "sliding_window": None, **change}))
    with pytest.raises(NotSupported, match=said):
        keys_of(model, 96)


def test_a_window_of_experts_and_factors_of_gemma_are_refused() -> None:
    from pretune.export.gguf_tensors import keys_of

    experts, gemma = build("qwen3-moe"), build("gemma3")
    assert keys_of(experts, 96) and keys_of(gemma, 96)
    experts.config.sliding_window = 4
    gemma.config.rope_parameters["full_attention"] = {**ROPE3}
    for model, said in ((experts, "sees everything, this model a window"), (gemma, "no factors of its own")):
        with pytest.raises(NotSupported, match=said):
            keys_of(model, 96)


def test_a_head_that_is_turned_in_part_is_refused() -> None:
    from pretune.export.gguf_tensors import keys_of

    model = build("llama")
    assert keys_of(model, 96)
    model.config.rope_parameters["partial_rotary_factor"] = 0.5
    with pytest.raises(NotSupported, match="turns a part of each head"):
        keys_of(model, 96)


@pytest.mark.parametrize("kind", ["sliding_attention", "full_attention"])
def test_layers_of_one_kind_over_which_llama_cpp_ends_the_process_are_refused(kind: str) -> None:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from pretune.export.gguf_tensors import keys_of

    model = Gemma3ForCausalLM(Gemma3TextConfig(**{**SIZES, **WINDOWS, "layer_types": [kind] * 2}))
    with pytest.raises(NotSupported, match="this model one kind"):
        keys_of(model, 96)


def test_a_classifier_and_an_encoder_have_no_gguf(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    for kind in ("bert-labels", "qwen3-labels"):
        with pytest.raises(NotSupported):
            exported(model_folder(kind), tmp_path / f"{kind}-out")
