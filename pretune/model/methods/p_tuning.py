"""P-tuning (arXiv:2103.10385): virtual tokens are embeddings that a small network makes while training.

The network ties them to each other; the folder has what it gives in the end, as that of prompt tuning.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from pretune.model.methods.virtual import Virtual


class PTuning(Virtual):
    """Train a small network that makes embeddings in front of every text; the base stays as it is."""

    usual_rate: ClassVar[float] = 1e-3

    network: Literal["mlp", "lstm"] = "mlp"
    """mlp: three layers; lstm: one that reads them from both sides, and two layers."""
    hidden: int = Field(0, ge=0)
    """Width of the network; 0: that of the embeddings."""

    def encoder(self, model: Any, **shared: Any) -> Any:
        from peft import PromptEncoderConfig

        width = self.hidden or shared["token_dim"]
        kind = self.network.upper()
        return PromptEncoderConfig(**shared, encoder_reparameterization_type=kind, encoder_hidden_size=width)
