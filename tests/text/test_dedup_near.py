"""Near copies are found, and none is dropped that was not compared with the text that stays."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pretune.text.dedup import near
from pretune.text.dedup.near import Clusters, clusters, sign
from pretune.text.dedup.shingles import jaccard, shingle_sets
from tests.text.dedup_worlds import brute_jaccard, chinese, english, near_copies

Find = Callable[..., Clusters]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def of(texts: Sequence[str], *, threshold: float = 0.8, memory_bytes: int = 64_000_000) -> Clusters:
        return clusters(
            sign(texts),
            lambda wanted: [texts[k] for k in wanted],
            threshold=threshold,
            memory_bytes=memory_bytes,
            scratch=tmp_path,
        )

    return of


def candidates(signatures: NDArray[np.uint32], *, memory_bytes: int, scratch: Path) -> list[NDArray[np.uint64]]:
    pairs = near._sorted_pairs(signatures, memory_bytes, scratch)
    return list(near._once(pairs))


def planted(make: Callable[[random.Random, int], str], share: tuple[float, float]) -> tuple[list[str], list[str]]:
    """160 texts, near copies of 120 of them; the longest has 600 units."""
    rng = random.Random(7)
    originals = [make(rng, rng.randint(120, 600)) for _ in range(160)]
    return originals, [copy.text for copy in near_copies(rng, originals[:120], share=share)]


def check_deletions(texts: Sequence[str], found: Clusters, threshold: float) -> None:
    """Every deletion by an independent Jaccard: high enough, and for a text that stays."""
    for k in np.flatnonzero(found.because_of >= 0).tolist():
        kept = int(found.because_of[k])
        assert found.because_of[kept] == -1 and kept < k
        assert brute_jaccard(texts[k], texts[kept]) >= threshold
        assert found.cluster[k] == found.cluster[kept]


@pytest.mark.parametrize("make", [english, chinese])
@pytest.mark.parametrize(("threshold", "share"), [(0.8, (0.01, 0.04)), (0.7, (0.01, 0.08))])
def test_95_percent_of_planted_near_copies_are_found_and_every_deletion_is_verified(
    find: Find, make: Callable[[random.Random, int], str], threshold: float, share: tuple[float, float]
) -> None:
    originals, copies = planted(make, share)
    texts = [*originals, *copies]
    found = find(texts, threshold=threshold)
    copy_of = found.because_of[len(originals) :]
    assert np.mean(copy_of == np.arange(len(copies))) >= 0.95
    assert (found.because_of[: len(originals)] == -1).all()
    check_deletions(texts, found, threshold)


@pytest.mark.parametrize("name", ["english", "chinese", "poems"])
def test_95_percent_of_near_copies_planted_in_real_text_are_found(find: Find, shared: Path, name: str) -> None:
    rng = random.Random(3)
    real = _unique(REAL[name](shared / "data"))
    originals = rng.sample(real, min(300, len(real)))
    texts = [*originals, *(copy.text for copy in near_copies(rng, originals, share=(0.01, 0.08)))]
    found = find(texts, threshold=0.7)
    joined = found.cluster[len(originals) :] == found.cluster[: len(originals)]
    assert np.mean(joined) >= 0.95
    for k in np.flatnonzero(found.because_of >= 0).tolist():
        kept = int(found.because_of[k])
        assert found.because_of[kept] == -1
        assert jaccard(*shingle_sets([texts[k], texts[kept]])) >= 0.7


def _books(data: Path) -> list[str]:
    books = sorted((data / "gutenberg-en").glob("*.md"))[:12]
    return [p for book in books for p in book.read_text(encoding="utf-8").split("\n\n") if len(p.split()) >= 80]


def _chapters(data: Path) -> list[str]:
    chapters = sorted((data / "d2l-zh").glob("*.md"))
    paragraphs = [p for c in chapters for p in c.read_text(encoding="utf-8").split("\n\n")]
    return [p for p in paragraphs if sum("一" <= c <= "龥" for c in p) >= 120]


def _poems(data: Path) -> list[str]:
    with gzip.open(data / "chinese-poetry" / "tang.jsonl.gz", "rt", encoding="utf-8") as lines:
        poems = [json.loads(line) for _, line in zip(range(6000), lines, strict=False)]
    texts = [p.get("text") or "\n".join(p["paragraphs"]) for p in poems]
    return [t for t in texts if len(t) >= 100]


REAL = {"english": _books, "chinese": _chapters, "poems": _poems}


def _unique(texts: Sequence[str]) -> list[str]:
    return [t for t, n in Counter(texts).items() if n == 1]


def test_identical_texts_stay_once_however_short(find: Find) -> None:
    texts = ["yes", "no", "yes", "你好 🙂", "你好 🙂", "***", "***", "no"]
    assert find(texts).because_of.tolist() == [-1, -1, 0, -1, 3, -1, 5, 1]


def test_short_texts_that_differ_stay(find: Find) -> None:
    texts = ["good film", "bad film", "好看", "难看", "12", "13", "a"]
    assert find(texts).because_of.tolist() == [-1] * 7


def test_no_documents_give_no_clusters(find: Find, tmp_path: Path) -> None:
    assert sign([]).shape == (0, 32)
    assert len(find([]).cluster) == 0
    assert (candidates(sign([]), memory_bytes=1000, scratch=tmp_path)) == []


def test_tables_that_differ_only_in_figures_all_stay(find: Find) -> None:
    rng = random.Random(4)
    rows = [f"{name} region, net sales before tax" for name in ("North", "South", "East", "West")] * 8
    tables = ["\n".join(f"{row}: {rng.randint(1000, 9999)}" for row in rows) for _ in range(30)]
    assert (find(tables, threshold=0.7).because_of == -1).all()


def test_of_a_chain_nothing_is_dropped_for_a_text_it_is_not_near(find: Find) -> None:
    words = [f"word{'abcdefghij'[k // 100]}{'abcdefghij'[k // 10 % 10]}{'abcdefghij'[k % 10]}x" for k in range(400)]
    chain = [" ".join(words[30 * k : 30 * k + 300]) for k in range(3)]  # neighbours 0.82, ends 0.67
    found = find(chain)
    assert found.because_of.tolist() == [-1, 0, -1]
    assert found.cluster.tolist() == [0, 0, 0]
    check_deletions(chain, found, 0.8)


def test_the_first_of_several_copies_stays(find: Find) -> None:
    rng = random.Random(1)
    text = english(rng, 200)
    texts = [english(rng, 200), *[f"{text} {tail}" for tail in "abcdefgh"]]
    found = find(texts)
    assert found.because_of.tolist() == [-1, -1, *[1] * 7]
    assert found.cluster.tolist() == [0, *[1] * 8]


def test_a_small_memory_gives_the_same_clusters_as_a_large_one(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.text.dedup.runs._LEAST_BLOCK", 8)
    originals, copies = planted(english, (0.01, 0.06))
    texts = [*originals, *copies, *copies[:40], *originals[:10] * 6]
    large, small = find(texts, memory_bytes=1 << 26), find(texts, memory_bytes=4096)
    assert np.array_equal(large.cluster, small.cluster)
    assert np.array_equal(large.because_of, small.because_of)


def test_signatures_made_in_any_cut_and_order_are_the_same() -> None:
    originals, copies = planted(chinese, (0.01, 0.06))
    texts = [*originals, *copies, "", "!", "x" * 200_000]
    whole = sign(texts)
    apart = [sign(texts[at : at + 7]) for at in reversed(range(0, len(texts), 7))]
    assert np.array_equal(whole, np.concatenate(apart[::-1]))


def test_signatures_in_a_file_give_the_same_candidates_as_in_memory(tmp_path: Path) -> None:
    originals, copies = planted(english, (0.01, 0.06))
    signatures = sign([*originals, *copies])
    (tmp_path / "s.bin").write_bytes(signatures.tobytes())
    mapped = np.memmap(tmp_path / "s.bin", np.uint32, "r").reshape(signatures.shape)
    for rows in (slice(None), slice(100, None)):  # a view of a part must not read the whole file
        found = candidates(mapped[rows], memory_bytes=1 << 20, scratch=tmp_path)
        expected = candidates(signatures[rows], memory_bytes=1 << 20, scratch=tmp_path)
        assert np.array_equal(np.concatenate(found), np.concatenate(expected))


def test_candidates_are_unique_rising_and_older_than_their_partner(tmp_path: Path) -> None:
    texts = [english(random.Random(k % 5), 60) for k in range(40)]
    pairs = np.concatenate(candidates(sign(texts), memory_bytes=1 << 20, scratch=tmp_path)).tolist()
    assert pairs == sorted(set(pairs))
    assert all(pair >> 32 > pair & 0xFFFFFFFF for pair in pairs)


def test_nothing_stays_in_the_scratch_folder(find: Find, tmp_path: Path) -> None:
    find(["one and the same"] * 5, memory_bytes=1)
    assert list(tmp_path.iterdir()) == []


def test_texts_are_asked_for_once_each_and_in_rising_order(tmp_path: Path) -> None:
    originals, copies = planted(english, (0.01, 0.04))
    texts = [*originals, *copies]
    asked: list[int] = []

    def text_of(wanted: Sequence[int]) -> list[str]:
        asked.extend(wanted)
        return [texts[k] for k in wanted]

    clusters(sign(texts), text_of, scratch=tmp_path)
    assert asked == sorted(set(asked))
    assert len(asked) < len(texts)  # texts without a candidate are not read again
