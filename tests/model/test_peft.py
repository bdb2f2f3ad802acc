"""Methods by PEFT: updates as those of PEFT alone, merged = adapter, virtual tokens right wherever a model is called."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretune.base.errors import Changed, NotSupported, WrongValue
from pretune.model.folder import load_labelled, load_model
from pretune.model.generate import TorchDecoder, TorchEncoder
from pretune.model.methods.adapter import check_merges, open_adapter
from pretune.model.methods.by_peft import quiet_peft
from pretune.model.methods.method import METHOD
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.task.finetuning import room_for
from pretune.testing.folders import build, write_model
from pretune.testing.worlds import ADAPTERS, VOCABULARY, adapted, labelled_rows, packed_rows, tiny, tiny_classifier
from pretune.tokens.encode.tokenizer import load_tokenizer
from pretune.tokens.rows import IGNORE, Row
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.step import Scored, TrainState, take_step
from pretune.train.loop.stream import MicroBatches, RowStream
from pretune.train.optim.settings import OPTIM
from pretune.train.optim.update import Update

BY_PEFT = [method for method, of in ADAPTERS.items() if METHOD(of).kind != "bottleneck"]
VIRTUAL = ("prefix", "prompt", "p-tuning")
RATE = 1e-2


# ---- updates ----


def rows_alone(rows: list[Row]) -> list[tuple[list[int], list[int]]]:
    """Each document of packed rows with its own labels, for a plain loop: the first token is no target."""
    found = []
    for row in rows:
        for k in sorted({*row["segments"].tolist()} - {-1}):
            here = row["segments"] == k
            ids, targets = row["ids"][here].tolist(), row["targets"][here].tolist()
            found.append((ids, [i if t else IGNORE for i, t in zip(ids, targets, strict=True)]))
    return found


def ours(model: Any, objective: Objective, rows: list[Row], scales: dict[str, float] | None = None) -> list[float]:
    """Losses of three steps over all rows, two at a time, which move the model."""
    optim = OPTIM(
        {
            "kind": "adamw",
            "learning_rate": RATE,
            "weight_decay": 0.0,
            "clip": 1e9,
            "warmup": 0.0,
            "schedule": "constant",
        }
    )
    state = TrainState(model, Scored(model, objective), Update(model, optim, scales=scales), total=3)
    cut = MicroBatches(RowStream(rows, len(rows), seed=5), objective, VOCABULARY, 5, 2, rank=0, world=1, total=3)
    return [take_step(state, objective, cut.batches(step), Runtime()).loss["loss"] for step in range(3)]


def theirs(model: Any, loss_of: Callable[[Any], torch.Tensor], optimizer: Any) -> list[float]:
    """The same by a plain loop."""
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


def adam(model: Any) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)


def chat_loss(rows: list[Row]) -> Callable[[Any], torch.Tensor]:
    """Mean over all targets of documents that are read one by one."""

    def loss(model: Any) -> torch.Tensor:
        sums, count = torch.zeros((), dtype=torch.float64), 0
        for ids, labels in rows_alone(rows):
            logits = model(input_ids=torch.tensor([ids])).logits[0, -len(ids) :]
            sums = sums + F.cross_entropy(
                logits[:-1], torch.tensor(labels[1:], dtype=torch.int64), ignore_index=IGNORE, reduction="sum"
            )
            count += sum(label != IGNORE for label in labels[1:])
        return sums / count

    return loss


def by_peft(model: Any, method: str) -> Any:
    """The model of `adapted`, by PEFT alone."""
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

    lora: dict[str, Any] = {"r": 2, "lora_alpha": 32, "target_modules": "all-linear"}
    virtual: dict[str, Any] = {"num_virtual_tokens": 3}
    configs: dict[str, Callable[..., Any]] = {
        "plain": lambda **of: LoraConfig(**lora, **of),
        "rslora": lambda **of: LoraConfig(**lora, use_rslora=True, **of),
        "dora": lambda **of: LoraConfig(**lora, use_dora=True, **of),
        "pissa": lambda **of: LoraConfig(**lora, init_lora_weights="pissa", **of),
        "ia3": lambda **of: IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **of
        ),
        "prefix": lambda **of: PrefixTuningConfig(**virtual, **of),
        "prompt": lambda **of: PromptTuningConfig(**virtual, prompt_tuning_init="SAMPLE_VOCAB", **of),
        "p-tuning": lambda **of: PromptEncoderConfig(**virtual, **of),
    }
    torch.manual_seed(2)
    with quiet_peft():
        found = get_peft_model(model.float(), configs[method](task_type="CAUSAL_LM")).double()
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return found


@pytest.mark.parametrize("method", [m for m in BY_PEFT if m not in ("adalora", "lora+")])
def test_packed_documents_move_the_weights_as_a_plain_loop_with_peft_over_each_alone(method: str) -> None:
    rows = packed_rows(4, 13, targets=True)
    kind = "gpt2" if method in VIRTUAL else "qwen3"  # Qwen3 adds up what all documents tell one token in float32
    mine = adapted(tiny(kind, attention="sdpa"), method)
    plain = by_peft(tiny(kind, attention="sdpa"), method)
    frozen = {n: p.clone() for n, p in mine.named_parameters() if not p.requires_grad}
    expected = theirs(plain, chat_loss(rows), adam(plain))
    assert ours(mine, OBJECTIVE("causal"), rows) == pytest.approx(expected, abs=1e-9)
    after = dict(mine.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in frozen.items())
    trained = [p for p in after.values() if p.requires_grad]
    wanted = [p for p in plain.parameters() if p.requires_grad]
    assert sorted(p.numel() for p in trained) == sorted(p.numel() for p in wanted)
    for parameter, other in zip(trained, wanted, strict=True):
        assert torch.allclose(parameter, other, atol=1e-7)


def test_of_lora_plus_b_moves_at_the_multiple_that_pefts_own_optimizer_takes() -> None:
    from peft.optimizers import create_loraplus_optimizer

    rows = packed_rows(4, 13, targets=True)
    mine, plain = (adapted(tiny("qwen3", attention="sdpa"), "lora+") for _ in range(2))
    optimizer = create_loraplus_optimizer(
        plain, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=16.0, betas=(0.9, 0.95), weight_decay=0.0
    )
    scales = METHOD(ADAPTERS["lora+"]).scales(mine, 1.0)
    expected = theirs(plain, chat_loss(rows), optimizer)
    assert ours(mine, OBJECTIVE("causal"), rows, scales) == pytest.approx(expected, abs=1e-9)
    known = dict(plain.named_parameters())
    assert all(torch.allclose(p, known[n], atol=1e-7) for n, p in mine.named_parameters())


def test_adalora_gives_each_layer_the_rank_that_it_has_in_a_plain_loop_with_peft() -> None:
    from peft import AdaLoraConfig, get_peft_model

    rows, steps = packed_rows(4, 13, targets=True), 12
    shared = {"kind": "adalora", "first_rank": 4, "rank": 2, "every": 2, "before": 0.2, "after": 0.3}
    settings = {"init_r": 4, "target_r": 2, "lora_alpha": 32.0, "tinit": 2, "tfinal": 3, "deltaT": 2}
    method = METHOD(shared)
    torch.manual_seed(2)
    mine = method.apply(tiny("qwen3", attention="sdpa").float(), heads=()).double()
    torch.manual_seed(2)
    config = AdaLoraConfig(**settings, target_modules="all-linear", task_type="CAUSAL_LM", total_step=steps)
    with quiet_peft():
        plain = get_peft_model(tiny("qwen3", attention="sdpa").float(), config).double()

    def penalized(model: Any) -> torch.Tensor:
        pairs = [(n, p) for n, p in model.named_parameters() if "lora_A" in n or "lora_B" in n]
        squares = [p @ p.T if "lora_A" in n else p.T @ p for n, p in pairs]
        off = [torch.linalg.matrix_norm(s - torch.eye(len(s), dtype=s.dtype)) for s in squares]
        return chat_loss(rows)(model) + 0.5 * torch.stack(off).mean()

    objective, optimizer = OBJECTIVE("causal"), adam(plain)
    optim = {"kind": "adamw", "learning_rate": RATE, "weight_decay": 0.0, "clip": 1e9, "warmup": 0.0}
    update = Update(mine, OPTIM(optim | {"schedule": "constant"}))
    state = TrainState(mine, Scored(mine, objective), update, total=steps, around=method.around)
    cut = MicroBatches(RowStream(rows, 4, seed=5), objective, VOCABULARY, 5, 2, rank=0, world=1, total=steps)
    for step in range(steps):
        optimizer.zero_grad()
        penalized(plain).backward()
        optimizer.step()
        plain.base_model.update_and_allocate(step)
        take_step(state, objective, cut.batches(step), Runtime())
    known = dict(plain.named_parameters())
    assert all(torch.allclose(p, known[n], atol=1e-9) for n, p in mine.named_parameters())
    ranks = [int((p != 0).sum()) for n, p in mine.named_parameters() if "lora_E" in n]
    assert sum(ranks) == 2 * len(ranks) and len(set(ranks)) > 1


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("method", VIRTUAL)
def test_a_padded_batch_gives_each_text_what_it_is_given_alone(kind: str, method: str) -> None:
    model = adapted(tiny_classifier(kind), method, heads=("classifier" if kind == "bert" else "score",)).eval()
    rows = [row["ids"] for row in labelled_rows(4)]
    together = TorchEncoder(model, 0).logits(rows)
    alone = [TorchEncoder(model, 0).logits([row])[0] for row in rows]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", VIRTUAL)
def test_blocks_that_are_computed_again_give_the_gradient_of_those_that_keep_everything(method: str) -> None:
    from pretune.model.checkpointing import checkpoint_blocks

    rows, found = packed_rows(4, 13, targets=True), []
    for again in (False, True):
        model = adapted(tiny("qwen3", attention="sdpa"), method).train()
        if again:
            checkpoint_blocks(model)
        objective = OBJECTIVE("causal")
        objective.sums(model, objective.collate(rows, VOCABULARY))["loss"].backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert found[0] and all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True))


def test_a_copy_of_a_model_with_virtual_tokens_has_its_own() -> None:
    model = adapted(tiny("qwen3", attention="sdpa"), "prompt").eval()
    other, ids = copy.deepcopy(model), torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids).logits
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    assert torch.equal(other(input_ids=ids).logits, before)
    assert not torch.allclose(model(input_ids=ids).logits, before)


# ---- folders ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("peft")
    for kind in ("qwen3", "bert-labels"):
        write_model(found / kind, found / f"{kind}-words", kind)
    return found


def bare(folder: Path, kind: str) -> tuple[Any, tuple[str, ...]]:
    if kind == "bert-labels":
        torch.manual_seed(0)
        return load_labelled(folder / kind, "label", ["a", "b", "坏"])
    return load_model(folder / kind, "next"), ()


def saved(folder: Path, out: Path, kind: str, method: str) -> Any:
    """A model that was moved a little, written as an adapter; in eval mode."""
    model, heads = bare(folder, kind)
    by = METHOD(ADAPTERS[method])
    torch.manual_seed(2)
    found: Any = by.apply(model, heads=heads)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter) if parameter.requires_grad else 0)
    out.mkdir()
    by.save(found, out, base=f"{'../' * len(out.relative_to(folder).parts)}{kind}", tokenizer=folder / kind, weights={})
    return found.eval()


@pytest.mark.parametrize(
    ("kind", "method"),
    [*(("qwen3", m) for m in BY_PEFT), *(("bert-labels", m) for m in ("ia3", "pissa", "prefix", "prompt"))],
)
def test_an_opened_folder_gives_what_was_trained_and_what_peft_gives_for_it(
    folder: Path, kind: str, method: str
) -> None:
    from peft import PeftModel

    out = folder / f"{kind}-{method}"
    trained, opened = saved(folder, out, kind, method), open_adapter(out).eval()
    with quiet_peft():
        by_library = PeftModel.from_pretrained(bare(folder, kind)[0], str(out)).eval()
    given = {"input_ids": torch.tensor([[5, 6, 7, 8, 9]]), "attention_mask": torch.ones(1, 5, dtype=torch.int64)}
    with torch.inference_mode():
        found = [model(**given).logits for model in (opened, trained, by_library)]
    size = float(found[0].abs().max())
    for other in found[1:]:
        other = other[:, -found[0].shape[1] :] if other.dim() == 3 else other  # PEFT shows its own tokens too
        assert float((found[0] - other).abs().max()) < 1e-6 * max(1.0, size)
    plain = bare(folder, kind)[0].state_dict().keys()
    assert (opened.state_dict().keys() == plain) == (method not in VIRTUAL), "merged, nothing is left of the adapter"


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")  # PEFT's own, which makes others
@pytest.mark.parametrize("method", VIRTUAL)
def test_with_a_cache_or_without_it_writes_the_tokens_that_peft_writes(folder: Path, method: str) -> None:
    from peft import PeftModel

    out = folder / f"written-{method}"
    saved(folder, out, "qwen3", method)
    decoder, first = TorchDecoder(open_adapter(out).eval()), [5, 6, 7]
    with quiet_peft():
        library = PeftModel.from_pretrained(bare(folder, "qwen3")[0], str(out)).eval()
        wanted = library.generate(
            input_ids=torch.tensor([first]), attention_mask=torch.ones(1, 3, dtype=torch.int64),
            max_new_tokens=8, min_new_tokens=8, do_sample=False,
        )[0].tolist()  # fmt: skip
    state, fed, ids = decoder.start(), first, list(first)
    for _ in range(8):
        cached, state = decoder.feed(state, np.array([fed]))
        whole = decoder.whole(np.array([ids]), 1)[:, 0]
        np.testing.assert_allclose(cached, whole, rtol=1e-4, atol=1e-5)
        cached[:, 1] = -np.inf  # no end yet
        fed = [int(cached.argmax())]
        ids += fed
    assert ids == wanted[-len(ids) :]
    assert decoder.max_length == 96 - 3


def test_a_prompt_begins_as_the_text_that_is_given_repeated_to_its_length(folder: Path) -> None:
    model, _ = bare(folder, "qwen3")
    words = load_tokenizer(folder / "qwen3").encode("the cat", add_special_tokens=False).ids
    expected = model.get_input_embeddings().weight[(words * 9)[:9]].detach().clone()
    model = METHOD({"kind": "prompt", "tokens": 9, "text": "the cat"}).apply(model, heads=())
    (trained,) = [p for p in model.parameters() if p.requires_grad]
    assert torch.equal(trained, expected)


# ---- refusals ----


@pytest.mark.parametrize(("kind", "why"), [("gemma3", "lose sight of them"), ("t5", "writes in another")])
def test_an_architecture_that_cannot_have_virtual_tokens_is_named_with_those_that_can(kind: str, why: str) -> None:
    with pytest.raises(NotSupported, match=why) as refused:
        METHOD("prefix").apply(build(kind), heads=())
    assert "qwen3 and gpt2" in str(refused.value.hint)


def test_virtual_tokens_that_leave_no_room_for_text_are_refused() -> None:
    config = {"model_type": "bert", "max_position_embeddings": 96}
    assert room_for(METHOD("prompt"), config) == 76
    assert room_for(METHOD("full"), config) == 96
    with pytest.raises(WrongValue, match=r"method\.tokens=90 leaves 6 of the model's 96 positions"):
        room_for(METHOD({"kind": "prompt", "tokens": 90}), config)


def test_a_rank_above_that_of_a_layer_is_refused_where_it_begins_with_singular_values() -> None:
    with pytest.raises(WrongValue, match=r"method\.rank=33 is more"):
        METHOD({"kind": "lora", "variant": "pissa", "rank": 33}).apply(tiny("qwen3").float(), heads=())


@pytest.mark.parametrize(
    ("given", "told"), [({"rank": 12}, "rank=12 is not below first_rank=12"), ({"after": 0.95}, "leave no steps")]
)
def test_a_rank_that_does_not_fall_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        METHOD({"kind": "adalora", **given})


def test_an_adapter_next_to_another_base_is_refused(folder: Path, tmp_path: Path) -> None:
    out = folder / "moved"
    saved(folder, out, "qwen3", "plain")
    model = build("qwen3")
    with torch.no_grad():
        model.lm_head.weight[5] += 1e-3
    write_model(tmp_path / "other", tmp_path / "words", "qwen3", model=model)
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    other = config | {"base_model_name_or_path": str(tmp_path / "other")}
    (out / "adapter_config.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(Changed, match="trained next to other weights") as refused:
        open_adapter(out)
    assert "put the base back" in str(refused.value.hint)


def test_what_cannot_be_merged_is_known_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "P_TUNING"}), encoding="utf-8")
    with pytest.raises(NotSupported, match="method=p-tuning, which cannot be merged"):
        check_merges(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}), encoding="utf-8")
    check_merges(tmp_path)
