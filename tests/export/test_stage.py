"""The stage through a recipe: what lies in the bundle, and that it runs without us."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from pretune.base.errors import NoParity, NotSupported, WrongValue
from pretune.export.exporter import Exporter, Job, Proof
from pretune.infer.load import open_bundle
from pretune.model.generate import open_folder
from pretune.testing.folders import build

FEW = {"kind": "onnx", "prompts": 3, "tokens": 6}


def test_a_bundle_runs_on_plain_onnxruntime_with_the_logits_of_plain_transformers(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_folder("qwen3")
    bundle = stage_run("export", model=str(folder), to=[FEW]).path
    facts = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["formats"]["onnx"]
    session = onnxruntime.InferenceSession(str(bundle / "onnx" / facts["graph"]), providers=["CPUExecutionProvider"])
    ids = np.array([[7, 8, 9, 10]], dtype=np.int64)
    empty = np.zeros((1, facts["num_kv_heads"], 0, facts["head_dim"]), np.float32)
    inputs = {n: empty for n in facts["inputs"] if n.startswith("past")}
    inputs |= {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(4)[None]}
    ours = session.run(["logits"], inputs)[0][:, -1]
    with torch.inference_mode():
        theirs = AutoModelForCausalLM.from_pretrained(folder)(torch.from_numpy(ids)).logits[:, -1].numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_same_model_gives_the_same_bundle(model_folder: Callable[..., Path], stage_run: Callable[..., Any]) -> None:
    folder = str(model_folder("qwen3", chat=True))
    one, two = (stage_run("export", name, model=folder, to=[FEW]) for name in ("one", "two"))
    assert one.card.files == two.card.files
    assert set(one.card.files) >= {
        "bundle.json",
        "parity.json",
        "onnx/model.onnx",
        "tokenizer.json",
        "chat_template.jinja",
    }


@pytest.mark.parametrize("kind", ["qwen3-labels", "gpt2-labels", "bert-labels"])
def test_a_classifier_is_compared_on_the_whole_test_split_and_gives_the_same_labels(
    kind: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    texts = {
        name: [f"{name} {i} the cat 你好" for i in range(n)] for name, n in (("train", 4), ("dev", 2), ("test", 17))
    }
    (tmp_path / "data").mkdir()
    for name, lines in texts.items():
        rows = [{"text": t, "label": ["坏", "so-so", "good"][i % 3]} for i, t in enumerate(lines)]
        (tmp_path / "data" / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    folder = model_folder(kind)
    stages = {
        "data": {"kind": "dataset", "read": [str(tmp_path / "data")]},
        "served": {"kind": "export", "model": str(folder), "data": "$data"},
    }
    made = Recipe.build({"work": str(tmp_path / "work"), "stages": stages}).run(log=Log(quiet=True))["served"]
    told = json.loads((made.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert (told["texts"], told["different"], told["is_same"]) == (17, 0, True)
    bundle, model = open_bundle(made.path), open_folder(folder)
    assert bundle.facts.labels == ("坏", "so-so", "good")
    assert [a.name for a in bundle.answer(texts["test"])] == [a.name for a in model.answer(texts["test"])]


def test_a_bundle_is_served_without_importing_torch(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    bundle = stage_run("export", model=str(model_folder("bert-labels")), to=[FEW]).path
    code = "import sys; from pretune.infer.load import open_model; print(open_model(sys.argv[1]).answer(['the cat'])[0].name); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        env={"PYTHONUTF8": "1", "PATH": ""},
    )
    assert done.stdout.strip() in ("坏", "so-so", "good")


def test_an_export_that_differs_writes_no_artifact(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(NoParity):
        stage_run("export", model=str(model_folder("qwen3")), to=[{**FEW, "max_logit_difference": 1e-12}])
    assert not (tmp_path / "work" / "made").exists()


def test_an_int8_folder_becomes_a_small_graph_with_its_own_answers(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    folder = model_folder("qwen3")
    small = stage_run("compress", "small", model=str(folder))
    whole, stored = (stage_run("export", n, model=str(p), to=[FEW]) for n, p in (("a", folder), ("b", small.path)))
    sizes = [(a.path / "onnx" / "model.onnx").stat().st_size for a in (whole, stored)]
    assert sizes[1] < 0.6 * sizes[0]  # at width 32 the nodes themselves weigh much; 26.1 of 103.4 MB at width 512
    assert json.loads((stored.path / "parity.json").read_text(encoding="utf-8"))["onnx"]["different"] == 0
    prompts = [[9, 8, 7], [100, 50]]
    assert open_bundle(stored.path).generate_many(prompts, 8) == open_folder(small.path).generate_many(prompts, 8)


def test_dynamic_int8_is_judged_by_agreement_and_says_its_threshold(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    dynamic = {**FEW, "precision": "dynamic", "min_agreement": 0.5}
    made = stage_run("export", model=str(model_folder("bert-labels")), to=[dynamic])
    told = json.loads((made.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert told["thresholds"] == {"logit_difference": None, "agreement": 0.5}
    assert 1e-6 < told["max_logit_difference"] < 0.5


def test_weights_that_left_their_int8_grid_are_named(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any], tmp_path: Path
) -> None:
    from pretune.base.errors import BadFile

    small = stage_run("compress", "small", model=str(model_folder("qwen3"))).path
    moved = model_folder("qwen3", chat=True)
    (moved / "int8-scales.safetensors").write_bytes((small / "int8-scales.safetensors").read_bytes())
    with pytest.raises(BadFile, match=r"does not lie on the int8 grid"):
        stage_run("export", model=str(moved), to=[FEW])


def test_an_encoder_of_another_family_is_traced_without_paths_and_with_its_mask(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(5)
    config = DistilBertConfig(vocab_size=300, dim=32, hidden_dim=48, n_layers=1, n_heads=2, initializer_range=0.3)
    folder = model_folder("distilbert", model=DistilBertForSequenceClassification(config).eval())
    made = stage_run("export", model=str(folder))
    told = json.loads((made.path / "parity.json").read_text(encoding="utf-8"))["onnx"]
    assert (told["texts"], told["different"]) == (20, 0)  # of twenty lengths, padded together
    assert b"site-packages" not in (made.path / "onnx" / "model.onnx").read_bytes()
    with pytest.raises(NotSupported, match="precision=dynamic is not written for distilbert"):
        stage_run("export", "fast", model=str(folder), to=[{"kind": "onnx", "precision": "dynamic"}])


def test_a_model_in_memory_is_left_as_it_is_by_a_dynamic_export(model_folder: Callable[..., Path]) -> None:
    from pretune.export.onnx_bundle import rounded_copy

    model = build("gpt2")
    before = {n: p.clone() for n, p in model.state_dict().items()}
    rounded, _ = rounded_copy(model)
    assert all(torch.equal(p, before[n]) for n, p in model.state_dict().items())
    assert not torch.equal(rounded.state_dict()["transformer.wte.weight"], before["transformer.wte.weight"])


def test_one_format_twice_is_refused_before_any_work(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    with pytest.raises(WrongValue, match="`to` names onnx twice"):
        stage_run("export", model=str(model_folder("qwen3")), to=[FEW, {**FEW, "precision": "dynamic"}])


class Copy(Exporter):
    """A format of the tests': the model's config, and a limit that refuses it."""

    refuses: bool = False

    def write(self, job: Job) -> dict[str, Any]:
        (job.out / "config.json").write_bytes((job.source / "config.json").read_bytes())
        return {"file": "config.json"}

    def prove(self, job: Job) -> Proof:
        shared = json.loads((job.out.parent / "bundle.json").read_text(encoding="utf-8"))
        assert list(shared["formats"]) == ["copy"], "proven alone, in a whole bundle"
        if self.refuses:
            raise NoParity("the copy is no copy")
        return Proof({"is_same": True}, {"bytes": 1})


COPY = "tests.export.test_stage:Copy"


@pytest.mark.parametrize("refused", ["onnx", "copy", "neither"])
def test_two_formats_share_a_bundle_and_one_that_is_refused_leaves_the_other_whole(
    refused: str, model_folder: Callable[..., Path], stage_run: Callable[..., Any]
) -> None:
    folder = str(model_folder("qwen3", chat=True))
    onnx = {**FEW, "max_logit_difference": 1e-12 if refused == "onnx" else 1e-3}
    made = stage_run("export", model=folder, to=[onnx, {"kind": COPY, "refuses": refused == "copy"}])
    left = {"onnx": "model.onnx", "copy": "config.json"}
    left.pop(refused, None)
    told, parity = (json.loads((made.path / f"{n}.json").read_text(encoding="utf-8")) for n in ("bundle", "parity"))
    assert set(told["formats"]) == set(parity) == set(left)
    assert {f for f in made.card.files if "/" in f} == {f"{format}/{file}" for format, file in left.items()}
    assert made.card.metrics["refused"] == ([refused] if refused != "neither" else [])
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= set(made.card.files)
    assert (told["format"], told["task"], told["answers"]) == (2, "chat", "text")


def test_an_export_of_which_no_format_is_left_fails_with_the_first_refusal(
    model_folder: Callable[..., Path], stage_run: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(NoParity, match="the export differs"):
        onnx = {**FEW, "max_logit_difference": 1e-12}
        stage_run("export", model=str(model_folder("qwen3")), to=[onnx, {"kind": COPY, "refuses": True}])
    assert not (tmp_path / "work" / "made").exists()
