"""Many GPUs on paper: which mesh, memory of a rank, bytes over the wire, share of the peak. Nothing is tried out.

    N GPUs = data x pipeline x shard x tensor     all meshes that fit processes, heads, rows and blocks are reckoned,
                                                  and that with the largest share of the peak whose ranks fit is told

What a step takes on one process is known (plan.py: a dry run of the real model); here it is dealt.

    memory     rest / (s t p)  +  two blocks of P / (k t) weights, whole (s > 1)
               +  rows in flight x row x (10 + 24 / t) / 34 / p
               rest: weights, gradients, masters, moments; in flight: m rows of each of the p micro-batches of stage 0
    compute    operations of a step / (N x peak x KERNELS), and idle ends: x (1 + (p - 1) / micro-batches)
    wire       ring all-reduce over n ranks of B bytes: 2 (n - 1) / n x B a rank; all-gather or reduce-scatter: half
                 data       gradients of a rank, once a step, behind the backward pass
                 shard      weights twice and gradients once, for each micro-batch, behind the computing
                 tensor     four all-reduces of the states of m rows, for each block and micro-batch; all wait for it
                 pipeline   states and their gradients, for each micro-batch and border
    share      operations / (N x peak x seconds), with what the wire adds

k blocks, s t p d: sizes of shard, tensor, pipeline, data; m rows of a micro-batch; P parameters. Gradients and weights
are of 2 bytes. Tensor stays inside a machine of 8, whose link is the GPU's own; whatever leaves it has 50 GB/s a GPU.

Sources: Rajbhandari et al. 2020, arXiv:1910.02054, section 7 (ZeRO: 3 P a pass); Korthikanti et al. 2022,
arXiv:2205.05198, equation 2 (activations: 10 + 24 / t of 34); Narayanan et al. 2021, arXiv:2104.04473, sections 2.2
and 3.2 (idle ends, tensor's all-reduces); Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002 (rings). Peaks and
links are dense, of the data sheet named next to each, as other pages repeat it: the sheets themselves were not at hand.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil

from pretune.base.errors import BadCommand
from pretune.base.json import Json

GB = 1e9
KERNELS = 0.55
"""Share of the peak that the products of a large step reach by themselves: a guess in the middle of the 30 to 60 per
cent that published runs of dense models report; ours was not measured on more than one GPU."""
OWN_BYTES = 1.5e9
"""Of CUDA, NCCL and torch in a process."""
SPARE = 0.92
"""Share of a GPU's memory that a step may fill: the allocator leaves gaps."""
IN_MACHINE = 8
BETWEEN = 50 * GB
"""Bytes a second of each GPU between machines: a link of 400 Gbit/s for each."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of the data sheets: bytes of memory, operations and bytes a second (of its link, one way)."""

    name: str
    memory: float
    peak: float
    link: float


GPUS = (
    # T4 data sheet: 65 TFLOPS of mixed precision (float16), PCIe 3.0 x16 with 32 GB/s both ways together.
    Gpu("T4", 16 * GB, 65e12, 16 * GB),
    # Ada GPU Architecture white paper V2.02, appendix A: 165.2 TFLOPS with FP32 accumulation; PCIe 4.0 x16.
    Gpu("RTX4090", 24 * GB, 165e12, 32 * GB),
    # V100 data sheet, SXM2: 125 tensor TFLOPS (float16), NVLink 300 GB/s both ways together.
    Gpu("V100", 32 * GB, 125e12, 150 * GB),
    # A100 data sheet (nvidia-1758950-r4), SXM: 312 TFLOPS, NVLink 600 GB/s both ways together.
    Gpu("A100-40", 40 * GB, 312e12, 300 * GB),
    # L40S data sheet: 362.05 TFLOPS (733 with sparsity), PCIe 4.0 x16 with 64 GB/s both ways together.
    Gpu("L40S", 48 * GB, 362e12, 32 * GB),
    Gpu("A100", 80 * GB, 312e12, 300 * GB),  # as A100-40
    # H100 data sheet, SXM: 1,979 TFLOPS with sparsity, which is twice the dense peak; NVLink 900 GB/s together.
    Gpu("H100", 80 * GB, 989e12, 450 * GB),
    # H200 data sheet, SXM: 141 GB; peak and NVLink as the H100's.
    Gpu("H200", 141 * GB, 989e12, 450 * GB),
    # Blackwell Architecture Technical Brief, HGX B200: 4.5 PFLOPS with sparsity, NVLink 1.8 TB/s together; its memory
    # from the DGX B200 data sheet, 1,440 GB for eight.
    Gpu("B200", 180 * GB, 2250e12, 900 * GB),
)
ASKED = re.compile(r"(?P<number>\d{1,6})x(?:(?P<memory>\d+(?:\.\d+)?)GB|(?P<name>[A-Z][A-Z0-9-]*))", re.IGNORECASE)


