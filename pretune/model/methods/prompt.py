"""Prompt tuning (arXiv:2104.08691): virtual tokens are embeddings in front of the text, and they alone train.

They begin as words do: with random ones of the vocabulary, or with a text that says what is asked. (PEFT's own start is
noise with a spread of 1, where embeddings have 0.06: docs/LOG.md.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pretune.base.errors import WrongValue
from pretune.model.methods.virtual import Virtual


class Prompt(Virtual):
    """Train embeddings in front of every text; the base stays as it is."""

    usual_rate: ClassVar[float] = 3e-2

    text: str = ""
    """Words that they begin as, repeated or cut to so many tokens; "": random ones of the vocabulary."""

    def encoder(self, model: Any, **shared: Any) -> Any:
        from peft import PromptTuningConfig

        return PromptTuningConfig(**shared, prompt_tuning_init="SAMPLE_VOCAB")

    def placed(self, adapted: Any) -> Any:
        import torch

        config, plain = adapted.peft_config["default"], adapted.get_base_model()
        if self.text and plain.name_or_path and not config.inference_mode:
            ids = torch.tensor([self._ids(Path(plain.name_or_path))])
            with torch.no_grad():
                first = plain.get_input_embeddings()(ids)[0]
                adapted.prompt_encoder["default"].embedding.weight.copy_(first)
        config.prompt_tuning_init = "RANDOM"  # the folder has what was learnt, and needs no start
        return super().placed(adapted)

    def _ids(self, folder: Path) -> list[int]:
        from pretune.tokens.encode.tokenizer import load_tokenizer

        ids: list[int] = load_tokenizer(folder).encode(self.text, add_special_tokens=False).ids
        if not ids:
            raise WrongValue("method.text has no token", hint="say in a few words what is asked")
        return (ids * -(-self.tokens // len(ids)))[: self.tokens]
