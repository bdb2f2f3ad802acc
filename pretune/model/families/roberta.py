"""RoBERTa and the others that number positions as fairseq does: the first token has `pad + 1`.

    BERT       512 positions, 0 ... 511                                           512 tokens
    RoBERTa    514 positions, of which those up to the padding's id are no text's 512 tokens

So `max_position_embeddings` is not what they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretune.model.families.family import AS_BERT, CUTS_AS_BERT, Family


class PositionsAfterPad(Family):
    def longest(self, config: Mapping[str, Any]) -> int | None:
        found = super().longest(config)
        # MPNet's does not follow its config.
        pad = 1 if config["model_type"] == "mpnet" else config.get("pad_token_id", 1)
        return found - int(pad or 0) - 1 if found else None


ROBERTA = PositionsAfterPad(architecture="encoder", separators=2, branches=AS_BERT, cuts=CUTS_AS_BERT)
