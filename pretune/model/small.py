"""The small baselines of the textbooks, as classes of transformers: what pretraining is measured against.

    bag     mean of the embeddings of the tokens                   no order at all       arXiv:1607.01759 (fastText)
    cnn     windows of 3, 4 and 5 tokens, the largest of each      phrases               arXiv:1408.5882 (Kim)
    lstm    states read from the left and from the right           the whole sentence    Hochreiter & Schmidhuber 1997

    ids ──embedding──▶ [B, L, E] ──states──▶ [B, L, D] ──mean or max over the text──▶ [B, D] ──classifier──▶ [B, C]

Padding, on the right, counts nowhere. `register` makes transformers know them; no code is read from a model folder.

B rows, L positions, E width of an embedding, D width of a state, C outputs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput


class BagConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers has no types
    """`hidden_size` is the width of a state, `embedding_size` that of an embedding; `pooling` is mean or max."""

    model_type = "pretune-bag"
    vocab_size: int = 8192
    embedding_size: int = 128
    hidden_size: int = 128
    pooling: str = "mean"
    dropout: float = 0.0
    windows: list[int] | None = None
    initializer_range: float = 0.1


class CnnConfig(BagConfig):
    model_type = "pretune-cnn"


class LstmConfig(BagConfig):
    model_type = "pretune-lstm"


class Words(nn.Module):
    """A token's state is its embedding."""

    def __init__(self, config: Any):
        super().__init__()

    def forward(self, x_BLE: Tensor, mask_BL: Tensor) -> Tensor:
        return x_BLE


class Windows(nn.Module):
    """A token's state: what the filters say of the windows around it; beyond the text there are zeros."""

    def __init__(self, config: Any):
        super().__init__()
        each = config.hidden_size // len(config.windows)
        self.sizes = config.windows
        self.filters = nn.ModuleList(nn.Conv1d(config.embedding_size, each, size) for size in self.sizes)

    def forward(self, x_BLE: Tensor, mask_BL: Tensor) -> Tensor:
        x_BEL = (x_BLE * mask_BL[:, :, None].to(x_BLE.dtype)).mT
        wide = [F.pad(x_BEL, ((size - 1) // 2, size // 2)) for size in self.sizes]
        return torch.cat([F.relu(conv(x)) for conv, x in zip(self.filters, wide, strict=True)], dim=1).mT


class BothWays(nn.Module):
    """A token's state: of an LSTM that has read up to it, and of one that has read from the end back to it."""

    def __init__(self, config: Any):
        super().__init__()
        self.ahead, self.back = (
            nn.LSTM(config.embedding_size, config.hidden_size // 2, batch_first=True) for _ in range(2)
        )

    def forward(self, x_BLE: Tensor, mask_BL: Tensor) -> Tensor:
        # Each text is turned round for itself, so that padding stays behind it and is read last.
        places_L, lengths_B1 = torch.arange(x_BLE.shape[1], device=x_BLE.device), mask_BL.sum(1, keepdim=True)
        turned_BL = torch.where(places_L < lengths_B1, lengths_B1 - 1 - places_L, places_L)
        ahead, back = self.ahead(x_BLE)[0], self.back(_taken(x_BLE, turned_BL))[0]
        return torch.cat([ahead, _taken(back, turned_BL)], dim=2)


def _taken(x_BLD: Tensor, places_BL: Tensor) -> Tensor:
    return x_BLD.gather(1, places_BL[:, :, None].expand(-1, -1, x_BLD.shape[2]))


STATES = {"pretune-bag": Words, "pretune-cnn": Windows, "pretune-lstm": BothWays}


def pooled_states(hidden_BLD: Tensor, mask_BL: Tensor, how: str) -> Tensor:
    """The mean [B, D] of a text's states, or the largest value of each."""
    there_BL1 = mask_BL[:, :, None]
    if how == "mean":
        return (hidden_BLD * there_BL1).sum(1) / there_BL1.sum(1)
    return hidden_BLD.masked_fill(there_BL1 == 0, torch.finfo(hidden_BLD.dtype).min).amax(1)


class Body(PreTrainedModel):  # type: ignore[misc]
    """Hidden states of every token."""

    base_model_prefix = "body"

    def __init__(self, config: Any):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.states = STATES[config.model_type](config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embeddings = value

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> BaseModelOutput:
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return BaseModelOutput(last_hidden_state=self.states(self.embeddings(input_ids), mask_BL))


class Classifier(PreTrainedModel):  # type: ignore[misc]
    """Logits of every row."""

    base_model_prefix = "body"

    def __init__(self, config: Any):
        super().__init__(config)
        self.body = BODIES[config.model_type](config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.body.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutput:
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden_BLD = self.body(input_ids, mask_BL).last_hidden_state
        row_BD = F.dropout(pooled_states(hidden_BLD, mask_BL, self.config.pooling), self.config.dropout, self.training)
        return SequenceClassifierOutput(logits=self.classifier(row_BD))


# transformers finds a class by that of its config, and names it in config.json.


class PretuneBagModel(Body):
    config_class = BagConfig


class PretuneCnnModel(Body):
    config_class = CnnConfig


class PretuneLstmModel(Body):
    config_class = LstmConfig


class PretuneBagForSequenceClassification(Classifier):
    config_class = BagConfig


class PretuneCnnForSequenceClassification(Classifier):
    config_class = CnnConfig


class PretuneLstmForSequenceClassification(Classifier):
    config_class = LstmConfig


BODIES = {one.config_class.model_type: one for one in (PretuneBagModel, PretuneCnnModel, PretuneLstmModel)}
CLASSIFIERS = (
    PretuneBagForSequenceClassification,
    PretuneCnnForSequenceClassification,
    PretuneLstmForSequenceClassification,
)


@cache
def register() -> None:
    """Make transformers know them, so that they are built and loaded by its Auto classes."""
    for one in CLASSIFIERS:
        config = one.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, BODIES[config.model_type], exist_ok=True)
        AutoModelForSequenceClassification.register(config, one, exist_ok=True)
