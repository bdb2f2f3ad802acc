"""A conversation in the terminal, written as it is thought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pretune.base.errors import TooLong
from pretune.infer.batching import Batching
from pretune.infer.predictor import Streams
from pretune.infer.sampling import GREEDY, Sampling

HELP = "Type a message. /reset forgets the conversation, /system TEXT sets its first words, /quit leaves.\n"


def chat(
    model: Streams,
    read: Callable[[str], str] = input,
    write: Callable[[str], object] = lambda text: print(text, end="", flush=True),
    *,
    sampling: Sampling = GREEDY,
    system: str | None = None,
) -> None:
    """Talk until /quit or the end of input. A model without a chat template goes on with the text instead.

    Ctrl-C stops an answer; the conversation goes on with what was said so far.
    """
    messages, engine = _opening(system), Batching(model, own_thread=False)
    # There is one conversation: it may fill the model's window, whatever that takes.
    engine.max_bytes = max(engine.max_bytes, model.facts.max_length * engine.position_bytes)
    write(HELP)
    while (line := _line(read)) is not None:
        if line == "/reset":
            messages = _opening(system)
        elif line.startswith("/system"):
            system = line.removeprefix("/system").strip() or None
            messages = _opening(system)
        elif line.strip():
            sampling = replace(sampling, seed=sampling.seed + 1)
            messages = _turn(engine, [*messages, {"role": "user", "content": line}], sampling, write)


def _opening(system: str | None) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}] if system else []


def _line(read: Callable[[str], str]) -> str | None:
    """The next line; None at the end of input, /quit, or Ctrl-C."""
    try:
        line = read("> ")
    except (EOFError, KeyboardInterrupt):
        return None
    return None if line.strip() in {"/quit", "/exit"} else line


def _turn(
    engine: Batching, messages: list[dict[str, str]], sampling: Sampling, write: Callable[[str], object]
) -> list[dict[str, str]]:
    """Answer the last message, forgetting the oldest turns where they no longer fit; the messages with the answer."""
    said = ""
    try:
        prompt, messages = _fitting(engine.model, messages, write)
        for piece in engine.stream(prompt, sampling):  # what was said before is not read again
            said += piece.text
            write(piece.text)
    except TooLong as error:
        write(f"{error}")
        messages = messages[:-1]
    except KeyboardInterrupt:
        write(" ...")
    write("\n")
    return [*messages, {"role": "assistant", "content": said}] if said else messages


def _fitting(
    model: Streams, messages: list[dict[str, str]], write: Callable[[str], object]
) -> tuple[list[int], list[dict[str, str]]]:
    """The prompt, after dropping as many of the oldest turns as must go. Raises TooLong when one turn is too much."""
    while True:
        prompt = model.chat_prompt(messages) if model.chat else model.text_prompt(messages[-1]["content"])
        first = next(k for k, message in enumerate(messages) if message["role"] == "user")
        try:
            model.room(prompt)
        except TooLong:
            if first == len(messages) - 1 or not model.chat:
                raise
            nexts = [k for k in range(first + 1, len(messages)) if messages[k]["role"] == "user"]
            messages = messages[:first] + messages[nexts[0] :]
            write("(the oldest turn no longer fits and is forgotten)\n")
        else:
            return prompt, messages
