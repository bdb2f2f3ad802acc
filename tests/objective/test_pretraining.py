"""What each objective over raw text asks: the arithmetic on rows by hand, and that nothing of the text is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.base.config import build
from pretune.base.errors import SettingsError
from pretune.objective.objective import OBJECTIVE
from pretune.objective.pretraining.infill import MIDDLE, PREFIX, SUFFIX
from pretune.tokens.encode.additions import add_controls, lacking
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer, special_ids
from pretune.tokens.rows import IGNORE, Row, Vocabulary, vocabulary_of
from pretune.train.run.settings import PretrainSettings

VOCABULARY = Vocabulary(size=40, pad=0, mask=1, cls=2, specials=(0, 1, 2, 3))
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog barks: woof!\nThen it sleeps.",
    "你好，世界。春眠不觉晓，处处闻啼鸟；夜来风雨声，花落知多少？",
    "def add(a, b):\n    return a + b  # naïve café 🙂\n",
] * 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretune.tokens.learn.algorithm import ALGORITHM, Learning
    from pretune.tokens.learn.stage import save_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(ALGORITHM({"kind": "bpe"}).learn(Learning(lambda: iter(TEXTS), 400)), folder)
    return folder


@pytest.fixture(scope="module")
def infilling(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    tokens = lacking(tokenizer, (), OBJECTIVE("infill").controls)
    return vocabulary_of(add_controls(tokenizer, tokens, tmp_path_factory.mktemp("infilling")))


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed])


# ---- tokens that are added -------------------------------------------------------------------------


def test_control_tokens_stand_behind_the_last_id_and_change_no_text(tokenizer: Path, infilling: Vocabulary) -> None:
    before = load_tokenizer(tokenizer)
    assert [infilling.controls[m] for m in (PREFIX, MIDDLE, SUFFIX)] == [before.get_vocab_size() + k for k in range(3)]
    text = f"{TEXTS[0]} {PREFIX} {TEXTS[2]}"
    assert encode_text(infilling.tokenizer, text) == encode_text(before, text)


def test_a_role_that_no_token_has_gets_one_and_only_once(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    tokenizer = tmp_path / "bare"
    tokenizer.mkdir()
    Tokenizer(models.WordLevel({"<s>": 0, "a": 1}, unk_token="<s>")).save(str(tokenizer / "tokenizer.json"))
    (tokenizer / "tokenizer_config.json").write_text('{"pad_token": "<s>"}', encoding="utf-8")
    missing = lacking(tokenizer, ("mask", "pad"), ())
    assert missing == {"[MASK]": "mask"}
    folder = add_controls(tokenizer, missing, tmp_path / "more")
    assert lacking(folder, ("mask", "pad"), ()) == {}
    assert special_ids(folder).mask == load_tokenizer(folder).token_to_id("[MASK]")


# ---- infilling -------------------------------------------------------------------------------------


def infill_row(vocabulary: Vocabulary, length: int, texts: list[str]) -> Row:
    end = special_ids(vocabulary.folder or Path()).eos
    documents = [[*encode_text(vocabulary.tokenizer, text), end] for text in texts]
    ids = np.concatenate(documents)[:length]
    segments = np.repeat(np.arange(len(documents)), [len(one) for one in documents])[:length]
    gap = length - len(ids)
    return {"ids": np.append(ids, np.zeros(gap, int)), "segments": np.append(segments, np.full(gap, -1))}


def put_back(ids: list[int], vocabulary: Vocabulary) -> str:
    """The text of a rearranged piece, in its own order."""
    pre, mid, suf = (vocabulary.controls[mark] for mark in (PREFIX, MIDDLE, SUFFIX))
    body = [i for i in ids if i not in vocabulary.specials or i in (pre, mid, suf)]
    if pre not in body:
        return vocabulary.tokenizer.decode(body, skip_special_tokens=False)
    assert body[0] == pre
    places = _parts(body, pre, mid, suf)
    text = {k: vocabulary.tokenizer.decode(body[a + 1 : b], skip_special_tokens=False) for k, a, b in places}
    return text["prefix"] + text["middle"] + text["suffix"]


def _parts(body: list[int], pre: int, mid: int, suf: int) -> list[tuple[str, int, int]]:
    at_suf, at_mid = body.index(suf), body.index(mid)
    if at_suf == 1:  # SPM: what follows the middle mark is prefix and middle
        return [("prefix", at_mid, len(body)), ("middle", len(body), len(body)), ("suffix", at_suf, at_mid)]
    return [("prefix", 0, at_suf), ("suffix", at_suf, at_mid), ("middle", at_mid, len(body))]


@pytest.mark.parametrize("spm", [0.0, 1.0])
def test_infilling_gives_the_text_back(infilling: Vocabulary, spm: float) -> None:
    objective = OBJECTIVE({"kind": "infill", "rate": 1.0, "spm": spm})
    row = infill_row(infilling, 400, TEXTS[:3])
    cut_inside_a_token = 0
    for seed in range(40):
        found = objective.prepare(row, infilling, drawn(seed))
        numbers = found["segments"]
        pieces = [found["ids"][numbers == k].tolist() for k in range(3)]
        assert [put_back(piece, infilling) for piece in pieces] == TEXTS[:3]
        assert all(piece[-1] == special_ids(infilling.folder or Path()).eos for piece in pieces)
        cut_inside_a_token += sum(len(piece) for piece in pieces) > sum(row["segments"] >= 0) + 9
    assert cut_inside_a_token  # some cuts fall inside tokens: they are at characters


def test_a_full_row_gives_the_end_of_its_last_piece_and_never_grows(infilling: Vocabulary) -> None:
    objective = OBJECTIVE({"kind": "infill", "rate": 1.0})
    row = infill_row(infilling, 90, TEXTS[:3])
    whole = infilling.tokenizer.decode(row["ids"][row["segments"] == row["segments"].max()].tolist())
    rearranged = 0
    for seed in range(40):
        found = objective.prepare(row, infilling, drawn(seed))
        assert len(found["ids"]) == 90
        last = found["ids"][found["segments"] == found["segments"].max()].tolist()
        if infilling.controls[MIDDLE] in last:
            text = put_back(last, infilling)
            assert whole.startswith(text)
            rearranged += len(text) > 0
    assert rearranged > 20


# ---- several objectives ----------------------------------------------------------------------------


def plain_row(length: int = 13) -> Row:
    return {"ids": np.arange(4, 4 + length), "segments": np.repeat([0, 1], [6, length - 6])}


def test_shares_say_how_many_rows_each_objective_gets() -> None:
    objective = OBJECTIVE(
        {"kind": "several", "of": {"a": "causal", "b": {"kind": "masked-next"}}, "shares": {"a": 3, "b": 1}}
    )
    of = [objective.prepare(plain_row(), VOCABULARY, drawn(k))["of"] for k in range(4000)]
    assert abs(of.count("a") / 4000 - 0.75) < 0.02
    assert objective.weights == {"a": 0.75, "b": 0.25}
    assert objective.tells_bits == "a"


def test_the_share_and_the_rate_of_a_hybrid_move_over_the_run() -> None:
    tree = {"kind": "hybrid", "share_masked": 0.0, "last_share_masked": 1.0, "rate": 0.6, "last_rate": 0.2}
    objective = OBJECTIVE(tree)

    def told(progress: float) -> tuple[float, float]:
        rows = [objective.prepare({**plain_row(24), "progress": progress}, VOCABULARY, drawn(k)) for k in range(400)]
        masked = [row for row in rows if row["of"] == "masked"]
        hidden = [(row["labels"] != IGNORE).sum() for row in masked]
        return len(masked) / 400, float(np.mean(hidden)) if hidden else 0.0

    assert told(0.0) == (0.0, 0.0)
    half, number = told(0.5)
    assert abs(half - 0.5) < 0.08
    assert number == round(0.4 * 21)  # 23 inputs, less the first token of each of two documents
    assert objective.weights_at(0.25) == {"causal": 0.75, "masked": 0.25}


def test_a_hidden_token_is_predicted_at_the_place_before_it_and_a_first_one_never() -> None:
    objective = OBJECTIVE({"kind": "masked-next", "rate": 0.99, "keep": 0.0, "replace": 0.0})
    row = objective.prepare(plain_row(), VOCABULARY, drawn(0))
    assert row["ids"].tolist() == [4, 1, 1, 1, 1, 1, 10, 1, 1, 1, 1, 1]
    assert row["labels"].tolist() == [5, 6, 7, 8, 9, IGNORE, 11, 12, 13, 14, 15, IGNORE]


def test_masked_inputs_leave_what_is_predicted_and_validation_as_they_are() -> None:
    objective = OBJECTIVE({"kind": "causal", "input_mask": 0.5})
    row = objective.prepare({**plain_row(), "progress": 0.5}, VOCABULARY, drawn(0))
    assert (row["read"] == VOCABULARY.mask).sum() == round(0.5 * 13)
    batch, plain = (o.collate([r], VOCABULARY) for o, r in ((objective, row), (OBJECTIVE("causal"), plain_row())))
    assert batch["labels"].equal(plain["labels"])
    assert not batch["input_ids"].equal(plain["input_ids"])
    assert objective.prepare(plain_row(), VOCABULARY, drawn(0)).keys() == plain_row().keys()


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"a": "causal", "b": "masked"}, "two kinds of heads"),
        ({"kind": "several", "of": {"a": "causal"}, "shares": {"b": 1}}, "wrong about 'a'"),
        ({"a": {"kind": "casual"}}, "did you mean 'causal'"),
        ({"kind": "hybrid", "share_masked": 2}, "less than or equal to 1"),
    ],
)
def test_objectives_that_do_not_go_together_are_refused(tree: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build(PretrainSettings, {"tokens": "-", "objective": tree}, source="here")
