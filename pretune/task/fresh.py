"""Random weights in a pretrained model's place: what pretraining was worth, and baselines that never had any.

    fresh=same              the model's own architecture
    fresh=bag, cnn, lstm    the textbooks' baselines; any other shape too, of any size (fresh.kind=cnn fresh.filters=50)

The tokenizer is that of the model (or a tokenizer alone), so that all of them read the same tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretune.base.config import Choice
from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.model.shape import SHAPE, Auto, Shape

if TYPE_CHECKING:
    from pretune.base.stage import Forecast

WINDOW = 512
"""Positions that a fresh model has at least."""
OF_HEADS = ("architectures", "dtype", "id2label", "label2id", "num_labels", "pretune", "problem_type", "torch_dtype")
"""What a config says of the head that the model had."""


class Same(Shape):
    """The architecture and size of the model that is given."""

    family: ClassVar[str] = ""


FRESH = Choice(
    Shape,
    {"same": "pretune.task.fresh:Same", **{kind: name for kind, name in SHAPE.table.items() if kind != "auto"}},
    group=SHAPE.group,
)


def check_source(shape: Shape | None, config: JsonMap | None, name: str) -> None:
    """Raise NotSupported where there is nothing to begin from: a tokenizer alone (no config) needs a shape."""
    if config is None and (shape is None or isinstance(shape, Same)):
        hint = "give a model; or say what to build with it: fresh=cnn, lstm, bag, bert-mini ..."
        raise NotSupported(f"{name} is a tokenizer: it has no weights and no architecture", hint=hint)


def fresh_config(shape: Shape, config: JsonMap, *, vocab_size: int, max_length: int, specials: Any) -> Json:
    """The config.json of a model with new weights; `config`: that of the model it stands in for."""
    if isinstance(shape, Same):
        return {name: value for name, value in config.items() if name not in OF_HEADS}
    assert not isinstance(shape, Auto), "auto is no kind of FRESH"
    sizes = shape.config(vocab_size=vocab_size, max_length=max(max_length, WINDOW), specials=specials)
    return {"model_type": shape.family, **sizes}


def write_fresh(shape: Shape, source: Path, out: Path, *, max_length: int, seed: int) -> None:
    """Write a model folder without a head: the tokenizer of `source`, weights drawn from the seed."""
    from pretune.infer.trusted import read_json
    from pretune.model.build import build_from
    from pretune.model.folder import quiet_transformers, save_model
    from pretune.tokens.encode.tokenizer import special_ids
    from pretune.tokens.rows import vocabulary_of

    quiet_transformers()
    known = read_json(source / "config.json") if (source / "config.json").is_file() else None
    check_source(shape, known, source.as_posix())
    size, specials = vocabulary_of(source).size, special_ids(source)
    config = fresh_config(shape, known or {}, vocab_size=size, max_length=max_length, specials=specials)
    out.mkdir(parents=True, exist_ok=True)
    save_model(build_from(config, "vector", shape, seed=seed), out, tokenizer=source)


def fresh_forecast(shape: Shape, base: Forecast, *, max_length: int) -> Forecast:
    """What is known of such a model before it is built."""
    from dataclasses import replace

    from pretune.tokens.encode.tokenizer import Specials

    if isinstance(shape, Same):
        return base
    size = int((base.config or {}).get("vocab_size") or base.vocab_size or 1)
    specials = Specials(bos=None, eos=2, pad=0, unk=None, cls=2, sep=2, mask=1)
    config = fresh_config(shape, {}, vocab_size=size, max_length=max_length, specials=specials)
    return replace(base, config=config, parameters=float(shape.layout().parameters(size, max_length)))
