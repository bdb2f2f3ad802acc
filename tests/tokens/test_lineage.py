"""A token's bytes are those of its text: laid end to end they are the document, in Chinese and emoji too."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from pretune.base.artifact import Artifact
from pretune.base.errors import Changed, WrongKind, WrongValue
from pretune.cli import cli
from pretune.text.read.shards import read_rows
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer
from pretune.tokens.store.lineage import byte_spans, lineage_of, token_bytes
from pretune.tokens.store.store import Store

SHARED = Path(os.environ.get("PRETUNE_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="module")
def bytes_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer without merges: every Chinese character is three tokens, 🙂 four."""
    folder = tmp_path_factory.mktemp("bytes")
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({w: k for k, w in enumerate(words)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<eos>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_every_token_of_every_document_leads_back_to_its_row_and_its_bytes(make):
    made = make()
    store = Store.open(made["tokens"].path, "train")
    rows = list(read_rows(made["corpus"].path, "train"))
    for number in (0, 1, store.num_documents - 1):
        first, text = int(store.spans(np.array([number]))[0][0]), rows[number]["text"].encode()
        length, at = len(store.document(number)), 0
        for place in range(0, length - 1, 1 if number == 0 else 7):
            found = lineage_of(made["tokens"], first + place)
            assert (found.document, found.place, found.id) == (number, place, rows[number]["id"])
            assert (found.source, found.origin) == (rows[number]["source"], rows[number]["origin"])
            assert found.bytes and found.characters
            if number == 0:
                assert found.bytes[0] == at
                at = found.bytes[1]
            assert text[slice(*found.bytes)] in found.text.encode()
        assert number or at == len(text)
        end = lineage_of(made["tokens"], first + length - 1)
        assert (end.token_id, end.bytes, end.note) == (0, None, "the end of the document")


def test_parts_of_a_character_have_bytes_of_their_own(bytes_only):
    text = "a你🙂b"
    ids = encode_text(load_tokenizer(bytes_only), text)
    spans, is_exact = byte_spans(bytes_only, text, ids)
    assert is_exact and spans.tolist() == [[k, k + 1] for k in range(9)]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@pytest.mark.parametrize("name", ["data/tokenizers/gpt2", "models/all-MiniLM-L6-v2"])
def test_byte_spans_of_real_tokenizers_hold_what_the_tokens_say(name, text):
    if not (SHARED / name).is_dir():
        pytest.skip("the real data sets are not next to this clone")
    tokenizer = load_tokenizer(SHARED / name)
    ids = encode_text(tokenizer, text)
    spans, is_exact = byte_spans(SHARED / name, text, ids)
    assert is_exact == (name == "data/tokenizers/gpt2") or not text
    assert (spans[:, 0] <= spans[:, 1]).all() and (np.diff(spans[:, 0]) >= 0).all()
    if is_exact:
        assert spans[:, 0].tolist() == [0, *spans[:-1, 1].tolist()][: len(ids)]
        assert all(
            text.encode()[a:b].decode("utf-8", "replace") == tokenizer.decode([i], skip_special_tokens=False)
            for (a, b), i in zip(spans.tolist(), ids, strict=True)
        )


def test_bytes_of_tokens_are_those_of_what_they_decode_to(bytes_only):
    sizes = token_bytes(load_tokenizer(bytes_only))
    assert sizes.tolist() == [1] * 256 + [len("<eos>")]


def test_show_tells_the_document_of_a_token(make):
    tokens = make()["tokens"]
    said = CliRunner().invoke(cli, ["show", str(tokens.path), "--token", "70", "--json"])
    found = json.loads(said.stdout)
    assert found["document"] == Store.open(tokens.path, "train").number_of(70)
    assert found["origin"].endswith(f"#{found['origin'].rpartition('#')[2]}") and found["source"] == "notes"
    plain = CliRunner().invoke(cli, ["show", str(tokens.path), "--token", "70"]).stdout
    assert f"document {found['document']}" in plain and found["origin"] in plain


def test_what_cannot_be_looked_up_is_told(make):
    made = make()
    with pytest.raises(WrongKind, match="tokens are needed"):
        lineage_of(made["corpus"], 0)
    with pytest.raises(WrongValue, match=r"train has no token 9,999,999"):
        lineage_of(made["tokens"], 9_999_999)
    with pytest.raises(WrongValue, match="test has no token 0"):
        lineage_of(made["tokens"], 0, "test")
    gone = Artifact(made["tokens"].path, made["tokens"].card)
    (made["corpus"].path / "artifact.json").rename(made["corpus"].path / "card")
    assert "not to be found" in lineage_of(gone, 3).note


def test_another_tokenizer_than_the_stores_is_not_believed(bytes_only):
    with pytest.raises(Changed, match="other tokens"):
        byte_spans(bytes_only, "ab", [1, 2])
