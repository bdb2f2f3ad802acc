"""Token files of other programs, there and back: the same bytes."""

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, NotSupported, PretuneError
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.tokens.store import interop
from pretune.tokens.store.interop import read_files, write_arrow, write_megatron, write_nanogpt
from pretune.tokens.store.store import Store, StoreWriter, write_manifest

SPLITS = ("train", "validation")


def megatron(path: Path) -> list[list[int]]:
    """An index and its ids by the format's description alone, byte by byte."""
    data = path.with_suffix(".idx").read_bytes()
    assert data[:9] == b"MMIDIDX\x00\x00"
    version, code = struct.unpack_from("<QB", data, 9)
    sequences, borders = struct.unpack_from("<QQ", data, 18)
    assert version == 1 and len(data) == 34 + 4 * sequences + 8 * sequences + 8 * borders
    sizes = struct.unpack_from(f"<{sequences}i", data, 34)
    pointers = struct.unpack_from(f"<{sequences}q", data, 34 + 4 * sequences)
    firsts = struct.unpack_from(f"<{borders}q", data, 34 + 12 * sequences)
    letter = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 8: "H"}[code]
    ids = path.with_suffix(".bin").read_bytes()
    read = [list(struct.unpack_from(f"<{n}{letter}", ids, at)) for n, at in zip(sizes, pointers, strict=True)]
    return [[i for s in read[a:b] for i in s] for a, b in pairwise(firsts)]


def write_store(folder: Path, documents: list[list[int]], *, vocab_size: int, end: int = 0) -> Path:
    folder.mkdir()
    writer = StoreWriter(folder, "train", vocab_size=vocab_size, end_id=end)
    names = [str(k) for k in range(len(documents))]
    table = pa.table({"id": names, "source": ["s"] * len(names), "bytes": [1] * len(names)})
    ids = np.array([i for d in documents for i in d], np.uint32)
    writer.add(ids, np.cumsum([len(d) for d in documents]), table)
    write_manifest(folder, vocab_size=vocab_size, end_id=end, splits={"train": writer.close()})
    return folder


@pytest.fixture
def back(make, tmp_path):
    """A token store through another format and back, by the real stages; (store, what came back, the bundle)."""

    def there_and_back(to: str) -> tuple[Artifact, Artifact, Path]:
        made = make()
        command, _ = stage_recipe("export", [str(made["tokens"].path), f"to={to}"], str(tmp_path / "bundle"))
        bundle = command.run(log=Log(quiet=True))["export"]
        given = [str(bundle.path / to), str(made["tokenizer"].path)]
        again, _ = stage_recipe("tokens", given, str(tmp_path / "again"))
        return made["tokens"], again.run(log=Log(quiet=True))["tokens"], bundle.path

    return there_and_back


@pytest.mark.parametrize("to", ["nanogpt", "megatron", "arrow"])
def test_a_store_comes_back_from_every_format_with_the_same_bytes(back, to, monkeypatch):
    monkeypatch.setattr(interop, "AT_ONCE", 700)
    store, again, bundle = back(to)
    for split in SPLITS:
        for name in (f"{split}.bin", f"{split}.ends"):
            assert (store.path / name).read_bytes() == (again.path / name).read_bytes()
        one, other = (pq.read_table(a.path / f"{split}.documents.parquet") for a in (store, again))
        assert one["bytes"].to_pylist() == other["bytes"].to_pylist()
        assert to != "arrow" or one.equals(other)
    assert (store.path / "manifest.json").read_bytes() == (again.path / "manifest.json").read_bytes()
    assert json.loads((bundle / "parity.json").read_text(encoding="utf-8"))[to]["tokens"]["train"] > 700


def test_an_independent_reader_finds_our_documents_in_megatrons_files(back):
    store, _, bundle = back("megatron")
    for split in SPLITS:
        opened = Store.open(store.path, split)
        found = megatron(bundle / "megatron" / f"{split}.bin")
        assert found == [opened.document(k).tolist() for k in range(opened.num_documents)]


def test_nanogpts_files_are_plain_uint16_of_the_whole_split(back):
    store, _, bundle = back("nanogpt")
    for split, name in (("train", "train.bin"), ("validation", "val.bin")):
        ids = np.memmap(bundle / "nanogpt" / name, dtype=np.uint16, mode="r")  # as nanoGPT opens it
        assert ids.tolist() == Store.open(store.path, split).ids.tolist()


def test_arrow_has_a_row_per_document_with_its_id_and_source(back):
    store, _, bundle = back("arrow")
    with pa.ipc.open_file(bundle / "arrow" / "train.ids.arrow") as file:
        table = file.read_all()
    assert table.schema.field("ids").type == pa.list_(pa.uint16())
    opened = Store.open(store.path, "train")
    assert table["ids"].to_pylist() == [opened.document(k).tolist() for k in range(opened.num_documents)]
    about = pq.read_table(store.path / "train.documents.parquet")
    assert table["id"].to_pylist() == about["id"].to_pylist() and set(table["source"].to_pylist()) == {"notes"}


def test_a_large_vocabulary_is_int32_for_megatron_uint32_for_arrow_and_refused_for_nanogpt(tmp_path):
    folder = write_store(tmp_path / "big", [[70_000, 5], [], [69_999]], vocab_size=70_001)
    write_megatron(folder, tmp_path)
    assert (tmp_path / "train.idx").read_bytes()[17] == 4
    assert megatron(tmp_path / "train.bin") == [[70_000, 5, 0], [0], [69_999, 0]]
    with pa.ipc.open_file(write_arrow(folder, tmp_path)[0]) as file:
        assert file.schema.field("ids").type == pa.list_(pa.uint32())
    with pytest.raises(NotSupported, match="uint16"):
        write_nanogpt(folder, tmp_path)


