"""Private steps: what each example adds is clipped, the noise is what the accountant says, and one example is one row."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.base.errors import NotFinite, NotSupported, SettingsError, WrongValue
from pretune.base.log import Log
from pretune.model.methods.method import METHOD
from pretune.objective.labels import Labels
from pretune.task.labelled_data import LabelledData, num_examples
from pretune.task.privately import one_each
from pretune.task.task import TASK
from pretune.testing.worlds import VOCABULARY, labelled_rows, packed_rows, tiny_classifier
from pretune.text.dataset.example import MultiLabelled
from pretune.tokens.rows import Row
from pretune.train.forecast.forecast import plan_of
from pretune.train.loop.mechanism import Mechanism
from pretune.train.loop.private import PoissonStream, rounded_up, take_private_step
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.accountant import epsilon, noise_for
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update
from pretune.train.run.resolve import resolve
from pretune.train.settings import TrainSettings
from tests.faults import small

SECRET = 1234567


# ---- the accountant ----


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "delta", "wanted"),
    [
        (1.0, 0.01, 1000, 1e-5, 2.10136),
        (1.1, 256 / 60000, 14062, 1e-5, 2.59656),
        (0.8, 0.008, 400, 2.5e-5, 2.22329),
        (5.0, 1.0, 100, 1e-5, 10.72551),
    ],
)
def test_epsilon_is_that_of_dp_accounting(noise: float, rate: float, steps: int, delta: float, wanted: float) -> None:
    """Figures of dp_accounting 0.6.0, RdpAccountant, PoissonSampledDpEvent(rate, GaussianDpEvent(noise)) steps times."""
    assert epsilon(noise, rate, steps, delta) == pytest.approx(wanted, rel=1e-4)


def test_noise_is_the_least_that_gives_epsilon() -> None:
    found = noise_for(3.0, 0.02, 500, 1e-5)
    assert found is not None
    assert epsilon(found, 0.02, 500, 1e-5) <= 3.0 < epsilon(found / 1.002, 0.02, 500, 1e-5)
    assert noise_for(1e-3, 0.02, 500, 1e-5) is None


# ---- steps ----


def state_of(kind: str = "sgd", **optim: Any) -> TrainState:
    model = tiny_classifier()
    settings = OPTIM({"kind": kind, "learning_rate": 0.1, "clip": 1e9, "warmup": 0.0, "schedule": "constant", **optim})
    return TrainState(model, Scored(model, Labels(kind="labels")), Update(model, settings), total=4)


def private(state: TrainState, rows: Any, *, clip: float, noise: float, steps: int = 3) -> None:
    objective = Labels(kind="labels")
    state.mechanism = Mechanism(clip, noise, float(len(rows)), SECRET)
    cut = MicroBatches(PoissonStream(rows, float(len(rows)), SECRET), objective, VOCABULARY, 5, 1, total=4)
    for step in range(steps):
        take_private_step(state, objective, cut.batches(step), Runtime())


def test_without_noise_and_clip_it_is_plain_training_bit_for_bit() -> None:
    rows, objective, plain, hidden = labelled_rows(6), Labels(kind="labels"), state_of(), state_of()

    class InOrder(RowStream):
        def rows(self, step: int) -> Any:
            return rows

    cut = MicroBatches(InOrder(rows, len(rows), seed=5), objective, VOCABULARY, 5, 1, total=4)
    for step in range(3):
        take_step(plain, objective, cut.batches(step), Runtime())
    private(hidden, rows, clip=float("inf"), noise=0.0)
    for name, weight in plain.model.named_parameters():
        assert torch.equal(weight, hidden.model.get_parameter(name)), name


def gradients(model: Any, rows: Any) -> list[dict[str, torch.Tensor]]:
    """Of each row alone, by a plain loop."""
    objective, found = Labels(kind="labels"), []
    for row in rows:
        model.zero_grad()
        objective.sums(model, objective.collate([row], VOCABULARY))["loss"].backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    model.zero_grad()
    return found


def norm(of: dict[str, torch.Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([g.norm() for g in of.values()])))


def test_the_sum_is_that_of_clipped_gradients_and_one_example_moves_it_by_the_clip_at_most() -> None:
    rows, state, rate = labelled_rows(6), state_of(momentum=0.0, weight_decay=0.0, nesterov=False), 0.1
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    alone = gradients(state.model, rows)
    clip = sorted(map(norm, alone))[2]  # half of them are clipped
    private(state, rows, clip=clip, noise=0.0, steps=1)
    for name, p in state.model.named_parameters():
        wanted = sum(one[name] * min(1.0, clip / norm(one)) for one in alone) / len(rows)
        assert torch.allclose((before[name] - p.detach()) / rate, wanted, atol=1e-12), name


def test_the_noise_has_the_size_that_is_accounted_for_and_is_the_same_again() -> None:
    rows, moved = labelled_rows(6), []
    for noise in (0.0, 2.0, 2.0):
        state = state_of(momentum=0.0, weight_decay=0.0, nesterov=False)
        private(state, rows, clip=0.5, noise=noise, steps=1)
        moved.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert torch.equal(moved[1], moved[2])
    assert float((moved[1] - moved[0]).std()) == pytest.approx(0.1 * 2.0 * 0.5 / 6, rel=0.02)


def test_the_noise_is_drawn_from_all_bits_of_the_secret_and_the_step() -> None:
    state, secret = state_of(), SECRET + 2**100
    Mechanism(0.5, 2.0, 6.0, secret).finish(state.update, step=7)
    dice = np.random.default_rng([secret, 7, 2])
    for name, weight in state.model.named_parameters():
        wanted = torch.from_numpy(dice.standard_normal(tuple(weight.shape))) * (2.0 * 0.5 / 6)
        assert weight.grad is not None and torch.equal(weight.grad, wanted.to(weight.dtype)), name


def test_what_is_set_free_later_begins_without_gradients_of_earlier_examples() -> None:
    rows, objective, moved = labelled_rows(6), Labels(kind="labels"), []
    for by_hand in (False, True):
        state = state_of()
        names = [name for name, _ in state.model.named_parameters()]
        state.mechanism = Mechanism(0.1, 0.0, 6.0, SECRET)
        state.trained_at = lambda step, names=names: names[-1:] if not step else names
        cut = MicroBatches(PoissonStream(rows, 6.0, SECRET), objective, VOCABULARY, 5, 1, total=4)
        for step in range(2):
            take_private_step(state, objective, cut.batches(step), Runtime())
            if by_hand:
                state.model.zero_grad()
        moved.append([p.detach().clone() for p in state.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*moved, strict=True))


def test_a_step_without_an_example_is_noise_alone() -> None:
    state, objective = state_of(), Labels(kind="labels")
    state.mechanism = Mechanism(1.0, 1.0, 1.0, SECRET)
    cut = MicroBatches(PoissonStream(labelled_rows(6), 0.0, SECRET), objective, VOCABULARY, 5, 1, total=4)
    assert cut.batches(0) == []
    report = take_private_step(state, objective, [], Runtime())
    assert report.taken and report.gradient_norm > 0 and report.loss == {}


def test_each_example_is_drawn_by_a_die_of_its_own() -> None:
    stream = PoissonStream([{"ids": [k]} for k in range(200)], 20.0, SECRET)  # type: ignore[typeddict-item]
    drawn = np.array([[row["ids"][0] for row in stream.rows(s)].count(7) for s in range(2000)])
    sizes = [len(stream.rows(s)) for s in range(2000)]
    assert drawn.mean() == pytest.approx(0.1, abs=0.02)
    assert np.mean(sizes) == pytest.approx(20, abs=0.3) and np.var(sizes) == pytest.approx(18, rel=0.15)
    assert stream.rows(3) == stream.rows(3) != PoissonStream(stream.all_rows, 20.0, SECRET + 1).rows(3)


# ---- a session ----


def a_session(folder: Path, *, steps: int = 6, rate: float = 0.1, **settings: Any) -> Any:
    optim = {"kind": "sgd", "learning_rate": rate, "warmup": 0.0, "private": {"epsilon": 8}}
    return small.session(folder, steps=steps, optim=OPTIM(optim), **settings)


def test_no_step_is_refused_for_its_norm_and_the_run_never_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbits", lambda bits: SECRET)
    refuse = {"sigmas": 1e-6, "window": 8, "goes_back_after": 1}
    one = a_session(tmp_path, steps=16, refuse=refuse)
    finished = small.finished(one)
    assert one.state.updates == one.state.step == 16
    assert one.state.passed == [] and one.state.window == {} and one.state.returned == (-1, 0)
    plain = small.finished(a_session(tmp_path / "plain", steps=16, refuse={"sigmas": None}))
    assert small.alike(finished, plain)


def test_weights_that_are_no_numbers_end_it_at_once_for_each_step_has_its_price(tmp_path: Path) -> None:
    one, taken = a_session(tmp_path), []

    def broken(report: Any) -> bool:
        taken.append(report.step)
        if report.step == 2:
            one.state.update.masters[next(iter(one.state.update.masters))].fill_(float("nan"))
        return False

    with pytest.raises(NotFinite, match=r"step 3: the weight .* holds what is no number, and learns from noise alone"):
        small.finished(one, broken)
    assert taken == [1, 2]


# ---- what a step takes ----


def spec_of(make: Callable[[], Any], *, batch: int = 8, **settings: Any) -> TrainSpec:
    rows = [Row(ids=[*range(4, 12)], label=k % 3) for k in range(24)]
    given = TrainSettings(batch=batch, precision="float32", **settings)
    return TrainSpec(
        given, Labels(kind="labels"), VOCABULARY, outline=tiny_classifier, known_by=[], method=METHOD("full"), layers=2,
        length=8, tokens_per_row=8.0, rows=24, batch=batch, micro_tokens=1, make=make, stream=RowStream(rows, batch, 5),
    )  # fmt: skip


PRIVATE = OPTIM({"kind": "adamw", "private": {"epsilon": 8}})


def test_minutes_buy_private_steps_each_row_alone_and_noise_once_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that rows and noise move: 0.02 s a row, 0.3 s the noise, so 8 rows take 0.46 s."""
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    now, draws = [0.0], np.random.default_rng

    def passes(seconds: float) -> None:
        now[0] += seconds

    def hooked() -> Any:
        model = tiny_classifier().float()
        model.register_forward_pre_hook(lambda *_: passes(0.02))
        return model

    def dice(seed: Any = None) -> Any:
        passes(0.3 if isinstance(seed, list) and seed[-1] == 2 and len(seed) == 3 and seed[0] == 0 else 0.0)
        return draws(seed)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(np.random, "default_rng", dice)
    assert resolve(spec_of(hooked, minutes=1, optim=PRIVATE), Log(quiet=True))["seconds_per_step"] == pytest.approx(
        0.46
    )


