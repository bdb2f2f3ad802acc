"""Numbers by a table made by hand."""

import math

import pytest

from pretune.report.numbers import count, duration, figure, metric, share, size

TABLE = [
    (
        count,
        {0: "0", 812: "812", 20_806: "20,806", 999_499: "999,499", 999_500: "1.0 million", 1_234_567: "1.2 million"},
    ),
    (count, {124e6: "124 million", 2.9e9: "2.9 billion", 1.5e12: "1.5 trillion", -2e6: "-2.0 million"}),
    (size, {0: "0 bytes", 999: "999 bytes", 1000: "1.0 KiB", 1024: "1.0 KiB", 35_000: "34 KiB"}),
    (size, {2_908_041_216: "2.7 GiB", 1024**3 - 1: "1.0 GiB", 640 * 2**20: "640 MiB", 5 * 2**50: "5,120 TiB"}),
    (
        share,
        {0: "0 %", 0.0004: "under 0.1 %", 0.002: "0.2 %", 0.7087: "71 %", 0.994: "99.4 %", 1: "100 %", -0.07: "-7 %"},
    ),
    (share, {0.9996: "over 99.9 %"}),
    (
        duration,
        {0: "0 s", 0.43: "0.43 s", 3: "3 s", 45.2: "45 s", 59.6: "1 min", 200: "3 min 20 s", 3599: "59 min 59 s"},
    ),
    (duration, {3599.6: "1 h", 7500: "2 h 5 min", 47 * 3600: "47 h", 48 * 3600: "2 d", 76 * 3600: "3 d 4 h"}),
    (figure, {1.6: "1.60", 0.0821: "0.0821", 12.345: "12.3", 999.4: "999", 999.6: "1,000", 8.17e-6: "8.17e-06"}),
    (figure, {math.inf: "inf", 5_049_088: "5.0 million", 0: "0"}),
]


@pytest.mark.parametrize(("function", "table"), TABLE)
def test_numbers_are_written_as_people_read_them(function, table):
    assert {number: function(number) for number in table} == table


def test_a_share_that_is_compared_keeps_a_digit():
    assert [share(value, 1) for value in (0.7087, 0.7, 0, 1)] == ["70.9 %", "70.0 %", "0 %", "100 %"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("peak_memory_bytes", 2_908_041_216, "2.7 GiB"),
        ("train_seconds", 200, "3 min 20 s"),
        ("validation_accuracy", 0.7087, "70.9 %"),
        ("guessed_rouge_l", 0.14125, "14.1 %"),
        ("bits_per_byte", 1.212863, "1.21"),
        ("seconds_per_step", 0.3868, "0.387"),
        ("parameters", 5_049_088, "5.0 million"),
        ("baseline_beaten", True, "yes"),
        ("precision", "bfloat16", "bfloat16"),
        ("best_score", None, ""),
    ],
)
def test_the_name_of_a_metric_says_its_unit(name, value, text):
    assert metric(value, name) == text
