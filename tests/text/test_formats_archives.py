"""Packed folders: members come out one at a time, and nothing that was made to harm does."""

import gzip
import io
import sys
import tarfile
import types
import zipfile

import pytest

from pretune.base.errors import BadFile
from pretune.text.read.formats.record import open_bytes
from pretune.text.read.readers import Repairs, members, read_records
from tests.text.format_samples import tarred, zipped

FILES = {"a.txt": "茶".encode(), "b/c.jsonl": b'{"text": "tea"}\n', "b/.hidden.txt": b"x", "__MACOSX/a.txt": b"x"}


def write(tmp_path, suffix, data):
    path = tmp_path / f"pages{suffix}"
    path.write_bytes(data)
    return path


def tar_of(*infos, data=b"x"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info in infos:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"])
def test_members_come_in_order_one_at_a_time_without_hidden_ones(tmp_path, suffix):
    packing = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "tbz2": "bz2", "xz": "xz", "txz": "xz"}.get(
        suffix.split(".")[-1], ""
    )
    path = write(tmp_path, suffix, zipped(FILES) if suffix == ".zip" else tarred(FILES, packing))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    seen = []
    for name, member in members(path, scratch, Repairs()):
        assert list(scratch.iterdir()) == [member]
        seen.append((name, list(read_records(member))))
    assert seen == [("a.txt", [{"text": "茶"}]), ("b/c.jsonl", [{"text": "tea"}])]
    assert list(scratch.iterdir()) == []
    assert [r["text"] for r in read_records(path)] == ["茶", "tea"]


@pytest.mark.parametrize(
    "name", ["../up.txt", "a/../../up.txt", "/etc/x.txt", "\\x.txt", "a\\..\\..\\x.txt", "C:/x.txt"]
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_path_that_leads_out_is_refused_and_the_others_are_read(tmp_path, name, pack):
    path = write(tmp_path, ".zip" if pack is zipped else ".tar", pack({name: b"bad", "good.txt": b"good"}))
    repairs = Repairs(quarantine=[])
    assert [r["text"] for r in read_records(path, repairs)] == ["good"]
    assert "leads out of the folder" in repairs.quarantine[0][1]
    with pytest.raises(BadFile, match="leads out"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_are_refused(tmp_path, kind, told):
    odd, good = tarfile.TarInfo("odd.txt"), tarfile.TarInfo("good.txt")
    odd.type, odd.linkname = kind, "/etc/passwd"
    repairs = Repairs(quarantine=[])
    records = list(read_records(write(tmp_path, ".tar", tar_of(odd, good, data=b"fine")), repairs))
    assert [r["text"] for r in records] == ["fine"]
    assert repairs.quarantine[0][1].endswith(told)


def test_a_link_in_a_zip_is_refused(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BadFile, match="a link"):
        list(read_records(write(tmp_path, ".zip", out.getvalue())))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_bomb_is_refused_and_leaves_nothing_behind(tmp_path, suffix):
    zeros = {"zeros.txt": b"0" * (80 << 20)}
    path = write(tmp_path, suffix, zipped(zeros) if suffix == ".zip" else tarred(zeros, "gz"))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(BadFile, match="bomb"):
        list(members(path, tmp_path / "scratch", Repairs(quarantine=[])))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_archive_in_an_archive_is_read_and_one_deeper_is_refused(tmp_path):
    inner = zipped({"x.txt": b"inner"})
    repairs = Repairs(quarantine=[])
    path = write(tmp_path, ".zip", zipped({"in.zip": inner, "deep.tar": tarred({"d.zip": inner}), "y.txt": b"outer"}))
    assert [r["text"] for r in read_records(path, repairs)] == ["inner", "outer"]
    assert [reason for _, reason in repairs.quarantine if "an archive within an archive" in reason]


def test_a_damaged_member_costs_only_itself_and_is_named_by_its_place_in_the_archive(tmp_path):
    repairs = Repairs(quarantine=[])
    path = write(
        tmp_path, ".zip", zipped({"a.pdf": b"%PDF-nothing", "b.txt": b"good", "c.bin": b"\0\1\2" * 9, "d.txt": b""})
    )
    assert [r["text"] for r in read_records(path, repairs)] == ["good"]
    [(where, reason)] = repairs.quarantine
    assert where.endswith("pages.zip/a.pdf")
    assert "pages.zip/a.pdf' is not PDF" in reason
    assert [name.rpartition("/")[2] for name in repairs.left_out] == ["c.bin"]


def test_a_zip_with_a_password_says_so(tmp_path):
    data = bytearray(zipped({"a.txt": b"secret"}))
    data[6] |= 1  # the flag "encrypted", in the local header
    data[data.find(b"PK\1\2") + 8] |= 1
    with pytest.raises(BadFile, match="encrypted"):
        list(read_records(write(tmp_path, ".zip", bytes(data))))


def test_text_packed_by_any_packer_is_the_same_text(tmp_path):
    import bz2
    import lzma

    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        path = tmp_path / f"a.txt{suffix}"
        path.write_bytes(pack("茶\n".encode() * 9000))
        assert list(read_records(path)) == [{"text": "茶\n" * 9000}]
        path.write_bytes(pack("茶\n".encode() * 9000)[:-9])
        with pytest.raises(BadFile, match="damaged archive"):
            list(read_records(path))


def test_a_stream_may_be_dropped_while_zstandard_is_being_imported(tmp_path, monkeypatch):
    """The garbage collector drops one whenever it likes, and a module is listed before its names are in it."""
    stream = open_bytes(write(tmp_path, ".txt", b"x"))
    stream.__enter__()
    monkeypatch.setitem(sys.modules, "zstandard", types.ModuleType("zstandard"))
    stream.gen.close()
