"""Where an answer stands: compared with every place it could stand at."""

from __future__ import annotations

import random

from pretune.text.dataset.spans import find_answer


def by_hand(context: str, text: str, start: int) -> int | None:
    places = [k for k in range(len(context)) if text and context[k : k + len(text)] == text]
    return min(places, key=lambda k: (abs(k - start), k), default=None)


def test_the_nearest_place_is_found_as_looking_at_every_place_finds_it() -> None:
    rng = random.Random(1)
    for _ in range(20_000):
        context = "".join(rng.choices("ab🙂", k=rng.randrange(8)))
        text = "".join(rng.choices("ab🙂", k=rng.randrange(4)))
        start = rng.randrange(-3, 12)
        assert find_answer(context, text, start) == by_hand(context, text, start), (context, text, start)


def test_a_right_start_stays_and_an_answer_from_elsewhere_is_none() -> None:
    assert find_answer("狗叫了，猫叫了。", "叫了", 5) == 5
    assert find_answer("狗叫了，猫叫了。", "叫了", 4) == 5
    assert find_answer("狗叫了，猫叫了。", "鸟叫", 0) is None
    assert find_answer("狗叫了", "", 0) is None
