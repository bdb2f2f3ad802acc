"""Scores of texts: by hand against plain transformers; pairs and choices by arithmetic; the stage and its bad input."""

import json
import math

import numpy as np
import pytest
import torch

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, NotSupported, PretuneError
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.evaluate.choices import on_choices
from pretune.evaluate.likelihood import (
    CausalScorer,
    MaskedScorer,
    NGramScorer,
    Said,
    UniformScorer,
    fitted,
    open_scorer,
)
from pretune.evaluate.ngram import ngram_nats, train_ngram
from pretune.evaluate.pairs import mean_over, on_pairs, score_pairs, weights_of
from pretune.tokens.store.store import Store

QUIET = {"counted": None, "most": None, "seed": 0, "log": Log(quiet=True)}
PAIRS = [
    ("The fox jumps over the dog.", "The fox jumps dog over the.", "order"),
    ("The fox jumps.", "The fox jump.", "agreement"),
    ("Dogs jump.", "Dogs jumps.", "agreement"),
    ("你好，世界 🙂。", "世界好，你 🙂。", "order"),
    ("The same.", "The same.", "agreement"),
]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return Artifact.open(path)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    rows = [{"good": good, "bad": bad, "paradigm": paradigm} for good, bad, paradigm in PAIRS]
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def scorer(world):
    return open_scorer(Artifact.open(world.decoder))


@pytest.fixture(scope="module")
def masked(world, tmp_path_factory):
    from transformers import BertConfig, BertForPreTraining

    from pretune.model.folder import save_model
    from pretune.tokens.encode.tokenizer import load_tokenizer

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vocab_size = load_tokenizer(world.decoder).get_vocab_size()
    model = BertForPreTraining(BertConfig(vocab_size=vocab_size, max_position_embeddings=40, **sizes)).eval()
    folder = tmp_path_factory.mktemp("masked")
    save_model(model, folder, tokenizer=world.decoder)
    return folder, model


class Fixed:
    """Says of each text what a table says."""

    def __init__(self, nats):
        self.nats = nats

    def said(self, asked, advance=None):
        return [Said(np.full(len(after), self.nats[after] / len(after))) for _, after in asked]


def test_a_text_behind_a_context_scores_as_plain_transformers_says(scorer):
    asked = [((5, 6, 7), (8, 9)), ((), (8, 9, 10)), ((5,), (6, 7, 8, 9)), ((5, 6, 7), (8, 9))]
    model, end = scorer.engine.model, scorer.alone
    for (before, after), said in zip(asked, scorer.said(asked), strict=True):
        ids = [*(() if before else end), *before, *after]
        with torch.inference_mode():
            chances_LV = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        places = range(len(ids) - len(after), len(ids))
        assert said.nats == pytest.approx([-float(chances_LV[k - 1, ids[k]]) for k in places], rel=1e-5)
        assert said.is_greedy == all(int(chances_LV[k - 1].argmax()) == ids[k] for k in places)


def test_a_masked_model_scores_by_hiding_each_token_in_turn(masked):
    folder, model = masked
    scorer = open_scorer(Artifact.open(folder))
    assert isinstance(scorer, MaskedScorer)
    asked = [((), (20, 21, 22)), ((), (30, 31, 32)), ((20, 21), (22, 23)), ((), (40,))]
    for (before, after), said in zip(asked, scorer.said(asked), strict=True):
        row = [*scorer.before, *before, *after, *scorer.after]
        for k, (token, nats) in enumerate(zip(after, said.nats, strict=True)):
            place = len(scorer.before) + len(before) + k
            hidden = torch.tensor([[*row[:place], scorer.mask, *row[place + 1 :]]])
            with torch.inference_mode():
                logits_V = model(hidden).prediction_logits[0, place].double()
            assert nats == pytest.approx(-float(torch.log_softmax(logits_V, -1)[token]), rel=1e-5)


def test_counted_tokens_score_a_text_as_the_document_that_it_is():
    ids = np.array([1, 2, 3, 0, 1, 2, 4, 0, 2, 3, 0], dtype=np.uint16)
    counted = train_ngram(Store(ids, np.array([4, 8, 11], dtype=np.uint64), 0, 6, 0))
    alone = Store(np.array([1, 2, 4, 0], dtype=np.uint16), np.array([4], dtype=np.uint64), 0, 6, 0)
    whole, behind = NGramScorer(counted).said([((), (1, 2, 4)), ((1, 2), (4,))])
    assert whole.nats == pytest.approx(ngram_nats(counted, alone)[:3]) and behind.nats == pytest.approx(whole.nats[2:])


# ---- pairs --------------------------------------------------------------------------------------


