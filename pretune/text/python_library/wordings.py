"""In how many ways one asks what a function does: to train, to choose, and to test.

What throws a small model off is a word that stood in no question, not the sentence. So two thirds of the training
questions stand among words drawn from the documentation: what is to be learned is to find the name and to pass the
rest over. `VALIDATION` and `TEST` were written by somebody who had not seen the training wordings; every change here
was judged on `VALIDATION`, and `TEST` was fixed before the first of them.
"""

from __future__ import annotations

import random

CORES = (
    "What does `{}` do?",
    "What is {} for?",
    "Explain `{}` in one sentence.",
    "`{}`?",
    "What is the purpose of `{}`?",
    "Give me the first line of the documentation of {}.",
    "I wonder what `{}` is good for.",
    "`{}` - what happens when I use it?",
    "Which job does {} do?",
    "How does `{}` behave?",
    "In Python, {} is what exactly?",
    "The code says `{}` here. Why?",
    "I would like to know what `{}` does.",
    "Summarise {}.",
    "Do you know `{}`?",
    "Could you explain {}?",
    "I do not understand what `{}` does in this line.",
    "Tell me about `{}`.",
)
OPENINGS = (
    "",
    "",
    "",
    "Hello! ",
    "Can you help me? ",
    "Quick question: ",
    "I am reading some code. ",
    "You know Python. ",
    "Please answer. ",
    "Let me ask you something. ",
    "I cannot tell. ",
    "Say it in simple words. ",
    "For a beginner: ",
    "Our team found this in old code. ",
    "Before I use it: ",
    "Just to be sure, ",
    "My teacher wants to know this. ",
    "Now the next one. ",
)
CLOSINGS = ("", "", "", " Thanks!", " Be brief.", " One sentence is enough.")

VALIDATION = (
    "Explain `{}` to me in simple words, please.",
    "Please describe the job of `{}`.",
    "Sorry, I am new in Python, what is {} doing?",
    "What happens when I call `{}`?",
    "what's {} used for??",
    "I don't understand what `{}` does, can you help me understand?",
    "Just tell me, in short, what {} is meant to do!",
    "Define {} briefly: what does it do?",
    "Can you tell me what `{}` does?",
    "Give a short summary of `{}`, please.",
    "Someone mentioned `{}` yesterday; what is it?",
    "Any idea what {} returns or does?",
)
TEST = (
    "hey, can someone tell me what {} is for",
    "I keep seeing {} in my coworker's code and I have no idea what it does.",
    "Could you give me a one-sentence summary of what `{}` does?",
    "tell me what {} does",
    "My teacher mentioned `{}` in class today, but I didn't catch what it does.",
    "Remind me what {} does again?",
    "So `{}`... what's that thing good for?",
    "While reviewing this pull request I ran into {}, so what does it do?",
)

EACH = 28
"""Questions about each function that is read."""
FEW = 3
"""Questions about each function that is skimmed."""
MOST_WORDS = 5
"""Drawn words before the name, and behind it, at most."""


def train_wordings(name: str, words: list[str]) -> list[str]:
    """How a function that is read is asked about, `{}` in the place of its name: always the same for the same name.

    The first is the plain question; of the others a third is a core between an opening and a closing, a third a core
    among drawn words, a third drawn words alone.

    Args:
        words: what is drawn from.
    """
    made = [CORES[0]]
    for k in range(1, EACH):
        rng = random.Random(f"pretune python {k} {name}")  # a string seeds it the same everywhere
        made.append((_dressed, _among_words, _words_alone)[k % 3](CORES[k % len(CORES)], words, rng))
    return list(dict.fromkeys(made))


def _dressed(core: str, words: list[str], rng: random.Random) -> str:
    return f"{rng.choice(OPENINGS)}{core}{rng.choice(CLOSINGS)}"


def _among_words(core: str, words: list[str], rng: random.Random) -> str:
    return " ".join([*_drawn(words, rng), core, *_drawn(words, rng)])


def _words_alone(core: str, words: list[str], rng: random.Random) -> str:
    name = rng.choice(("{}", "`{}`"))
    text = " ".join([*_drawn(words, rng), name, *_drawn(words, rng)])
    return text + rng.choice(("", ".", "?", "??", "!"))


def _drawn(words: list[str], rng: random.Random) -> list[str]:
    return [rng.choice(words) for _ in range(rng.randrange(MOST_WORDS + 1))]
