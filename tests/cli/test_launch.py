"""Files for Slurm and Kubernetes: what their readers read in them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pretune.cli import main
from pretune.cli.launch import launch, listening, taken_over
from pretune.cli.launching import SECONDS_TO_SAVE, as_yaml, job_name, kubernetes, slurm

RECIPE = """
work: runs/x
stages:
  base: {kind: pretrain, tokens: tokens, batch: 32, steps: 3}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "Support ZH.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def launched(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["launch", *arguments])
    return int(left.value.code or 0)


def test_the_sbatch_script_is_bash_and_starts_a_process_for_each_gpu(recipe: Path) -> None:
    assert launched(str(recipe), "base.steps=9", "--slurm", "--nodes", "4", "--gpus-per-node", "8") == 0
    path = recipe.with_suffix(".sbatch")
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    lines = path.read_text(encoding="utf-8").splitlines()
    asked = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH"))
    assert asked["nodes"] == "4"
    assert asked["ntasks-per-node"] == "1", "torchrun starts the processes of a node"
    assert asked["gpus-per-node"] == "8"
    assert asked["signal"].startswith("TERM@"), "before the end of its time the run saves"
    assert (asked["mem"], "exclusive" in asked) == ("0", True), "one task is one processor otherwise"
    assert lines.index("set -euo pipefail") > max(k for k, line in enumerate(lines) if line.startswith("#SBATCH"))
    words = shlex.split(lines[-1])
    assert words[0] == "srun"
    assert {"pretune.cli.torchrun", "--nproc-per-node=8", "--rdzv-backend=c10d"} <= {*words}
    assert words[words.index("--module") :] == ["--module", "pretune", "run", str(recipe), "base.steps=9"]


def test_torchrun_takes_the_words_of_both_files() -> None:
    from torch.distributed.run import parse_args

    script = slurm("x", ["run", "a.yaml"], nodes=2, gpus=4).splitlines()[-1]
    words = shlex.split(
        script.replace("$SLURM_NNODES", "2").replace("$SLURM_JOB_ID", "7").replace("$first:$port", "n1:29500")
    )
    found = parse_args(words[words.index("pretune.cli.torchrun") + 1 :])
    assert (found.nnodes, found.nproc_per_node, found.rdzv_endpoint) == ("2", "4", "n1:29500")
    assert (found.module, found.training_script, found.training_script_args) == (True, "pretune", ["run", "a.yaml"])
    job = kubernetes("x", ["run", "a.yaml"], nodes=2, gpus=4, image="i", claim="c")[1]
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[:3] == ["python", "-m", "pretune.cli.torchrun"]
    found = parse_args([word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in command[3:]])
    assert (found.nnodes, found.node_rank, found.master_addr) == ("2", 1, "x-0.x")
    assert found.training_script_args == ["run", "a.yaml"]


