"""What can answer, opened from its folder: a bundle without torch, a model folder on torch.

    bundle.json                         ──▶ facts;  onnx/ ──▶ engine        ENGINES, by format
    config.json or adapter_config.json  ──▶ pretune.model.generate (found by name: this package knows no torch)
    facts, engine                       ──▶ predictor                       PREDICTORS, by kind of answer

A task whose answers are of a kind that is here needs no line here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import BadFile, NotAnArtifact, NotSupported
from pretune.base.json import Json, JsonMap
from pretune.infer.pooling import KEPT, pooling_of
from pretune.infer.predictor import Facts, Predictor
from pretune.infer.several import FILE as SEVERAL
from pretune.infer.several import Several
from pretune.infer.shelf import Shelf
from pretune.infer.trusted import check_folder
from pretune.tokens.encode.tokenizer import chat_template

if TYPE_CHECKING:
    from pretune.infer.engine import Decoder, Encoder

FORMAT = 2
MODELS = "pretune.model.generate:open_folder"
SHELF = "pretune.model.shelf:shelf_of"
HEADS_OF = "pretune.model.generate:open_heads"
PREDICTORS = {
    **dict.fromkeys(("label", "labels", "score"), "pretune.infer.classify:of_facts"),
    "tags": "pretune.infer.tag:of_facts",
    "span": "pretune.infer.spans:of_facts",
    "text": "pretune.infer.language:of_facts",
    "vector": "pretune.infer.embed:of_facts",
    "ranking": "pretune.infer.rank:of_facts",
}
ENGINES = {"onnx": "pretune.infer.ort:of_bundle"}
"""Formats of a bundle that are answered with here; the first one that a bundle has is taken."""
HEADS = {
    "ForSequenceClassification": ("label", "classify", "label"),
    "ForQuestionAnswering": ("span", "answer", "span"),
    "ForTokenClassification": ("tags", "tag", "tags"),
    "ForConditionalGeneration": ("text", "seq2seq", "text"),
    "MTModel": ("text", "seq2seq", "text"),
    "ForCausalLM": ("next", "complete", "text"),
    "LMHeadModel": ("next", "complete", "text"),
    "ForFeatureExtraction": ("vector", "embed", "vector"),
    "Model": ("vector", "embed", "vector"),
}
"""How names of transformers' classes end: the head of such a model, its task, and the kind of its answers."""
PROBLEMS = {
    "multi_label_classification": ("multilabel", "labels"),
    "regression": ("regress", "score"),
    "dialogue": ("reward", "score"),
}
"""transformers' `problem_type` of a classifier that gives something else than one label, or what it reads where that is
no text (kept in its config under `pretune`): its task, and the kind."""
SAID = {"rank": "ranking"}
"""Tasks that a model's config names under KEPT, since its head looks like another one's: the kind of their answers."""
WITH_TEMPLATE = {"complete": "chat"}
"""What a task becomes where the tokenizer has a chat template."""


def open_model(path: str | Path) -> Predictor:
    """What answers from the folder at `path`.

    Raises:
        NoSuchFile, NotAnArtifact: nothing there, or nothing that answers.
        Changed: a file has other bytes than when it was made.
        NotSupported: a model without a head, a bundle in no format that is answered with here, or what `check_folder`
            refuses, as BadFile.
        DoesNotFit: its weights need more memory than is free.
    """
    folder = Path(path)
    if (folder / CARD).is_file() or not folder.is_dir():
        Artifact.open(path, kind="model|bundle").verify()
    check_folder(folder)
    if (folder / "bundle.json").is_file():
        return open_bundle(folder)
    if (folder / SEVERAL).is_file():
        parts: Mapping[str, Predictor] = _named(HEADS_OF)(folder)
        return Several(parts)
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        found: Predictor = _named(MODELS)(folder)
        return found
    hint = "name a folder with config.json or bundle.json"
    raise NotAnArtifact(f"{folder.as_posix()!r} holds neither a model nor a bundle", hint=hint)


def open_shelf(models: Mapping[str, Path], adapters: Path) -> Shelf:
    """The adapter folders in `adapters` next to the one model. Raises UserError: not one, or none that fits."""
    found: Shelf = _named(SHELF)(models, adapters)
    return found


def open_bundle(folder: Path) -> Predictor:
    """A bundle's engine with its tokenizer. Raises NotSupported, BadFile, MissingExtra."""
    about = read_bundle(folder)
    format = next((name for name in ENGINES if name in about["formats"]), None)
    if format is None:
        hint = "export with to=[onnx] to serve it here"
        raise NotSupported(f"{folder.as_posix()} holds no format that runs here ({', '.join(ENGINES)})", hint=hint)
    return predictor_of(_named(ENGINES[format])(folder / format, about), folder, Facts.of(about))


def read_bundle(folder: Path) -> Json:
    """`bundle.json`. Raises BadFile when it is broken, NotSupported when it is of another format."""
    try:
        about: Json = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        version = about["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadFile(f"{folder.as_posix()}/bundle.json cannot be read: {error!r}", hint="export it again") from None
    if version != FORMAT:
        hint = "export the model again" if version == 1 else "upgrade pretune"
        raise NotSupported(f"{folder.as_posix()} has bundle format {version!r}, not {FORMAT}", hint=hint)
    return about


def predictor_of(engine: Decoder | Encoder, folder: Path, facts: Facts) -> Predictor:
    """What answers with an engine; the folder has the tokenizer."""
    found: Predictor = _named(PREDICTORS[facts.answers])(engine, folder, facts)
    return found


def task_of(class_names: Sequence[str], folder: Path, config: JsonMap) -> tuple[str, str] | None:
    """The task and the kind of answer of a model of these classes, with this folder's tokenizer; None: it has no head.

    classify, or by the config's `problem_type` multilabel or regress; tag; answer; seq2seq of an encoder-decoder; chat
    where there is a chat template, else complete; rank where the config says so; embed where it says how to pool.
    """
    found = _ending(class_names)
    if found is None:
        return None
    _, task, answers = found
    if answers == "vector":
        return (task, answers) if pooling_of(folder, config) else None
    if task == "classify" and (said := (config.get(KEPT) or {}).get("task")) in SAID:
        return said, SAID[said]
    if task == "classify":
        reads = config.get("pretune", {}).get("reads", "text")
        return PROBLEMS.get(problem_of(config) if reads == "text" else reads, (task, answers))
    return WITH_TEMPLATE.get(task, task) if chat_template(folder) else task, answers


def problem_of(config: JsonMap) -> str:
    """transformers' `problem_type` of a classifier; where its config has none: one output is a number, as there."""
    one = len(config.get("id2label") or (0, 1)) == 1
    return config.get("problem_type") or ("regression" if one else "single_label_classification")


def head_of(class_names: Sequence[str]) -> str | None:
    """The head of a model of these classes, as families name it; None: none that answers."""
    found = _ending(class_names)
    return found and found[0]


def _ending(class_names: Sequence[str]) -> tuple[str, str, str] | None:
    return next((HEADS[end] for name in class_names for end in HEADS if name.endswith(end)), None)


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
