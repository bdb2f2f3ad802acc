"""What must have a form has it: every answer that ends by itself is valid, by another library's validator."""

import json
import re
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer

from pretune.base.errors import BadGrammar, NotSupported
from pretune.infer import grammar as grammars
from pretune.infer.answers import Text
from pretune.infer.classify import Frame
from pretune.infer.grammar import Grammar, json_object, json_schema, one_of, pattern
from pretune.infer.language import LanguageModel, kept_to
from pretune.infer.sampling import Sampling
from pretune.tokens.encode.octets import octets_of
from pretune.tokens.encode.tokenizer import encode_text, encode_with_controls
from tests.infer.conftest import Table, train_tokenizer
from tests.spaced import llama2, metaspace
from tests.strangers.schemas import USUAL, drawn

HAND = [
    {"type": "integer", "minimum": 5, "maximum": 3},
    {"enum": []},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"type": "string", "pattern": "^a$", "minLength": 3},
    {"$ref": "#"},
    False,
]


@cache
def talker(kind: str = "bytes") -> LanguageModel:
    """A tiny random model that likes to close what it opened."""
    tokenizer = {"bytes": train_tokenizer, "llama2": llama2, "first": lambda: metaspace("first")}[kind]()
    end = tokenizer.token_to_id("<|endoftext|>" if kind == "bytes" else "</s>")
    return LanguageModel(Table(tokenizer.get_vocab_size() + 3, max_length=2000), tokenizer, (end,))


@cache
def closers(kind: str = "bytes") -> tuple[tuple[int, float], ...]:
    octets = octets_of(talker(kind).tokenizer)
    assert octets is not None
    return tuple((k, 6.0) for k, text in enumerate(octets) if text[:1] in (b'"', b"}", b"]") and len(text) == 1)


def wrote(
    grammar: Grammar,
    *,
    seed: int = 0,
    kind: str = "bytes",
    max_tokens: int = 400,
    prompt: str = "Hello 你好",
    bias: tuple[tuple[int, float], ...] = (),
) -> tuple[str, str]:
    """An answer drawn with temperature 1, plain as in a stream, and why it ended."""
    model = talker(kind)
    sampling = Sampling(temperature=1.0, seed=seed, max_tokens=max_tokens, grammar=grammar, logit_bias=bias)
    prompt = encode_with_controls(model.tokenizer, prompt)
    pieces = list(model.stream(prompt, sampling))
    plain = model.write(prompt, sampling)
    assert plain.text == "".join(piece.text for piece in pieces)
    return plain.text, plain.finish


@pytest.mark.parametrize("kind", ["bytes", "llama2", "first"])
def test_every_answer_that_ends_by_itself_is_valid_and_most_do(kind: str) -> None:
    schemas: list[Any] = [*USUAL, *map(drawn, range(14))] if kind == "bytes" else [*map(drawn, range(14, 24))]
    ended = 0
    for seed, schema in enumerate(schemas):
        text, finish = wrote(json_schema(schema), seed=seed, kind=kind, bias=closers(kind))
        assert "\ufffd" not in text
        if finish == "stop":
            ended += 1
            Draft202012Validator(schema).validate(json.loads(text))
    assert ended >= 0.8 * len(schemas)


def test_what_max_tokens_cuts_off_is_told_as_cut_off() -> None:
    text, finish = wrote(json_schema({"type": "string", "minLength": 50}), max_tokens=20)
    assert finish == "length"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(text)


def test_an_answer_ends_where_nothing_can_follow_without_an_end_token_even_at_the_last() -> None:
    text, finish = wrote(one_of(["ab"]), max_tokens=len(encode_text(talker().tokenizer, "ab")))
    assert (text, finish) == ("ab", "stop")


@pytest.mark.parametrize(
    ("kind", "prompt"), [("bytes", "Hi"), ("llama2", "Hi"), ("llama2", "Hi</s>"), ("first", "Hi"), ("first", "Hi</s>")]
)
def test_choices_have_all_their_characters_also_where_a_space_in_front_is_not_shown(kind: str, prompt: str) -> None:
    texts = ["yes", " no", "你好 🙂", 'say "no"\n', "a/b\\c", "  "]
    found = [wrote(one_of(texts), seed=seed, kind=kind, prompt=prompt) for seed in range(40)]
    assert {finish for _, finish in found} == {"stop"}
    assert len({text for text, _ in found}) > 1 and {text for text, _ in found} <= set(texts)


@pytest.mark.parametrize(
    "regex", [r"\d{3}-[a-f]+", "(是|否)[。！]", r"a/b\.c*", "[^a-z]{2}", r"(?i)yes|no", "^x+$", "", "a/\nstart: b"]
)
def test_a_pattern_matches_the_whole_answer(regex: str) -> None:
    for seed in range(5):
        text, finish = wrote(pattern(regex), seed=seed)
        assert finish in ("stop", "length")
        assert finish == "length" or re.fullmatch(regex, text, re.DOTALL)


def test_any_object_is_an_object() -> None:
    found = [wrote(json_object(), seed=seed, bias=closers()) for seed in range(8)]
    assert all(isinstance(json.loads(text), dict) for text, finish in found if finish == "stop")
    assert any(finish == "stop" for _, finish in found)


