"""Whatever bytes come, a reader gives records or an error of ours."""

import signal
from pathlib import Path

import pytest

from pretune.base.errors import UserError
from pretune.text.read.readers import READERS, TABULAR, Repairs, read_records, suffix_of
from tests.text.format_samples import damaged, samples

pytest.importorskip("resiliparse", reason="needs the extra 'data'")
SAMPLES = samples()
SECONDS = 10


@pytest.fixture
def in_time():
    """Stop a reader that hangs in Python code."""

    def stop(*_):
        raise KeyboardInterrupt(f"not done after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    yield lambda: signal.alarm(SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_reader_has_a_sample():
    assert {suffix_of(Path(f"a{s}")) for s in SAMPLES} >= set(READERS) - {".md", ".ndjson", ".htm", ".xhtml"}
    assert set(TABULAR) <= set(READERS)


@pytest.mark.parametrize("suffix", SAMPLES)
def test_a_sound_file_gives_records_and_refuses_nothing(tmp_path, suffix):
    path = tmp_path / f"sample{suffix}"
    path.write_bytes(SAMPLES[suffix])
    repairs = Repairs()
    records = list(read_records(path, repairs))
    assert records
    assert all(isinstance(record["text"], str) and record["text"].strip() for record in records)
    assert (repairs.broken, repairs.left_out) == (0, [])


@pytest.mark.parametrize("suffix", SAMPLES)
def test_damage_gives_records_or_an_error_of_ours(tmp_path, suffix, in_time):
    path = tmp_path / f"sample{suffix}"
    for seed in range(50):
        path.write_bytes(damaged(SAMPLES[suffix], seed))
        for repairs in (Repairs(), Repairs(quarantine=[])):
            in_time()
            try:
                records = list(read_records(path, repairs))
            except UserError as error:
                assert error.problem, seed
            else:
                assert all(isinstance(record, dict) for record in records), seed
