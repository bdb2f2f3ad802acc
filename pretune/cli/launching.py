"""The verb launch: the file that starts a recipe on several machines, for Slurm or Kubernetes. No torch here.

    sbatch RECIPE.sbatch          one task a node; torchrun starts a process a GPU and meets at the first node
    kubectl apply -f RECIPE.k8s.yaml    a headless Service, and an Indexed Job whose pods meet at that of index 0

The recipe, the data and `work` must be on a disk that all nodes see. A job that is ended early (a time limit, a node
that goes) gets SIGTERM first, saves and leaves; started again, the same file goes on where it was: Slurm does so by
itself when a node is lost or wanted by others, not at a time limit (sbatch it again); Kubernetes does for a Job that
has not ended (`kubectl replace --force -f` starts one that has). SIGUSR1 asks all for a checkpoint
(`scancel --signal=USR1 JOB`, `kubectl exec POD -- kill -USR1 1`).

Sources: sbatch(1), srun(1); kubernetes.io, "Job with Pod-to-Pod Communication"; torch.distributed.run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pretune.base.errors import BadCommand
from pretune.cli.shared import checked_settings, common, print_json, take_flags

if TYPE_CHECKING:
    from pretune.base.json import Json

TORCHRUN = ("python", "-m", "pretune.cli.torchrun")
PORT = 29500
PORTS = (20000, 10000)
"""On Slurm, where two jobs may share a node: the first port and their number, dealt by the job's own."""
SECONDS_TO_SAVE = 120
"""Between the first word that a job ends and its end."""
PATIENCE = ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_SAVE - 20))
"""Else torchrun kills after 30 seconds what is still saving."""
TRIES = 6
"""How often a node may fail before Kubernetes gives the job up: each failure takes all the pods with it."""
OTHERWISE_READ = {"y", "n", "yes", "no", "on", "off"}
"""Words that are no strings in YAML 1.1, which kubectl reads, and are in 1.2, which ruamel writes."""
IMAGE, CLAIM = "pretune:latest", "pretune"


def slurm(name: str, arguments: list[str], *, nodes: int, gpus: int, minutes: int | None = None) -> str:
    """An sbatch script.

    Args:
        arguments: behind `pretune`.
        gpus: of a node; 0: one process a node, on its processors.
        minutes: after which Slurm ends the job; None: the partition's own limit.
    """
    options: dict[str, Any] = {"job-name": name, "nodes": nodes, "ntasks-per-node": 1}
    options |= {"gpus-per-node": gpus} if gpus else {}
    options |= {"time": minutes} if minutes else {}
    options |= {"signal": f"TERM@{SECONDS_TO_SAVE}", "open-mode": "append", "output": f"{name}-%j.log"}
    asked = [f"#SBATCH --{option}={value}" for option, value in options.items()]
    meets = ["--rdzv-backend=c10d", '--rdzv-endpoint="$first:$port"', '--rdzv-id="$SLURM_JOB_ID"']
    words = ["srun", "--kill-on-bad-exit=1", *TORCHRUN, '--nnodes="$SLURM_NNODES"', f"--nproc-per-node={gpus or 1}"]
    lines = [
        "#!/bin/bash",
        *asked,
        "#SBATCH --requeue",
        "# One task would be given one processor and its share of memory: these two ask for whole nodes.",
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        "set -euo pipefail",
        f"export {PATIENCE[0]}={PATIENCE[1]}",
        'read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")',
        f"port=$(({PORTS[0]} + SLURM_JOB_ID % {PORTS[1]}))",
        " ".join([*words, *meets, "--module", "pretune", shlex.join(arguments)]),
    ]
    return "\n".join(lines) + "\n"


def kubernetes(name: str, arguments: list[str], *, nodes: int, gpus: int, image: str, claim: str) -> list[Json]:
    """A headless Service and an Indexed Job.

    Args:
        gpus: of a pod; image: with pretune in it; claim: the PersistentVolumeClaim that is mounted at /data, where the
            commands run.
    """
    labels = {"job-name": name}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": labels, "publishNotReadyAddresses": True},
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": nodes,
            "parallelism": nodes,
            "completionMode": "Indexed",
            "backoffLimit": TRIES * nodes,
            "template": {"spec": _pod(name, arguments, nodes=nodes, gpus=gpus, image=image, claim=claim)},
        },
    }
    return [service, job]


