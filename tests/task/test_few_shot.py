"""Few labels: the logistic head is scikit-learn's, the mean of a sentence encoder is what the classifier reads."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pretune
from pretune.api import Loaded
from pretune.base.errors import NotSupported, PretuneError
from pretune.infer.load import open_model
from pretune.model.pooling import pooled
from pretune.objective.whole_rows import last_inputs, rows_batch
from pretune.task.classify import Classify
from pretune.task.few_shot import PAIRS, add_mean_block, fitted_head, logistic, pairs_of, with_synthetic
from pretune.testing.folders import write_model
from pretune.testing.worlds import VOCABULARY, labelled_rows, tiny_classifier
from pretune.text.dataset.example import Labelled


@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 4.0)])
def test_the_head_is_the_logistic_regression_of_scikit_learn(weights: tuple[float, ...] | None) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(40, 6)) * 7, rng.integers(0, 3, 40)
    weight, bias = logistic(torch.from_numpy(vectors), torch.from_numpy(labels), 3, weights)
    length = np.linalg.norm(vectors, axis=1).mean()
    of_label = dict(enumerate(weights)) if weights else None
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000, class_weight=of_label).fit(vectors / length, labels)
    ours = torch.softmax(torch.from_numpy(vectors) @ weight.T + bias, -1).numpy()
    assert np.abs(ours - theirs.predict_proba(vectors / length)).max() < 1e-6


def test_the_last_layer_reads_the_mean_of_the_states_after_one_more_block() -> None:
    model, rows = tiny_classifier().eval(), labelled_rows(6)
    batch = rows_batch(rows, VOCABULARY, np.zeros(len(rows), np.int64))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = model.bert(**inputs).last_hidden_state
        wanted = pooled(states, batch["attention_mask"], pooling="mean", normalize=True)
        add_mean_block(model)
        found = last_inputs(model, batch)
    assert model.config.num_hidden_layers == 3
    centred = wanted - wanted.mean(1, keepdim=True)
    assert torch.nn.functional.cosine_similarity(centred, found).min() > 0.999


def test_an_example_has_as_many_pairs_of_its_label_as_of_others() -> None:
    rows = labelled_rows(7)  # labels 0 1 2 0 1 2 0
    pairs = pairs_of(rows, [row["label"] for row in rows])
    assert Counter((pair["example"], pair["score"]) for pair in pairs) == {
        (k, score): PAIRS for k in range(7) for score in (0.0, 1.0)
    }
    starts = {tuple(row["ids"]): row["label"] for row in rows}
    for pair in pairs:
        first, second = pair["ids"][: pair["lengths"][0]], pair["ids"][pair["lengths"][0] :]
        assert (starts[tuple(first)] == starts[tuple(second)]) == bool(pair["score"]) and first != second


WORDS = {"colour": ("red", "green"), "animal": ("cat", "hat"), "place": ("世界", "你好")}
ROWS = [{"text": f"the {word} {k}", "label": label} for label, words in WORDS.items() for word in words for k in "123"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_model(folder / "model", folder / "words", "bert-labels")
    rows = [{**row, "split": "train" if row["text"][-1] != "3" else "validation"} for row in ROWS]
    for split in ("train", "validation"):
        some = [json.dumps({n: row[n] for n in ("text", "label")}) for row in rows if row["split"] == split]
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(some), encoding="utf-8")
    return folder


def tuned(world: Path, name: str, **settings: object) -> Loaded:
    usual = {"optim": {"kind": "adamw", "learning_rate": 3e-3}, "precision": "float32", "steps": 60, "max_length": 16}
    return pretune.fine_tune(world / "model", world / "data", out=world / name, quiet=True, **{**usual, **settings})


def test_few_texts_make_an_ordinary_classifier_whose_bundle_answers_alike(world: Path) -> None:
    found = tuned(world, "few", task={"kind": "classify", "few_shot": True})
    asked = [row["text"] for row in ROWS]
    answers = [answer.name for answer in found.predict(asked)]
    assert np.mean([said == row["label"] for said, row in zip(answers, ROWS, strict=True)]) > 0.8
    bundle = found.export(out=world / "bundle")
    assert [answer.name for answer in open_model(bundle.path).answer(asked)] == answers


def test_few_shot_says_what_it_does_not_go_with(world: Path) -> None:
    for settings, why in (
        ({"task": {"kind": "classify", "few_shot": True, "r_drop": 1.0}}, "r_drop is of the loss of one"),
        ({"task": {"kind": "classify", "few_shot": True}, "method": "head"}, "teaches the body"),
        ({"task": {"kind": "classify", "smote": True}}, "vectors have no text"),
        ({"task": {"kind": "classify", "smote": True, "few_shot": True}, "method": "head"}, "teaches the body"),
        ({"task": {"kind": "classify", "thresholds": True, "reject": 0.9}}, "choose one of them"),
        ({"task": {"kind": "classify", "focal_gamma": 1.0}}, "of loss=focal"),
        ({"task": {"kind": "classify", "r_drop": 1.0, "mixup": 0.2}}, "choose one of them"),
    ):
        with pytest.raises(PretuneError, match=why):
            tuned(world, "refused", **settings)
        assert not (world / "refused.scratch").is_dir()


def test_smote_needs_a_neighbour_for_every_label() -> None:
    pytest.importorskip("imblearn", reason="extra smote")
    task = Classify(kind="classify", smote=True)
    rows = [Labelled("a", label, origin=str(k)) for k, label in enumerate("xxxxy")]
    with pytest.raises(NotSupported, match="'y' has one training example"):
        task.fitted(rows)


def test_smote_fits_the_head_to_as_many_vectors_of_each_label() -> None:
    smote = pytest.importorskip("imblearn.over_sampling", reason="extra smote").SMOTE
    rng = np.random.default_rng(1)
    labels = np.array([0] * 30 + [1] * 4)
    vectors = rng.normal(size=(34, 3)) + labels[:, None]
    made, of = with_synthetic(torch.from_numpy(vectors), torch.from_numpy(labels))
    assert np.bincount(of.numpy()).tolist() == [30, 30] and np.array_equal(made[:34].numpy(), vectors)
    theirs, _ = smote(random_state=0, k_neighbors=3).fit_resample(vectors, labels)
    assert np.array_equal(made.numpy(), theirs)
    new, rare = made[34:].numpy(), vectors[labels == 1]
    assert (new.min(0) >= rare.min(0)).all() and (new.max(0) <= rare.max(0)).all(), "between two of the label"


def test_a_label_that_is_alone_in_a_part_of_the_examples_keeps_its_one_vector() -> None:
    pytest.importorskip("imblearn", reason="extra smote")
    vectors, labels = torch.randn(10, 3, dtype=torch.float64), torch.tensor([0] * 6 + [1] * 3 + [2])
    made, of = with_synthetic(vectors, labels)
    assert np.bincount(of.numpy()).tolist() == [6, 6, 1] and torch.equal(made[:10], vectors)
    made, of = with_synthetic(vectors[8:], labels[8:])
    assert torch.equal(made, vectors[8:]) and of.tolist() == [1, 2]


def test_the_head_of_a_model_is_fitted_to_the_synthetic_vectors_too() -> None:
    pytest.importorskip("imblearn", reason="extra smote")
    model, rows = tiny_classifier().eval(), labelled_rows(12)
    for k, row in enumerate(rows):
        row["label"] = 1 if k % 4 == 0 else 0
    labels = torch.tensor([row["label"] for row in rows])
    with torch.no_grad():
        vectors = last_inputs(model, rows_batch(rows, VOCABULARY, labels.numpy()))
    plain, smote = (fitted_head(model, rows, None, smote=which)["classifier.weight"] for which in (False, True))
    for found, (given, of) in ((plain, (vectors, labels)), (smote, with_synthetic(vectors, labels))):
        wanted, _ = logistic(given, of, 3)
        assert torch.allclose(found, wanted.to(found), atol=1e-9)
    assert (plain - smote).abs().max() > 1e-3


def test_smote_leaves_the_body_as_it_was_and_fits_the_head(world: Path) -> None:
    pytest.importorskip("imblearn", reason="extra smote")
    found = tuned(world, "smote", task={"kind": "classify", "smote": True}, method="head", steps=2, batch=8)
    before, after = (load_file(folder / "model.safetensors") for folder in (world / "model", found.path))
    same = [
        name for name in after if name.startswith("bert.") and torch.equal(before.get(name, after[name]), after[name])
    ]
    assert same == [name for name in after if name.startswith("bert.")]
    asked = [row for row in ROWS if row["text"][-1] != "3"]
    answers = [answer.name for answer in found.predict([row["text"] for row in asked])]
    assert np.mean([said == row["label"] for said, row in zip(answers, asked, strict=True)]) > 0.6
