"""What can answer, opened from its folder: a bundle on onnxruntime without torch, a model folder on torch.

bundle.json                         ──▶ pretune.infer.ort
config.json or adapter_config.json  ──▶ pretune.model.generate (found by name: this package knows no torch)
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import BadFile, NotAnArtifact, NotSupported
from pretune.infer.chat import ChatFormat
from pretune.infer.classify import TextClassifier, frame_for
from pretune.infer.language import LanguageModel
from pretune.infer.ort import OrtDecoder, OrtEncoder, open_session
from pretune.tokens.encode.tokenizer import chat_template, load_tokenizer, special_ids

FORMAT = 1
MODELS = "pretune.model.generate"


def open_model(path: str | Path) -> TextClassifier | LanguageModel:
    """The classifier or language model that lies at `path`.

    Raises:
        NoSuchFile, NotAnArtifact: nothing there, or nothing that answers.
        Changed: a file has other bytes than when it was made.
        NotSupported: a model without a head, or a bundle without a graph.
        DoesNotFit: its weights need more memory than is free.
    """
    folder = Path(path)
    if (folder / CARD).is_file() or not folder.is_dir():
        Artifact.open(path, kind="model|bundle").verify()
    if (folder / "bundle.json").is_file():
        return open_bundle(folder)
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        found: TextClassifier | LanguageModel = import_module(MODELS).open_folder(folder)
        return found
    hint = "name a folder with config.json or bundle.json"
    raise NotAnArtifact(f"{folder.as_posix()!r} holds neither a model nor a bundle", hint=hint)


def open_bundle(folder: Path) -> TextClassifier | LanguageModel:
    """A bundle's graph with its tokenizer. Raises NotSupported, BadFile, MissingExtra."""
    about = read_bundle(folder)
    session = open_session(_graph(folder, about))
    if about["task"] == "classify":
        return _classifier(folder, about, session)
    decoder = _decoder(folder, about, session)
    return language_model(decoder, folder, tuple(about["eos_ids"]))


def read_bundle(folder: Path) -> dict[str, Any]:
    """`bundle.json`. Raises BadFile when it is broken, NotSupported when it is of a later format."""
    try:
        about: dict[str, Any] = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        version = about["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadFile(f"{folder.as_posix()}/bundle.json cannot be read: {error!r}", hint="export it again") from None
    if version != FORMAT:
        raise NotSupported(f"{folder.as_posix()} has bundle format {version!r}, not {FORMAT}", hint="upgrade pretune")
    return about


def language_model(decoder: Any, folder: Path, eos_ids: tuple[int, ...]) -> LanguageModel:
    """A decoder with the tokenizer, the end tokens and the chat template of a folder."""
    tokenizer, specials, template = load_tokenizer(folder), special_ids(folder), chat_template(folder)
    own = () if specials.eos is None else (specials.eos,)
    chat = ChatFormat(template, tokenizer, specials, eos_ids) if template else None
    ends = {*own, *eos_ids, *(chat.ends if chat else ())}
    return LanguageModel(decoder, tokenizer, tuple(sorted(ends)), chat)


def _graph(folder: Path, about: dict[str, Any]) -> Path:
    graph = about.get("graph")
    if not graph:
        raise NotSupported(f"{folder.as_posix()} holds no ONNX graph", hint="export with to=[onnx] to serve it here")
    path: Path = (folder / graph).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise BadFile(f"{folder.as_posix()}/bundle.json names a graph that is not there: {graph!r}")
    return path


def _classifier(folder: Path, about: dict[str, Any], session: Any) -> TextClassifier:
    encoder = OrtEncoder(session, about["max_length"], about.get("pad_id"))
    frame = frame_for(about["architecture"], special_ids(folder))
    return TextClassifier(encoder, load_tokenizer(folder), list(about["labels"]), about["max_length"], frame)


def _decoder(folder: Path, about: dict[str, Any], session: Any) -> OrtDecoder:
    width = next(o.shape[-1] for o in session.get_outputs() if o.name == "logits")
    vocab_size = width if isinstance(width, int) else load_tokenizer(folder).get_vocab_size()
    sizes = (about[name] for name in ("max_length", "num_layers", "num_kv_heads", "head_dim"))
    return OrtDecoder(session, vocab_size, *sizes)
