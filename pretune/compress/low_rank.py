"""Matrices of low rank: W [O, I] becomes L [O, R] R [R, I], with fewer numbers where R < OI / (O + I).

    text       H = X'X / N = S S'                  what the matrix reads
    whitened   W S = U diag(s) V'                  dropping s_k, s_k+1 ... costs exactly the sum of their squares
    factors    L = U sqrt(s), R = sqrt(s) V' S^-1  the first R of them

The folder stays plain Hugging Face with the products, so any reader gives the low-rank model's answers (and none is
faster for it); `low-rank.safetensors` holds the factors (`NAME.left`, `NAME.right`), from which an exporter stores and
computes less. Where the rank goes is one question for all matrices: what an error costs, as a share of what its matrix
gives, per number that is kept.

Source: SVD-LLM, arXiv:2403.07378, section 3.1; ranks by share of energy are ours.

O outputs, I inputs, R ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pretune.base.errors import NotSupported, WrongValue
from pretune.base.json import Json
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.compress.calibration import Calibration
    from pretune.compress.learning import Made

FACTORS = "low-rank.safetensors"
DAMPINGS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""Of the mean of H's diagonal, added to it: the first that is enough."""


class LowRank(Compressor):
    """Matrices of the blocks become products of two thin ones, where text says that it costs least."""

    kind: str = "low-rank"
    ratio: float = Field(0.2, gt=0, lt=1)
    """Share of the numbers in the blocks' matrices that goes."""
    rank: int | None = Field(None, gt=0)
    """One rank for all of them, instead of a share that is spread."""
    steps: int = Field(0, ge=0)
    """Steps in which the factors learn to say what the float model said of the train split's text."""
    rate: float = Field(1e-4, gt=0)
    """Learning rate of that."""
    rows: int = Field(64, gt=0)
    """Rows of text that are read."""

    @property
    def copies(self) -> float:
        """Both models, factors of full rank (of a square matrix twice as many numbers) and those that stay; of those
        that learn gradients and AdamW's averages, and the gradient of the products."""
        return 9 if self.steps else 5

    @property
    def reads(self) -> int:
        return self.rows

    def compress(self, work: Work) -> Compressed:
        """Put products into the blocks' matrices, in place.

        Returns:
            The factors, and: numbers before and after, ranks by matrix, the share of what the matrices give that is
            lost (mean over them), how far the model's answers are from the float ones.

        Raises:
            WrongValue: `rank` saves nothing in any matrix.
        """
        from pretune.compress.learning import distance, learn

        model, text, float_model = work.model, work.text, work.float_model()
        assert text is not None, "low rank reads text"
        cuts = _cuts(model, text)
        ranks = self._ranks(cuts)
        made = {name: _made(cuts[name], rank) for name, rank in ranks.items()}
        for one in made.values():
            one.put()
        facts: Json = {"distance": distance(model, float_model, text)}
        if self.steps and made:
            learn(model, float_model, made, text, steps=self.steps, rate=self.rate)
            facts["distance_learnt"] = distance(model, float_model, text)
        return _compressed(model, cuts, ranks, made, facts)

    def _ranks(self, cuts: dict[str, Cut]) -> dict[str, int]:
        """The rank of each matrix that becomes a product."""
        if self.rank is None:
            return spread_ranks({name: (cut.squares, cut.weight_OI.shape) for name, cut in cuts.items()}, self.ratio)
        found = {name: self.rank for name, cut in cuts.items() if self.rank < cut.even}
        if not found:
            most = max(cut.even for cut in cuts.values())
            problem = f"rank={self.rank} saves nothing: the widest matrix is as small as it is at {most:.0f}"
            raise WrongValue(problem, hint=f"take a rank below {most:.0f}, or ratio=0.2")
        return found


@dataclass(frozen=True)
class Cut:
    """The singular values of a whitened matrix, and what its factors are made of.

    Args:
        weight: the parameter; turned: whether it is [I, O] (Conv1D).
        squares: squared singular values, falling.
        left_OR, right_RI: factors of full rank.
    """

    weight: Tensor
    turned: bool
    squares: Tensor
    left_OR: Tensor
    right_RI: Tensor

    @property
    def weight_OI(self) -> Tensor:
        return self.weight.detach().T if self.turned else self.weight.detach()

    @property
    def even(self) -> float:
        """The rank at which factors have as many numbers as the matrix."""
        outputs, inputs = self.weight_OI.shape
        return outputs * inputs / (outputs + inputs)


