"""Against forgetting: closed forms, the bits of a resumed run, what is told of what was lost."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from pretune.base.artifact import Artifact
from pretune.base.config import check
from pretune.base.errors import NoTarget, NotSupported, Stopped
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.evaluate.continual import courses
from pretune.infer.answers import Label
from pretune.model.folder import load_labelled
from pretune.model.held import hold_head
from pretune.objective.beside import Beside
from pretune.objective.divergence import apart
from pretune.objective.labels import Labels
from pretune.objective.said_before import SaidBefore
from pretune.task.labelled_data import read_data
from pretune.task.remember.ewc import fisher
from pretune.task.remember.lwf import said
from pretune.task.remember.remember import REMEMBER
from pretune.task.stage import FinetuneStage
from pretune.task.task import TASK
from pretune.testing.folders import write_model
from pretune.testing.worlds import VOCABULARY, labelled_rows, tiny_classifier
from pretune.train.loop.penalty import Penalty
from pretune.train.loop.stream import RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from tests.train.test_resolve import spec as plain_spec

RATE = {"kind": "adamw", "learning_rate": 3e-3}
RUN = {"kind": "finetune", "task": "classify", "precision": "float32", "batch": 8, "max_length": 32, "optim": RATE}
KINDS: dict[str, Any] = {
    "plain": None,
    "replay": {"kind": "replay", "data": ["$moods"], "weight": 0.4},
    "ewc": {"kind": "ewc", "data": ["$moods"], "weight": 1e4, "examples": 6},
    "l2": {"kind": "l2", "weight": 1.0},
    "lwf": {"kind": "lwf", "weight": 8.0},
    "average": {"kind": "average", "data": ["$moods"]},
}


# ---- closed forms --------------------------------------------------------------------------------


def test_a_penalty_is_half_its_weight_times_the_weighted_squared_distance_and_pulls_by_its_gradient() -> None:
    model = nn.Linear(3, 2).double()
    update = Update(model, OPTIM({"kind": "adamw", "learning_rate": 0.1}))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    importance = {"weight": torch.arange(6.0, dtype=torch.float64).view(2, 3)}
    penalty = Penalty(0.3, start, importance)
    model(torch.ones(3, dtype=torch.float64)).sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert penalty.add(update) == 0
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    moved = {name: p.detach() - start[name] for name, p in model.named_parameters()}
    wanted = 0.15 * float((importance["weight"] * moved["weight"] ** 2).sum() + (moved["bias"] ** 2).sum())
    assert penalty.add(update) == pytest.approx(wanted, rel=1e-12)
    for name, p in model.named_parameters():
        pull = 0.3 * importance.get(name, 1.0) * moved[name]
        assert torch.allclose(p.grad - before[name], pull, atol=1e-14, rtol=0)


class Logistic(nn.Module):
    """Logits of a row, from the counts of its tokens."""

    def __init__(self, classes: int):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(classes, VOCABULARY.size, dtype=torch.float64) * 0.1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SequenceClassifierOutput:
        counts_BV = torch.zeros(len(input_ids), VOCABULARY.size, dtype=torch.float64)
        counts_BV.scatter_add_(1, input_ids, attention_mask.double())
        return SequenceClassifierOutput(logits=counts_BV @ self.matrix.T)


def test_the_fisher_of_a_logistic_regression_is_the_mean_of_its_squared_residuals_times_its_squared_inputs() -> None:
    torch.manual_seed(0)
    model, rows = Logistic(3), labelled_rows(5)
    found = fisher(model, Labels(kind="labels"), rows, VOCABULARY, dict(model.named_parameters()))["matrix"]
    x_RV = np.stack([np.bincount(row["ids"], minlength=VOCABULARY.size) for row in rows]).astype(float)
    chances_RC = torch.softmax(torch.from_numpy(x_RV) @ model.matrix.T, -1).detach().numpy()
    residuals_RC = chances_RC - np.eye(3)[[row["label"] for row in rows]]
    wanted = np.einsum("rc,rv->cv", residuals_RC**2, x_RV**2) / len(rows)
    assert np.abs(found.numpy() - wanted).max() < 1e-14


@pytest.mark.parametrize("of", ["label", "labels", "score"])
def test_what_is_kept_has_no_loss_and_no_gradient_at_the_first_step(of: Any) -> None:
    model, objective = tiny_classifier(), SaidBefore(kind="said-before", of=of)
    rows = [{"ids": row["ids"]} for row in labelled_rows(6)]
    kept = [{**row, "said": s.numpy()} for row, s in zip(rows, said(model, rows, VOCABULARY, 4), strict=True)]  # type: ignore[typeddict-item]
    loss = objective.sums(model, objective.collate(kept, VOCABULARY))["loss"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-14)
    assert max(float(p.grad.abs().max()) for p in model.parameters()) < 1e-12


def test_what_is_kept_is_the_divergence_at_the_temperature_times_its_square() -> None:
    then, now = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p, q = (torch.softmax(one / 4, -1) for one in (then, now))
    wanted = 16 * float((p * (p / q).log()).sum())
    assert float(apart(now, then, temperature=4.0)) == pytest.approx(wanted, rel=1e-6)
    p, q = (torch.sigmoid(one / 4) for one in (then, now))
    both = 16 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    assert float(apart(now, then, temperature=4.0, of="labels")) == pytest.approx(float(both), rel=1e-6)  # fmt: skip


def test_of_an_earlier_task_that_is_told_by_its_loss_the_lower_one_is_the_better_average() -> None:
    average = REMEMBER({"kind": "average"})
    nothing: Any = SimpleNamespace(session=None, data=SimpleNamespace(task=SimpleNamespace(better="accuracy")))
    for weight, loss in (("0", 1.0), ("1", 2.0)):
        talk = SimpleNamespace(name="talk", figures=lambda session, loss=loss: {"loss": loss})
        average._watched = [talk]
        found = average._told(nothing, {"loss": 9.0, "accuracy": 0.5})
        assert found == {"task": 0.5, "talk": -loss, "mean": (0.5 - loss) / 2}, weight


def test_an_average_whose_weight_nothing_can_choose_is_refused_before_training() -> None:
    past, data = SimpleNamespace(given=[]), SimpleNamespace(dev_rows=[])
    with pytest.raises(NoTarget, match="chosen on a validation split, and there is none"):
        REMEMBER({"kind": "average"}).start(None, past, data)  # type: ignore[arg-type]


class Named:
    """What was learnt before, by these rows."""

    name, predictor, objective = "moods", SimpleNamespace(gives=Label), Labels(kind="labels")

    def stream(self, number: int, seed: int) -> RowStream:
        return RowStream(labelled_rows(12), number, seed)


@pytest.mark.parametrize(
    ("kind", "settings", "parts", "shares"),
    [
        ("replay", {"weight": 0.2}, {"task": 8, "replay": 2}, {"task": 0.8, "replay": 0.2}),
        ("replay", {"weight": 0.4}, {"task": 8, "replay": 5}, {"task": 0.6, "replay": 0.4}),
        ("lwf", {"weight": 3.0, "temperature": 5.0}, {"task": 8, "kept": 8}, {"task": 1.0, "kept": 3.0}),
    ],
)
@pytest.mark.parametrize("of", [1, 2])
def test_what_is_remembered_has_its_weight_in_the_loss_and_its_rows_in_each_step(
    monkeypatch: pytest.MonkeyPatch, kind: str, settings: Any, parts: dict[str, int], shares: dict[str, float], of: int
) -> None:
    for name in ("earlier", "earlier_head"):
        monkeypatch.setattr(f"pretune.task.remember.earlier.{name}", lambda past, one: Named())
    rows = labelled_rows(16)
    spec = replace(plain_spec(), objective=Labels(kind="labels"), stream=RowStream(rows, 8, 1))
    data: Any = SimpleNamespace(rows=rows)
    past: Any = SimpleNamespace(given=[None] * of, seed=3)
    found = REMEMBER({"kind": kind, "data": ["$moods"], **settings}).learnt(spec, past, data)
    assert isinstance(found.objective, Beside) and found.stream is not None
    if of == 2:  # alike, and together as much as one; replayed rows are rounded to whole ones of each
        name = [*parts][1]
        shares = {"task": shares["task"], name: shares[name] / 2, f"{name}_1": shares[name] / 2}
        each = parts[name] if kind == "lwf" else round(parts[name] / 2 + 0.1)
        parts = {"task": 8, name: each, f"{name}_1": each}
    assert found.objective.shares == pytest.approx(shares)
    assert Counter(row["of"] for row in found.stream.rows(0)) == parts
    own = [row["ids"] for row in found.stream.rows(0) if row["of"] == "task"]
    assert own == [row["ids"] for row in spec.stream.rows(0)], "the task's own rows are what they were"
    for part in found.objective.of.values():
        assert not isinstance(part, SaidBefore) or (part.temperature, part.of) == (5.0, "label")


def test_next_to_what_is_remembered_the_rows_of_the_task_are_mixed_as_they_are_alone() -> None:
    task, kept = Labels(kind="labels", mixup=0.4), Labels(kind="labels")
    objective = Beside(kind="beside", of={"task": task, "kept": kept}, shares={"task": 1.0, "kept": 1.0})
    own, others = ([{**row, "of": name} for row in labelled_rows(4)] for name in ("task", "kept"))
    rows: Any = [*own, *others]
    found = objective.together(rows, np.random.default_rng(0))
    assert found == [*task.together(rows[:4], np.random.default_rng(0)), *others]
    assert all(0 < row["share"] < 1 and row["partner"]["of"] == "task" for row in found[:4])


# ---- runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("remember"), random.Random(0)
    write_model(folder / "base", folder / "words", "bert-spans")
    moods, places = [("good", "+"), ("bad", "-")], [("home", "in"), ("street", "out"), ("forest", "out")]
    for name, words in {"moods": moods, "places": places}.items():
        rows = [{"text": f"a {w} {rng.randrange(99)} {k}", "label": label} for k in range(24) for w, label in words]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def recipe(world: Path, work: str, *kinds: str, **settings: Any) -> Recipe:
    first = {**RUN, "model": str(world / "base"), "data": "$moods", "steps": 24}
    then = {**RUN, "model": "$first", "data": "$places", "steps": 8, "evaluate_every": 4, "watch": ["$moods"]}
    stages = {
        **{name: {"kind": "dataset", "read": [str(world / f"{name}.jsonl")]} for name in ("moods", "places")},
        "first": first,
        **{kind: {**then, "remember": KINDS.get(kind), **settings} for kind in kinds},
    }
    return Recipe.build({"work": str(world / work), "stages": stages})


@pytest.fixture(scope="module")
def made(world: Path) -> dict[str, Artifact]:
    return recipe(world, "out", *KINDS).run(log=Log(quiet=True))


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    return load_file(artifact.path / "model.safetensors")


def test_before_the_first_step_the_earlier_head_scores_as_it_did_and_after_the_last_on_the_new_body(
    made: dict[str, Artifact],
) -> None:
    first, then = made["first"].card.metrics, made["plain"].card.metrics
    assert then["before"]["moods"]["accuracy"] == first["validation_accuracy"]
    assert then["before"]["moods"]["loss"] == pytest.approx(first["validation_loss"], abs=1e-6)
    model = AutoModelForSequenceClassification.from_pretrained(made["first"].path)
    body = {n: t for n, t in weights(made["plain"]).items() if n.startswith("bert.")}
    assert not model.load_state_dict(body, strict=False).unexpected_keys
    data = read_data(TASK("classify"), made["moods"].path, made["first"].path, 32, Log(quiet=True))
    batch = Labels(kind="labels").collate(data.dev_rows, VOCABULARY)
    loss = Labels(kind="labels").sums(model.eval(), batch)["loss"].detach() / len(data.dev_rows)
    assert then["after"]["moods"]["loss"] == pytest.approx(float(loss), abs=1e-5)
    lost = then["before"]["moods"]["accuracy"] - then["after"]["moods"]["accuracy"]
    assert then["forgotten"] == {"moods": pytest.approx(lost)}
    assert [*then["knows"]] == ["places", "moods"]
    assert "What it knew before" in (made["plain"].path / "curves.html").read_text(encoding="utf-8")


def test_watching_changes_no_bit_and_each_remedy_changes_the_weights(made: dict[str, Artifact], world: Path) -> None:
    unseen = recipe(world, "out", "unseen", watch=[]).run(log=Log(quiet=True))["unseen"]
    plain = weights(made["plain"])
    assert all(torch.equal(t, plain[n]) for n, t in weights(unseen).items())
    for kind in KINDS.keys() - {"plain"}:
        found = weights(made[kind])
        assert found.keys() == plain.keys(), "an earlier head is not saved with the new one"
        assert any(not torch.equal(t, plain[n]) for n, t in found.items()) or kind == "average"


def test_held_weights_stay_nearer_and_a_new_head_moves_freely(made: dict[str, Artifact]) -> None:
    start = weights(made["first"])

    def moved(kind: str, part: str) -> float:
        return sum(float((t - start[n]).square().sum()) for n, t in weights(made[kind]).items() if n.startswith(part))

    assert moved("l2", "bert.") < moved("plain", "bert.") / 2
    assert moved("ewc", "bert.") < moved("plain", "bert.")
    told = {kind: made[kind].card.metrics for kind in ("plain", "lwf")}
    drift = {kind: abs(one["after"]["moods"]["loss"] - one["before"]["moods"]["loss"]) for kind, one in told.items()}
    assert drift["lwf"] < min(0.05, drift["plain"]), drift


def test_what_is_held_by_nothing_to_speak_of_moves_as_what_is_free(made: dict[str, Artifact], world: Path) -> None:
    faint = {"kind": "ewc", "data": ["$moods"], "weight": 1e-9, "examples": 6}
    found = weights(recipe(world, "out", "faint", remember=faint).run(log=Log(quiet=True))["faint"])
    plain, held = weights(made["plain"]), weights(made["ewc"])
    assert max(float((t - plain[n]).abs().max()) for n, t in found.items()) < 1e-5
    assert max(float((t - plain[n]).abs().max()) for n, t in held.items()) > 1e-3


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_averaged_by_1_it_is_what_was_learnt_and_by_0_the_start(
    made: dict[str, Artifact], world: Path, weight: float
) -> None:
    how = {"kind": "average", "weight": weight}
    found = weights(recipe(world, "out", f"by_{weight:g}", remember=how).run(log=Log(quiet=True))[f"by_{weight:g}"])
    body = weights(made["plain"] if weight else made["first"])
    head = weights(made["plain"])
    assert all(torch.equal(t, (body if n.startswith("bert.") else head)[n]) for n, t in found.items())


def test_the_weight_of_the_average_is_the_smallest_of_the_best_and_the_card_has_its_scores(
    made: dict[str, Artifact],
) -> None:
    metrics = made["average"].card.metrics
    curve = metrics["average_curve"]
    best = max(one["mean"] for one in curve.values())
    assert metrics["average_weight"] == min(float(w) for w, one in curve.items() if one["mean"] == best)
    chosen = curve[f"{metrics['average_weight']:g}"]
    assert chosen["task"] == metrics["validation_accuracy"]
    assert chosen["moods"] == metrics["after"]["moods"]["accuracy"]
    assert "Averaged with the start" in (made["average"].path / "curves.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["replay", "ewc", "lwf", "average"])
def test_stopped_and_continued_it_ends_with_the_same_bits(made: dict[str, Artifact], world: Path, kind: str) -> None:
    asked = iter([False, False, False, True])

    def stopping(gently: bool) -> Callable[[], bool]:
        return lambda: gently and next(asked, False)

    recipe(world, f"cut-{kind}").run(log=Log(quiet=True))
    with pytest.raises(Stopped, match="after step 4"):
        recipe(world, f"cut-{kind}", kind).run(log=Log(quiet=True), stopping=stopping)
    again = recipe(world, f"cut-{kind}", kind).run(log=Log(quiet=True))[kind]
    whole = weights(made[kind])
    assert all(torch.equal(t, whole[n]) for n, t in weights(again).items())
    assert again.card.metrics["after"] == made[kind].card.metrics["after"]


def test_tasks_learnt_one_after_the_other_end_with_their_matrix(made: dict[str, Artifact], world: Path) -> None:
    (course,) = courses([made["moods"], made["first"], made["plain"]])
    first, then = made["first"].card.metrics["validation_accuracy"], made["plain"].card.metrics
    own, kept = then["validation_accuracy"], then["after"]["moods"]["accuracy"]
    assert (course.tasks, course.matrix) == (["moods", "places"], [[first, None], [kept, own]])
    assert course.figures() == pytest.approx({"average_accuracy": (own + kept) / 2, "backward_transfer": kept - first})
    stages = {"report": {"kind": "summary", "of": [str(made[name].path) for name in ("first", "plain")]}}
    report = Recipe.build({"work": str(world / "summed"), "stages": stages}).run(log=Log(quiet=True))["report"]
    assert report.card.metrics["plain.backward_transfer"] == pytest.approx(kept - first)
    assert "Accuracy matrix" in (report.path / "report.html").read_text(encoding="utf-8")


def test_a_model_that_learns_on_from_text_tells_what_it_forgot_of_the_tasks_that_it_knew(
    made: dict[str, Artifact], world: Path
) -> None:
    (world / "text.txt").write_text("\n".join(f"the fox {k} jumps over {k * k} dogs" for k in range(300)))
    first = str(made["first"].path)
    on = {"kind": "pretrain", "tokens": "$tokens", "base": first, "watch": [str(made["moods"].path)], "steps": 4}
    stages = {
        "corpus": {"kind": "corpus", "read": [str(world / "text.txt")], "filters": [], "max_overlap": None},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": first},
        "on": {**on, "objective": "masked", "length": 32, "batch": 4, "precision": "float32", "compile": "no"},
    }
    found = Recipe.build({"work": str(world / "on"), "stages": stages}).run(log=Log(quiet=True))["on"].card.metrics
    known = made["first"].card.metrics
    assert found["before"]["moods"]["accuracy"] == known["validation_accuracy"]
    assert found["before"]["moods"]["loss"] == pytest.approx(known["validation_loss"], abs=1e-6)
    assert found["after"]["moods"]["loss"] != found["before"]["moods"]["loss"]
    assert found["forgotten"].keys() == {"moods"}


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"remember": "ewc"}, "this setting is needed"),
        ({"remember": "replay"}, "this setting is needed"),
        ({"remember": "l2", "method": "head"}, "leaves the body as it is"),
        ({"remember": "l2", "fresh": "same"}, "know nothing that could be forgotten"),
        ({"remember": "lwf", "task": "prefer"}, "has a loss of its own rows"),
        ({"remember": {"kind": "replay", "data": "a", "weight": 1.0}}, "must be less than 1"),
    ],
)
def test_what_cannot_be_remembered_is_refused_before_anything_is_built(settings: dict[str, Any], told: str) -> None:
    _, mistakes = check(FinetuneStage, {"model": "m", "data": "d", "task": "classify", **settings})
    assert told in str(mistakes)


def test_a_data_set_that_nobody_learnt_from_is_refused_by_name(made: dict[str, Artifact], world: Path) -> None:
    for settings in ({"watch": ["$places"]}, {"remember": {"kind": "ewc", "data": ["$places"]}}):
        with pytest.raises(NotSupported, match="nor what it was made from has learnt from"):
            recipe(world, "out", "strange", **settings).run(log=Log(quiet=True))


def test_a_head_of_another_architecture_is_refused(tmp_path: Path) -> None:
    model = tiny_classifier("qwen3")
    with pytest.raises(NotSupported, match="was learnt by a bert model, this one is a qwen3"):
        hold_head(tiny_classifier(), model, name="moods")


def test_a_pooler_that_the_new_body_lacks_belongs_to_the_earlier_head(world: Path) -> None:
    earlier, _ = load_labelled(world / "base", "label", ["a", "b"])
    new, _ = load_labelled(world / "base", "tags", ["a", "b", "c"])
    ids = torch.tensor([[2, 20, 21, 3]])
    with torch.no_grad():
        before = earlier.eval()(input_ids=ids).logits
        held = hold_head(earlier, new.eval(), name="moods")
        assert torch.equal(held(new).eval()(input_ids=ids).logits, before)
        new.bert.embeddings.word_embeddings.weight[20] += 1.0
        assert not torch.equal(held(new)(input_ids=ids).logits, before)
