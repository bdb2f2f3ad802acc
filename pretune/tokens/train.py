"""Stage tokenizer: byte-level BPE learnt from a corpus; every text can be encoded and comes back exactly.

    text -> words by Qwen2's pattern -> bytes -> merges of the commonest neighbours, learnt here

The pattern is Qwen2's to the letter, because GGUF readers know it by name. There is no normaliser: what is
decoded is what was encoded. Training reads a sample of the text, each source by its share, and counts a
long line that turns up again (a licence header) only once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Input
from pretune.base.errors import EmptyInput
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text.tables import read_rows

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END, PAD, START, STOP = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
MASK, CLS, SEP = "<|mask|>", "<|cls|>", "<|sep|>"
SPECIALS = (END, PAD, START, STOP, MASK, CLS, SEP)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
MAX_TOKEN_BYTES = 24
"""Chinese has no spaces: without a bound, whole clauses become one token (8 characters here)."""
PIECE_CHARACTERS = 1 << 16
LONG_LINE = 40


class TokenizerStage(Stage):
    """Documents in, a tokenizer out."""

    makes: ClassVar[str] = "tokenizer"
    version: ClassVar[int] = 1
    kind: str = "tokenizer"
    corpus: Annotated[str, Input("corpus")]
    """The documents whose words are learnt; only the train side is read."""
    algorithm: Literal["bpe"] = "bpe"
    """bpe: byte-level, as in GPT-2 and Qwen."""
    vocab_size: int = Field(default=8192, ge=300, le=1_000_000)
    """Words in the vocabulary, 256 bytes and 7 special tokens among them; multiples of 64 are fastest."""
    min_frequency: int = Field(default=2, ge=1)
    """How often a pair must occur to become a word."""
    sample_bytes: int = Field(default=64_000_000, ge=1000)
    """Bytes of text to learn from at most; memory grows with it."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = min(inputs["corpus"].text_bytes if "corpus" in inputs else 0, self.sample_bytes)
        # 1.5 MB/s and ten times the sample: English prose on two cores
        return Forecast(seconds=2 + size / 1.5e6, memory_bytes=3e8 + 10 * size, disk_bytes=1e6)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> dict[str, Any]:
        folder = inputs["corpus"].path
        sizes = _bytes_by_source(folder)
        if not sizes:
            raise EmptyInput("the corpus has no documents to learn words from")
        share = min(1.0, self.sample_bytes / sum(sizes.values()))
        with context.log.progress("learning words", total=sum(sizes.values()), unit="bytes") as bar:
            tokenizer = train_bpe(
                _counted(sample(folder, share), bar), vocab_size=self.vocab_size, min_frequency=self.min_frequency
            )
        save_tokenizer(tokenizer, out)
        learnt = tokenizer.get_vocab_size()
        if learnt < self.vocab_size:
            context.log.warn(f"the text has words for a vocabulary of {learnt} only, not {self.vocab_size}")
        return {"vocab_size": learnt, "sample_share": round(share, 4)} | measure(tokenizer, folder)


def train_bpe(texts: Iterator[str], *, vocab_size: int, min_frequency: int = 2) -> Any:
    """A byte-level BPE tokenizer (`tokenizers.Tokenizer`); special tokens have the first ids."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.encode_special_tokens = True  # a control token in the text is text, here too
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIALS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = False
    return tokenizer


def save_tokenizer(tokenizer: Any, out: Path) -> None:
    """Write the folder that AutoTokenizer loads with the same ids."""
    config = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "cls_token": CLS,
        "eos_token": END,
        "mask_token": MASK,
        "pad_token": PAD,
        "sep_token": SEP,
        # Else transformers 5 rebuilds the tokenizer by the class of the model beside it, with other ids.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=False),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        "chat_template.jinja": CHAT_TEMPLATE,
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")


# ---- the sample ---------------------------------------------------------------------------------


def sample(folder: Path, share: float) -> Iterator[str]:
    """Pieces of the train side, about `share` of each source, the same ones every time."""
    seen: set[bytes] = set()
    for row in read_rows(folder, "train", ["id", "text"]):
        for number, piece in enumerate(_pieces(row["text"])):
            if _place(f"{row['id']}/{number}") < share:
                yield _without_repeated_lines(piece, seen)


def _pieces(text: str) -> Iterator[str]:
    """A long document in pieces of about 65,536 characters, cut at line ends where there are any."""
    start = 0
    while start < len(text):
        stop = min(start + PIECE_CHARACTERS, len(text))
        cut = text.rfind("\n", start, stop) + 1 if stop < len(text) else stop
        stop = cut if cut > start else stop
        yield text[start:stop]
        start = stop


def _place(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def _without_repeated_lines(text: str, seen: set[bytes]) -> str:
    """The text without the long lines that were seen before: a licence header counts once."""
    return "".join(line for line in text.splitlines(keepends=True) if not _seen_before(line.strip(), seen))


def _seen_before(line: str, seen: set[bytes]) -> bool:
    if len(line) < LONG_LINE:
        return False
    key = hashlib.blake2b(line.encode(), digest_size=8).digest()
    known = key in seen
    seen.add(key)
    return known


def _counted(texts: Iterator[str], bar: Any) -> Iterator[str]:
    for text in texts:
        bar.advance(len(text))
        yield text


# ---- measuring ----------------------------------------------------------------------------------


def _bytes_by_source(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for row in read_rows(folder, "train", ["source", "bytes"]):
        sizes[row["source"]] = sizes.get(row["source"], 0) + row["bytes"]
    return sizes


def measure(tokenizer: Any, folder: Path, max_bytes: int = 2_000_000) -> dict[str, Any]:
    """Bytes per token on texts that were not learnt from (validation; train where that is empty), per source."""
    from pretune.tokens.tokenizer import encode_text

    split = "validation" if next(read_rows(folder, "validation", ["id"]), None) else "train"
    counts: dict[str, list[int]] = {}
    for row in read_rows(folder, split, ["text", "source"]):
        found = counts.setdefault(row["source"], [0, 0])
        if found[0] < max_bytes:
            text = row["text"][:max_bytes]
            found[0] += len(text.encode())
            found[1] += len(encode_text(tokenizer, text))
    size, tokens = (sum(c[i] for c in counts.values()) for i in (0, 1))
    per_source = {name: round(b / max(1, t), 4) for name, (b, t) in sorted(counts.items())}
    return {"bytes_per_token": round(size / max(1, tokens), 4), "measured_on": split, "sources": per_source}
