"""How far two models' answers are apart, place by place: softened by a temperature, forward or backward.

    forward   T squared * KL(softmax(then / T) || softmax(now / T))     what `then` says must not be missed
    reverse   T squared * KL(softmax(now / T) || softmax(then / T))     what `then` does not say must not be said

It is 0 where both say the same, and so is its gradient. The factor keeps the gradient of one size whatever the
temperature is (Hinton et al. 2015, arXiv:1503.02531, section 2). Outputs that are no chances of one label are compared
by themselves: several labels each as a choice of two, a number or a vector by half its squared error.

N places, C outputs, K of them that are kept.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pretune.objective.objective import Outputs


def apart(
    now_NC: Tensor, then_NC: Tensor, *, of: Outputs = "label", temperature: float = 1.0, reverse: bool = False
) -> Tensor:
    """How far logits (numbers, vectors) are from those that were said, [N]."""
    if of in ("score", "vector"):
        return (now_NC - then_NC).square().sum(-1) / 2
    now, then = now_NC / temperature, then_NC / temperature
    if of == "labels":  # a choice of two is a softmax over the logit and 0
        now, then = (torch.stack([one, torch.zeros_like(one)], -1) for one in (now, then))
    return chances_apart(now.log_softmax(-1), then.log_softmax(-1), temperature, reverse=reverse)


def chances_apart(now: Tensor, then: Tensor, temperature: float, *, reverse: bool = False) -> Tensor:
    """The same of log-chances at the temperature, [N, ...] -> [N]."""
    said, wanted = (then, now) if reverse else (now, then)
    found = F.kl_div(said, wanted, log_target=True, reduction="none")
    return temperature**2 * found.flatten(1).sum(-1)


def likeliest(logits_NC: Tensor, top_k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The K likeliest outputs of each place: their log-chances and that of all others together [N, K + 1], numbers."""
    ids_NK = logits_NC.topk(top_k, -1).indices
    return some_chances(logits_NC, ids_NK, temperature), ids_NK


def some_chances(logits_NC: Tensor, ids_NK: Tensor, temperature: float) -> Tensor:
    """Log-chances of these outputs, and of all others together as one more, [N, K + 1]; all of them: [N, C].

    So what a model says of the others is not left out: it is compared as a sum, and the divergence is at most that of
    all outputs (data processing), which it is where K = C.
    """
    log_NC = (logits_NC / temperature).log_softmax(-1)
    some_NK = log_NC.gather(-1, ids_NK)
    if ids_NK.shape[-1] == logits_NC.shape[-1]:
        return some_NK
    others_N1 = log_NC.scatter(-1, ids_NK, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([some_NK, others_N1], -1)
