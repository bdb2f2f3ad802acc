"""A language model on held-out text: perplexity, bits per byte, and a few lines of how it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported, WrongValue
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.evaluate.findings import Compared, Findings, Group, drawn_again
from pretune.evaluate.likelihood import CausalScorer, NGramScorer
from pretune.evaluate.ngram import MAX_TOKENS, ORDER, XZ_BYTES, join_bytes, ngram_nats, train_ngram, xz_bytes
from pretune.evaluate.perplexity import Score, by_document, score_store, score_windows, some_documents
from pretune.evaluate.records import grouped
from pretune.infer.predictor import Streams
from pretune.report.numbers import count
from pretune.text.read.shards import read_rows
from pretune.tokens.encode.additions import only_adds
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.tokens.store.store import Store, read_manifest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
    model: Streams,
    data: Artifact,
    *,
    split: str,
    length: int,
    stride: int | None = None,
    max_documents: int | None,
    seed: int,
    log: Log,
) -> Findings:
    """Figures, baselines and one row per document.

    Raises:
        NotSupported: a bundle, or tokens of another tokenizer; EmptyInput: nothing to score;
        WrongValue: a stride that leaves tokens out.
    """
    from pretune.model.generate import module_of

    module = module_of(model)
    if module is None:
        hint = "evaluate the model folder that the bundle was made from; parity.json says that they agree"
        raise NotSupported("a bundle gives no perplexity", hint=hint)
    if stride is not None and stride > length:
        raise WrongValue(f"stride is {stride}, but a window has {length} tokens", hint=f"stride={length // 2} is usual")
    check_tokenizer_of(model, data)
    held = open_held_out(data.path, split, max_documents)
    if stride is None:
        score = score_store(module, held.store, length, num_bytes=held.num_bytes, log=log)
    else:
        scorer = CausalScorer(model.engine, model.tokenizer, (), ())
        score = score_windows(scorer, held.store, length, stride, num_bytes=held.num_bytes, log=log)
    documents = [model.tokenizer.decode(held.store.document(k)[:-1].tolist()) for k in range(held.store.num_documents)]
    baselines, ngram = text_baselines(model, held, documents, score, seed=seed, log=log)
    intervals = {"bits_per_byte": drawn_again(score.bits, score.num_bytes.tolist(), seed=seed)}
    group = Group("all", held.store.num_documents, _figures(score), intervals, baselines, "bits_per_byte")
    tables = {"samples": samples_of(model, held.store), **by_origin(data, held, score, ngram)}
    notes = [*_notes(held, length, stride), *begin_note(model, data)]
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
    if not made_with(model.tokenizer, data):
        hint = "make tokens with the model's own: pretune tokens CORPUS MODEL --out TOKENS"
        raise NotSupported(f"{data.path.as_posix()} was made with another tokenizer than the model's", hint=hint)


def made_with(tokenizer: Tokenizer, data: Artifact) -> bool:
    """Whether tokens were made with this tokenizer; where theirs is gone, whether they have as many words."""
    theirs = tokenizer_of(data)
    if theirs is None:
        return bool(read_manifest(data.path)["vocab_size"] == tokenizer.get_vocab_size())
    return only_adds(tokenizer, load_tokenizer(theirs))  # pretraining adds what its objective needs


def counted_for(tokenizer: Tokenizer, model: Artifact, data: Artifact | None, log: Log) -> NGramScorer | None:
    """A 5-gram model of the training tokens: those of `data`, else those that the model was trained on, if they are to
    be found and are of its tokenizer."""
    stores = (one for one in ([data] if data else model.ancestors()) if one.card.kind == "tokens")
    found = next((Store.open(one.path, "train") for one in stores if made_with(tokenizer, one)), None)
    if found is None or found.num_tokens < 2:
        return None
    log.info(f"    counting a 5-gram model on {_told(found)}")
    return NGramScorer(train_ngram(found))


def begin_note(model: Streams, data: Artifact) -> list[str]:
    """What to say when the tokenizer has a begin token: a store holds none, and some models are lost without it.

    minimind2-small, on English: 10.4 nats per token without its begin token, 4.6 with it.
    """
    theirs = tokenizer_of(data)
    bos = special_ids(theirs).bos if theirs is not None else None
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


def by_origin(data: Artifact, held: HeldOut, score: Score, ngram: Score | None) -> Json:
    """Bits per byte of each source and of each language, where there are several; tables of a report."""
    names = {"source": [str(row["source"]) for row in held.about], "language": languages_of(data, held)}
    found = {f"{what}s": _by_name(what, some, score, ngram) for what, some in names.items()}
    return {name: rows for name, rows in found.items() if len(rows) > 1}


def languages_of(data: Artifact, held: HeldOut) -> list[str]:
    """The language of each document, from the corpus that the tokens were made of; none where that is not to be found.

    A store keeps no languages; its documents are those of the corpus, known by their ids.
    """
    corpus = data.source("corpus") if "corpus" in data.card.inputs else None
    if corpus is None:
        return []
    said = {row["id"]: row["language"] for row in read_rows(corpus.path, held.split, ["id", "language"])}
    return [str(said.get(row["id"]) or "unknown") for row in held.about]


def _by_name(what: str, names: Sequence[str], score: Score, ngram: Score | None) -> list[Json]:
    rows: list[Json] = []
    for name, places in sorted(grouped(names)):
        size = score.num_bytes[places].sum()
        row = {what: name, "documents": len(places), "bytes": int(size)}
        scored = {"bits_per_byte": score, **({"ngram_bits_per_byte": ngram} if ngram else {})}
        rows.append(row | {key: float(one.bits[places].sum() / size) for key, one in scored.items()})
    return rows


def _notes(held: HeldOut, length: int, stride: int | None) -> list[str]:
    part = f"{held.store.num_documents} of {held.whole} documents of {held.split}"
    how = f"blocks of {length} tokens; a block begins without the text before it"
    if stride is not None:
        least = f"more than {length - stride} of the tokens before it in its document"
        how = f"windows of {length} tokens, {stride} apart; a token sees {least}"
    return [
        f"scored: {part}, in {how}",
        "targets are all tokens but a document's first, its end among them; the bytes are all bytes of the documents",
        "computed in float32 on the CPU",
    ]