def test_a_constant_model_scores_exactly_half(world, pairs, tmp_path_factory):
    model = open_scorer(Artifact.open(world.decoder))
    model.engine.model.lm_head.weight.data.zero_()
    part = on_pairs(model, pairs, **QUIET)
    assert part.groups[0].figures["accuracy_per_token"] == 0.5  # whatever the lengths
    for two in (((1, 2, 3), (4, 5, 6)), ((7,), (8,))):
        scored = score_pairs(model, [(((), two[0]), ((), two[1]))])
        assert scored.hits("accuracy").tolist() == [0.5] and scored.hits("accuracy_per_token").tolist() == [0.5]
    lengths = score_pairs(model, [(((), (1, 2, 3)), ((), (4, 5))), (((), (1,)), ((), (4, 5)))])
    assert lengths.hits("accuracy").tolist() == [0.0, 1.0]  # sums prefer what is short: fewer_tokens says by how much


def test_ties_count_half_and_the_figure_is_the_mean_over_paradigms():
    nats = {(1,): 1.0, (2, 2): 3.0, (3,): 2.0, (4,): 2.0, (5, 5, 5): 2.4}
    asked = [(((), a), ((), b)) for a, b in [((1,), (2, 2)), ((3,), (4,)), ((2, 2), (5, 5, 5)), ((2, 2), (1,))]]
    scored = score_pairs(Fixed(nats), asked)
    assert scored.hits("accuracy").tolist() == [1.0, 0.5, 0.0, 0.0]
    assert scored.hits("accuracy_per_token").tolist() == [1.0, 0.5, 0.0, 0.0]  # -1 > -1.5; -1.5 < -0.8
    paradigms = {"a": [0], "b": [1, 2, 3]}
    assert mean_over(paradigms, scored.hits("accuracy")) == pytest.approx((1 + 0.5 / 3) / 2)
    assert weights_of(paradigms).tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])


def test_the_report_of_pairs_alone_has_chance_and_the_mean_over_paradigms(world, pairs):
    made = world.run("evaluate", model=str(world.decoder), pairs=str(pairs.path))
    report = json.loads((made.path / "report.json").read_text(encoding="utf-8"))
    rows = {row["paradigm"]: row for row in report["paradigms"]}
    assert {name: row["pairs"] for name, row in rows.items()} == {"order": 2, "agreement": 3}
    metrics = made.card.metrics
    assert metrics["pairs_accuracy"] == pytest.approx((rows["order"]["accuracy"] + rows["agreement"]["accuracy"]) / 2)
    assert {row["chance_accuracy"] for row in rows.values()} == {0.5} and metrics["pairs_chance_accuracy"] == 0.5
    assert "1 pairs are ties and count half; of 1 both sides are the same text" in report["notes"]
    assert "By paradigm" in (made.path / "report.html").read_text(encoding="utf-8")


def test_pairs_next_to_tokens_have_a_5_gram_model_of_the_same_text(world, pairs):
    made = world.run("evaluate", model=str(world.decoder), data=str(world.tokens), pairs=str(pairs.path))
    metrics = made.card.metrics
    assert metrics["bits_per_byte"] > 0 and 0 <= metrics["pairs_ngram_accuracy"] <= 1
    page = (made.path / "report.html").read_text(encoding="utf-8")
    assert "Worst examples of pairs" in page and "Worst examples<" in page


def test_a_masked_model_has_pairs_and_its_sentences_are_no_longer_than_it_reads(masked, world, tmp_path):
    rows = [{"sentence_good": "a" * 9, "sentence_bad": "b" * n} for n in (9, 5000)]
    made = world.run("evaluate", model=str(masked[0]), pairs=str(write(tmp_path / "p.jsonl", rows).path))
    report = json.loads((made.path / "report.json").read_text(encoding="utf-8"))
    assert report["groups"]["pairs"]["examples"] == 1
    assert any(note.startswith("1 pairs are longer than the model reads") for note in report["notes"])
    assert any("pseudo-log-likelihood" in note for note in report["notes"])


# ---- choices ------------------------------------------------------------------------------------

QUESTIONS = [
    {"query": "Question: What jumps?", "choices": ["a fox", "the lazy dog"], "gold": 0},
    {"query": "Question: Who is lazy?", "choices": ["a fox", "the lazy dog", "nobody at all"], "gold": 1},
]
CLOZES = [
    {"context": "The quick brown fox jumps over the lazy", "continuation": "dog."},
    {"context": "one two three", "continuation": "four"},
]


@pytest.fixture(scope="module")
def choices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices")
    write(folder / "quiz.jsonl", QUESTIONS)
    write(folder / "words.jsonl", CLOZES)
    return Artifact.open(folder)


def test_choices_and_clozes_score_what_follows_the_question(scorer, choices):
    part = on_choices(scorer, choices, between=None, **QUIET)
    quiz, words = part.groups
    encode = scorer.tokenizer.encode
    gains = []
    for row in QUESTIONS:
        context = encode(row["query"] + "\nAnswer:").ids
        totals = [scorer.said([(tuple(context), tuple(encode(" " + one).ids))])[0].total for one in row["choices"]]
        gains.append(totals[row["gold"]] - max(t for k, t in enumerate(totals) if k != row["gold"]))
    assert [row["gain"] for row in part.rows[:2]] == pytest.approx(gains, abs=1e-5)
    assert quiz.figures["accuracy"] == np.mean([gain > 0 for gain in gains])
    said = [
        scorer.said([(tuple(encode(r["context"]).ids), tuple(encode(" " + r["continuation"]).ids))])[0] for r in CLOZES
    ]
    assert words.figures["perplexity"] == pytest.approx(math.exp(-np.mean([one.total for one in said])), rel=1e-5)
    assert words.figures["accuracy"] == np.mean([one.is_greedy for one in said])


