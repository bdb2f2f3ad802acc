"""`pretune explain`: settings at any depth."""

from __future__ import annotations

from pretune.base.explain import explain


def test_the_kinds_of_a_list_of_variants_are_explained() -> None:
    assert "mask-pii" in explain("corpus.clean.kind")


def test_a_setting_that_both_training_stages_have_is_explained_for_both() -> None:
    told = explain("micro_batch")
    assert "pretrain.micro_batch" in told and "finetune.micro_batch" in told
