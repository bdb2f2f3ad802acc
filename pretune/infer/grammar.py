"""What an answer must look like: JSON of a schema, one of several texts, a regular expression, a call of a tool.

    schema ──▶ Grammar ──▶ Guide ──▶ which tokens may come next ──▶ {"name": "Ann", "age": 3▮
                  rule, checked      by llguidance, on bytes            0-9 , }      "x" is not among them

A guide rules tokens out; the model chooses among the others, so that what ends by itself is right and what is cut off
by `max_tokens` is said to be. Whoever writes the schema may be a stranger: its size and depth are bounded here, the
steps of making a grammar and of each token by llguidance, and the wall clock besides.

*V vocabulary.*
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, Overflow, localcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import BadGrammar, NoSuchFile, NotSupported
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.tokens.encode.octets import octets_of
from pretune.tokens.encode.tokenizer import encode_text

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from tokenizers import Tokenizer

MAX_BYTES = 32 * 1024
"""Of a schema as JSON, a pattern, or all choices together."""
MAX_DEPTH = 64
"""Lists and objects in one another, in the JSON of a schema."""
MAX_MULTIPLE = 10_000
"""All `multipleOf` of a schema multiplied: an automaton has a state for each remainder, and 1000003 takes minutes."""
SECONDS = 10.0
"""How long a grammar may take to make. It cannot be stopped then, but no more than AT_ONCE are left to themselves."""
AT_ONCE = 2
KEPT = 16
"""Grammars of each tokenizer that are not made again: the same schema comes with many requests."""
SPACES = r"\n?[ ]{0,12}"
"""White space between two parts of JSON, as `json.dumps` writes it with or without `indent`; unbounded, a model that
has nothing to say goes on with spaces for ever."""
OPTIONS = {"whitespace_pattern": SPACES, "item_separator": ",", "key_separator": ":", "lenient": False}
WHERE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
"""With what llguidance begins an error: a place in a rule of ours that the client has not seen."""
_making = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class Grammar:
    """What a whole answer must be, as the right side of a rule in llguidance's form of Lark.

    Made by `json_schema`, `json_object`, `pattern`, `one_of` and `one_call` (calling.py), which bound it.
    """

    rule: str

    @classmethod
    def any_of(cls, several: Sequence[Grammar]) -> Grammar:
        """What one of them allows. Raises BadGrammar: too long together."""
        return several[0] if len(several) == 1 else cls(_within(" | ".join(f"({one.rule})" for one in several)))


def json_schema(schema: Json | bool) -> Grammar:
    """JSON that is valid by a schema (draft 2020-12). Keys that cannot be kept to are refused, never passed over.

    Raises:
        BadGrammar: too large, too deep, or no object; what cannot be fulfilled is found by `Guides.start`.
    """
    if schema is False or not isinstance(schema, dict | bool):
        raise BadGrammar(f"a schema is a JSON object, not {schema!r}", hint='for example {"type": "object"}')
    tree = schema if isinstance(schema, dict) else {}
    _check_tree(tree)
    _within(json.dumps(tree))
    # llguidance takes options from here, and a client's could be `lenient`.
    return Grammar(f"%json {json.dumps({**tree, 'x-guidance': OPTIONS})}")


def json_object() -> Grammar:
    """Any JSON object."""
    return json_schema({"type": "object"})


def pattern(regex: str) -> Grammar:
    """A text that a regular expression matches as a whole: no look-around, no back references, hence no backtracking.

    Raises:
        BadGrammar: too long.
    """
    need(["structured"])
    from llguidance import regex_to_lark

    return Grammar(f"/{regex_to_lark(_within(regex), use_ascii='d')}/") if regex else one_of([""])


def one_of(texts: Sequence[str]) -> Grammar:
    """One of these texts. Raises BadGrammar: none, or too long together."""
    if not texts:
        raise BadGrammar("there is nothing to choose from", hint="give one text at least")
    _within("".join(texts))
    return Grammar(" | ".join(map(literal, dict.fromkeys(texts))))


def read_schema(path: Path) -> Json:
    """The schema in a file. Raises NoSuchFile; BadGrammar: no JSON object."""
    if not path.is_file():
        raise NoSuchFile(f"there is no file {path.as_posix()!r}")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadGrammar(f"{path.as_posix()!r} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadGrammar(f"{path.as_posix()!r} holds no JSON object", hint='a schema is one: {"type": "object", ...}')
    return found


def form_of(*, schema: Json | None = None, choices: Sequence[str] | None = None, regex: str | None = None) -> Grammar:
    """The one of these that is given. Raises BadGrammar: none, or several; as the functions above."""
    given = {"schema": schema, "choices": choices, "regex": regex}
    found = [name for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise BadGrammar(f"give a schema, choices or a regex, one of them, not {' and '.join(found) or 'none'}")
    if schema is not None:
        return json_schema(schema)
    return one_of(choices) if choices is not None else pattern(regex or "")


def literal(text: str) -> str:
    """A text as a rule."""
    return json.dumps(text, ensure_ascii=False)


class Guides:
    """What a tokenizer can write under a grammar.

    Args:
        ends: tokens that end an answer.
    """

    def __init__(self, tokenizer: Tokenizer, ends: Sequence[int]):
        self.tokenizer, self.ends = tokenizer, tuple(ends)
        self._lock = threading.Lock()
        self._table: LLTokenizer | None = None
        self._made: OrderedDict[tuple[Grammar, str], LLMatcher] = OrderedDict()

    def start(self, grammar: Grammar, *, lead: str = "") -> Guide:
        """A guide before the first token.

        Args:
            lead: white space that is not shown at the beginning of the answer, so it must stand there: what is shown
                is exact, and such models have learnt to begin so.

        Raises:
            BadGrammar: it is no grammar, cannot be fulfilled, or is too complex; NotSupported: this tokenizer's tokens
                have no bytes of their own; MissingExtra.
        """
        need(["structured"])
        tokens = self._tokens()
        with self._lock:
            known = self._made.get((grammar, lead))
        made = known or _in_time(lambda: _matcher(tokens, grammar, lead))
        self._keep(grammar, lead, made)
        return Guide(made.deep_copy(), self.ends)

    def _keep(self, grammar: Grammar, lead: str, made: LLMatcher) -> None:
        with self._lock:
            self._made[grammar, lead] = made
            self._made.move_to_end((grammar, lead))
            while len(self._made) > KEPT:
                self._made.popitem(last=False)

    @cached_property
    def octets(self) -> list[bytes] | None:
        """The bytes of every token (`octets_of`)."""
        return octets_of(self.tokenizer)

    @cached_property
    def spaced(self) -> int | None:
        """A token of a space and a letter, if there is one."""
        return next((k for k, text in enumerate(self.octets or ()) if re.match(rb" [a-zA-Z]+\Z", text)), None)

    def _tokens(self) -> LLTokenizer:
        """The tokens as llguidance knows them: made once, in a second for 150,000."""
        from llguidance import LLTokenizer, TokenizerWrapper

        with self._lock:
            if self._table is None:
                known = TokenizerWrapper(_Vocabulary(self.tokenizer, self.octets, self.ends))
                self._table = LLTokenizer(known, eos_token=list(self.ends))
            return self._table


@dataclass
class Guide:
    """Where one answer stands in its grammar."""

    matcher: LLMatcher
    ends: tuple[int, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow; the answer is whole."""
        return bool(self.matcher.is_stopped())

    def allowed(self, size: int) -> np.ndarray:
        """bool [V], V = size: the tokens that may come next, ends where the answer is whole.

        Raises:
            BadGrammar: there is none, or it takes too many steps to find out.
        """
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        found = np.zeros(size, dtype=bool)
        told = np.unpackbits(bits, bitorder="little")[:size]
        found[: len(told)] = told
        return found

    def push(self, token: int) -> None:
        """One token more, of those that are allowed; nothing may follow an end."""
        if token not in self.ends:
            self.matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        if not self.matcher.is_error():
            return
        told = _reason(self.matcher.get_error())
        if told.startswith("NoExtension"):
            hint = "look for parts that exclude or contain one another without end"
            raise BadGrammar("no text of this model's tokens fulfils this schema or pattern", hint=hint)
        raise BadGrammar(f"this schema or pattern is too complex: {told}")


