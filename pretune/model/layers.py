"""A shallower model: some blocks of another one, with everything below and above them.

    take 3 of 6     0 . 2 . . 5     evenly spread, the first and the last among them (docs: arXiv:1910.01108, section 3)
    take [0, 1, 2]  0 1 2 . . .

What is left is a plain folder of the same family. It has lost what the blocks did that are gone; training gives some of
it back, more with the whole model as the teacher (objective=distil).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json, JsonMap
from pretune.infer.pooling import KEPT, pooling_of
from pretune.model.families import family_named
from pretune.model.families.family import BLOCK

if TYPE_CHECKING:
    from pretune.base.stage import Context

OF_DECODERS = "num_decoder_layers"
"""T5's name of the number of blocks of its second stack."""


def taken_blocks(take: int | Sequence[int], number: int) -> list[int]:
    """Which of `number` blocks are taken, in rising order.

    Raises:
        WrongValue: there are not so many, or not these.
    """
    if isinstance(take, int):
        if not 0 < take <= number:
            raise WrongValue(f"take_layers={take} of {number} blocks", hint=f"take 1 to {number}")
        return [round(k * (number - 1) / max(take - 1, 1)) for k in range(take)]
    if not take or sorted(set(take)) != list(take) or take[0] < 0 or take[-1] >= number:
        problem = f"take_layers={list(take)} does not name different blocks from 0 to {number - 1} in rising order"
        raise WrongValue(problem, hint="a number of blocks takes them evenly spread")
    return list(take)


def config_of_taken(settings: JsonMap, take: int | Sequence[int]) -> tuple[Json, list[int]]:
    """The config.json with so many blocks, and which they are of the old ones.

    Raises:
        WrongValue; NotSupported: an encoder-decoder whose stacks are not of one depth, or a model without blocks.
    """
    config: Any = family_named(settings["model_type"]).config(settings)
    number = int(getattr(config, "num_hidden_layers", 0))
    if not number or getattr(config, OF_DECODERS, number) != number:
        problem = f"a {settings['model_type']} model with these settings has no row of blocks to take some from"
        raise NotSupported(problem, hint="leave out take_layers")
    blocks = taken_blocks(take, number)
    config.num_hidden_layers = len(blocks)
    if hasattr(config, OF_DECODERS):
        setattr(config, OF_DECODERS, len(blocks))
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = [kinds[k] for k in blocks]
    told = {**settings, **config.to_dict()}
    return {name: value for name, value in told.items() if name != "transformers_version"}, blocks


def write_taken(source: Path, out: Path, take: int | Sequence[int]) -> None:
    """Write the folder of a model with some blocks of another folder's.

    Raises:
        WrongValue, NotSupported: as `config_of_taken`, or the first block is left out where it holds what all share.
    """
    from safetensors.torch import load_file

    from pretune.model.folder import config_of, copy_tokenizer, write_json, write_safetensors

    config, blocks = config_of_taken(config_of(source), take)
    if kept := pooling_of(source, config):
        config[KEPT] = {**config.get(KEPT, {}), **kept}
    tensors = {name: t for path in sorted(source.glob("*.safetensors")) for name, t in load_file(path).items()}
    if 0 not in blocks and any("relative_attention_bias" in name for name in tensors):
        raise WrongValue("the first block holds the table of distances that all read", hint="take block 0, too")
    out.mkdir(parents=True, exist_ok=True)
    found = {new: t for name, t in tensors.items() if (new := renumbered(name, blocks))}
    write_safetensors(found, out / "model.safetensors")
    write_json(out / "config.json", config)
    copy_tokenizer(source, out)


def renumbered(name: str, blocks: Sequence[int]) -> str | None:
    """The name of a weight in the shallower model; None: it is left out."""
    if not (found := BLOCK.search(name)):
        return name
    if int(found[1]) not in blocks:
        return None
    start, end = found.span(1)
    return f"{name[:start]}{blocks.index(int(found[1]))}{name[end:]}"


def with_layers(folder: Path, take: int | Sequence[int] | None, context: Context) -> Path:
    """The folder, or one in the scratch folder with so many of its blocks."""
    if take is None:
        return folder
    out = context.scratch / "taken"

    def write() -> bool:
        write_taken(folder, out, take)
        return True

    context.choose("taken", write)
    return out
