from dataclasses import dataclass

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models

from pretune.base.errors import BadMessages, TooLong
from pretune.base.log import Log
from pretune.evaluate.judging import judged
from pretune.infer.answers import Text
from pretune.infer.language import LanguageModel
from pretune.task.judge.replies import ReplyJudge, answer_scores, asked_of, grouped, is_unfinished, question_of
from pretune.text.dataset.example import Dialogue, Message


def dialogue(question, answer, origin="data.jsonl#0", keywords=()):
    return Dialogue((Message("user", question), Message("assistant", answer)), origin, keywords)


def asked(*dialogues):
    return [asked_of(d) for d in dialogues]


def groups(test, train=()):
    return [a.group for a in grouped(asked(*test), asked(*train))]


def test_the_last_reply_is_what_is_wanted_and_later_turns_are_not_shown():
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")]
    found = asked_of(Dialogue(tuple(Message(r, c) for r, c in turns), "x#0"))
    assert [m["content"] for m in found.input] == ["a", "b", "c"]
    assert (question_of(found), found.wanted) == ("c", "d")


def test_a_dialogue_in_which_nobody_replies_asks_nothing():
    assert asked_of(Dialogue((Message("user", "a"),), "x#0")) is None
    assert asked_of(Dialogue((Message("assistant", "a"),), "x#0")) is None


def test_groups_are_taken_from_origins_that_name_them():
    origins = ["remembered:python:questions#3", "guessed/os.path.join", "hard:one"]
    assert groups([dialogue("q", "a", o) for o in origins]) == ["remembered", "guessed", "hard"]


def test_a_record_of_a_file_names_no_group_so_training_decides():
    test = [dialogue("q1", "Known  answer.", "python:questions#1"), dialogue("q2", "New answer.", "folder/a.jsonl#2")]
    assert groups(test, [dialogue("other words", "Known answer.")]) == ["remembered", "guessed"]


def test_keywords_count_only_where_there_are_any():
    assert answer_scores("copies a tree", "Copies trees.", ("tree", "files"))["any_keyword"] is True
    assert answer_scores("copies a tree", "Copies trees.", ("tree", "files"))["all_keywords"] is False
    assert answer_scores("copies a tree", "Copies trees.", ())["any_keyword"] is None


@dataclass(frozen=True)
class Letters:
    """A decoder that says token 1 twice, then the end, token 0."""

    vocab_size: int = 4
    max_length: int = 6

    def start(self):
        return 0

    def feed(self, state, ids_BL):
        logits_BV = np.zeros((len(ids_BL), 4), dtype=np.float32)
        logits_BV[:, 1 if state < 2 else 0] = 9
        return logits_BV, state + 1


def four_words():
    """A tokenizer of an end and three words."""
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "yes ": 1, "no ": 2, "hm ": 3}, unk_token="hm "))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


class Format:
    """A chat format: a token for each letter asked."""

    def prompt_ids(self, messages, tools=None):
        if not messages[-1]["content"]:
            raise BadMessages("nothing is asked")
        return [2] * len(messages[-1]["content"])

    def lead(self, prompt_ids):
        return ""


def model():
    return LanguageModel(Letters(), four_words(), (0,), Format())


def answered(*questions):
    answers = model().answer([a.input for a in asked(*questions)], max_tokens=8, strict=False)
    return [answer.text for answer in answers], ReplyJudge().tell(answers, [], model().facts)[1]


def evaluated(examples, train):
    found, _ = judged(ReplyJudge(), model(), examples, train, what="chat", max_tokens=8, seed=0, log=Log(quiet=True))
    return found


def test_answers_keep_the_order_of_the_questions_and_too_long_ones_are_answered_with_nothing():
    found, notes = answered(*(dialogue("q" * n, "a") for n in (3, 9, 1)))
    assert found == ["yes yes ", "", "yes yes "]
    assert notes == ["1 questions are longer than the model's 6 tokens and count as answered with nothing"]


def test_questions_that_the_template_refuses_are_answered_with_nothing_and_told():
    found, notes = answered(dialogue("", "a"), dialogue("q", "a"))
    assert found == ["", "yes yes "]
    assert notes == ["1 questions cannot be written by the chat template and count as answered with nothing"]


