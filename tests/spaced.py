"""Tokenizers of Llama 2's form: a space is a letter of words, and one is put in front of every text."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

CONTROLS = ("<unk>", "<s>", "</s>")
WORDS = ("▁the", "▁cat", "▁sat", "▁Hello", "▁world", "▁zebra")


def llama2() -> Tokenizer:
    """Prepend in the normalizer, bytes for what is unknown, a decoder that ends in Strip."""
    tokenizer = _words()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


def metaspace(scheme: str) -> Tokenizer:
    """The same by a pre-tokenizer; `first`: only in front of a whole text, not behind a control token."""
    tokenizer = _words()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme, split=False)]
    )
    return tokenizer


def _words() -> Tokenizer:
    letters = "▁abcdefghijklmnopqrstuvwxyzHW.,!\n"
    names = [*CONTROLS, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        for k in range(1, len(word)):
            merges.setdefault((word[:k], word[k]))
    vocab = {name: k for k, name in enumerate(dict.fromkeys([*names, *map("".join, merges)]))}
    model = models.BPE(vocab=vocab, merges=list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROLS])
    return tokenizer