def _matcher(tokens: LLTokenizer, grammar: Grammar, lead: str) -> LLMatcher:
    """A matcher under which an answer can begin."""
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(
        max_grammar_size=20_000,
        initial_lexer_fuel=200_000,
        step_lexer_fuel=50_000,
        max_lexer_states=20_000,
        verbose_errors=False,
    )
    rule = f"start: {literal(lead)} body\nbody: {grammar.rule}" if lead else f"start: {grammar.rule}"
    made = LLMatcher.grammar_from_lark(rule)
    found = LLMatcher(tokens, made, log_level=0, limits=limits)
    if found.is_error():
        raise BadGrammar(f"the answer cannot be kept to this: {_reason(found.get_error())}")
    _matcher(tokens, grammar, "") if lead else Guide(found.deep_copy(), ()).allowed(0)
    return found


class _Vocabulary:
    """A tokenizer as llguidance asks for it: bytes of tokens, and how a text that is certain is written."""

    def __init__(self, tokenizer: Tokenizer, octets: list[bytes] | None, ends: Sequence[int]):
        if octets is None:
            hint = "a byte-level tokenizer (algorithm=bpe), or one with byte fallback, can"
            raise NotSupported(
                "this tokenizer's tokens have no bytes of their own, so none can be ruled out", hint=hint
            )
        added = tokenizer.get_added_tokens_decoder().items()
        self.tokenizer, self.eos_token_id, self.bos_token_id, self.octets = tokenizer, ends[0], None, octets
        self.special_token_ids = [k for k, token in added if token.special]
        names = dict(added)
        # A special token is never part of a text, but a rule may name it.
        self.tokens = [names[k].content.encode() if k in names and not text else text for k, text in enumerate(octets)]
        self.ids = {text: k for k, text in reversed(list(enumerate(octets))) if text}
        self.longest = max(map(len, self.ids), default=0)

    def __call__(self, text: str | bytes) -> list[int]:
        """As the tokenizer writes it; where that shows another text (a space in front), the longest tokens in turn."""
        wanted = text.encode() if isinstance(text, str) else text
        ids = encode_text(self.tokenizer, wanted.decode("utf-8", "ignore"))
        return ids if b"".join(self.octets[k] for k in ids) == wanted else list(self._longest(wanted))

    def _longest(self, text: bytes) -> Iterator[int]:
        while text:
            size = next((n for n in range(min(self.longest, len(text)), 0, -1) if text[:n] in self.ids), None)
            if size is None:
                return
            yield self.ids[text[:size]]
            text = text[size:]


