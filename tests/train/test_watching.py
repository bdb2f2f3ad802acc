"""What a run is watched by: its bits stay the same, its texts are the model's own, sources are told apart."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.base.artifact import Artifact, Card
from pretune.base.errors import Stopped, UserError
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.report.training import charts, series_of
from pretune.train.loop.meters import Meters, Package
from pretune.train.watch.diagnosis.reading import Run
from pretune.train.watch.page import verdict_of
from tests.train.test_track import of_file, read_back

SHAPE = {"kind": "qwen3", "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "head_width": 16, "hidden": 48}
RUN = {
    "kind": "pretrain",
    "model": SHAPE,
    "length": 64,
    "batch": 4,
    "steps": 8,
    "micro_batch": 2,
    "precision": "bfloat16",
}


def recipe(folder: Path, **settings: Any) -> Recipe:
    for name, animal in (("a", "foxes"), ("b", "geese")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(6):
            lines = [f"The {i + k} {animal} jump over {k * i} dogs. 第{k}只跳过了{i}只懒狗 🙂" for k in range(6)]
            (folder / name / f"{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    read = {name: [str(folder / name)] for name in ("a", "b")}
    stages = {
        "corpus": {"kind": "corpus", "read": read, "validation": 0.4},
        "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 300},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$tokenizer"},
        "base": {**RUN, "tokens": "$tokens", **settings},
    }
    return Recipe.build({"work": str(folder / "runs"), "stages": stages})


def made(folder: Path, **settings: Any) -> Artifact:
    return recipe(folder, **settings).run(log=Log(quiet=True))["base"]


def sha256(artifact: Artifact) -> str:
    return hashlib.sha256((artifact.path / "model.safetensors").read_bytes()).hexdigest()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    """A run that is looked at every second step, that writes, and that TensorBoard follows."""
    folder = tmp_path_factory.mktemp("watched")
    return folder, made(folder, evaluate_every=2, track=["tensorboard"])


def test_a_run_that_is_watched_has_the_bits_of_one_that_is_not(watched: tuple[Path, Artifact], tmp_path: Path) -> None:
    left_alone = made(tmp_path, evaluate_every=100, prompts=[])
    assert not (left_alone.path / "samples.jsonl").exists()
    assert sha256(watched[1]) == sha256(left_alone)


def test_what_follows_the_run_has_every_number_of_it(watched: tuple[Path, Artifact]) -> None:
    folder, model = watched
    found = read_back("tensorboard", folder / f"runs/base.track/tensorboard/base@{model.card.key[:8]}")
    wanted = of_file(model.path / "metrics.jsonl")
    assert [point[:2] for point in sorted(found)] == [point[:2] for point in sorted(wanted)]
    assert [v for *_, v in sorted(found)] == pytest.approx([v for *_, v in sorted(wanted)], rel=1e-6)


def test_a_run_that_was_stopped_notes_nothing_twice_and_ends_with_the_same_bits(
    watched: tuple[Path, Artifact], tmp_path: Path
) -> None:
    started = recipe(tmp_path, evaluate_every=2)
    asked = iter(range(100))
    with pytest.raises(Stopped):
        started.run(log=Log(quiet=True), stopping=lambda gently: lambda: gently and next(asked) > 3)
    for name in ("samples.jsonl", "metrics.jsonl"):  # what was noted after the checkpoint, cut by the crash
        with (tmp_path / "runs/base.scratch" / name).open("a", encoding="utf-8") as file:
            file.write('{"step": 7, "prompt": "x"}\n{"step": 8, "pro')
    again = started.run(log=Log(quiet=True))["base"]
    assert sha256(again) == sha256(watched[1])
    for name in ("samples.jsonl", "metrics.jsonl"):
        found, wanted = lines_of(again.path / name), lines_of(watched[1].path / name)
        assert [p["step"] for p in found] == [p["step"] for p in wanted]
    assert lines_of(again.path / "samples.jsonl") == lines_of(watched[1].path / "samples.jsonl")


def test_a_run_that_was_ended_behind_its_last_step_notes_its_last_look_once(
    watched: tuple[Path, Artifact], tmp_path: Path
) -> None:
    started = recipe(tmp_path, evaluate_every=2, save_every=8)
    (tmp_path / "runs").mkdir(exist_ok=True)
    block = tmp_path / "runs/base"
    block.write_text("in the way of the finished artifact", encoding="utf-8")
    with pytest.raises(UserError):
        started.run(log=Log(quiet=True))
    block.unlink()
    shutil.rmtree(tmp_path / "runs/base.scratch/payload")  # as if it had been ended while the payload was written
    again = started.run(log=Log(quiet=True))["base"]
    for name in ("samples.jsonl", "metrics.jsonl"):
        found, wanted = lines_of(again.path / name), lines_of(watched[1].path / name)
        assert [p["step"] for p in found] == [p["step"] for p in wanted]
    assert sha256(again) == sha256(watched[1])


def test_the_last_texts_are_what_the_saved_model_writes(watched: tuple[Path, Artifact]) -> None:
    from pretune.infer.sampling import Sampling
    from pretune.model.generate import open_folder

    model: Any = open_folder(watched[1].path)
    last = [one for one in lines_of(watched[1].path / "samples.jsonl") if one["step"] == 8]
    assert len(last) == 2
    for one in last:
        assert model.complete(one["prompt"], Sampling(max_tokens=40)).text == one["text"]


def test_prompts_are_gone_on_with_as_they_were_given(tmp_path: Path) -> None:
    model = made(tmp_path, prompts=["The 3", "第"], steps=1)
    assert [one["prompt"] for one in lines_of(model.path / "samples.jsonl")] == ["The 3", "第"]


def test_the_loss_of_a_source_is_that_of_its_documents_alone(watched: tuple[Path, Artifact]) -> None:
    from pretune.evaluate.perplexity import byte_counts, score_store
    from pretune.model.generate import open_folder
    from pretune.tokens.store.store import Store
    from pretune.train.loop.sources import some_of, sources_of

    folder, model = watched
    found = model.card.metrics["validation_loss_by_source"]
    assert sorted(found) == ["a", "b"]
    tokens, language = folder / "runs/tokens", open_folder(model.path)
    store, sizes = Store.open(tokens, "validation"), byte_counts(tokens, "validation")
    for source, numbers in sources_of(tokens).items():
        whole = some_of(store, tokens, numbers, store.num_tokens)
        assert whole.num_bytes == sizes[numbers].sum()
        score = score_store(language.decoder.model, whole, 64, num_bytes=np.asarray(sizes[numbers]))  # type: ignore[union-attr]
        assert score.nats_per_token == pytest.approx(found[source], rel=1e-5)
        told = model.card.metrics["validation_bits_per_byte_by_source"][source]
        assert score.bits_per_byte == pytest.approx(told, rel=1e-5)


def test_the_last_validation_reads_as_many_rows_of_the_sources_as_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretune.train.watch import watching

    asked, score = list[int](), watching.loss_over

    def counted(model: Any, objective: Any, rows: Any, *rest: Any, **named: Any) -> Any:
        asked.append(len(rows))
        return score(model, objective, rows, *rest, **named)

    monkeypatch.setattr(watching, "loss_over", counted)
    made(tmp_path, length=4, steps=2, evaluate_every=1, prompts=[])
    between, last = asked[:3], asked[3:]  # the whole, then its two sources
    assert between == [8, 4, 4], "what a step may cost; of long runs 48"
    assert last == [128, 64, 64]


def test_memory_and_waiting_are_noted_with_every_point(watched: tuple[Path, Artifact]) -> None:
    (last,) = [p for p in lines_of(watched[1].path / "metrics.jsonl") if "loss" in p and p["step"] == 8]
    assert 0 <= last["data_wait"] < 1
    assert 1e8 < last["memory_bytes"] < 1e11
    assert last["peak_memory_bytes"] > 1e8
    assert watched[1].card.metrics["tokens_per_second"] > 0


# ---- energy --------------------------------------------------------------------------------------


def powercap(folder: Path, microjoules: int) -> Path:
    """One processor package, with the part of it that would be counted twice."""
    for name in ("intel-rapl:0", "intel-rapl:0:0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "max_energy_range_uj").write_text("1000000000\n", encoding="ascii")
        (folder / name / "energy_uj").write_text(f"{microjoules}\n", encoding="ascii")
    return folder


def test_energy_is_that_of_whole_packages_and_survives_the_end_of_the_counter(tmp_path: Path) -> None:
    meters = Meters.start(powercap(tmp_path, 999_000_000))
    powercap(tmp_path, 2_000_000)  # began again: 1 J to the end of 1,000 J, 2 J since
    assert meters.read()["energy_joules"] == 3.0
    powercap(tmp_path, 5_000_000)
    assert meters.read()["energy_joules"] == 6.0


def test_a_counter_that_may_not_be_read_is_absent(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    assert "energy_joules" not in Meters.start(tmp_path).read()
    with pytest.raises(OSError, match="energy_uj"):
        Package(tmp_path / "intel-rapl:0", 1).read()


# ---- the verdict ---------------------------------------------------------------------------------


def verdict_on(losses: list[float], validation: list[float]) -> tuple[str, str]:
    steps = range(10, 10 * len(losses) + 1, 10)
    points = [{"step": k, "loss": a, "validation_loss": b} for k, a, b in zip(steps, losses, validation, strict=True)]
    metrics = {"steps": steps[-1], "tokens": 1000, "parameters": 1000}
    return verdict_of(Run("base", Card("model", "", "", "pretrain", metrics=metrics), points, None))


def test_a_run_says_first_whether_it_learnt_and_whether_its_loss_is_normal() -> None:
    falling = [8.0, 5.0, 4.0, 3.5, 3.4]
    said = "It learnt: the loss went from 8.00 to 3.40 nats per target; nothing is wrong with it."
    assert verdict_on(falling, [4.2, 4.0, 3.7, 3.6, 3.5]) == (said, "good")
    said, mood = verdict_on(falling, [8.0, 7.0, 4.9, 4.0, 3.0])
    assert "; not normal: under-fit, the loss still fell by" in said and mood == "bad"
    said, mood = verdict_on([3.0, 3.1, 3.2, 3.4, 3.8], [4.2, 4.0, 3.9, 3.9, 3.8])
    assert said.startswith("It did not learn: the loss went from 3.00 to 3.80") and mood == "bad"
    assert verdict_on([3.0], [3.0]) == ("Too few steps were logged to say whether it learnt.", "")


# ---- the page ------------------------------------------------------------------------------------


def test_the_page_draws_every_curve_that_was_logged_and_what_the_model_wrote(watched: tuple[Path, Artifact]) -> None:
    page = (watched[1].path / "curves.html").read_text(encoding="utf-8")
    for title in ("Loss", "Loss by source", "Bits per byte"):
        assert f"<figcaption>{title}</figcaption>" in page
    assert "<h2>What it wrote</h2>" in page and "Too few steps" in page
    assert "curves.html" in watched[1].card.notes
    assert "curves.html" not in watched[1].card.files


def test_a_block_of_numbers_is_a_curve_each_and_text_is_left_out() -> None:
    points = [
        {"step": 1, "by": {"a": 1.0, "b": "nan"}, "loss": "nan"},
        {"step": 2, "by": {"a": 2.0, "b": 4.0}, "loss": 3},
    ]
    assert series_of(points, {"by/": ""}) == {"a": [(1, 1.0), (2, 2.0)], "b": [(2, 4.0)]}
    assert series_of(points, {"loss": "training"}) == {"training": [(2, 3)]}
    norms = [{"step": 1, "gradient_norm": 5.0, "gradient_norm_head": 3.0}]
    drawn = series_of(norms, {"gradient_norm": "all", "gradient_norm_": ""})
    assert drawn == {"all": [(1, 5.0)], "head": [(1, 3.0)]}
    assert charts(points[:1]) == []