def test_what_is_forecast_of_single_rows_is_for_all_rows_of_a_step_not_for_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETUNE_CACHE", str(tmp_path))
    plans = [plan_of(spec_of(tiny_classifier, steps=3, optim=one), "float32", 0) for one in (OPTIM("adamw"), PRIVATE)]
    (plain, flops), (private, same) = (one.lines(1) for one in plans)
    assert flops.at(8) == pytest.approx(plans[0].dry_run((8, 1))[0].flops) == pytest.approx(same.at(8))
    assert private.at(1) >= plain.at(1), "the gradients of one example, and their sum besides"


# ---- a run ----


def write(folder: Path, number: int = 40) -> str:
    folder.mkdir()
    lines = [f'{{"text": "the {"cat" if k % 2 else "hat"} {k}", "label": "{"ab"[k % 2]}"}}' for k in range(number)]
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


SMALL = {"kind": "finetune", "task": "classify", "steps": 6, "batch": 8, "max_length": 16, "precision": "float32"}


def test_a_run_tells_its_promise_and_nothing_of_its_loss(
    tmp_path: Path, model_folder: Callable[..., Path], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[int]()
    monkeypatch.setattr("secrets.randbits", lambda bits: drawn.append(2 ** (bits - 1) + SECRET) or drawn[-1])
    optim = {"kind": "adamw", "private": {"epsilon": 8}}
    data = {"kind": "dataset", "read": write(tmp_path / "data"), "test": 0}
    made = run(data=data, tuned={**SMALL, "model": str(model_folder("bert-labels")), "data": "$data", "optim": optim})[
        "tuned"
    ]
    facts = made.card.metrics
    rate, delta = facts["sampling_rate"], facts["delta"]
    assert rate == 8 / facts["examples"] and delta == pytest.approx(1 / (10 * facts["examples"]))
    assert (
        epsilon(facts["noise"], rate, 6, delta) == pytest.approx(facts["epsilon"], abs=1e-2) and facts["epsilon"] <= 8
    )
    lines = (made.path / "metrics.jsonl").read_text(encoding="utf-8")
    assert '"loss"' not in lines and '"validation_loss"' in lines
    for name in ("tokens_per_second", "data_wait", "memory_bytes", "energy_joules"):  # of how many examples a step had
        assert name not in lines
    assert len(drawn) == 1 and drawn[0].bit_length() == 128
    texts = [path.read_bytes() for path in made.path.rglob("*") if path.is_file()]
    assert len(texts) > 3 and not any(str(drawn[0]).encode() in text or b"secret" in text for text in texts)


def test_what_the_noise_does_not_cover_is_refused(
    tmp_path: Path, model_folder: Callable[..., Path], run: Callable[..., Any]
) -> None:
    optim = {"kind": "adamw", "private": {"epsilon": 8}}
    tuned = {**SMALL, "model": str(model_folder("bert-labels")), "data": "$data", "optim": optim}
    plain = {"kind": "dataset", "read": write(tmp_path / "data"), "test": 0}
    for more, said in (
        ({"task": {"kind": "classify", "mixup": 0.2}}, "task.mixup makes examples of several"),
        ({"task": "tag"}, "private fine-tuning is for task=classify or chat or seq2seq"),
        ({"remember": {"kind": "l2"}}, "remember reads the examples"),
        ({"folds": 2}, "folds train on the examples several times"),
        ({"micro_batch": 4}, "examples pass one at a time"),
        ({"precision": "float16"}, "precision=float16 scales the loss"),
    ):
        with pytest.raises(SettingsError, match=said):
            run(data=plain, tuned={**tuned, **more})
    with pytest.raises(NotSupported, match=r"examples more than once \(augment\)"):
        run(data={**plain, "augment": [{"kind": "noise"}]}, tuned=tuned)
    with pytest.raises(WrongValue, match=r"epsilon=0.001 cannot be had in 6 steps of 8 of 38 rows"):
        run(data=plain, tuned={**tuned, "optim": {"kind": "adamw", "private": {"epsilon": 0.001, "delta": 1e-6}}})


def test_packed_examples_become_rows_of_their_own_with_the_same_targets() -> None:
    rows = packed_rows(3, 12, targets=True)
    read = LabelledData(TASK("chat"), None, [1.0], [], rows, [], [])
    alone = one_each(read, {}, 1)
    assert len(alone.rows) == num_examples(rows) > 3 and alone.class_weights is None
    objective = __import__("pretune.objective.objective", fromlist=["OBJECTIVE"]).OBJECTIVE("causal")
    told = [
        sum(objective.counts(objective.collate([row], VOCABULARY))["loss"] for row in some)
        for some in (rows, alone.rows)
    ]
    assert told[0] == told[1] > 0
    with pytest.raises(NotSupported, match="one process"):
        one_each(read, {}, 2)


def test_a_head_of_several_labels_does_not_begin_at_how_often_each_occurs() -> None:
    texts = [MultiLabelled("a cat", ("cat",), "a"), MultiLabelled("a hat", ("cat", "hat"), "b")]
    task, rows = TASK("multilabel").fitted(texts), [Row(ids=[1, 2]), Row(ids=[3, 4])]
    found = one_each(LabelledData(task, ["cat", "hat"], None, texts, rows, [], []), {}, 1).task
    assert found == TASK("multilabel") != task


def test_the_epsilon_of_a_card_is_never_less_than_what_was_spent() -> None:
    assert [rounded_up(x) for x in (2.99991, 2.0, 0.12344999)] == [3.0, 2.0, 0.1235]