def gpus_of(text: str) -> tuple[int, Gpu]:
    """8x80GB, or 8xH100: how many, and of which kind; of a memory alone the smallest peak with at least as much.

    Raises:
        BadCommand: anything else, no GPU at all, or one with less memory than a process takes or more than any has.
    """
    found = ASKED.fullmatch(text.strip())
    names = ", ".join(gpu.name for gpu in GPUS)
    if not found:
        raise BadCommand(f"--gpus {text!r} is not NUMBERxMEMORY", hint=f"8x80GB, or 8xA100 ({names})")
    number = int(found["number"])
    if not number:
        raise BadCommand(f"--gpus {text!r} asks for no GPU", hint=f"1x{found['memory'] or found['name']}, or more")
    if found["name"]:
        gpu = next((gpu for gpu in GPUS if gpu.name.lower() == found["name"].lower()), None)
        if gpu is None:
            raise BadCommand(f"--gpus {text!r}: no such GPU is known", hint=f"8x80GB, or one of {names}")
        return number, gpu
    return number, _with_memory(text, float(found["memory"]) * GB)


def _with_memory(text: str, memory: float) -> Gpu:
    if memory * SPARE <= OWN_BYTES:
        problem = f"--gpus {text!r}: CUDA, NCCL and torch take {OWN_BYTES / GB:g} GB of each by themselves"
        raise BadCommand(problem, hint="8x80GB")
    near = min((gpu for gpu in GPUS if gpu.memory >= memory), key=lambda gpu: (gpu.memory, gpu.peak), default=None)
    if near is None:
        problem = f"--gpus {text!r}: no GPU with so much memory is known, and its speed would be a guess"
        raise BadCommand(problem, hint=f"{max(gpu.memory for gpu in GPUS) / GB:g}GB at most")
    return Gpu(near.name, memory, near.peak, near.link)


CUTS = frozenset({"pipeline", "shard", "tensor"})


@dataclass(frozen=True)
class Work:
    """A training step of one process, as its forecast knows it.

    Args:
        rest: bytes that do not depend on the rows; row: bytes that a row of a micro-batch adds.
        flops: operations of a step.
        parameters: of the model; trained: of those that get a gradient.
        divides: what a tensor mesh must divide: heads, heads of keys, hidden units.
        cuts: directions in which such a model and objective can be cut at all.
    """

    rest: float
    row: float
    flops: float
    parameters: float
    trained: float
    layers: int
    width: int
    length: int
    batch: int
    divides: tuple[int, ...] = ()
    cuts: frozenset[str] = CUTS


@dataclass(frozen=True)
class Mesh:
    """A mesh with what a rank holds and moves in a step (bytes), seconds of a step, share of the peak."""

    data: int
    pipeline: int
    shard: int
    tensor: int
    micro: int
    memory: float
    wire: float
    seconds: float
    share: float
    fits: bool

    @property
    def setting(self) -> str:
        """As a recipe has it."""
        sizes = {"data": self.data, "pipeline": self.pipeline, "shard": self.shard, "tensor": self.tensor}
        return "{" + ", ".join(f"{name}: {size}" for name, size in sizes.items() if size > 1) + "}"

    def to_json(self) -> Json:
        return {**asdict(self), "parallel": self.setting}