def whitened(weight_OI: Tensor, moment_II: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared singular values [R] of W S and factors L [O, R], R [R, I]; float32 from float64.

    Cutting the factors at k costs the sum of the squares from k on: trace(D H D'), D being what is missing.
    """
    import torch

    root_II = root_of(moment_II)
    left, values, right = torch.linalg.svd(weight_OI.double() @ root_II, full_matrices=False)
    back = torch.linalg.solve_triangular(root_II, right, upper=False, left=False)
    half = values.sqrt()
    return (values**2).float(), (left * half).float(), (half[:, None] * back).float()


def root_of(moment_II: Tensor) -> Tensor:
    """S with S S' = H, lower and float64; H is damped as little as it takes to have one.

    Of fewer places than inputs H has no full rank, and what float32 lost of its sums puts eigenvalues below 0.

    Raises:
        NotSupported: the model gives numbers that are not finite.
    """
    import torch

    moment_II = moment_II.double()
    mean = moment_II.diagonal().mean()
    root_II: Tensor
    for share in DAMPINGS:
        found: tuple[Tensor, Tensor] = torch.linalg.cholesky_ex(moment_II + share * mean * torch.eye(len(moment_II)))
        root_II, failed = found
        if not failed:
            return root_II
    raise NotSupported("the model gives numbers that are not finite", hint="begin with the model before it diverged")


def spread_ranks(matrices: dict[str, tuple[Tensor, tuple[int, ...]]], ratio: float) -> dict[str, int]:
    """Ranks that keep a share 1 - ratio of all numbers, where they lose least of what each matrix gives.

    Args:
        matrices: squared singular values and shape [O, I] of each.

    Returns:
        Those of the matrices that become products; the others stay.
    """
    import torch

    # A rank of a matrix costs O + I numbers; the least of its square that pays for them is one bound for all.
    worth = {name: squares / squares.sum() / sum(shape) for name, (squares, shape) in matrices.items()}
    whole = sum(shape[0] * shape[1] for _, shape in matrices.values())

    def at(bound: float) -> dict[str, int]:
        return {name: max(1, int((values > bound).sum())) for name, values in worth.items()}

    def numbers(ranks: dict[str, int]) -> int:
        return sum(min(rank * sum(matrices[n][1]), matrices[n][1][0] * matrices[n][1][1]) for n, rank in ranks.items())

    bounds = torch.cat(list(worth.values())).sort().values.tolist()
    low, high = 0, len(bounds) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if numbers(at(bounds[middle])) <= (1 - ratio) * whole else (middle + 1, high)
    shapes = {name: shape for name, (_, shape) in matrices.items()}
    return {n: r for n, r in at(bounds[low]).items() if r * sum(shapes[n]) < shapes[n][0] * shapes[n][1]}


def _cuts(model: Any, text: Calibration) -> dict[str, Cut]:
    from pretune.compress.calibration import layers_in_blocks, matrix_of, moments
    from pretune.model.rounded import is_turned

    layers = {name: model.get_submodule(name) for name in layers_in_blocks(model)}
    found = {}
    for name, moment_II in moments(model, layers, text).items():
        factors = whitened(matrix_of(model, name), moment_II)
        found[f"{name}.weight"] = Cut(layers[name].weight, is_turned(layers[name]), *factors)
    return found


def _made(cut: Cut, rank: int) -> Made:
    from pretune.compress.learning import Made

    def make(left_OR: Tensor, right_RI: Tensor) -> Tensor:
        product_OI = left_OR @ right_RI
        return product_OI.T if cut.turned else product_OI

    return Made(cut.weight, (cut.left_OR[:, :rank].clone(), cut.right_RI[:rank].clone()), make)


def _compressed(
    model: Any, cuts: dict[str, Cut], ranks: dict[str, int], made: dict[str, Made], facts: Json
) -> Compressed:
    factors = {
        f"{n}.{side}": t for n, one in made.items() for side, t in zip(("left", "right"), one.numbers, strict=True)
    }
    before = sum(cut.weight.numel() for cut in cuts.values())
    saved = sum(made[name].weight.numel() - sum(t.numel() for t in made[name].numbers) for name in made)
    gone = [float(cuts[name].squares[rank:].sum() / cuts[name].squares.sum()) for name, rank in ranks.items()]
    total = sum(p.numel() for p in model.parameters())
    facts |= {"numbers_before": before, "numbers_after": before - saved, "ranks": ranks}
    facts |= {"share_lost": sum(gone) / len(cuts), "bytes_float32": 4 * total}
    return Compressed({FACTORS: factors}, facts, stored=4 * (total - saved))


def read_factors(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The two factors [O, R], [R, I] of each parameter of a low-rank folder; empty for others."""
    if not (folder / FACTORS).is_file():
        return {}
    from safetensors.torch import load_file

    found = load_file(folder / FACTORS)
    names = {name.rpartition(".")[0] for name in found}
    return {name: (found[f"{name}.left"], found[f"{name}.right"]) for name in sorted(names)}