def test_a_model_that_says_nothing_has_the_chance_of_every_question(choices):
    class Nothing(UniformScorer):
        tokenizer = None

        def said(self, asked, advance=None):
            return [Said(np.full(len(after), 3.0 / len(after))) for _, after in asked]

    from pretune.evaluate.choices import Answered, Question

    questions = [Question("q", ("a", "b")), Question("q", ("a", "b", "c"), 2)]
    asked = [((1,), (2,)), ((1,), (3, 4)), ((1,), (2,)), ((1,), (3, 4)), ((1,), (5, 6, 7))]
    answered = Answered(questions, asked, Nothing(9).said(asked))
    assert answered.hits().tolist() == [1 / 2, 1 / 3]


def test_what_does_not_fit_is_cut_at_its_beginning():
    assert fitted((1, 2, 3), (4, 5), 9) == ((1, 2, 3), (4, 5))
    assert fitted((1, 2, 3), (4, 5), 3) == ((3,), (4, 5))
    assert fitted((1, 2, 3), (4, 5, 6), 3) == ((3,), (5, 6))


def test_a_question_longer_than_the_model_loses_its_beginning_and_that_is_told(scorer, tmp_path):
    given = write(tmp_path / "long.jsonl", [{"query": "fox " * 500, "choices": ["dog", "cat"], "gold": "cat"}])
    part = on_choices(scorer, given, between=None, **QUIET)
    assert "1 of them are longer than the model reads and lose their beginning" in part.notes


# ---- bad input ----------------------------------------------------------------------------------


def test_files_without_pairs_or_choices_say_what_they_have_and_what_is_needed(world, scorer, tmp_path):
    with pytest.raises(NoSuchColumn, match=r"has the columns text, label .*\n.*good or sentence_good .*, bad or"):
        on_pairs(scorer, write(tmp_path / "a.jsonl", [{"text": "a", "label": "b"}]), **QUIET)
    with pytest.raises(NoSuchColumn, match=r"query or .*choices or .*gold.*; or .*continuation"):
        on_choices(scorer, write(tmp_path / "b.jsonl", [{"label": "b"}]), between=None, **QUIET)
    with pytest.raises(BadFile, match=r"c\.jsonl:2 has no text on both sides"):
        on_pairs(scorer, write(tmp_path / "c.jsonl", [{"good": "a", "bad": "b"}, {"good": "a", "bad": " "}]), **QUIET)
    wrong = [{"query": "q", "choices": ["a", "b"], "gold": 2}]
    with pytest.raises(BadFile, match=r"d\.jsonl:1 names as right 2, which is none of its 2 choices"):
        on_choices(scorer, write(tmp_path / "d.jsonl", wrong), between=None, **QUIET)
    with pytest.raises(EmptyInput, match="no pair is short enough"):
        on_pairs(scorer, write(tmp_path / "e.jsonl", [{"good": "a" * 5000, "bad": "b" * 5000}]), **QUIET)


def test_models_without_a_head_for_tokens_are_refused(world, pairs):
    with pytest.raises(NotSupported, match="gives labels and predicts no text"):
        world.run("evaluate", model=str(world.classifier), pairs=str(pairs.path))
    with pytest.raises(NotSupported, match="do not go with labelled data"):
        world.run("evaluate", model=str(world.classifier), data=str(world.reviews), pairs=str(pairs.path))


def test_a_folder_whose_head_would_be_random_is_refused(masked, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "body"
    shutil.copytree(masked[0], folder)
    weights = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "cls" not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotSupported, match="has no head for tokens"):
        open_scorer(Artifact.open(folder))


def test_an_evaluation_of_nothing_says_what_may_be_given(world, pairs, tmp_path):
    with pytest.raises(PretuneError, match="give data to measure on"):
        stage_recipe("evaluate", [str(world.decoder)], str(tmp_path / "r"))
    recipe, text = stage_recipe("evaluate", [str(world.decoder), f"pairs={pairs.path}"], str(tmp_path / "r"))
    assert text is None and recipe.stages["evaluate"].pairs == str(pairs.path)
    recipe, _ = stage_recipe("evaluate", [str(world.decoder), str(pairs.path)], str(tmp_path / "r"))
    assert recipe.stages["evaluate"].data == "$dataset"  # an unnamed file is labelled data


def test_a_scorer_is_the_same_for_what_streams(scorer):
    assert isinstance(scorer, CausalScorer) and scorer.alone and not scorer.begin