def meshes(work: Work, number: int, gpu: Gpu) -> list[Mesh]:
    """All meshes of so many GPUs that the step can be dealt to, the best first: those that fit, by their share."""
    found = [_reckoned(work, sizes, gpu) for sizes in _sizes(work, number)]
    return sorted(found, key=lambda one: (not one.fits, -one.share if one.fits else one.memory))


def _sizes(work: Work, number: int) -> Iterator[tuple[int, int, int, int]]:
    """(data, pipeline, shard, tensor) that the processes, rows, blocks and heads allow."""
    factors = [n for n in range(1, number + 1) if number % n == 0]
    stages = [n for n in factors if n == 1 or ("pipeline" in work.cuts and n <= work.layers)]
    halves = [n for n in factors if n == 1 or ("tensor" in work.cuts and n <= IN_MACHINE)]
    for pipeline, tensor in itertools.product(stages, halves):
        # parallel/settings.py: there is no way yet to shard what is cut into stages
        parts = factors if pipeline == 1 and "shard" in work.cuts else [1]
        for shard in parts:
            data = number // (pipeline * shard * tensor)
            if data * pipeline * shard * tensor != number or any(size % tensor for size in work.divides):
                continue
            if work.batch % (data * shard) == 0 and work.batch // (data * shard) >= pipeline:
                yield data, pipeline, shard, tensor


def _reckoned(work: Work, sizes: tuple[int, int, int, int], gpu: Gpu) -> Mesh:
    data, pipeline, shard, tensor = sizes
    rows = work.batch // (data * shard)
    most, micro = gpu.memory * SPARE, 1
    for rows_at_once in _halvings(rows // pipeline):
        micro = rows_at_once
        if memory_of(work, sizes, micro) <= most:
            break
    memory = memory_of(work, sizes, micro)
    passes = ceil(rows / micro)
    whole = data * pipeline * shard * tensor
    compute = work.flops / (whole * gpu.peak * KERNELS) * (1 + (pipeline - 1) / passes)
    hidden, waited = wire_of(work, sizes, micro)
    near, far = gpu.link, min(gpu.link, BETWEEN)
    outer = near if whole <= IN_MACHINE else far
    seconds = max(compute, hidden / outer) + waited["tensor"] / near + waited["pipeline"] / outer
    share = work.flops / (whole * gpu.peak * seconds)
    return Mesh(*sizes, micro, memory, hidden + sum(waited.values()), seconds, share, memory <= most)


def _halvings(number: int) -> Iterator[int]:
    """A number, its half ... down to 1."""
    while number > 1:
        yield number
        number //= 2
    yield 1


def memory_of(work: Work, sizes: tuple[int, int, int, int], micro: int) -> float:
    """Bytes of a rank of the first stage, which holds most; formula: see the top."""
    data, pipeline, shard, tensor = sizes
    passes = ceil(work.batch // (data * shard) / micro)
    whole_block = 2 * 2 * work.parameters / max(work.layers, 1) / tensor if shard > 1 else 0.0
    row = work.row * (10 + 24 / tensor) / 34 / pipeline
    return OWN_BYTES + work.rest / (shard * tensor * pipeline) + whole_block + micro * min(pipeline, passes) * row


def wire_of(work: Work, sizes: tuple[int, int, int, int], micro: int) -> tuple[float, dict[str, float]]:
    """Bytes that a rank sends in a step: (behind the computing, {those that it waits for}); formula: see the top."""
    data, pipeline, shard, tensor = sizes
    rows = work.batch // (data * shard)
    passes, held = ceil(rows / micro), tensor * pipeline
    gradients = 2 * work.trained / held
    hidden = ring(data) * gradients / shard
    hidden += ring(shard) / 2 * (2 * 2 * work.parameters / held + gradients) * passes
    states = 2.0 * rows * work.length * work.width
    return hidden, {
        "tensor": ring(tensor) * 4 * states * work.layers / pipeline,
        "pipeline": 2 * states if pipeline > 1 else 0.0,
    }


def ring(ranks: int) -> float:
    """What an all-reduce over a ring sends, as a multiple of the bytes that are added up."""
    return 2 * (ranks - 1) / ranks
