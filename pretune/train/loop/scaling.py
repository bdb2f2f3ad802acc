"""Loss scaling: gradients of float16 made large enough to be written. No torch.

    float16 holds 6e-8 ... 65,504; gradients of a trained model are mostly below 1e-5, and many below 6e-8 become 0

    backward of  scale x loss     gradients times the scale, in float16
    all finite                    divided by the scale in float32, and the step is taken; after 2,000 such steps on end
                                  the scale doubles
    one is inf or nan             the step is skipped, the scale halves: it was too large, the rows are not to blame

A scale is a power of two, so that multiplying and dividing round nothing. It is part of the checkpoint: a run that goes
on has the bits of one that was left alone. bfloat16 has the range of float32 and needs none of this.

Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; the figures are those of torch.amp.GradScaler.
"""

from __future__ import annotations

Scaling = dict[str, float]
"""`scale` and `good`, the steps that were taken on end at it; empty where nothing is scaled."""
FIRST = 2.0**16
GROWTH, BACKOFF, EVERY = 2.0, 0.5, 2000
LEAST = 2.0**-14
"""A gradient that is not finite even so has another reason than its type."""


def begun(precision: str) -> Scaling:
    """The scaling of a run before its first step."""
    return {"scale": FIRST, "good": 0} if precision == "float16" else {}


def scale_of(scaling: Scaling) -> float:
    """What the loss is multiplied with."""
    return scaling.get("scale", 1.0)


def after(scaling: Scaling, *, finite: bool) -> Scaling:
    """The scaling of the next step."""
    if not scaling:
        return scaling
    scale, good = scaling["scale"], scaling["good"] + 1
    if not finite:
        return {"scale": max(LEAST, scale * BACKOFF), "good": 0}
    return {"scale": scale * GROWTH, "good": 0} if good >= EVERY else {"scale": scale, "good": good}


def overflow(scaling: Scaling, *, loss_is_finite: bool, norm_is_finite: bool) -> str | None:
    """Why a step is skipped without being anyone's fault: its scaled gradient is too large for float16; else None."""
    if not scaling or norm_is_finite or not loss_is_finite or scaling["scale"] <= LEAST:
        return None
    return f"a gradient times {scaling['scale']:g} is too large for float16; the scale of the loss is halved"
