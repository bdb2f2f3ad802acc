import subprocess
import sys

from pretune.text.read.split import cluster_of, near_exact, place_of, split_all, split_of

TEXTS = [f"document number {i}" for i in range(2000)]
CLUSTERS = [cluster_of(t) for t in TEXTS]


def test_shares_are_met_within_three_standard_deviations():
    splits = [split_of(c, validation=0.1, test=0.2) for c in CLUSTERS]
    assert abs(splits.count("validation") - 200) < 40
    assert abs(splits.count("test") - 400) < 54


def test_what_is_held_out_at_one_percent_is_held_out_at_ten():
    for c in CLUSTERS:
        small, large = (split_of(c, validation=s, test=s) for s in (0.01, 0.1))
        assert small in ("train", large)


def test_adding_texts_moves_nothing():
    before = split_all(CLUSTERS[:500], validation=0.1, test=0.1)
    after = split_all(CLUSTERS, validation=0.1, test=0.1)
    assert all(after[c] == split for c, split in before.items())


def test_three_texts_are_enough_for_three_splits():
    assert sorted(split_all(CLUSTERS[:3], validation=0.01, test=0.01).values()) == ["test", "train", "validation"]


def test_copies_that_differ_in_case_spaces_and_marks_share_a_cluster():
    assert cluster_of("Good film!") == cluster_of(" good  FILM") == cluster_of("good film。")
    assert cluster_of("🙂") != cluster_of("🙁")
    assert cluster_of("好片") != cluster_of("好书")


def test_splits_are_the_same_in_another_process():
    code = "from pretune.text.read.split import *; print(place_of(cluster_of('document number 7')))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert float(told.stdout) == place_of(CLUSTERS[7])


def test_the_short_way_for_ascii_texts_keeps_what_the_long_way_keeps():
    every = "".join(map(chr, range(128)))
    long_way = "".join(c for c in every.casefold() if c.isalnum())
    assert near_exact(every) == long_way
    assert near_exact(every + "é") == long_way + "é"  # not ASCII: the other way
    assert near_exact("?!") == "?!"