def test_the_script_passes_its_words_on_as_they_are_and_meets_at_the_first_of_many_nodes(tmp_path: Path) -> None:
    """With commands that say what they are given in the place of Slurm's, and a list of nodes larger than a pipe."""
    words = ["run", "my recipes/it's 中文.yaml", 'base.name=$(touch trap) `x` "q"', "--size", "two\nlines"]
    (tmp_path / "scontrol").write_text("#!/bin/sh\nseq -f node%06.0f 20000\n", encoding="utf-8")
    show = "#!/bin/sh\nprintenv TORCH_ELASTIC_SHUTDOWN_TIMEOUT\nprintf '%s\\0' \"$@\"\n"
    (tmp_path / "srun").write_text(show, encoding="utf-8")
    for name in ("scontrol", "srun"):
        (tmp_path / name).chmod(0o755)
    place = {"SLURM_JOB_NODELIST": "node[000001-020000]", "SLURM_JOB_ID": "1234567", "SLURM_NNODES": "2"}
    done = subprocess.run(
        ["bash", "-c", slurm("x", words, nodes=2, gpus=4)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **place}, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    seconds, told = done.stdout.split("\n", 1)
    assert 30 < int(seconds) < SECONDS_TO_SAVE, "torchrun's own patience is 30 seconds"
    found = told.split("\0")[:-1]
    assert found[found.index("pretune") + 1 :] == words
    assert {"--rdzv-endpoint=node000001:24567", "--nnodes=2", "--rdzv-id=1234567"} <= {*found}
    assert not (tmp_path / "trap").exists()


def test_words_that_kubectl_would_read_otherwise_are_strings() -> None:
    words = ["run", "$(HOME).yaml", "--size", "no", "on", "Yes", "012", "1.5", "true", "null", "base.a=[1, 2]"]
    _, job = kubernetes("x", words, nodes=3, gpus=0, image="i", claim="c")
    (found,) = YAML(typ="safe", pure=True).load_all("%YAML 1.1\n---\n" + as_yaml([job]))  # as kubectl reads it
    container = found["spec"]["template"]["spec"]["containers"][0]
    given = container["command"][container["command"].index("pretune") + 1 :]
    assert given == ["run", "$$(HOME).yaml", *words[2:]]
    assert container["env"] == [{"name": "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "value": "100"}]
    assert found["spec"]["backoffLimit"] == 18, "three pods fail together"


def test_the_pods_of_the_job_find_the_first_one_by_the_headless_service(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "job.yaml"
    asked = ("--kubernetes", "--nodes", "2", "--gpus-per-node", "4", "--image", "me/pretune:1", "--out", str(out))
    assert launched(str(recipe), *asked) == 0
    service, job = YAML(typ="safe").load_all(out.read_text(encoding="utf-8"))
    spec: dict[str, Any] = job["spec"]
    pod, name = spec["template"]["spec"], service["metadata"]["name"]
    assert (service["apiVersion"], job["apiVersion"]) == ("v1", "batch/v1")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}, "the label that a Job gives its pods"
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    assert pod["subdomain"] == name
    (container,) = pod["containers"]
    assert container["command"][-2:] == ["run", "Support ZH.yaml"], "as the folder is mounted, not as it lies here"
    assert f"--master-addr={job['metadata']['name']}-0.{name}" in container["command"], "hostname of index 0"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 4}
    assert container["image"] == "me/pretune:1"
    assert pod["restartPolicy"] in ("OnFailure", "Never"), "a Job takes no other"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_a_recipe_that_no_pod_would_see_is_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (recipe.parent / "deeper").mkdir()
    monkeypatch.chdir(recipe.parent / "deeper")
    for written in (str(recipe), "../Support ZH.yaml"):
        assert launched(written, "--kubernetes", "--nodes", "2") == 2
        assert "is not in this folder, and a pod sees only what is mounted at /data" in capsys.readouterr().err
    assert not recipe.with_suffix(".k8s.yaml").exists()


def test_sigusr1_to_torchrun_reaches_the_ranks_that_listen_and_ends_nobody(tmp_path: Path) -> None:
    """Ranks are shells: one listens, and one does not yet."""
    rank = """
        [ $RANK = 1 ] || trap 'touch saved' USR1
        touch ready-$RANK
        while [ ! -e saved ]; do sleep 0.05; done
    """
    words = ("--standalone", "--nproc-per-node", "2", "--no-python", "bash", "-c", rank)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    started = subprocess.Popen([sys.executable, "-m", "pretune.cli.torchrun", *words], cwd=tmp_path, env=env)
    while not all((tmp_path / f"ready-{k}").exists() for k in (0, 1)):
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGUSR1)
    assert started.wait(timeout=120) == 0
    assert (tmp_path / "saved").exists()


def test_sigterm_while_ranks_are_started_ends_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks: list[subprocess.Popen[bytes]] = []

    def start(rank: int, *more: object) -> subprocess.Popen[bytes]:
        ranks.append(subprocess.Popen(["sleep", "60"]))
        if rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # before anybody knows of this rank
        return ranks[-1]

    monkeypatch.setitem(launch.__globals__, "_start", start)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert launch(3, []) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert [rank.wait(timeout=10) for rank in ranks] == [-signal.SIGTERM] * 3


def test_whoever_wants_the_port_before_rank_0_has_it_does_not_get_it() -> None:
    with listening("127.0.0.1") as meeting, socket.socket() as other:
        with pytest.raises(OSError):
            other.bind(meeting.getsockname())
        env, files = taken_over(meeting)
        store = "import os, socket; s = socket.socket(fileno=int(os.environ['PRETUNE_STORE_FILE'])); s.accept()"
        rank = subprocess.Popen([sys.executable, "-c", store], env={**os.environ, **env}, pass_fds=files)
        place = meeting.getsockname()
        meeting.close()
        socket.create_connection(place, timeout=30).close()
        assert rank.wait(timeout=30) == 0


def test_a_batch_that_the_processes_cannot_share_is_told_before_a_file_is_written(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launched(str(recipe), "--slurm", "--nodes", "3", "--gpus-per-node", "8") == 2
    assert "32 rows cannot be dealt evenly to 24 processes" in capsys.readouterr().err
    assert not recipe.with_suffix(".sbatch").exists()


def test_gpus_that_are_none_are_refused_also_where_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.yaml"
    path.write_text("stages:\n  corpus: {kind: corpus, read: [text]}\n", encoding="utf-8")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("你好 🙂 a line", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["plan", str(path), "--gpus", "0x80GB"])
    assert left.value.code == 2
    assert "asks for no GPU" in capsys.readouterr().err


def test_names_are_those_that_kubernetes_takes() -> None:
    assert job_name("runs/Support ZH.yaml") == "pretune-support-zh"
    assert job_name("退款.yaml") == "pretune"
    assert len(job_name("a" * 100 + ".yaml")) <= 40
