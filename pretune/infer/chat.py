"""Messages to tokens: the only renderer, for training, evaluation, the terminal and the server.

    [{role: user, content: Hi}]  ──template──▶  <|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n  ──▶ ids

The template is the model's own (Jinja, sandboxed). The ids equal those of transformers' `apply_chat_template`,
with one difference: a control token's text inside a message stays text. Otherwise a user who writes
`<|im_end|>` ends their turn and speaks as the system (trap 36).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pretune.base.errors import BadMessages, NotSupported
from pretune.base.json import Json, JsonMap
from pretune.tokens.encode.tokenizer import encode_text, encode_with_controls

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.tokens.encode.tokenizer import Specials

Message = JsonMap
Talk = str | Sequence[Message] | JsonMap
"""What a model that writes is asked: a text, messages, or `messages` with the `tools` that it may call."""
PROBE = "the probe of a reply"
ASKED: Message = {"role": "user", "content": "question"}
SENTINELS = [chr(c) for c in range(0xFDD0, 0xFDF0)]
"""Unicode promises that these are never characters; the first that no message holds is used."""


def messages_in(talk: Sequence[Message] | JsonMap) -> Sequence[Message]:
    """The messages of what a model is asked, whether or not there are tools."""
    return talk["messages"] if isinstance(talk, Mapping) else talk


@dataclass(frozen=True)
class ChatFormat:
    """A model's chat template with its tokenizer.

    Args:
        eos_ids: tokens that end a reply, next to the tokenizer's own eos.
    """

    template: str
    tokenizer: Tokenizer
    specials: Specials
    eos_ids: tuple[int, ...] = ()

    @cached_property
    def ends(self) -> frozenset[int]:
        """Every token that ends a reply: eos, and what the template writes behind one (`<|im_end|>`)."""
        own = () if self.specials.eos is None else (self.specials.eos,)
        return frozenset((*own, *self.eos_ids, *self._turn_end()))

    def _turn_end(self) -> list[int]:
        """The first control token behind a reply's content, if the template writes one."""
        probe = [ASKED, {"role": "assistant", "content": PROBE}]
        try:
            after = self._render(probe, None, reply_follows=False).rpartition(PROBE)[2]
        except BadMessages:
            return []
        found = self._control.search(after)
        return encode_with_controls(self.tokenizer, found[0]) if found else []

    def lead(self, prompt_ids: Sequence[int]) -> str:
        """White space that the template writes between a prompt and the content of its reply; "" for other prompts.

        `[/INST]` is followed by " Hello": the space is the template's, so it is no part of what is said.
        """
        ending, lead = self._lead
        if not lead:
            return ""
        last = self.tokenizer.decode(list(prompt_ids[-2 * len(ending) - 8 :]), skip_special_tokens=False)
        return lead if last.endswith(ending) else ""

    @cached_property
    def _lead(self) -> tuple[str, str]:
        """How a prompt ends, and the white space behind it."""
        said = {"role": "assistant", "content": PROBE}
        try:
            prompt = self._render([ASKED], None, reply_follows=True)
            whole = self._render([ASKED, said], None, reply_follows=False)
        except BadMessages:
            return "", ""
        lead = whole[len(prompt) :].partition(PROBE)[0] if whole.startswith(prompt) else ""
        return prompt.rpartition("question")[2], lead if lead.isspace() else ""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Json] | None = None) -> list[int]:
        """The messages' tokens and the beginning of the reply that comes next.

        Raises:
            BadMessages: the template refuses them.
        """
        return self._ids(messages, tools, reply_follows=True)

    def prompt_text(self, messages: Sequence[Message], *, asks: bool = True) -> str:
        """What `prompt_ids` encodes, as other programs write it; with `asks` false, without the beginning of a reply.

        Raises:
            BadMessages: the template refuses them.
        """
        return self._render([self._turn(message) for message in messages], None, reply_follows=asks)

    def dialogue_ids(
        self, messages: Sequence[Message], tools: Sequence[Json] | None = None, *, learnt: Sequence[bool] | None = None
    ) -> tuple[list[int], list[bool]]:
        """A whole dialogue up to its last reply, and which tokens are targets.

        Targets are every reply's tokens and the one end token behind it. Before the first target of
        reply i stand exactly the tokens of `prompt_ids(messages[:i])`, which is what the server feeds.

        Args:
            learnt: of each message, whether it is learnt from if it is a reply; all are by default.

        Returns:
            ids and targets, of one length; both empty if nobody replies.

        Raises:
            BadMessages: the template refuses them.
        """
        replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if not replies:
            return [], []
        prompts = [self.prompt_ids(messages[:i], tools) for i in replies]
        ids = self._ids(messages[: replies[-1] + 1], tools, reply_follows=False)
        if ids[: len(prompts[-1])] != prompts[-1]:
            # A merge crosses the border (a reply that begins with a newline): cut there, as the server does.
            ids = prompts[-1] + self._tail(messages[: replies[-1] + 1], tools)
        if not any(token in self.ends for token in ids[len(prompts[-1]) :]) and self.specials.eos is not None:
            ids = [*ids, self.specials.eos]
        return ids, self._targets(ids, prompts, [learnt is None or learnt[i] for i in replies])

    def _targets(self, ids: list[int], prompts: list[list[int]], learnt: list[bool]) -> list[bool]:
        """Mark each reply up to its end token; a reply whose prompt the server would write otherwise is no target."""
        targets = [False] * len(ids)
        limits = [len(prompt) for prompt in prompts[1:]] + [len(ids)]
        for prompt, limit, wanted in zip(prompts, limits, learnt, strict=True):
            end = next((k for k in range(len(prompt), limit) if ids[k] in self.ends), None)
            if wanted and end is not None and ids[: len(prompt)] == prompt:
                targets[len(prompt) : end + 1] = [True] * (end + 1 - len(prompt))
        return targets

    def _tail(self, messages: Sequence[Message], tools: Sequence[Json] | None) -> list[int]:
        """The last reply's tokens, encoded apart from its prompt."""
        marked, tools, sentinel = self._marked(messages, tools)
        whole = self._render(marked, tools, reply_follows=False)
        prompt = self._render(marked[:-1], tools, reply_follows=True)
        if not whole.startswith(prompt):
            hint = "its generation prompt must be how it begins a reply"
            raise NotSupported("the chat template writes the last reply otherwise than it asks for one", hint=hint)
        return self._encode(whole[len(prompt) :], sentinel)

    def _ids(self, messages: Sequence[Message], tools: Sequence[Json] | None, *, reply_follows: bool) -> list[int]:
        try:
            marked, tools, sentinel = self._marked(messages, tools)
            text = self._render(marked, tools, reply_follows=reply_follows)
        except RecursionError:
            hint = "flatten the arguments of calls, and the parameters of tools"
            raise BadMessages("calls or tools are nested too deeply", hint=hint) from None
        return self._encode(text, sentinel)

    def _encode(self, text: str, sentinel: str | None) -> list[int]:
        """Tokens of rendered text. With a sentinel, the template's control tokens are told from the messages' by it."""
        if sentinel is None:
            return encode_with_controls(self.tokenizer, text)
        ids: list[int] = []
        for k, piece in enumerate(self.pieces(text)):
            if k % 2:
                ids += encode_with_controls(self.tokenizer, piece)
            elif piece:
                ids += encode_text(self.tokenizer, piece.replace(sentinel, ""))
        return ids

    def _marked(
        self, messages: Sequence[Message], tools: Sequence[Json] | None
    ) -> tuple[list[Message], Sequence[Json] | None, str | None]:
        """Copies of the messages in which no control token is whole, and the sentinel that breaks them."""
        plain: list[Message] = [self._turn(message) for message in messages]
        texts = "\0".join(_strings([plain, tools]))
        if not self._control.search(texts):
            return plain, tools, None
        sentinel = next((s for s in SENTINELS if s not in texts), None)
        if sentinel is None:
            raise BadMessages("the messages hold every Unicode non-character", hint="take them out")
        broken = _mapped([plain, tools], lambda text: _broken(text, self._control, sentinel))
        return broken[0], broken[1], sentinel

    def _turn(self, message: Message) -> Message:
        """A copy of a message, its calls as the template wants them: arguments as objects, or all of it as text."""
        calls = message.get("tool_calls")
        if not calls:
            return dict(message)
        if self.knows_calls:
            return {**message, "tool_calls": [_opened(call) for call in calls]}
        content = "\n".join(filter(None, [message["content"], json.dumps(calls, ensure_ascii=False)]))
        return {"role": message["role"], "content": content}

    @cached_property
    def knows_calls(self) -> bool:
        """Whether the template writes the calls of a reply; where it does not, they are text."""
        call = {"type": "function", "id": "000000000", "function": {"name": PROBE, "arguments": {}}}
        return self._writes([ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}], [])

    def written_call(self, name: str, arguments: Json) -> str:
        """What the template writes for a reply that is one call, up to the end of the turn. Raises BadMessages."""
        call = {"type": "function", "id": "000000000", "function": {"name": name, "arguments": arguments}}
        reply = {"role": "assistant", "content": "", "tool_calls": [call]}
        whole = self._render([ASKED, reply], None, reply_follows=False)
        prompt = self._render([ASKED], None, reply_follows=True)
        said = whole[len(prompt) :] if whole.startswith(prompt) else ""
        ends = {self.tokenizer.id_to_token(token) for token in self.ends}
        return "".join(takewhile(lambda piece: piece not in ends, self.pieces(said)))

    def pieces(self, text: str) -> list[str]:
        """A text cut at the control tokens in it: text, control token, text ... text."""
        return self._control.split(text)

    @cached_property
    def knows_tools(self) -> bool:
        """Whether the template writes which tools may be called."""
        tool = {"type": "function", "function": {"name": PROBE, "description": "", "parameters": {}}}
        return self._writes([ASKED], [tool])

    def _writes(self, messages: list[Message], tools: list[Json]) -> bool:
        try:
            return PROBE in self._render(messages, tools, reply_follows=False)
        except BadMessages:
            return False

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Any control token's text, as one group; the longer first."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        # A token of one character cannot be broken by a sentinel.
        tokens = sorted((t.content for t in added if t.special and len(t.content) > 1), key=len, reverse=True)
        return re.compile("(" + ("|".join(re.escape(t) for t in tokens) or "(?!)") + ")")

    @cached_property
    def _names(self) -> dict[str, str]:
        """`bos_token` and so on, as templates know them."""
        ids = {name: getattr(self.specials, name) for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
        return {f"{name}_token": self.tokenizer.id_to_token(id) or "" for name, id in ids.items() if id is not None}

    def _render(self, messages: Sequence[Message], tools: Sequence[Json] | None, *, reply_follows: bool) -> str:
        settings = {
            "messages": messages,
            "tools": tools or None,
            "documents": None,
            "add_generation_prompt": reply_follows,
        }
        try:
            return _compiled(self.template).render(**settings, **self._names)
        except (TemplateError, TypeError, ValueError) as error:
            hint = "roles are usually system, user and assistant, the latter two in turn"
            raise BadMessages(f"the model's chat template cannot write these messages: {error}", hint=hint) from None


def reply_ids(chat: ChatFormat, dialogue: str | tuple[str, str] | Sequence[Message], max_length: int) -> list[int]:
    """A dialogue up to its last reply, within `max_length` tokens: early turns go first, then the end of the reply.

    Two texts are a question and its reply; where nobody replies, the reply is empty.
    """
    asked = (dialogue, "") if isinstance(dialogue, str) else dialogue
    if isinstance(asked, tuple):
        asked = [{"role": "user", "content": asked[0]}, {"role": "assistant", "content": asked[1]}]
    if not asked or asked[-1]["role"] != "assistant":
        asked = [*asked, {"role": "assistant", "content": ""}]
    head = 1 if asked[0]["role"] == "system" else 0
    starts = [k for k, message in enumerate(asked) if k == head or (k > head and message["role"] == "user")]
    for start in starts:
        ids, _ = chat.dialogue_ids([*asked[:head], *asked[start:]])
        if len(ids) <= max_length:
            break
    return ids[:max_length]


def _opened(call: Json) -> Json:
    """A call in OpenAI's form, but its arguments an object, as templates read them; OpenAI writes them as JSON text."""
    named = call.get("function")
    function = named if isinstance(named, Mapping) else {k: v for k, v in call.items() if k in ("name", "arguments")}
    given = function.get("arguments")
    try:
        arguments = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        arguments = given
    rest = call if function is named else {"type": "function"}
    return {**rest, "function": {**function, "arguments": arguments}}


class _Generation(Extension):
    """`{% generation %}` marks replies for trainers; here it shows its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    """A template as transformers compiles it, without the clock: the same messages give the same tokens any day."""
    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    room.filters["tojson"] = _tojson
    room.globals["raise_exception"] = _refuse
    return room.from_string(template)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes <, > and & for HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _broken(text: str, control: re.Pattern[str], sentinel: str) -> str:
    """The text with a sentinel behind the first character of each control token, until none is whole."""
    while control.search(text):
        text = control.sub(lambda found: found[0][0] + sentinel + found[0][1:], text)
    return text


def _strings(tree: object) -> list[str]:
    """Every string in a tree of lists and mappings; keys too, as tools are written out with them."""
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, Mapping):
        return [s for pair in tree.items() for part in pair for s in _strings(part)]
    if isinstance(tree, list | tuple):
        return [s for part in tree for s in _strings(part)]
    return []


def _mapped(tree: Any, change: Callable[[str], str]) -> Any:
    """The tree with every string changed."""
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, Mapping):
        return {_mapped(key, change): _mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_mapped(part, change) for part in tree]
    return tree
