"""The first sentence of the pages of a corpus and of a dataset, by hand."""

import numpy as np

from pretune.text.corpus.reporting import Seen, verdict
from pretune.text.dataset.doctor.findings import Data, Finding
from pretune.text.dataset.doctor.report import verdict_of
from pretune.text.dataset.example import Labelled


def test_a_corpus_says_how_much_was_kept_and_the_main_reason_for_the_rest():
    seen = Seen()
    seen.add(np.array([700, 200]), np.array([True, False]))
    seen.add(np.array([100]), np.array([False]))
    facts = {"bytes": 2048, "documents": 1, "dropped": {"short": 1, "duplicate": 2}}
    assert verdict(facts, seen) == (
        "2.0 KiB of text in 1 document: 70 % of what was read is kept; the main reason for the rest is duplicate "
        "(2 of 3 documents)."
    )
    assert verdict(facts | {"dropped": {}}, seen) == "2.0 KiB of text in 1 document: all that was read is kept."


def test_a_dataset_says_whether_it_is_sound_and_names_the_worst_finding():
    data = Data.of("label", {"train": [Labelled("a", "x", "f#0"), Labelled("b", "y", "f#1")]})
    leak = Finding("leaks", "error", 1, "1 row of 1 of test stands in train", "Leave it out.")
    hint = Finding("html", "hint", 2, "2 rows with remains of HTML", "Take it out.")
    assert verdict_of(data, []) == ("Sound: no errors in 2 examples.", "good")
    assert verdict_of(data, [hint]) == ("Sound: no errors in 2 examples; 1 hint to look at.", "good")
    said = "Not sound: 1 row of 1 of test stands in train; in all 1 error, 1 hint in 2 examples."
    assert verdict_of(data, [leak, hint]) == (said, "bad")
