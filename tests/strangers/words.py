"""What strangers' files say: sentences of several scripts, no two alike in a file, and the labels people give."""

from __future__ import annotations

import random
from itertools import pairwise, product

_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "english": (
        ("The tea", "A letter", "My neighbour", "The film", "This old book", "The engine", "Her brother", "The soup"),
        ("came back", "was better than before", "made us laugh", "kept waiting", "stood still", "was sold"),
        ("in the morning.", "near the river.", "after the rain.", "for two hours.", "on Monday.", "without a word."),
    ),
    "western": (
        ("Le café", "Das Mädchen", "El niño", "Mon frère", "Der Käse", "La señora", "Le château"),
        ("était déjà fermé", "hört über Nächte zu", "mañana volverá", "préfère l'été", "wäre schön"),
        ("à midi.", "für Anfänger.", "más allá.", "près de la forêt.", "größtenteils.", "là-bas."),
    ),
    "chinese": (
        ("这部电影", "我们的老师", "那家饭店的菜", "他昨天写的信", "这个城市的天气", "你说的那本书"),
        ("非常好看", "让人很开心", "比以前好得多", "没有什么意思", "不是我想要的", "真的太好了"),
        ("，我们都很喜欢。", "，大家都这样说。", "，下次还会来。", "，时间过得很快。", "，明天再看看。"),
    ),
    "traditional": (
        ("這部電影", "我們的老師", "那個國家的人", "他們說的話", "這個學校的書"),
        ("讓人很開心", "比以前還要好", "沒有什麼意思", "實在是太難了"),
        ("，大家都這樣說。", "，我們會再來。", "，時間過得很快。", "，他後來才發現。"),
    ),
    "russian": (
        ("Старый дом", "Мой сосед", "Этот фильм", "Письмо брата", "Наш учитель"),
        ("стоит у реки", "ждёт с утра", "вернулся домой", "понравился всем", "молчал весь день"),
        ("после дождя.", "в понедельник.", "уже два часа.", "без единого слова."),
    ),
    "japanese": (
        ("この映画は", "昨日の手紙は", "私の友達は", "駅前の店は"),
        ("とても面白かった", "まだ来ていません", "思ったより静かでした", "毎日やっています"),
        ("と思います。", "ので、また行きます。", "けれど、大丈夫です。", "そうです。"),
    ),
    "korean": (
        ("이 영화는", "우리 선생님은", "어제 온 편지는", "저 식당은"),
        (" 아주 재미있고", " 생각보다 조용하고", " 아직 오지 않았고", " 매일 문을 열고"),
        (" 다시 가고 싶다.", " 모두가 좋아한다.", " 내일 또 만난다.", " 비가 온 뒤에 좋다."),
    ),
}
MIXED = ("🙂", "naïve", "茶", "½ cup", "€5", "x < y", "C++", "3.14", "a\u0301", "👩‍👩‍👧")
"""What a text in UTF-8 may hold besides."""
LABELS: tuple[tuple[object, ...], ...] = (
    *(("good", "bad"), ("positive", "negative", "neutral"), ("好评", "差评"), (0, 1), (1.0, 0.0), (True, False)),
    *(("very good", "very bad"), (1, 2, 3), ("A/B", "C&D"), ("sports", "business"), ("NA", "EU"), ("-1", "1")),
)
ASCII_LABELS = tuple(pool for pool in LABELS if all(str(one).isascii() for one in pool))


def sentences(rng: random.Random, script: str, number: int) -> list[str]:
    """So many different texts of a script; beyond its own sentences they are joined in twos."""
    blank = "" if script in ("chinese", "traditional", "japanese", "korean") else " "
    every = [blank.join(parts) for parts in product(*_PARTS[script])]
    rng.shuffle(every)
    if number > len(every):
        every += [f"{a}{blank}{b}" for a, b in pairwise(every)]
    return every[:number]


def mixed(rng: random.Random, text: str) -> str:
    """The text with a word or sign of another kind in it."""
    return f"{text} {rng.choice(MIXED)} {rng.choice(MIXED)}"
