"""Encoder-decoders next to transformers' own: one graph reads the source, the other writes."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from pretune.base.errors import NotSupported
from pretune.export.blocks import Blocks
from pretune.export.graph import graph_of
from pretune.infer.load import open_bundle
from pretune.infer.searching import Search, likeliest
from pretune.model.generate import open_folder
from pretune.testing.folders import T5, build
from tests.export.test_parity import export

SOURCES_BS = np.random.default_rng(5).integers(6, 300, (3, 23)).astype(np.int64)


def of_kind(kind: str) -> T5ForConditionalGeneration:
    """As in the first paper; or with a gate, in layers that differ in number, where distances of 8 are the largest."""
    if kind == "plain":
        return build("t5")
    torch.manual_seed(3)
    more = {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 3, "relative_attention_max_distance": 8}
    model = T5ForConditionalGeneration(T5Config(**T5, **more, relative_attention_num_buckets=6))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module", params=["plain", "gated"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model folder and its bundle."""
    from pretune.testing.folders import write_model

    at = tmp_path_factory.mktemp(request.param)
    folder = write_model(at / "model", at / "words", "t5", model=of_kind(request.param))
    export(folder, at / "bundle")
    return folder, at / "bundle"


def test_each_token_of_an_answer_has_the_logits_that_torch_gives_it_in_one_pass(both: tuple[Path, Path]) -> None:
    folder, bundle = both
    engine, model = open_bundle(bundle).engine, open_folder(folder).engine.model
    written_BL = np.random.default_rng(6).integers(6, 300, (3, 15)).astype(np.int64)
    read_BL = np.concatenate([np.zeros((3, 1), np.int64), written_BL[:, :-1]], axis=1)
    with torch.inference_mode():
        expected_BLV = model(input_ids=torch.from_numpy(SOURCES_BS), decoder_input_ids=torch.from_numpy(read_BL)).logits
    state, fresh_BL = engine.start(), SOURCES_BS
    for k in range(15):
        logits_BV, state = engine.feed(state, fresh_BL)
        np.testing.assert_allclose(logits_BV, expected_BLV[:, k].numpy(), atol=2e-5, rtol=1e-5)
        fresh_BL = written_BL[:, k : k + 1]


def test_a_source_that_is_padded_gives_the_logits_that_it_gives_alone() -> None:
    model = of_kind("plain")
    graph, config = graph_of(model, {}), model.config
    reader, writer = (
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"])
        for one in (graph.more["encoder.onnx"], graph.content)
    )
    empty = np.zeros((1, config.num_heads, 0, config.d_kv), np.float32)
    names = [one.name.replace("present", "past_key_values") for one in reader.get_outputs()]

    def logits(ids_BS: np.ndarray, mask_BS: np.ndarray) -> np.ndarray:
        past = dict(zip(names, reader.run(None, {"input_ids": ids_BS, "attention_mask": mask_BS}), strict=True))
        past |= {name.replace("encoder", "decoder"): empty for name in names}
        first = {"input_ids": np.zeros((1, 1), np.int64), "attention_mask": np.ones((1, 1), np.int64)}
        return np.asarray(writer.run(["logits"], {**first, "encoder_attention_mask": mask_BS, **past})[0])

    mask_BS = np.ones((1, 23), np.int64)
    mask_BS[:, 9:] = 0
    alone = logits(SOURCES_BS[:1, :9], mask_BS[:, :9])
    np.testing.assert_allclose(logits(SOURCES_BS[:1], mask_BS), alone, atol=1e-5, rtol=1e-5)
    assert np.abs(logits(SOURCES_BS[:1], np.ones_like(mask_BS)) - alone).max() > 1e-2


def test_beams_find_what_they_find_on_torch(both: tuple[Path, Path]) -> None:
    folder, bundle = both
    found = [
        likeliest(one.engine, SOURCES_BS, Search(beams=3), ends=(1,), room=7, apart=(0,))
        for one in (open_bundle(bundle), open_folder(folder))
    ]
    assert found[0] == found[1]
    assert len({tuple(one) for one in found[0]}) > 1


def test_a_bundle_that_reads_and_writes_answers_as_its_folder_does(both: tuple[Path, Path]) -> None:
    texts = ["the cat 你好", "hat", "and the hat and the cat"]
    ours, theirs = (one.answer(texts, max_tokens=9) for one in (open_bundle(both[1]), open_folder(both[0])))
    assert ours == theirs


def test_both_graphs_are_stored_in_blocks() -> None:
    whole, small = (graph_of(of_kind("gated"), {}, blocks=blocks) for blocks in (None, Blocks(4)))
    sizes = [(len(one.content), len(one.more["encoder.onnx"])) for one in (whole, small)]
    assert all(some < all_ for some, all_ in zip(sizes[1], sizes[0], strict=True))


def test_an_encoder_decoder_of_another_family_is_refused_by_name() -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    model = BartForConditionalGeneration(BartConfig(vocab_size=300, d_model=32, max_position_embeddings=64, **sizes))
    with pytest.raises(NotSupported, match="a bart encoder-decoder cannot be exported as ONNX"):
        graph_of(model.eval(), {})