def _within(text: str) -> str:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadGrammar(f"{text[:80]!r} holds half a character") from None
    if size > MAX_BYTES:
        raise BadGrammar(
            f"{size} bytes of schema, pattern or choices; at most {MAX_BYTES}", hint="ask for less at once"
        )
    return text


def _check_tree(schema: Json) -> None:
    """Raise BadGrammar where a schema is too deep, or counts too far."""
    product, level = Decimal(1), [schema]
    with localcontext() as context:
        context.traps[Overflow] = False  # thousands of large numbers are more than a Decimal holds: infinity then
        for _ in range(MAX_DEPTH):
            product *= _multiples(level)
            level = [part for tree in level for part in _parts(tree)]
            if not level:
                break
    if level:
        raise BadGrammar(f"the schema is more than {MAX_DEPTH} levels deep", hint="name its parts: $defs and $ref")
    if product > MAX_MULTIPLE:
        raise BadGrammar(f"all multipleOf of the schema together count up to {product:.3g}, more than {MAX_MULTIPLE}")


def _multiples(trees: Sequence[Any]) -> Decimal:
    """The product of what numbers must be multiples of, each without its decimal point: 0.25 counts as 25."""
    found = Decimal(1)
    for tree in trees:
        given = tree.get("multipleOf") if isinstance(tree, dict) else None
        if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < math.inf:
            number = Decimal(int(given) if given % 1 == 0 else str(given)).as_tuple()
            found *= max(Decimal((0, number.digits, max(int(number.exponent), 0))), Decimal(1))
    return found


def _parts(tree: Any) -> list[Any]:
    return [*tree.values()] if isinstance(tree, dict) else tree if isinstance(tree, list) else []


def _in_time(make: Callable[[], LLMatcher]) -> LLMatcher:
    """What is made, in SECONDS. Raises BadGrammar: it takes longer, or too many others have not ended yet."""
    found: list[LLMatcher | BaseException] = []

    def run() -> None:
        try:
            found.append(make())
        except BaseException as error:
            found.append(error)
        finally:
            _making.release()

    if not _making.acquire(timeout=SECONDS):
        raise BadGrammar("other grammars take too long to make", hint="try again")
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not found:
        raise BadGrammar(f"the schema or pattern takes more than {SECONDS:.0f} s to read", hint="make it simpler")
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _reason(told: str) -> str:
    """What is wrong, of an error of several lines with a drawing of the place."""
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["no reason is given"]
    why = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "")
    return f"{WHERE.sub('', lines[0])} {why}".partition(". Enable ")[0].strip()[:300]
