"""Control tokens that a tokenizer lacks, added behind its last id: everything that was tokenised with it stays valid.

tokenizer of 8,000 tokens, objective=infill     8,000 <|fim_prefix|>  8,001 <|fim_middle|>  8,002 <|fim_suffix|>
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids, tokenizer_config

USUAL = {"mask": "[MASK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]"}
"""What a special token is called in a tokenizer that has none for its role."""
BESIDE = ("special_tokens_map.json", "chat_template.jinja")


def lacking(folder: Path, roles: Sequence[str], controls: Sequence[str]) -> dict[str, str | None]:
    """The tokens that a tokenizer does not have: text -> role, None of one without a role."""
    tokenizer = load_tokenizer(folder)
    named = special_ids(folder, tokenizer)
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    found: dict[str, str | None] = {USUAL[role]: role for role in roles if getattr(named, role) is None}
    return found | {text: None for text in controls if text not in known}


def only_adds(tokenizer: Tokenizer, to: Tokenizer) -> bool:
    """Whether a tokenizer is another one, at most with tokens added behind it, so that texts keep their ids.

    Its own words must be the same: those of a BPE that stopped earlier are among those of one that went on, and yet
    the two cut texts otherwise.
    """
    same = tokenizer.get_vocab(with_added_tokens=False) == to.get_vocab(with_added_tokens=False)
    return bool(same and to.get_vocab().items() <= tokenizer.get_vocab().items())


def add_controls(folder: Path, tokens: dict[str, str | None], out: Path) -> Path:
    """Write the tokenizer with these control tokens behind its last id; returns its folder, `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer, config = load_tokenizer(folder), tokenizer_config(folder)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in tokens])
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    config |= {f"{role}_token": text for text, role in tokens.items() if role}
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")
    for name in BESIDE:
        if (folder / name).is_file():
            shutil.copy(folder / name, out / name)
    return out
