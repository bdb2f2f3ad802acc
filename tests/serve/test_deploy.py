"""The files that run a server say what the command takes, and keep what they promise (deploy/try runs the image's steps)."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pretune.cli.models import serve
from pretune.serve.keys import OPEN
from pretune.serve.requests import Limits

DEPLOY = Path(__file__).parents[2] / "deploy"


def trees(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text(encoding="utf-8")))


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def commands() -> dict[str, list[str]]:
    (pod,) = [tree["spec"]["template"]["spec"] for tree in trees("kubernetes.yaml") if tree["kind"] == "Deployment"]
    started = re.search(r"^ExecStart=\S+ serve (.*)$", text("pretune.service"), re.M)
    image = re.search(r"^CMD (\[.*\])$", text("Dockerfile"), re.M)
    assert started and image
    return {
        "systemd": shlex.split(started[1]),
        "image": json.loads(image[1]),
        "compose": trees("compose.yaml")[0]["services"]["pretune"]["command"],
        "kubernetes": pod["containers"][0]["args"],
    }


@pytest.mark.parametrize("file", ["systemd", "image", "compose", "kubernetes"])
def test_a_server_is_started_as_the_command_takes_it_with_keys_and_log(file: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a", encoding="utf-8")
    given = [str(keys) if word.endswith("/keys") else word for word in commands()[file]]
    found = serve.make_context("serve", given).params
    assert found["api_key_file"] == str(keys) and found["log_lines"] and len(found["models"]) == 1
    assert found["host"] == ("127.0.0.1" if file == "systemd" else "0.0.0.0")


def test_nothing_runs_as_root_or_writes_and_the_probes_are_routes_without_a_key() -> None:
    deployment = trees("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    (container,) = deployment["containers"]
    service = trees("compose.yaml")[0]["services"]["pretune"]
    assert deployment["securityContext"]["runAsNonRoot"] and "USER 10001:10001" in text("Dockerfile")
    assert container["securityContext"]["readOnlyRootFilesystem"] and service["read_only"]
    assert container["securityContext"]["capabilities"]["drop"] == service["cap_drop"] == ["ALL"]
    assert {"memory", "cpu"} <= set(container["resources"]["limits"]) and service["mem_limit"]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert set(probes) == set(OPEN)


def test_who_stops_it_waits_as_long_as_an_answer_may_take() -> None:
    longest = Limits().max_seconds
    pod = trees("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > longest
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", text("pretune.service"), re.M)[0]) > longest
    assert trees("compose.yaml")[0]["services"]["pretune"]["stop_grace_period"] == f"{longest // 60 + 1}m"


def test_the_image_is_installed_as_it_is_tried_and_without_torch() -> None:
    assert "RUN deploy/install " in text("Dockerfile") and 'deploy/install "$venv"' in text("try")
    wanted = [line for line in text("requirements.txt").splitlines() if not line.startswith("#")]
    assert "onnxruntime" in wanted and not {"torch", "transformers", "peft"} & set(wanted)


def test_systemd_finds_no_mistake_but_that_nothing_is_installed_here() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "verify", str(DEPLOY / "pretune.service")]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False).stderr
    assert [line for line in told.splitlines() if "is not executable" not in line] == []


def test_the_training_image_is_installed_as_it_is_tried_and_nothing_runs_as_root() -> None:
    image, tried = text("Dockerfile.train"), text("try-train")
    assert "deploy/install /opt/pretune train" in image and 'deploy/install "$venv" train' in tried
    assert re.search(r"^USER 10001:10001$", image, re.M) and "--reuid 10001 --regid 10001" in tried
    assert image.index("COPY --from=build") < image.index("USER 10001")
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.M)
    root = DEPLOY.parent
    assert all((root / name).exists() for line in copied for name in line.split())
    extras = re.search(r'"\.\[(.*?)\]"', text("install"))
    known = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras and set(extras[1].split(",")) <= known.keys()
