"""Which pretrained model: those that lie on this machine, and, where none does, which kind and size would fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.base.json import Json, JsonMap
from pretune.base.planning import forecast_of
from pretune.base.stage import Forecast
from pretune.infer.answers import Text
from pretune.model.families import family_named
from pretune.model.folder import weight_bytes
from pretune.task.task import Task
from pretune.tokens.encode.tokenizer import chat_template, encode_texts, load_tokenizer, special_ids

NEAR = ("*", "models/*", "runs/*")
"""Below the folder one is in, the one above it, and those of the data, where models are looked for."""
MOST = 20
"""Folders that are looked into."""
UNKNOWN = 0.05
"""Share of unknown tokens from which a model's tokenizer is not for these texts."""


@dataclass(frozen=True)
class Candidate:
    """A pretrained model.

    Args:
        path: as it is typed.
        known: parameters and config, for a forecast.
        lengths: tokens of some of the texts.
        unknown: share of these tokens that its tokenizer does not know.
        why_not: why it does not suit the task; "" where it does.
    """

    path: str
    known: Forecast
    lengths: tuple[int, ...]
    unknown: float
    why_not: str

    @property
    def model_type(self) -> str:
        return str((self.known.config or {}).get("model_type", ""))

    @property
    def parameters(self) -> int:
        return int(self.known.parameters)

    def fact(self) -> Json:
        """As plain JSON."""
        known = {"path": self.path, "model_type": self.model_type, "parameters": self.parameters}
        return {**known, "unknown": round(self.unknown, 4), "why_not": self.why_not}


def is_model(folder: Path) -> bool:
    """Whether a folder is a model, by its weights."""
    return any(folder.glob("*.safetensors"))


def candidate(path: str | Path, task: Task, texts: Sequence[str]) -> Candidate:
    """A model folder with what it makes of the texts; raises a UserError where it is none."""
    known, tokenizer = forecast_of(Artifact.open(path, "model")), load_tokenizer(path)
    known = replace(known, parameters=float(weight_bytes(Path(path), bytes_per_parameter=1)))
    unk = special_ids(path, tokenizer).unk
    ids = encode_texts(tokenizer, list(texts))
    lengths = tuple(map(len, ids))
    unknown = sum(one.count(unk) for one in ids) / max(1, sum(lengths)) if unk is not None else 0.0
    return Candidate(Path(path).as_posix(), known, lengths, unknown, _why_not(task, known.config, Path(path), unknown))


def _why_not(task: Task, config: JsonMap | None, folder: Path, unknown: float) -> str:
    if config is None:
        return "it is an adapter"
    reads = family_named(config.get("model_type", "")).architecture_of(config.get("model_type", ""))
    if task.shape in ("dialogue", "preference") and chat_template(folder) is None:
        return "it has no chat template"
    if task.answers is not Text and reads != "encoder":
        return "it reads from left to right only; an encoder sees both sides"
    if task.answers is Text and reads == "encoder":
        return "it is an encoder, and writes no text"
    return f"its tokenizer does not know {unknown:.0%} of your texts" if unknown > UNKNOWN else ""


def candidates(places: Sequence[Path], task: Task, texts: Sequence[str]) -> list[Candidate]:
    """The models near these folders, those that suit first, of these the largest first."""
    folders = dict.fromkeys(
        path.parent for place in places for near in NEAR for path in place.glob(f"{near}/*.safetensors")
    )
    found = []
    for folder in list(folders)[:MOST]:
        try:
            found.append(candidate(folder, task, texts))
        except UserError:
            continue  # an adapter without its base, a damaged card: nothing to begin with
    return sorted(found, key=lambda one: (bool(one.why_not), -one.parameters))


# ---- where there is none ------------------------------------------------------------------------


def _bert(layers: int, width: int) -> Json:
    heads = {"num_hidden_layers": layers, "num_attention_heads": width // 64 or 1, "intermediate_size": 4 * width}
    return {"model_type": "bert", "vocab_size": 30522, "hidden_size": width, **heads}


def _qwen3(layers: int, width: int, words: int) -> Json:
    heads = {"num_hidden_layers": layers, "num_attention_heads": width // 64, "num_key_value_heads": width // 128}
    sizes = {"vocab_size": words, "hidden_size": width, "intermediate_size": 3 * width, "head_dim": 128}
    return {"model_type": "qwen3", "tie_word_embeddings": True, "max_position_embeddings": 4096, **sizes, **heads}


SIZES: dict[str, list[tuple[str, float, Json]]] = {
    "encoder": [
        ("a small encoder (6 layers, as MiniLM)", 22.7e6, _bert(6, 384)),
        ("an encoder (12 layers, as BERT base)", 110e6, _bert(12, 768)),
        ("a large encoder (24 layers, as BERT large)", 335e6, _bert(24, 1024)),
    ],
    "decoder": [
        ("a small chat model (8 layers, as MiniMind2-Small)", 26e6, _qwen3(8, 512, 6400)),
        ("a chat model (28 layers, as Qwen3-0.6B)", 0.6e9, _qwen3(28, 1024, 151936)),
    ],
}
"""Usual sizes of what others publish: in words, parameters, and a config that takes the memory and the time."""


def usual(task: Task) -> list[tuple[str, Forecast]]:
    """Kinds of models for a task, small to large, as forecasts of a base."""
    kind = "decoder" if task.answers is Text else "encoder"
    return [(name, Forecast(parameters=number, config=config)) for name, number, config in SIZES[kind]]
