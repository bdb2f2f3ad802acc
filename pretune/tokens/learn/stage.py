"""Stage tokenizer: a vocabulary learnt from a corpus, in a folder that plain transformers load.

    corpus -> a sample, fair to small languages -> the algorithm (byte-level BPE) -> tokenizer.json, chat template

Training reads a sample of the text and counts a long line that turns up again (a licence header) only once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pretune.base.artifact import Artifact
from pretune.base.config import Free, Input, chosen
from pretune.base.errors import EmptyInput, WrongValue
from pretune.base.json import Json
from pretune.base.log import Bar
from pretune.base.stage import Context, Forecast, Machine, Stage
from pretune.text.corpus.proportions import shared_out
from pretune.text.read.shards import read_rows
from pretune.tokens.learn.algorithm import (
    ALGORITHM,
    CLS,
    END,
    MASK,
    PAD,
    SEP,
    SPECIALS,
    START,
    STOP,
    UNKNOWN,
    Algorithm,
    Learning,
)
from pretune.tokens.learn.sampling import sample, sizes_by_group
from pretune.tokens.learn.splitting import pattern

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PATTERN = pattern()
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
__all__ = ["CHAT_TEMPLATE", "PATTERN", "SPECIALS", "START", "STOP", "TokenizerStage", "sample", "save_tokenizer"]


class TokenizerStage(Stage):
    """Documents in, a tokenizer out."""

    makes: ClassVar[str] = "tokenizer"
    version: ClassVar[int] = 3
    kind: str = "tokenizer"
    corpus: Annotated[str, Input("corpus")]
    """The documents whose words are learnt; only the train split is read."""
    algorithm: Annotated[Algorithm, *chosen(ALGORITHM)] = ALGORITHM("bpe")
    """bpe (byte-level, as in GPT-2 and Qwen), unigram, wordpiece, word, character, byte; extend or cut another one."""
    vocab_size: int = Field(default=8192, ge=300, le=1_000_000)
    """Words in the vocabulary, 256 bytes and 7 special tokens among them; multiples of 64 are fastest."""
    min_frequency: int = Field(default=2, ge=1)
    """How often a pair must occur to become a word."""
    sample_bytes: int = Field(default=64_000_000, ge=1000)
    """Bytes of text to learn from at most."""
    temperature: float = Field(default=2.0, ge=1)
    """Languages share the sample as size ** (1 / temperature): 1 as they are, 100 makes them equal."""
    word_bytes: int = Field(default=20_000_000, ge=1000)
    """Bytes of distinct words that bpe and unigram learn from, 80 bytes of memory each; the rarest are left out."""
    memory: Annotated[float, Free] = Field(default=2e9, ge=1e6)
    """Bytes that counting words may take; what does not fit goes to disk and is counted exactly all the same."""
    beside: list[Annotated[str, Input("tokenizer|model")]] = []
    """Other tokenizers, or models, to measure beside this one: GPT-2's, Qwen's."""

    def forecast(self, inputs: Mapping[str, Forecast], machine: Machine) -> Forecast:
        size = min(inputs["corpus"].text_bytes if "corpus" in inputs else 0, self.sample_bytes)
        # 10 MB of Chinese, nearly all distinct words: 7.4 s and 579 MiB, 78 bytes for each of theirs (docs/LOG.md)
        memory = min(self.memory, 3 * size) + 80 * min(size, self.word_bytes)
        return Forecast(seconds=2 + size / 1.3e6, memory_bytes=3e8 + memory, disk_bytes=1e6, vocab_size=self.vocab_size)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Json:
        from pretune.tokens.learn.measuring import as_text, measure

        folder = inputs["corpus"].path
        sizes = sizes_by_group(folder)
        if not sum(sizes.values()):
            raise EmptyInput("the corpus has no documents to learn words from")
        parts = shared_out(min(self.sample_bytes, sum(sizes.values())), sizes, self.temperature)
        with context.log.progress("learning words", total=sum(sizes.values()), unit="bytes") as bar:
            tokenizer = self.algorithm.learn(self._learning(folder, parts, inputs, context, bar))
        base = inputs.get("algorithm.base")
        save_tokenizer(tokenizer, out, like=base.path if base else None)
        learnt = tokenizer.get_vocab_size()
        if learnt < self.vocab_size and self.algorithm.kind not in ("extend", "cut", "byte"):
            context.log.warn(f"the text has words for a vocabulary of {learnt} only, not {self.vocab_size}")
        beside = {f"{k}": inputs[f"beside.{k}"].path for k in range(len(self.beside))}
        told = measure(tokenizer, folder, {self._name(int(k), path): path for k, path in beside.items()})
        context.log.info(as_text(told))
        share = sum(parts[group] * size for group, size in sizes.items()) / sum(sizes.values())
        return {"vocab_size": learnt, "sample_share": round(share, 4)} | told

    def _name(self, number: int, path: Path) -> str:
        return path.name if [Path(b).name for b in self.beside].count(path.name) <= 1 else f"{path.name}-{number}"

    def _learning(
        self,
        folder: Path,
        parts: Mapping[tuple[str, str], float],
        inputs: Mapping[str, Artifact],
        context: Context,
        bar: Bar,
    ) -> Learning:
        within = {p.removeprefix("algorithm."): a for p, a in inputs.items() if p.startswith("algorithm.")}
        return Learning(
            lambda: _advancing(sample(folder, parts), bar),
            self.vocab_size,
            self.min_frequency,
            self.memory,
            context.scratch,
            self.word_bytes,
            within,
            context.log.warn,
            lambda: (row["text"] for row in read_rows(folder, "train", ["text"])),
        )


def _advancing(texts: Iterator[str], bar: Bar) -> Iterator[str]:
    for text in texts:
        bar.advance(len(text))
        yield text


def save_tokenizer(tokenizer: Tokenizer, out: Path, *, like: Path | None = None) -> None:
    """Write the folder that AutoTokenizer loads with the same ids.

    Args:
        like: the folder of a tokenizer whose special tokens and chat template it keeps.

    Raises:
        WrongValue: the vocabulary has not even room for the special tokens.
    """
    config, template = (_ours(tokenizer), CHAT_TEMPLATE) if like is None else _theirs(like)
    # Else transformers 5 rebuilds the tokenizer by the class of the model beside it, with other ids.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    files = {
        "tokenizer.json": tokenizer.to_str(pretty=False),
        "tokenizer_config.json": json.dumps(dict(sorted(config.items())), indent=2, ensure_ascii=False) + "\n",
        **({"chat_template.jinja": template} if template else {}),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")


def _ours(tokenizer: Tokenizer) -> Json:
    named = {"cls_token": CLS, "eos_token": END, "mask_token": MASK, "pad_token": PAD, "sep_token": SEP}
    if tokenizer.token_to_id(UNKNOWN) is not None:
        named["unk_token"] = UNKNOWN
    if missing := [token for token in named.values() if tokenizer.token_to_id(token) is None]:
        raise WrongValue(f"the vocabulary has no room for {', '.join(missing)}", hint="raise vocab_size")
    return {"add_prefix_space": False, "clean_up_tokenization_spaces": False, **named}


def _theirs(folder: Path) -> tuple[Json, str | None]:
    from pretune.tokens.encode.tokenizer import chat_template, tokenizer_config

    config = tokenizer_config(folder)
    dropped = ("chat_template", "added_tokens_decoder", "auto_map", "tokenizer_file")
    return {k: v for k, v in config.items() if k not in dropped}, chat_template(folder)