def test_strict_answers_name_the_question_that_is_too_long_before_the_first_one_is_made():
    with pytest.raises(TooLong, match="text 2 of 2: the prompt has 9 tokens"):
        model().answer(["q", "q" * 9])
    assert model().answer(["q"]) == [Text("yes yes ", "stop", 1, 2)]


def test_a_reply_that_is_not_to_be_learnt_is_not_wanted_either():
    turns = [
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "d", "", False),
    ]
    assert asked_of(Dialogue(tuple(turns), "x#0")).wanted == "b"


def test_an_answer_that_is_right_word_for_word_scores_one_everywhere():
    found = evaluated([dialogue("qq", "yes yes", keywords=("yes",))], [])
    figures = found.groups[0].figures
    assert figures == {"rouge_l": 1.0, "word_for_word": 1.0, "any_keyword": 1.0, "all_keywords": 1.0, "unfinished": 0.0}
    assert [f.name for f in found.groups[0].baselines] == ["question"]


@pytest.mark.parametrize(("num_read", "is_ceiling"), [(0, False), (2, False), (3, True), (20, True)])
def test_looking_up_is_a_ceiling_from_a_tenth_of_read_answers_on(num_read, is_ceiling):
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    train = [dialogue("q", f"answer {k}") for k in range(20)]
    test = [dialogue("qq", f"answer {k}" if k < num_read else f"unheard {k}") for k in range(20)]
    found = evaluated(test, train)
    assert [baseline.is_ceiling for baseline in found.groups[0].baselines if baseline.name == "nearest"] == [is_ceiling]


F = '<tool_call>{"name": "f", "arguments": {"x": 1, "y": [2]}}</tool_call>'
CALLS = {
    F: (True, True, True),
    '{"name": "f", "arguments": {"y": [2.0], "x": 1}}': (False, True, True),
    '{"name": "f", "arguments": {"x": 2, "y": [2]}}': (False, True, False),
    '{"name": "g", "arguments": {"x": 1, "y": [2]}}': (False, False, False),
    F + F: (False, False, False),
    "no": (False, False, False),
}


@pytest.mark.parametrize("given", CALLS)
def test_calls_are_scored_by_name_and_arguments_and_their_texts_in_one_form(given):
    wanted = '[{"type": "function", "function": {"name": "f", "arguments": "{\\"x\\": 1, \\"y\\": [2]}"}}]'
    found = answer_scores(given, wanted, ())
    assert tuple(found[name] for name in ("word_for_word", "call_name", "call_arguments")) == CALLS[given]
    assert answer_scores(given, "text", ())["call_name"] is None


def test_answers_that_go_on_to_the_limit_are_unfinished_and_those_that_the_window_cuts_are_not_counted():
    def found(max_tokens, *lengths):
        answers = model().answer(["q" * n for n in lengths], max_tokens=max_tokens, strict=False)
        return [is_unfinished(a) for a in answers], ReplyJudge().tell(answers, [], model().facts)[1]

    assert found(2, 1, 3, 4, 9) == (
        [True, True, None, None],
        [
            "2 of 2 answers (100 %) did not end by themselves within 2 tokens: the token that ends a reply is not learnt "
            "(train longer; raise max_length where finetune says that replies lose their end), or max_tokens is too "
            "small for replies this long (raise it)",
            "1 questions are longer than the model's 6 tokens and count as answered with nothing",
            "1 answers end where the model's 6 tokens do; whether they would have stopped by themselves is not known, so "
            "`unfinished` leaves them out",
        ],
    )
    assert found(3, 1, 2) == ([False, False], [])


def test_a_keyword_between_slashes_is_a_regular_expression_in_any_case():
    def hits(answer, *keywords):
        return answer_scores(answer, "x", keywords)["all_keywords"]

    assert hits("Order 4711 is READY", r"/order\s+\d{4}/", "ready", "/y$/")
    assert not hits("Order 471 is ready", r"/order \d{4}/")
    assert hits("a / b", "/") and hits("x // y", "//") and not hits("x", "//")