@pytest.mark.parametrize(("code", "dtype"), [(1, "<u1"), (2, "<i1"), (3, "<i2"), (4, "<i4"), (5, "<i8"), (8, "<u2")])
def test_megatrons_types_and_documents_of_several_sequences_are_read(tmp_path, code, dtype):
    path = tmp_path / "text_document.idx"
    np.array([5, 6, 7, 0, 8, 9], dtype).tofile(path.with_suffix(".bin"))
    sizes, firsts, width = [2, 2, 2], [0, 2, 3], np.dtype(dtype).itemsize
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, 3, 3)
    path.write_bytes(head + struct.pack("<3i3q3q", *sizes, 0, 2 * width, 4 * width, *firsts))
    found = [part for _, part in read_files([path.with_suffix(".bin"), path], vocab_size=100, end=0)]
    assert [part.ids.tolist() for part in found] == [[5, 6, 7, 8, 9]]
    assert [part.ends.tolist() for part in found] == [[3, 5]], "the end token is taken off where there is one"


def test_nanogpts_last_document_needs_no_end(tmp_path):
    np.array([5, 0, 0, 7, 8], "<u2").tofile(tmp_path / "train.bin")
    ((_, part),) = read_files([tmp_path / "train.bin"], vocab_size=9, end=0)
    assert (part.ids.tolist(), part.ends.tolist()) == ([5, 7, 8], [1, 1, 3])


def index(*, magic=b"MMIDIDX\x00\x00", version=1, code=8, sizes=(2, 1), pointers=(0, 4), firsts=(0, 1, 2)):
    head = magic + struct.pack("<QBQQ", version, code, len(sizes), len(firsts))
    arrays = [("<i4", sizes), ("<i8", pointers), ("<i8", firsts)]
    return head + b"".join(np.array(values, kind).tobytes() for kind, values in arrays)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no index of Megatron"),
        (b"TNTIDX\x00\x00" * 9, "no index of Megatron"),
        (index(version=2), "no index of Megatron"),
        (index(code=7), "type 7"),
        (index()[:-3], "was cut"),
        (index(sizes=(2, 2)), "gaps or reach beyond"),
        (index(sizes=(2, -1)), "gaps or reach beyond"),
        (index(pointers=(0, 2)), "gaps or reach beyond"),
        (index(firsts=(0, 1, 3)), "not there"),
        (index(firsts=(1, 1, 2)), "not there"),
    ],
)
def test_an_index_that_is_not_megatrons_or_does_not_fit_is_named(tmp_path, data, told):
    (tmp_path / "a.idx").write_bytes(data)
    np.array([1, 2, 3], "<u2").tofile(tmp_path / "a.bin")
    with pytest.raises(BadFile, match=told):
        list(read_files([tmp_path / "a.bin", tmp_path / "a.idx"], vocab_size=9, end=0))


def test_ids_beyond_the_vocabulary_and_files_that_were_cut_are_named(tmp_path):
    np.array([1, 9, 0], "<u2").tofile(tmp_path / "train.bin")
    with pytest.raises(BadFile, match="id 9, but the vocabulary has 9 words"):
        list(read_files([tmp_path / "train.bin"], vocab_size=9, end=0))
    (tmp_path / "train.bin").write_bytes(b"abc")
    with pytest.raises(BadFile, match="3 bytes"):
        list(read_files([tmp_path / "train.bin"], vocab_size=9, end=0))
    (tmp_path / "x.ids.arrow").write_bytes(b"ARROW1 no")
    with pytest.raises(BadFile, match="no Arrow file"):
        list(read_files([tmp_path / "x.ids.arrow"], vocab_size=9, end=0))


def test_an_arrow_file_of_other_columns_is_named(tmp_path):
    for name, columns in (("a", {"text": ["x"]}), ("b", {"ids": [["x"]]}), ("c", {"ids": [[1], None]})):
        table, path = pa.table(columns), tmp_path / f"{name}.ids.arrow"
        with pa.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
        with pytest.raises(BadFile, match="lists of ids"):
            list(read_files([path], vocab_size=9, end=0))


def test_a_document_that_32_bits_cannot_count_is_refused():
    store = Store(np.empty(0, np.uint16), np.array([5, 2**31 + 5], np.uint64), 0, 9, 0)
    assert store.lengths.tolist() == [5, 2**31]
    with pytest.raises(NotSupported, match=r"document 1 has 2,147,483,648 tokens"):
        interop._countable(store, "Megatron")


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("tokens", ["{tokenizer}"], "give a corpus, or token files"),
        ("tokens", ["{corpus}", "{tokenizer}", "end=3"], "`end` is about `ids`"),
        ("export", ["{tokens}"], "to=megatron"),
    ],
)
def test_what_does_not_go_together_is_told_with_what_does(make, tmp_path, kind, words, told):
    made = {name: str(artifact.path) for name, artifact in make().items()}
    with pytest.raises(PretuneError) as error:
        stage_recipe(kind, [w.format(**made) for w in words], str(tmp_path / "x"))[0].run(log=Log(quiet=True))
    assert told in str(error.value)
