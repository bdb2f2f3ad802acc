"""What a model says it reads, it reads; one token more it does not."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES, model_type_to_module_name
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from pretune.model.families import BEHIND_PAD, num_positions

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
}
TABLE = re.compile(r"position_embeddings = nn\.Embedding\(\s*config\.max_position_embeddings[^)]*padding_idx=self\.")


@pytest.mark.parametrize(
    ("kind", "pad", "longest"),
    [("bert", 0, 20), ("bert", 5, 20), ("roberta", 1, 18), ("roberta", 4, 15), ("mpnet", 0, 18), ("camembert", 1, 18)],
)
def test_a_row_of_as_many_tokens_as_are_told_is_read_and_one_more_is_not(kind: str, pad: int, longest: int) -> None:
    config = AutoConfig.for_model(kind, **SIZES, pad_token_id=pad)
    assert num_positions(config.to_dict()) == longest
    model = AutoModel.from_config(config).eval()
    with torch.inference_mode():
        assert model(torch.full((1, longest), 7)).last_hidden_state.shape[1] == longest
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, longest + 1), 7))


def test_every_classifier_of_transformers_that_counts_behind_its_padding_is_known() -> None:
    package = find_spec("transformers.models")
    assert package is not None and package.submodule_search_locations
    found = set()
    for kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        if kind in CONFIG_MAPPING_NAMES:
            folder = Path(package.submodule_search_locations[0], model_type_to_module_name(kind))
            # data2vec has a file for each of text, audio and vision
            sources = [p for p in folder.glob("modeling_*.py") if kind != "data2vec-text" or "text" in p.name]
            found |= {kind for path in sources if TABLE.search(path.read_text(encoding="utf-8"))}
    assert found >= {"roberta", "mpnet", "xlm-roberta", "longformer", "data2vec-text"}
    assert found <= set(BEHIND_PAD)


def test_gpt_2_and_models_without_a_limit_are_told_apart() -> None:
    assert num_positions({"model_type": "gpt2", "n_positions": 1024}) == 1024
    assert num_positions({"model_type": "mamba"}) is None