@pytest.mark.parametrize("schema", HAND, ids=lambda schema: json.dumps(schema)[:40])
def test_a_schema_that_nothing_fulfils_is_refused_before_the_first_token(schema: Any) -> None:
    with pytest.raises(BadGrammar):
        talker().draft([5], Sampling(grammar=json_schema(schema)))


@pytest.mark.parametrize(
    "schema", [{"uniqueItems": True}, {"not": {}}, {"type": "foo"}, {"$ref": "http://x/y"}, {"pattern": "(?=a)"}, []]
)
def test_what_cannot_be_kept_to_is_refused_by_its_name(schema: Any) -> None:
    with pytest.raises(BadGrammar, match=r"uniqueItems|not|foo|http://x/y|look|\[\]"):
        talker().draft([5], Sampling(grammar=json_schema(schema)))


def test_a_client_cannot_make_its_schema_lenient() -> None:
    schema = {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}
    with pytest.raises(BadGrammar, match="uniqueItems"):
        talker().draft([5], Sampling(grammar=json_schema(schema)))


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: json_schema(nested(5000)), "levels deep"),
        (lambda: json_schema({"enum": ["x" * 40_000]}), "bytes"),
        (lambda: json_schema({"allOf": [{"multipleOf": k} for k in (97, 89, 0.83)]}), "multipleOf"),
        (lambda: json_schema({"multipleOf": 1_000_000}), "multipleOf"),
        (lambda: json_schema({"multipleOf": 1e6}), "multipleOf"),
        (lambda: json_schema({"allOf": [{"multipleOf": 1e308}] * 4000}), "multipleOf"),
        (lambda: pattern("a" * 40_000), "bytes"),
        (lambda: one_of(["a" * 20_000, "b" * 20_000]), "bytes"),
        (lambda: one_of([]), "choose"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_read(make: Any, said: str) -> None:
    with pytest.raises(BadGrammar, match=said):
        make()


def test_a_grammar_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammars, "SECONDS", 0.05)
    with pytest.raises(BadGrammar, match="takes more than"):
        grammars._in_time(lambda: time.sleep(0.5))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("regex", ["[", "(?=a)b", r"a\b", "(" * 300 + "a" + ")" * 300])
def test_a_broken_pattern_is_refused(regex: str) -> None:
    with pytest.raises(BadGrammar):
        talker().draft([5], Sampling(grammar=pattern(regex)))


WORDS = [
    "type",
    "properties",
    "items",
    "enum",
    "pattern",
    "minimum",
    "multipleOf",
    "$ref",
    "allOf",
    "anyOf",
    "maxLength",
]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["string", "#"])
)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(WORDS), TREES, max_size=4), st.text(max_size=12), st.lists(st.text(max_size=4)))
def test_whatever_is_asked_for_is_begun_or_refused(schema: dict[str, Any], regex: str, texts: list[str]) -> None:
    for make in (lambda: json_schema(schema), lambda: pattern(regex), lambda: one_of(texts)):
        with suppress(BadGrammar):
            talker().draft([5], Sampling(grammar=make()))


def test_half_characters_and_endless_numbers_are_refused() -> None:
    for make in (lambda: one_of(["\ud800"]), lambda: pattern("\udc80"), lambda: json_schema({"const": "\ud800"})):
        with pytest.raises(BadGrammar):
            talker().draft([5], Sampling(grammar=make()))
    for number in (10**400, float("inf"), float("nan"), 1e300):
        with pytest.raises(BadGrammar):
            talker().draft([5], Sampling(grammar=json_schema({"type": "number", "multipleOf": number})))


def test_stop_texts_and_a_grammar_exclude_one_another() -> None:
    with pytest.raises(BadGrammar, match="stop text"):
        talker().draft([5], Sampling(grammar=json_object(), stop=("a",)))


def test_a_tokenizer_whose_tokens_have_no_bytes_is_refused() -> None:
    from tokenizers import decoders, models

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(NotSupported, match="bytes"):
        LanguageModel(Table(2), tokenizer, (0,)).draft([1], Sampling(grammar=json_object()))


def test_the_model_chooses_among_what_is_allowed_as_it_would() -> None:
    model, prompt = talker(), encode_text(talker().tokenizer, "Hello")
    logits = model.decoder.feed(model.decoder.start(), np.array([prompt]))[0][0]
    texts = ["a", "b", "c"]
    best = max(texts, key=lambda text: logits[encode_text(model.tokenizer, text)[0]])
    assert model.write(prompt, Sampling(grammar=one_of(texts))).text == best


def test_an_answer_apart_from_its_source_keeps_to_a_form_too() -> None:
    model = talker("llama2")
    apart = replace(model, source=Frame((), (2,)), apart=(2,))
    for seed in range(5):
        found = apart.complete("Hello", Sampling(1.0, seed=seed, grammar=one_of(["the cat", " zebra"])))
        assert (found.text, found.finish) in [("the cat", "stop"), (" zebra", "stop")]


def test_a_model_is_kept_to_a_form_whatever_it_is_asked() -> None:
    model = kept_to(talker(), one_of(["yes", "no"]))
    answers = model.answer(["Hello", "one two", "x"])
    assert {answer.text for answer in answers if isinstance(answer, Text)} <= {"yes", "no"} and len(answers) == 3
    assert isinstance(model, LanguageModel) and model.complete("Hi", Sampling(1.0)).text in ("yes", "no")
