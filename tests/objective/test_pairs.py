"""The second question of a masked model: does B follow A, or do they stand in their order?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pretune.base.artifact import Artifact
from pretune.base.config import build
from pretune.base.errors import EmptyInput, SettingsError
from pretune.model.folder import load_with_new
from pretune.objective.objective import OBJECTIVE
from pretune.report.training import charts, read_points
from pretune.testing.worlds import VOCABULARY, paired_rows, tiny
from pretune.tokens.rows import IGNORE, Row
from pretune.tokens.store.packing import PACKING
from pretune.train.run.settings import PretrainSettings
from pretune.train.watch.validate import loss_over
from tests.tokens.worlds import pair_frame, store_of
from tests.train.test_watching import lines_of, made

SHAPE = {"kind": "bert", "layers": 1, "width": 32, "heads": 2, "hidden": 48}


def ready(pairs: str, rows: list[Row]) -> tuple[Any, Any, list[Row]]:
    objective = OBJECTIVE({"kind": "masked", "pairs": pairs})
    prepared = [objective.prepare(row, VOCABULARY, np.random.default_rng(k)) for k, row in enumerate(rows)]
    return tiny("bert", head="pair", attention="sdpa").eval(), objective, prepared


# ---- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swaps", [False, True])
def test_half_of_the_pairs_of_ten_thousand_documents_are_not_what_the_text_says(swaps: bool) -> None:
    from dataclasses import replace

    lengths = np.random.default_rng(0).integers(6, 40, 2_000).tolist()
    follows = []
    for part in range(5):
        rows = PACKING("pairs").rows(store_of(lengths), replace(pair_frame(24), swaps=swaps), seed=part)
        follows += rows.at(np.arange(len(rows)))["is_next"].tolist()
    assert len(follows) >= 10_000
    assert abs(np.mean(follows) - 0.5) < 0.01


def test_parts_that_change_places_are_those_of_one_document_and_every_token_is_read_once() -> None:
    from dataclasses import replace

    store = store_of([30, 41, 17, 22] * 8)
    rows = PACKING("pairs").rows(store, replace(pair_frame(16), swaps=True), seed=3)
    found, read = rows.at(np.arange(len(rows))), []
    for ids, segments, parts, in_order in zip(
        *(found[n] for n in ("ids", "segments", "parts", "is_next")), strict=True
    ):
        a = ids[(segments == 0) & (parts == 0)][1:-1].tolist()
        b = ids[(segments == 0) & (parts == 1)][:-1].tolist()
        first, second = (a, b) if in_order else (b, a)
        assert first + second == list(range(first[0], first[0] + len(first + second)))
        read += a + b
    assert sorted(read) == [i for k in range(store.num_documents) for i in store.document(k)[:-1].tolist()]


# ---- two terms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", ["next", "order"])
def test_both_terms_are_the_losses_of_plain_transformers(pairs: str) -> None:
    model, objective, rows = ready(pairs, paired_rows(6))
    batch = objective.collate(rows, VOCABULARY)
    sums, counts = objective.sums(model, batch), objective.counts(batch)
    inputs = {"input_ids": batch["input_ids"], "token_type_ids": batch["token_type_ids"]}
    plain = model(**inputs, attention_mask=(batch["segments"] >= 0).long())
    logits_BLV, rows_BC = plain.prediction_logits, plain.seq_relationship_logits
    masked = torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), batch["labels"].flatten())
    told = torch.nn.functional.cross_entropy(rows_BC, torch.tensor([int(not row["is_next"]) for row in rows]))
    assert sums["masked"].item() / counts["masked"] == pytest.approx(masked.item(), abs=1e-12)
    assert sums[pairs].item() / counts[pairs] == pytest.approx(told.item(), abs=1e-12)
    assert counts[pairs] == 6


def test_accuracies_are_shares_of_hidden_tokens_and_of_pairs() -> None:
    model, objective, rows = ready("next", paired_rows(6))
    found = objective.measured(model, batch := objective.collate(rows, VOCABULARY))
    plain = model(
        **{n: batch[n] for n in ("input_ids", "token_type_ids")}, attention_mask=(batch["segments"] >= 0).long()
    )
    hidden = batch["labels"] != IGNORE
    right = (plain.prediction_logits.argmax(-1) == batch["labels"])[hidden].sum()
    assert found["masked_accuracy"] == (right, hidden.sum())
    assert found["next_accuracy"] == ((plain.seq_relationship_logits.argmax(-1) == batch["strangers"]).sum(), 6)
    from pretune.train.loop.runtime import Runtime

    loss = loss_over(model, objective, paired_rows(6), VOCABULARY, Runtime(), batch=4)
    assert set(loss.measures) == {"masked_accuracy", "next_accuracy"}
    assert loss.per_target == pytest.approx(sum(loss.terms.values()))


# ---- settings and refusals -------------------------------------------------------------------------


def test_pairs_take_their_packing_unless_another_is_named() -> None:
    tree = {"tokens": "-", "objective": {"kind": "masked", "pairs": "next"}}
    assert build(PretrainSettings, tree, source="here").packing.kind == "pairs"
    with pytest.raises(SettingsError, match="reads rows of packing=pairs, not blocks"):
        build(PretrainSettings, {**tree, "packing": "blocks"}, source="here")
    both = {"a": {"kind": "masked", "pairs": "next"}, "b": {"kind": "masked", "pairs": "order"}}
    with pytest.raises(SettingsError, match="read rows of two forms"):
        build(PretrainSettings, {"tokens": "-", "objective": both}, source="here")


def test_documents_that_are_too_short_for_pairs_are_refused_with_what_to_do() -> None:
    packing, form = PACKING("pairs"), pair_frame(24)
    with pytest.raises(
        EmptyInput, match=r"(?s)documents of here are too short for pairs.*hint: leave out objective.pairs"
    ):
        packing.check(packing.rows(store_of([2, 2, 1]), form, 0), form, "here")
    with pytest.raises(EmptyInput, match=r"(?s)one document with two parts.*objective.pairs=order"):
        packing.check(packing.rows(store_of([90, 2]), form, 0), form, "here")
    packing.check(packing.rows(store_of([90, 3]), form, 0), form, "here")


# ---- the folder ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    objective = {"kind": "masked", "pairs": "next", "words": "whole"}
    settings = {"model": SHAPE, "objective": objective, "length": 48, "evaluate_every": 3, "precision": "float32"}
    return made(tmp_path_factory.mktemp("pairs"), **settings)


def test_both_terms_and_their_accuracies_are_on_card_page_and_in_the_metrics(model: Artifact) -> None:
    names = [f"validation_{n}" for n in ("loss", "masked", "next", "masked_accuracy", "next_accuracy")]
    metrics = model.card.metrics
    assert metrics["validation_loss"] == pytest.approx(metrics["validation_masked"] + metrics["validation_next"])
    last = lines_of(model.path / "metrics.jsonl")[-1]
    assert [last[name] for name in names] == [metrics[name] for name in names]
    drawn = {one.title: list(one.series) for one in charts(list(read_points(model.path)))}
    assert drawn["Loss of each term"] == ["hidden tokens", "next sentence"]
    assert drawn["Score"] == ["hidden tokens found", "next sentence told"]


def test_plain_transformers_fills_masks_with_the_folder_and_fine_tuning_keeps_its_pooler(model: Artifact) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForPreTraining

    whole, info = BertForPreTraining.from_pretrained(model.path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    filler = AutoModelForMaskedLM.from_pretrained(model.path)
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    ids = torch.tensor([tokenizer.encode(f"The 3 {tokenizer.mask_token} jump over")])
    torch.testing.assert_close(filler(ids).logits, whole(ids).prediction_logits)
    tuned, new = load_with_new(model.path, "label", num_labels=2)
    assert new == ("classifier",)
    pooler = load_file(model.path / "model.safetensors")["bert.pooler.dense.weight"]
    np.testing.assert_array_equal(tuned.bert.pooler.dense.weight.detach().numpy(), pooler)