def _pod(name: str, arguments: list[str], *, nodes: int, gpus: int, image: str, claim: str) -> Json:
    meets = [f"--master-addr={name}-0.{name}", f"--master-port={PORT}", "--node-rank=$(JOB_COMPLETION_INDEX)"]
    command = [*TORCHRUN, f"--nnodes={nodes}", f"--nproc-per-node={gpus or 1}", *meets, "--module", "pretune"]
    limits: Json = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "shm", "mountPath": "/dev/shm"}]
    container = {
        "name": "pretune",
        "image": image,
        "workingDir": "/data",
        # Kubernetes puts variables in for $(NAME); a user's words are no such thing.
        "command": [*command, *(word.replace("$(", "$$(") for word in arguments)],
        "env": [{"name": PATIENCE[0], "value": PATIENCE[1]}],
        **limits,
        "volumeMounts": mounts,
    }
    return {
        "subdomain": name,
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": SECONDS_TO_SAVE,
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},  # the kernel gives a pod 64 MB, and NCCL wants more
        ],
    }


def in_mount(recipe: str) -> str:
    """The path of a recipe in a pod, where the folder of this process is mounted at /data. Raises BadCommand."""
    found = Path(os.path.relpath(recipe)).as_posix()
    if found.startswith("../"):
        hint = "type the command in the folder that is mounted there, with the recipe and its data in it"
        raise BadCommand(f"{recipe!r} is not in this folder, and a pod sees only what is mounted at /data", hint=hint)
    return found


def job_name(recipe: str) -> str:
    """A name that Kubernetes takes for a Service: small letters, digits and dashes, a letter first, 40 at most."""
    plain = re.sub(r"[^a-z0-9]+", "-", Path(recipe).stem.lower()).strip("-")
    return f"pretune-{plain}"[:40].strip("-")


def as_yaml(documents: list[Json]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    def plain(representer: Any, word: str) -> Any:
        quoted = '"' if word.lower() in OTHERWISE_READ else None
        return representer.represent_scalar("tag:yaml.org,2002:str", word, style=quoted)

    class Representer(SafeRepresenter):
        """One of our own: ruamel keeps those of its classes for all."""

    Representer.add_representer(str, plain)
    yaml, text = YAML(typ="safe", pure=True), StringIO()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump_all(documents, text)
    return text.getvalue()


@click.command()
@click.argument("recipe", type=click.Path())
@click.argument("settings", nargs=-1)
@click.option("--slurm", "scheduler", flag_value="slurm", help="Write an sbatch script.")
@click.option("--kubernetes", "scheduler", flag_value="kubernetes", help="Write a Service and an Indexed Job.")
@click.option("--nodes", type=click.IntRange(1), required=True, help="Machines.")
@click.option("--gpus-per-node", "gpus", type=click.IntRange(0), default=0, help="GPUs of each; a process for each.")
@click.option(
    "--minutes", type=click.IntRange(1), help="Slurm: after which the job saves and ends; sbatch it again to go on."
)
@click.option("--image", default=IMAGE, show_default=True, help="Kubernetes: the image, with pretune in it.")
@click.option("--claim", default=CLAIM, show_default=True, help="Kubernetes: the volume claim with recipe and data.")
@click.option("--out", type=click.Path(), help="The file; next to the recipe by default.")
@click.option("--size", help="Take the overrides of this name under `sizes`.")
@common
def launch(
    recipe: str,
    settings: tuple[str, ...],
    scheduler: str | None,
    nodes: int,
    gpus: int,
    minutes: int | None,
    image: str,
    claim: str,
    out: str | None,
    size: str | None,
    as_json: bool,
    quiet: bool,
    rehash: bool,
) -> None:
    """Write the file that starts a recipe on several machines."""
    take_flags(rehash)
    from pretune.base.recipe import Recipe

    if scheduler is None:
        raise click.UsageError("say which: --slurm or --kubernetes")
    checked = Recipe.read(recipe, checked_settings(settings), size)  # what is wrong is told here, not in an hour
    for stage in checked.stages.values():
        stage.check_ranks(nodes * max(1, gpus))
    there = in_mount(recipe) if scheduler == "kubernetes" else recipe
    arguments, name = ["run", there, *settings, *(["--size", size] if size else [])], job_name(recipe)
    if scheduler == "slurm":
        text, end, then = slurm(name, arguments, nodes=nodes, gpus=gpus, minutes=minutes), "sbatch", "sbatch"
    else:
        text = as_yaml(kubernetes(name, arguments, nodes=nodes, gpus=gpus, image=image, claim=claim))
        end, then = "k8s.yaml", "kubectl apply -f"
    path = Path(out) if out else Path(recipe).with_suffix(f".{end}")
    path.write_text(text, encoding="utf-8", newline="\n")
    if as_json:
        print_json({"file": path.as_posix(), "start": f"{then} {path.as_posix()}"})
    elif not quiet:
        click.echo(f"written: {path.as_posix()}\nnext:    {then} {shlex.quote(path.as_posix())}", file=sys.stdout)
