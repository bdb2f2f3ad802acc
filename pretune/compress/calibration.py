"""What a model reads and says of text, for compressors that ask: inputs of its matrices, and its own answers.

    text of the data's train split  ->  rows, one by one  ->  what the body is given  ->  the model, again and again

A row is given to a model exactly as its objective gives it, so whatever is calibrated has seen what training sees.
Rows are read one by one: there is no padding, and every place counts.

O outputs, I inputs, N places, B rows, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.sample import evenly
from pretune.compress.measure import documents_of, loss_of, rows_of
from pretune.infer.predictor import Predictor
from pretune.model.families import plain_model
from pretune.model.folder import check_memory
from pretune.model.generate import module_of
from pretune.model.rounded import is_turned
from pretune.objective.objective import Objective
from pretune.objective.pretraining.causal import Causal
from pretune.task.task import judging
from pretune.text.dataset.example import read_split
from pretune.tokens.rows import Row
from pretune.tokens.store.store import Store

Given = Mapping[str, Any]
"""What the body of a model is called with."""


@dataclass(frozen=True)
class Calibration:
    """Rows of the train split as the body of a model is given them.

    Args:
        rows: evenly spread over the split, one row each.
    """

    rows: Sequence[Given]

    def some(self, most: int) -> Calibration:
        """At most so many of them, evenly spread."""
        return Calibration(evenly(self.rows, most))

    @property
    def num_tokens(self) -> int:
        return sum(row["input_ids"].numel() for row in self.rows)


def read_by(ready: Predictor, folder: Path, data: Artifact, *, most: int) -> Calibration:
    """Rows of the train split of a dataset or tokens, as the model is given them when it is trained.

    Raises:
        NotSupported: the data does not suit the model; EmptyInput: there is no train split.
    """
    if data.card.kind == "tokens":
        objective: Objective = Causal(kind="causal")
        rows = documents_of(ready, Store.open(data.path, "train"), most)
    else:
        task, ready = judging(ready, data.path, name="the model")
        objective, rows = task.objective(), rows_of(task, ready, read_split(data.path, "train"), folder, most)
    if not rows:
        raise EmptyInput(f"{data.path.as_posix()} has no train split to calibrate on")
    return calibration_of(module_of(ready), objective, rows)


def calibration_of(model: Any, objective: Objective, rows: Sequence[Row]) -> Calibration:
    """What an objective gives the model's body for each of these rows.

    Raises:
        NotSupported: the model does not read token ids alone (an encoder-decoder).
    """
    core = plain_model(model)
    if core.config.is_encoder_decoder:
        problem = f"a {type(core).__name__} is an encoder-decoder, and calibration reads one row, not two"
        raise NotSupported(problem, hint="what needs no text: int8, int4 method.by=nearest, prune method.by=magnitude")
    heard: list[Given] = []

    def listen(module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        heard.append({**given, **({"input_ids": args[0]} if args else {})})

    with core.base_model.register_forward_pre_hook(listen, with_kwargs=True):
        loss_of(model, objective, rows)
    # Copies: what is made while a loss is only looked at may not take part in a gradient.
    return Calibration([{name: _copy(value) for name, value in given.items() if value is not None} for given in heard])


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(one) for name, one in value.items()}
    return value.clone() if isinstance(value, Tensor) else value


@contextmanager
def listening(modules: Mapping[str, nn.Module], hear: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within, `hear(name, inputs_NI)` is told what each module reads."""
    with ExitStack() as stack:
        for name, module in modules.items():

            def tell(module: nn.Module, args: tuple[Tensor, ...], name: str = name) -> None:
                hear(name, args[0].detach().flatten(0, -2))

            stack.enter_context(module.register_forward_pre_hook(tell))
        yield


@torch.no_grad()
def moments(model: Any, modules: Mapping[str, Any], calibration: Calibration) -> dict[str, Tensor]:
    """X'X / N [I, I] of what each module reads at N places of all rows.

    What an error of a matrix costs is then trace(D X'X D') / N, D being the error [O, I]: the mean square of what its
    outputs are off by, summed over them.

    Raises:
        DoesNotFit: all of them together are more than the memory that is free.
    """
    inputs = [layer.weight.shape[0 if is_turned(layer) else 1] for layer in modules.values()]
    check_memory(sum(4.0 * number**2 for number in inputs), "what the matrices read of the text")
    sums: dict[str, Tensor] = {}
    places: dict[str, int] = {}

    def add(name: str, x_NI: Tensor) -> None:
        found = x_NI.T @ x_NI
        sums[name] = sums[name].add_(found) if name in sums else found
        places[name] = places.get(name, 0) + len(x_NI)

    with listening(modules, add):
        for given in calibration.rows:
            model(**given)
    return {name: total / places[name] for name, total in sums.items()}


def error_of(change_OI: Tensor, moment_II: Tensor) -> float:
    """trace(D X'X D'): the mean square, summed over outputs, of what an error of the weights does to the outputs."""
    return float(((change_OI @ moment_II) * change_OI).sum())


def said_of(model: Any, given: Given) -> Tensor:
    """Logits [.., C] of a row: of every place or of the row, as the head gives them; states of a model without head."""
    from pretune.model.families import scores_of

    output = model(**given)
    return output.last_hidden_state if "last_hidden_state" in output else scores_of(output)


# ---- matrices by the names of their layers ---------------------------------------------------------------------------


def matrix_of(model: Any, name: str) -> Tensor:
    """The weight of a layer as [O, I], a view of it without gradient."""
    layer = model.get_submodule(name)
    weight: Tensor = layer.weight.detach()
    return weight.T if is_turned(layer) else weight


def layers_in_blocks(model: Any) -> list[str]:
    """Names of the linear layers inside the blocks. Raises NotSupported: there are none."""
    from pretune.model.rounded import matrices_in_blocks

    return [name for name, _, _ in matrices_in_blocks(model)]


@torch.no_grad()
def turns(model: Any, run: int, calibration: Calibration) -> list[float]:
    """How far states turn on their way through `run` blocks, for each first block from the second on: the mean angle
    at a place between what the first reads and what the last gives, from 0 to pi.

    Source: arXiv:2403.17887, equation 7.
    """
    from pretune.model.cuts import blocks_of

    states: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], given: dict[str, Any]) -> None:
        states.append((args[0] if args else given["hidden_states"]).flatten(0, -2))

    def keep_last(module: nn.Module, args: Any, output: Any) -> None:
        states.append((output if isinstance(output, Tensor) else output[0]).flatten(0, -2))

    blocks = list(blocks_of(model).values())
    sums = torch.zeros(len(blocks) - run)
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(block.register_forward_pre_hook(keep, with_kwargs=True))
        stack.enter_context(blocks[-1].register_forward_hook(keep_last))
        for given in calibration.rows:
            states.clear()
            model(**given)
            pairs = [(states[k], states[k + run]) for k in range(1, len(blocks) - run + 1)]
            cosines = torch.stack([nn.functional.cosine_similarity(a, b).clamp(-1, 1) for a, b in pairs])
            sums += cosines.acos().sum(1)
    return (sums / calibration.num_tokens).tolist()
