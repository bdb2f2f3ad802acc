"""A few labelled texts are enough where the model learns from pairs of them first (SetFit).

    pairs    of each text some with its label (cosine 1) and as many with another (cosine 0)
    body     learns these cosines, of what the last layer of the classifier reads
    head     that last layer, set to the logistic regression on the vectors of the training examples

`smote` leaves the body as it is, and fits the head to synthetic vectors of rare labels as well.

The folder is an ordinary classifier. A BERT that pools by the mean (most sentence encoders) gets one more block, which
gives its first position the mean of all: its classifier reads the first alone, and that was never trained.

Source: Tunstall et al. 2022, arXiv:2209.11055; pairs and loss as setfit's defaults.

N examples, C labels, D width.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.objective.several_texts import joined_row
from pretune.tokens.rows import Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

PAIRS, MOST_PAIRS = 20, 2000
"""Of each kind for an example; of each kind in all, though one an example."""
LOUD, FAINT = 1e3, 0.1
"""How far the mean drowns what the first position held; and the slope of the pooler, whose tanh is a line near 0."""
AT_ONCE = 32


def pairs_of(rows: Sequence[Row], labels: Sequence[int]) -> list[Row]:
    """Rows of two texts each: as many that carry one label (`score` 1) as that do not (0), where there are both."""
    rng, of = np.random.default_rng(len(rows)), np.asarray(labels)
    number = max(1, min(PAIRS, MOST_PAIRS // max(len(rows), 1)))
    found: list[Row] = []
    for k, row in enumerate(rows):
        same, other = np.flatnonzero((of == of[k]) & (np.arange(len(of)) != k)), np.flatnonzero(of != of[k])
        for score, partners in ((1.0, same), (0.0, other)):
            for n in rng.choice(partners, number) if len(partners) else ():
                found.append({**joined_row([row, rows[n]]), "score": score, "example": k})
    return found


def fitted_head(
    model: Any, rows: Sequence[Row], weights: Sequence[float] | None, *, smote: bool = False
) -> Mapping[str, Tensor]:
    """The weights of a classifier's last layer, by name, fitted to rows with a `label`; in eval mode.

    Args:
        weights: of the labels; smote: fitted to synthetic vectors of rare labels as well.
    """
    import torch

    from pretune.model.families.family import last_linear
    from pretune.objective.whole_rows import last_inputs, rows_batch

    pad = model.config.pad_token_id or 0
    vocabulary = Vocabulary(size=pad + 1, pad=pad, mask=0, cls=0)
    labels = np.array([row["label"] for row in rows])
    parts = []
    with torch.no_grad():
        for start in range(0, len(rows), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            batch = rows_batch(rows[some], vocabulary, labels[some])
            device = next(model.parameters()).device
            parts.append(last_inputs(model, {name: tensor.to(device) for name, tensor in batch.items()}).cpu())
    layer, vectors_ND, labels_N = last_linear(model), torch.cat(parts), torch.from_numpy(labels)
    if smote:
        vectors_ND, labels_N = with_synthetic(vectors_ND, labels_N)
    weight, bias = logistic(vectors_ND, labels_N, layer.out_features, weights, layer.bias is not None)
    of_layer = {id(layer.weight): weight} | ({id(layer.bias): bias} if layer.bias is not None else {})
    return {name: of_layer[id(p)].to(p.dtype) for name, p in model.named_parameters() if id(p) in of_layer}


def with_synthetic(vectors_ND: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """With vectors between two of a rare label, until every label has as many (SMOTE, Chawla et al. 2002,
    arXiv:1106.1813); of five neighbours, or of all others where there are fewer. The given ones come first, and a
    label with one vector (in a part of the examples) keeps to it."""
    import torch
    from imblearn.over_sampling import SMOTE

    counts = Counter(labels_N.tolist())
    grow = {label: max(counts.values()) for label, number in counts.items() if number > 1}
    if not grow:
        return vectors_ND, labels_N
    near = min(5, min(counts[label] for label in grow) - 1)
    plan = SMOTE(random_state=0, sampling_strategy=grow, k_neighbors=near)
    made, of = plan.fit_resample(vectors_ND.numpy(), labels_N.numpy())
    return torch.from_numpy(made), torch.from_numpy(of)


def logistic(
    vectors_ND: Tensor, labels_N: Tensor, outputs: int, class_weights: Sequence[float] | None = None, bias: bool = True
) -> tuple[Tensor, Tensor]:
    """Weight [C, D] and bias [C] of the logistic regression, in float64, trained to convergence.

    Of the vectors over their mean length, so that their scale does not matter; with half the square of the weights as
    penalty, that of scikit-learn's LogisticRegression with C=1.
    """
    import torch
    import torch.nn.functional as F

    length = vectors_ND.double().norm(dim=1).mean()
    x_ND = vectors_ND.double() / length
    given = x_ND.new_tensor(class_weights) if class_weights else None
    weight_CD, bias_C = (x_ND.new_zeros(size, requires_grad=True) for size in ((outputs, x_ND.shape[1]), (outputs,)))
    moving = [weight_CD, bias_C] if bias else [weight_CD]
    search = torch.optim.LBFGS(
        moving, max_iter=1000, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        fit = F.cross_entropy(x_ND @ weight_CD.T + bias_C, labels_N, given, reduction="sum")
        whole: Tensor = fit + weight_CD.square().sum() / 2
        whole.backward()  # type: ignore[no-untyped-call]
        return whole

    with torch.enable_grad():
        search.step(loss)  # type: ignore[no-untyped-call]
    return weight_CD.detach() / length, bias_C.detach()


def reads_the_mean(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a body pools by the mean while a classifier of its class reads the first position."""
    from pretune.infer.pooling import pooling_of

    return config["model_type"] == "bert" and (pooling_of(folder, config) or {}).get("pooling") == "mean"


def add_mean_block(model: Any) -> None:
    """One more block for a BERT classifier: attention that is even over all positions, and nothing behind it; and a
    pooler that passes it on. What the last layer reads is then the mean of the states, normed, times FAINT."""
    import torch

    block = copy.deepcopy(model.bert.encoder.layer[-1])
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        for norm in (block.attention.output.LayerNorm, block.output.LayerNorm):
            norm.weight.fill_(1.0)
        torch.nn.init.eye_(block.attention.self.value.weight)
        torch.nn.init.eye_(block.attention.output.dense.weight).mul_(LOUD)
        torch.nn.init.eye_(model.bert.pooler.dense.weight).mul_(FAINT)
        model.bert.pooler.dense.bias.zero_()
    model.bert.encoder.layer.append(block)
    model.config.num_hidden_layers += 1
