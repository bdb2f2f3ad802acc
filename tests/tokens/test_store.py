import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretune.base.digest import digest
from pretune.base.errors import BadFile, Changed, NotAnArtifact
from pretune.text.read.shards import read_rows
from pretune.tokens.encode.tokenizer import encode_text, load_tokenizer
from pretune.tokens.store.store import Store, StoreWriter, dtype_for, write_manifest


def test_a_document_is_its_tokens_and_one_end_token_in_the_corpus_order(make):
    artifacts = make()
    tokenizer = load_tokenizer(artifacts["tokenizer"].path)
    for split in ("train", "validation"):
        rows = list(read_rows(artifacts["corpus"].path, split))
        store = Store.open(artifacts["tokens"].path, split)
        assert store.num_documents == len(rows) > 0
        for k, row in enumerate(rows):
            assert store.document(k).tolist() == [*encode_text(tokenizer, row["text"]), 0]
        assert store.num_tokens == sum(len(store.document(k)) for k in range(len(rows)))
        assert store.num_bytes == sum(row["bytes"] for row in rows)
        documents = pq.read_table(artifacts["tokens"].path / f"{split}.documents.parquet").to_pylist()
        assert documents == [{"id": r["id"], "source": "notes", "bytes": r["bytes"]} for r in rows]


def test_an_absent_split_is_empty(make):
    store = Store.open(make()["tokens"].path, "test")
    assert (store.num_tokens, store.num_documents, store.num_bytes) == (0, 0, 0)


def test_the_card_counts_the_store(make):
    tokens = make()["tokens"]
    stores = [Store.open(tokens.path, s) for s in ("train", "validation", "test")]
    card = tokens.card.metrics
    assert card["tokens"] == sum(s.num_tokens for s in stores) == card["sources"]["notes"]["tokens"]
    assert card["documents"] == sum(s.num_documents for s in stores) == 60
    assert card["bytes"] == sum(s.num_bytes for s in stores)


def documents(*ids):
    return pa.table({"id": ids, "source": ["s"] * len(ids), "bytes": [3] * len(ids)})


def test_documents_added_together_or_one_by_one_are_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr("pretune.tokens.store.store.ROWS_PER_GROUP", 2)
    written = []
    for together in (1, 2, 5):
        folder = tmp_path / str(together)
        folder.mkdir()
        writer = StoreWriter(folder, "train", vocab_size=300, end_id=9)
        for at in range(0, 5, together):
            mine = range(at, min(at + together, 5))
            ids = [np.arange(k, dtype=np.uint32) for k in mine]  # document k is 0 ... k - 1, so the first is empty
            writer.add(np.concatenate(ids), np.cumsum([len(i) for i in ids]), documents(*map(str, mine)))
        assert writer.close() == {"tokens": 15, "documents": 5, "bytes": 15}
        written.append([(folder / f"train.{name}").read_bytes() for name in ("bin", "ends")])
        assert pq.read_table(folder / "train.documents.parquet")["id"].to_pylist() == list("01234")
    assert np.frombuffer(written[0][0], "<u2").tolist() == [9, 0, 9, 0, 1, 9, 0, 1, 2, 9, 0, 1, 2, 3, 9]
    assert np.frombuffer(written[0][1], "<u8").tolist() == [1, 3, 6, 10, 15]
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_the_largest_id_survives(tmp_path, vocab_size, dtype):
    writer = StoreWriter(tmp_path, "train", vocab_size=vocab_size, end_id=0)
    writer.add(np.array([vocab_size - 1, 5], np.uint32), np.array([2]), documents("a"))
    write_manifest(tmp_path, vocab_size=vocab_size, end_id=0, splits={"train": writer.close()})
    store = Store.open(tmp_path, "train")
    assert store.ids.tolist() == [vocab_size - 1, 5, 0]
    assert dtype_for(vocab_size) == dtype == store.ids.dtype.name
    assert (tmp_path / "train.bin").read_bytes() == np.array(
        [vocab_size - 1, 5, 0], f"<u{store.ids.itemsize}"
    ).tobytes()


def test_a_cut_or_missing_file_is_named(make):
    folder = make()["tokens"].path
    data = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(data[:-1])
    with pytest.raises(Changed, match=r"train\.bin"):
        Store.open(folder, "train")
    (folder / "train.bin").unlink()
    with pytest.raises(Changed, match="missing"):
        Store.open(folder, "train")
    (folder / "manifest.json").unlink()
    with pytest.raises(NotAnArtifact, match=r"manifest\.json"):
        Store.open(folder, "train")


def test_the_same_settings_write_what_they_wrote_before(make):
    """If this fails, raise the `version` of the stage that writes something else now, then renew the digest."""
    artifacts = make()
    rows = [row for split in ("train", "validation") for row in read_rows(artifacts["corpus"].path, split)]
    assert digest(rows) == "9905f2c6b372e2c4ea5fbf946fce7f8a"
    assert digest(Store.open(artifacts["tokens"].path, "train").ids.tolist()) == "356406a7540f9b3f58ddb53eeae73c23"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "float32"}, "not 'uint16'"),
        ({"vocab_size": 70_000}, "not 'uint32'"),
        ({"splits": None}, "says nothing of splits"),
        (None, "is no manifest"),
    ],
)
def test_a_manifest_that_cannot_be_one_is_named(make, change, told):
    path = make()["tokens"].path / "manifest.json"
    said = json.loads(path.read_text(encoding="utf-8")) | (change or {})
    said = {name: value for name, value in said.items() if value is not None}
    path.write_text(json.dumps(said) if change else "{", encoding="utf-8")
    with pytest.raises(BadFile, match=told):
        Store.open(path.parent, "train")


def test_ends_that_do_not_reach_the_last_token_are_named(make):
    folder = make()["tokens"].path
    ends = np.fromfile(folder / "train.ends", "<u8")
    ends[-1] -= 1
    ends.tofile(folder / "train.ends")
    with pytest.raises(Changed, match="its last document ends at token"):
        Store.open(folder, "train")


def test_a_token_lies_in_the_document_whose_span_holds_it():
    store = Store(np.zeros(9, np.uint16), np.array([2, 3, 9], np.uint64), 0, 9, 0)
    assert store.lengths.tolist() == [2, 1, 6]
    assert [store.number_of(token) for token in range(9)] == [0, 0, 1, 2, 2, 2, 2, 2, 2]
    assert [a.tolist() for a in store.spans(np.array([2, 0, 1]))] == [[3, 0, 2], [9, 2, 3]]
