"""A language model on held-out text: perplexity, bits per byte, and a few lines of how it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import Compared, Findings, Group, drawn_again
from pretune.evaluate.ngram import MAX_TOKENS, ORDER, XZ_BYTES, join_bytes, ngram_nats, train_ngram, xz_bytes
from pretune.evaluate.perplexity import Score, by_document, score_store, some_documents
from pretune.infer.predictor import Streams
from pretune.report.numbers import count
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.tokens.store.store import Store

BLOCK = 512
SAMPLES = 3
SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class HeldOut:
    """What is scored: a split, or some of its documents, with the training text next to it."""

    store: Store
    train: Store
    about: list[Json]
    split: str
    whole: int

    @property
    def num_bytes(self) -> np.ndarray:
        return np.asarray([float(row["bytes"]) for row in self.about])


def open_held_out(folder: Path, split: str, max_documents: int | None) -> HeldOut:
    """A split of a token store; raises EmptyInput when nothing in it can be scored."""
    import pyarrow.parquet as pq

    store = Store.open(folder, split)
    if store.num_tokens - store.num_documents < 1:
        hint = "choose split=validation, or hold more text out: corpus.test=0.01"
        raise EmptyInput(f"the split {split!r} of {folder.as_posix()} holds no text to score", hint=hint)
    about = pq.read_table(folder / f"{split}.documents.parquet").to_pylist()
    whole = store.num_documents
    if max_documents is not None and max_documents < whole:
        store, chosen = some_documents(store, max_documents)
        about = [about[int(k)] for k in chosen]
    return HeldOut(store, Store.open(folder, "train"), about, split, whole)


def evaluate_text(
    model: Streams, data: Artifact, *, split: str, length: int, max_documents: int | None, seed: int, log: Log
) -> Findings:
    """Figures, baselines and one row per document.

    Raises:
        NotSupported: a bundle, or tokens of another tokenizer; EmptyInput: nothing to score.
    """
    from pretune.model.generate import module_of

    module = module_of(model)
    if module is None:
        hint = "evaluate the model folder that the bundle was made from; parity.json says that they agree"
        raise NotSupported("a bundle gives no perplexity", hint=hint)
    check_tokenizer_of(model, data)
    held = open_held_out(data.path, split, max_documents)
    score = score_store(module, held.store, length, num_bytes=held.num_bytes, log=log)
    documents = [model.tokenizer.decode(held.store.document(k)[:-1].tolist()) for k in range(held.store.num_documents)]
    baselines, ngram = text_baselines(model, held, documents, score, seed=seed, log=log)
    intervals = {"bits_per_byte": drawn_again(score.bits, score.num_bytes.tolist(), seed=seed)}
    group = Group("all", held.store.num_documents, _figures(score), intervals, baselines, "bits_per_byte")
    tables = {"samples": samples_of(model, held.store)}
    notes = [*_notes(held, length), *begin_note(model, data)]
    return Findings("language", [group], _rows(held, documents, score, ngram), "gain", tables, notes)


def block_length(model: Artifact, longest: int) -> int:
    """The length that pretraining used, where the card says it; else at most 512 and at most the model's."""
    said = model.card.settings.get("length")
    return min(int(said), longest) if isinstance(said, int) else min(longest, BLOCK)


def tokenizer_of(data: Artifact) -> Path | None:
    """The folder of the tokenizer that made a token store, if it is still to be found."""
    found = data.source("tokenizer") if "tokenizer" in data.card.inputs else None
    return found.path if found else None


def check_tokenizer_of(model: Streams, data: Artifact) -> None:
    """Raise NotSupported unless the tokens were made with the model's own tokenizer."""
    made_with = tokenizer_of(data)
    if made_with is None:
        size = json.loads((data.path / "manifest.json").read_text(encoding="utf-8"))["vocab_size"]
        same = size == model.tokenizer.get_vocab_size()
    else:
        # The model's may have control tokens behind those of the text, which pretraining added.
        same = load_tokenizer(made_with).get_vocab().items() <= model.tokenizer.get_vocab().items()
    if not same:
        hint = "make tokens with the model's own: pretune tokens CORPUS MODEL --out TOKENS"
        raise NotSupported(f"{data.path.as_posix()} was made with another tokenizer than the model's", hint=hint)


