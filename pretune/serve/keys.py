"""Keys: who may ask, for what, how often and how much.

A key is drawn by us (`pretune serve --new-key NAME`): 256 random bits, of which the file keeps the sha256. A slow hash
(bcrypt, argon2) makes guessing dear where people choose passwords; of 2^256 equally likely keys none is guessed, so
a fast one gives nothing away and costs a request a microsecond. What is looked up is the hash, so how long that takes
tells nothing about the key.

Two allowances, both refilled as time goes by: `rate`, requests a minute, and `tokens`, tokens read and written a day.
An answer's tokens are known when it is written, so the last answer may overdraw: the next request waits the longer.
They are kept in memory: a server that starts again begins with full ones, and two servers count apart.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pretune.base.errors import BadFile, NoKey
from pretune.base.yaml import parse_value
from pretune.serve.errors import ApiError

OPEN = ("/health", "/ready")
"""Probes: answered without a key."""
SCOPES = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "complete",
    "/v1/classify": "classify",
    "/v1/score": "score",
    "/v1/tag": "tag",
    "/v1/answer": "answer",
    "/v1/embeddings": "embed",
    "/v1/rerank": "rerank",
    "/metrics": "metrics",
}
"""What a key must be good for on a route; any key opens the others (the page, the list of models, /openapi.json)."""
APP_SCOPES = {
    "/v1/ask": "ask",
    "/v1/talk": "ask",
    "/v1/feedback": "ask",
    "/v1/hand-over": "ask",
    "/v1/inbox": "desk",
    "/v1/forget": "desk",
    "/v1/knowledge": "desk",
    "/v1/watch": "watch",
    "/v1/watch/lines": "watch",
    "/v1/watch/texts": "watch",
    "/v1/watch/acknowledge": "watch",
    "/v1/recommend": "recommend",
    "/v1/similar": "recommend",
    "/v1/search": "recommend",
    "/v1/events": "events",
    "/v1/history": "events",
}
"""The same on the routes of applications (pretune/apps): those of customers, and those of who works there."""
MINUTE, DAY = 60.0, 86_400.0


def _known(scope: str) -> str:
    known = dict.fromkeys([*SCOPES.values(), *APP_SCOPES.values()])
    if scope not in known:
        raise ValueError(f"{scope!r} is no scope; there are {', '.join(known)}")
    return scope


class Key(BaseModel):
    """A key as its file has it.

    Args:
        hash: `sha256:` and 64 hexadecimal digits.
        scopes: what it is good for; None: everything.
        rate: requests a minute; tokens: tokens a day; None: no limit.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    scopes: Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1)] | None = None
    rate: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def of(cls, secret: str, name: str) -> Key:
        """A key without limits. Raises NoKey: a blank one."""
        if not secret.strip():
            raise NoKey("the API key is empty", hint="set PRETUNE_API_KEY to a long random text")
        return cls(name=name, hash=hash_of(secret.encode("utf-8")))


def hash_of(secret: bytes) -> str:
    return f"sha256:{hashlib.sha256(secret).hexdigest()}"


def new_key(name: str) -> tuple[str, Key]:
    """A key that nobody had before, and what the file keeps of it."""
    secret = f"pt-{secrets.token_urlsafe(32)}"
    return secret, Key.of(secret, name)


def read_keys(path: Path) -> list[Key]:
    """The keys of a file: one a line, or a YAML list of {name, hash, scopes, rate, tokens}.

    Raises:
        NoKey: there is none; BadFile: it cannot be read, with every mistake.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path.as_posix()} cannot be read: {error}") from None
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if not lines:
        hint = "`pretune serve --new-key NAME` prints a key and its line"
        raise NoKey(f"there is no key in {path.as_posix()}", hint=hint)
    if _is_list(lines):
        keys = _listed(path, text)
    else:
        keys = [Key.of(line, f"key-{number}") for number, line in enumerate(lines, 1)]
    for what, values in (("name", [key.name for key in keys]), ("hash", [key.hash for key in keys])):
        if len(set(values)) < len(values):
            raise BadFile(f"{path.as_posix()} has a {what} twice", hint="give each key a line of its own")
    return keys


def _is_list(lines: Sequence[str]) -> bool:
    """Whether these are YAML: a line of it, taken for a plain key, would open everything, and `---` is soon guessed."""
    has_hash = any("sha256:" in line or "hash:" in line for line in lines)
    return has_hash or lines[0] in ("-", "---") or lines[0].startswith(("- ", "--- ", "[", "%YAML"))


def _listed(path: Path, text: str) -> list[Key]:
    try:
        return TypeAdapter(list[Key]).validate_python(parse_value(text))
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        told = "; ".join(mistakes)
        hint = "a list of {name, hash, scopes, rate, tokens}; `pretune serve --new-key NAME` prints one"
        raise BadFile(f"{path.as_posix()}: {told}", hint=hint) from None


class Allowance:
    """So much in so many seconds, refilled evenly; it may be overdrawn."""

    def __init__(self, size: int, seconds: float, now: float):
        self.size, self.speed, self.level, self.at = size, size / seconds, float(size), now

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        self.level, self.at = min(self.size, self.level + (now - self.at) * self.speed), now
        return max(0.0, (1 - self.level) / self.speed)

    def take(self, number: int) -> None:
        self.level -= number


class Holder:
    """Who has a key, with what is left of its allowances."""

    def __init__(self, key: Key, clock: Callable[[], float]):
        self.key, self.clock = key, clock
        self.rate = None if key.rate is None else Allowance(key.rate, MINUTE, clock())
        self.tokens = None if key.tokens is None else Allowance(key.tokens, DAY, clock())

    def refusal(self, path: str) -> ApiError | None:
        """Why a request may not come in with this key, or None; then it counts."""
        scope = SCOPES.get(path) or APP_SCOPES.get(path)
        if scope is not None and self.key.scopes is not None and scope not in self.key.scopes:
            return ApiError(403, f"this API key is not good for {path} (scope {scope})", code="wrong_scope")
        now = self.clock()
        for what, allowance in (("requests a minute", self.rate), ("tokens a day", self.tokens)):
            if allowance is not None and (wait := allowance.wait(now)) > 0:
                problem = f"this API key has used up its {allowance.size} {what}"
                return ApiError(429, problem, code="rate_limit_exceeded", retry_after=math.ceil(wait))
        if self.rate is not None:
            self.rate.take(1)
        return None

    def spend(self, number: int) -> None:
        """Count the tokens of an answer."""
        if self.tokens is not None:
            self.tokens.wait(self.clock())
            self.tokens.take(number)


class Keys:
    """Keys by their hash."""

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic):
        self.holders = {key.hash: Holder(key, clock) for key in keys}

    def __bool__(self) -> bool:
        return bool(self.holders)

    def find(self, secret: bytes) -> Holder | None:
        return self.holders.get(hash_of(secret))