def begin_note(model: Streams, data: Artifact) -> list[str]:
    """What to say when the tokenizer has a begin token: a store holds none, and some models are lost without it.

    minimind2-small, on English: 10.4 nats per token without its begin token, 4.6 with it.
    """
    made_with = tokenizer_of(data)
    bos = special_ids(made_with).bos if made_with is not None else None
    if bos is None or bos in model.eos_ids:
        return []
    name = model.tokenizer.id_to_token(bos)
    return [f"tokens hold no begin token; a model that was trained to see {name} first does better than these figures"]


def _figures(score: Score) -> dict[str, float]:
    return {
        "bits_per_byte": score.bits_per_byte,
        "nats_per_token": score.nats_per_token,
        "perplexity": score.perplexity,
        "targets": float(score.targets.sum()),
        "bytes": float(score.num_bytes.sum()),
    }


def text_baselines(
    model: Streams, held: HeldOut, documents: Sequence[str], score: Score, *, seed: int, log: Log
) -> tuple[list[Compared], Score | None]:
    """The 5-gram model on the same targets, and xz on the same text; none without training tokens."""
    if held.train.num_tokens < 2:
        return [], None
    log.info("    counting a 5-gram model, and compressing with xz -9")
    nats = ngram_nats(train_ngram(held.train), held.store)
    ngram = by_document(nats, held.store, score.num_bytes)
    interval = drawn_again(ngram.bits - score.bits, score.num_bytes.tolist(), seed=seed)
    what = f"an interpolated Kneser-Ney {ORDER}-gram model over the same tokens, counted on {_told(held.train)}"
    counted = Compared("ngram", what, _figures(ngram), ngram.bits_per_byte - score.bits_per_byte, interval)
    packed = 8 * xz_bytes(join_bytes(documents), training_text(model, held.train)) / len(join_bytes(documents))
    what = f"xz -9 with at most {XZ_BYTES >> 20} MiB of training text before the text"
    compressor = Compared("xz", what, {"bits_per_byte": packed}, packed - score.bits_per_byte)
    return [counted, compressor], ngram


def _told(train: Store) -> str:
    whole = "all" if train.num_tokens <= MAX_TOKENS else "the first"
    return f"{whole} {count(min(train.num_tokens, MAX_TOKENS))} training tokens"


def training_text(model: Streams, train: Store) -> bytes:
    """The last documents of the training split, as many as xz is to see."""
    parts: list[str] = []
    size = 0
    for k in range(train.num_documents - 1, -1, -1):
        parts.append(model.tokenizer.decode(train.document(k)[:-1].tolist()))
        size += len(parts[-1])
        if size > XZ_BYTES:
            break
    return join_bytes(parts[::-1])


def samples_of(model: Streams, store: Store, *, given: int = 32, written: int = 48) -> list[dict[str, str]]:
    """How the model goes on, greedily, where long documents break off; next to what the document says."""
    window = min(given, model.facts.max_length - written)
    long = [k for k in range(store.num_documents) if len(store.document(k)) > window + 8] if window > 0 else []
    chosen = [long[i * len(long) // SAMPLES] for i in range(min(SAMPLES, len(long)))]
    found = []
    for k in chosen:
        ids = store.document(k)[:-1].tolist()
        begun, goes_on = ids[:window], ids[window : window + written]
        answer = model.generate_many([begun], written)[0]
        texts = {"beginning": model.text_of([], begun), "model": model.text_of(begun, answer)}
        found.append({**texts, "document": model.text_of(begun, goes_on)})
    return found


def _rows(held: HeldOut, documents: Sequence[str], score: Score, ngram: Score | None) -> list[Json]:
    size = np.maximum(score.num_bytes, 1)
    mine = score.bits / size
    baseline = ngram.bits / size if ngram else [None] * len(mine)
    return [
        {
            "id": about["id"],
            "group": about["source"],
            "text": text[:SHOWN_CHARACTERS],
            "bytes": about["bytes"],
            "targets": int(targets),
            "bits_per_byte": round(float(bits), 6),
            "baseline_bits_per_byte": None if other is None else round(float(other), 6),
            "gain": round(float(-bits if other is None else other - bits), 6),
        }
        for about, text, targets, bits, other in zip(held.about, documents, score.targets, mine, baseline, strict=True)
    ]


def _notes(held: HeldOut, length: int) -> list[str]:
    part = f"{held.store.num_documents} of {held.whole} documents of {held.split}"
    return [
        f"scored: {part}, in blocks of {length} tokens; a block begins without the text before it",
        "targets are all tokens but a document's first, its end among them; the bytes are all bytes of the documents",
        "computed in float32 on the CPU",
    ]
