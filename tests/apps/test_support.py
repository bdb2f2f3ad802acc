"""The support desk: a stage, answers with sources, and what people do while it is served."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pretune.apps.app import Started, open_app
from pretune.apps.outbox import post, problems, sending
from pretune.apps.serving import asgi, left_behind
from pretune.apps.support.answering import Models, longest_run, quoted, reply, whole
from pretune.apps.support.desk import Desk
from pretune.apps.support.index import Index, fused, stem, units
from pretune.apps.support.making import confidence, threshold
from pretune.apps.support.passages import Passage, headings, passages_of, slices
from pretune.apps.support.record import Record
from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile, Damaged, NoSuchColumn, NotSupported, PretuneError, UserError
from pretune.base.log import Log
from pretune.base.new import like
from pretune.base.oneline import stage_recipe
from pretune.base.recipe import Recipe
from pretune.base.tidy import leftovers
from pretune.infer.answers import Label, Ranking, Text
from pretune.serve.keys import Key
from pretune.serve.run import Options
from pretune.text.read.document import Document

SHOP = Path(__file__).parents[1] / "recipes" / "data" / "shop"
Client = TestClient


def made(out: Path, *arguments: object) -> Artifact:
    recipe, _ = stage_recipe("support", [*map(str, arguments)], str(out))
    return list(recipe.run(log=Log(quiet=True)).values())[-1]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(
        tmp_path_factory.mktemp("desk") / "desk",
        SHOP / "docs",
        f"faq={SHOP / 'faq.csv'}",
        f"dev={SHOP / 'dev.csv'}",
        "words=60",
    ).path


@pytest.fixture
def opened(desk: Path, tmp_path: Path) -> Desk:
    found = open_app(desk, tmp_path / "state")
    assert isinstance(found, Desk)
    return found


@pytest.fixture
def client(opened: Desk) -> Iterator[Client]:
    with opened.running(Started(lambda line: None)):
        yield TestClient(asgi(opened, Options()), base_url="http://localhost")


def ask(client: Client, question: str, **more: Any) -> Any:
    return client.post("/v1/ask", json={"question": question, **more}).json()


# ---- passages -----------------------------------------------------------------------------------


def test_passages_are_slices_of_their_document_that_cover_every_word_in_order() -> None:
    text = "Head.\n\n# One\n\nFirst. Second one here. 第三句在这里。第四句。\n\n```\n# no heading\n```\n## Two\n- a b\n- c d\n"
    found = [*passages_of([Document(text, origin="x.md#0")], words=6, overlap=0)]
    assert all(text[p.start : p.start + len(p.text)] == p.text for p in found)
    told = "".join("".join(p.text.split()) for p in found)
    assert told == "".join(text.replace("# One", "").replace("## Two", "").split())
    assert [(k, words) for _, k, words, _ in headings(text)] == [(1, "One"), (2, "Two")]
    assert {p.title for p in found} == {"One"}
    assert {p.section for p in found} == {"", "Two"}


def test_neighbours_share_whole_sentences_up_to_the_overlap() -> None:
    text = "a b c. d e. f g h. i j."
    pieces = [text[a:b] for a, b in slices(text, 0, len(text), words=5, overlap=2)]
    assert pieces == ["a b c. d e.", "d e. f g h.", "i j."]
    assert [text[a:b] for a, b in slices(text, 0, len(text), words=1, overlap=5)] == [
        "a b c.",
        "d e.",
        "f g h.",
        "i j.",
    ]


# ---- finding ------------------------------------------------------------------------------------


def test_fused_places_are_sums_of_reciprocals() -> None:
    order, scores = fused([[4, 7], [7, 9, 4]])
    assert order == [7, 4, 9]
    assert scores == {4: 1 / 61 + 1 / 63, 7: 1 / 62 + 1 / 61, 9: 1 / 62}


def test_coverage_is_the_share_of_what_is_asked_weighed_by_rarity() -> None:
    index = Index.of(["red lamp", "green lamp", "blue chair"])
    lamp, red = np.log(1 + 1.5 / 2.5), np.log(1 + 2.5 / 1.5)
    assert index.coverage("What is the red lamp?", "a green lamp") == pytest.approx(lamp / (lamp + red))
    assert index.coverage("请问台灯保修多长时间", "台灯保修两年") == pytest.approx(1.0)
    assert index.likeness("the red lamp", "red lamp?") == 1.0


def test_a_graph_finds_what_comparing_every_vector_finds() -> None:
    pytest.importorskip("usearch", reason="extra apps")
    vectors = units(np.random.default_rng(0).normal(size=(300, 16)))
    texts = [str(k) for k in range(300)]
    exact, graph = Index.of(texts, vectors), Index.of(texts, vectors, exact=10)
    assert graph.graph is not None
    both = [(exact.by_vectors(v, 10), graph.by_vectors(v, 10)) for v in vectors[:50]]
    assert np.mean([len({*a} & {*b}) / 10 for a, b in both]) > 0.95


def test_the_threshold_refuses_no_more_than_its_share() -> None:
    sure = np.arange(100) / 100
    assert (sure < threshold(sure, 0.05)).mean() == 0.04  # 5 of the 101 gaps between them
    assert threshold(np.array([0.4, 0.2]), 0.05) == 0.2


def test_plurals_are_one_word_with_their_singular() -> None:
    words = "parties lamps weighs boxes glass status gas is 退货"
    assert [stem(word) for word in words.split()] == [
        "party",
        "lamp",
        "weigh",
        "boxe",
        "glass",
        "status",
        "gas",
        "is",
        "退货",
    ]


# ---- answers ------------------------------------------------------------------------------------


def test_an_entry_of_the_faq_comes_before_any_passage_and_word_for_word(opened: Desk) -> None:
    found = opened.reply("Can I dim the lamps?")
    assert found.way == "faq"
    assert found.text == "Only the lamps whose name ends in D can be dimmed, with a dimmer for LED."


@pytest.mark.parametrize(
    ("question", "says"),
    [("Do you deliver to Switzerland?", "do not deliver to Switzerland"), ("保修多长时间？", "保修两年")],
)
def test_a_passage_answers_and_its_quote_says_so(opened: Desk, question: str, says: str) -> None:
    found = opened.reply(question)
    assert found.way == "passage"
    assert says in found.sources[0].quote
    assert found.sources[0].quote in (SHOP / "docs" / found.sources[0].passage.source.partition("#")[0]).read_text(
        "utf-8"
    )


@pytest.mark.parametrize("question", ["Who is the president of France?", "推荐一部好看的电影", "?!", "🙂"])
def test_what_nothing_answers_is_passed_on(opened: Desk, question: str) -> None:
    assert opened.reply(question).way == "nobody"


class Says:
    """A chat model that says what it is to say."""

    gives = Text

    def __init__(self, text: str):
        self.text, self.asked = text, list[str]()

    def answer(self, inputs: Any, **more: Any) -> list[Text]:
        self.asked.append(inputs[0][0]["content"])
        return [Text(self.text)]


@pytest.mark.parametrize(
    ("says", "way"),
    [
        ("Yes: the lamp may be sent back within 30 days of the day on which it came.", "written"),
        ("Yes, whenever you like, no problem at all.", "passage"),
        ("You may send a lamp back within 300 days of the day on which it came.", "passage"),
        ("", "passage"),
    ],
)
def test_words_of_a_model_are_given_only_if_they_quote_a_passage_and_invent_no_number(
    opened: Desk, says: str, way: str
) -> None:
    chat: Any = Says(says)
    found = reply("How long may I keep a lamp before I send it back?", opened.live.now, Models(chat), opened.limits)
    assert "within 30 days" in chat.asked[0]
    assert found.way == way
    if way == "written":
        assert all(source.quote in says and source.quote in source.passage.text for source in found.sources)


class Vectors:
    """Vectors of whatever is said of a text; the first word decides."""

    def __init__(self, **places: tuple[float, float]):
        self.places = places

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.array([self.places[text.split()[0]] for text in texts])


class Backwards:
    """Puts candidates in the opposite order, and is sure of it."""

    def answer(self, inputs: Any) -> list[Ranking]:
        order = tuple(range(len(inputs[0]["candidates"])))[::-1]
        return [Ranking(order, tuple(1 / (k + 1) for k in range(len(order))))]


def test_vectors_find_what_shares_no_word_and_a_ranker_has_the_last_word() -> None:
    embed: Any = Vectors(money=(1, 0), refund=(0.8, 0.6), lamp=(0, 1), cash=(1, 0.1))
    texts = ["refund policy", "lamp policy", "money"]
    index = Index.of(texts, units(embed.vectors(texts)))
    assert [hit.number for hit in index.search("cash", embed)] == [2, 0, 1]
    assert index.search("cash", embed)[0].cosine == pytest.approx(1 / np.sqrt(1.01))
    rank: Any = Backwards()
    found = index.search("cash", embed, rank)
    assert [(hit.number, hit.ranked) for hit in found] == [(1, 1.0), (0, 0.5), (2, 1 / 3)]
    assert found[0].confidence == 1.0


class Hears:
    """A classifier that hears one intent."""

    def __init__(self, label: Label):
        self.label = label

    def answer(self, inputs: Any) -> list[Label]:
        return [self.label]


@pytest.mark.parametrize(
    ("label", "way"),
    [(Label("dim", 0.9), "faq"), (Label("dim", 0.6), "nobody"), (Label("", 0.9, rejected=True), "nobody")],
)
def test_an_intent_that_is_sure_gives_the_answer_of_its_entry(opened: Desk, label: Label, way: str) -> None:
    intents: Any = Hears(label)
    found = reply("Too bright!!", opened.live.now, Models(intents=intents), opened.limits)
    assert (found.way, found.intent) == (way, label)
    if way == "faq":
        assert found.sources[0].passage.intent == "dim"


@pytest.mark.parametrize(("question", "says"), [("Too bright, may I reset it?", "LED"), ("太亮了，收货", "LED 调光器")])
def test_an_intent_gives_its_entry_in_the_language_asked_where_words_find_another_one(
    opened: Desk, question: str, says: str
) -> None:
    intents: Any = Hears(Label("dim", 0.9))
    assert opened.live.now.asked.by_words(question)
    found = reply(question, opened.live.now, Models(intents=intents), opened.limits)
    assert (found.way, found.confidence, found.sources[0].passage.intent) == ("faq", 0.9, "dim")
    assert says in found.text


@pytest.mark.parametrize(("label", "sure"), [(Label("dim", 0.9), 1.0), (Label("dim", 0.6), 0.0)])
def test_the_threshold_is_chosen_with_the_intents_that_answer(opened: Desk, label: Label, sure: float) -> None:
    intents: Any = Hears(label)
    assert confidence("Too bright!!", opened.live.now, Models(intents=intents), opened.limits.faq) == sure


def test_the_longest_run_is_of_whole_words_and_is_in_both() -> None:
    start, end = longest_run("it is a green lampshade, truly", "one green lamp and two green lampshades")
    assert "one green lamp and two green lampshades"[start:end] == "green"
    text = "灯泡属于耗材，保修期为六个月。"
    start, end = longest_run("因为灯泡属于耗材，保修期为六个月", text)
    assert text[start:end] == "灯泡属于耗材，保修期为六个月"


def test_a_quote_of_empty_words_alone_is_none() -> None:
    source = whole(Passage("if it is what you have in the box of it"), 1.0)
    assert quoted("So what you have in the end?", "?", [source]) is None


# ---- served -------------------------------------------------------------------------------------


def test_http_gives_what_predict_gives(client: Client, opened: Desk) -> None:
    found = ask(client, "Is the delivery free?")
    assert {k: v for k, v in found.items() if k not in ("id", "talk")} == opened.reply(
        "Is the delivery free?"
    ).to_json()


def test_a_ticket_is_answered_seen_learnt_and_an_example_that_dataset_reads(
    client: Client, opened: Desk, tmp_path: Path
) -> None:
    first = ask(client, "Do you repair typewriters?")
    assert first["way"] == "nobody"
    (ticket,) = client.get("/v1/inbox").json()["waiting"]
    assert ticket["id"] == first["ticket"]
    answer = {"ticket": ticket["id"], "answer": "No, we repair lamps only."}
    client.post("/v1/inbox", json={**answer, "question": "Do you repair typewriters?"})
    assert (
        client.post("/v1/talk", json={"talk": first["talk"]}).json()["turns"][0]["person"]
        == "No, we repair lamps only."
    )
    again = ask(client, "do you repair typewriters")
    assert (again["way"], again["answer"]) == ("faq", "No, we repair lamps only.")
    recipe, _ = stage_recipe("dataset", [str(opened.folder / "examples.jsonl")], str(tmp_path / "data"))
    (data,) = recipe.run(log=Log(quiet=True)).values()
    assert data.card.metrics["shape"] == "dialogue"
    client.post("/v1/inbox", json={"ticket": ticket["id"], "answer": "Ask again."})
    assert ask(client, "Do you repair typewriters?")["way"] == "nobody"


def test_votes_and_handing_over_need_the_name_of_the_talk(client: Client) -> None:
    found = ask(client, "Is the delivery free?")
    for path, more in (("/v1/feedback", {"vote": -1}), ("/v1/hand-over", {})):
        assert client.post(path, json={"id": found["id"], "talk": "guessed", **more}).status_code == 400
        assert client.post(path, json={"id": found["id"], "talk": found["talk"], **more}).status_code == 200
    assert client.post("/v1/talk", json={"talk": "guessed"}).json() == {"turns": []}
    assert client.get("/v1/inbox").json()["waiting"][0]["vote"] == -1


def test_knowledge_is_learnt_and_forgotten_without_a_restart(client: Client) -> None:
    learnt = client.post("/v1/knowledge", json={"text": "The museum of typewriters opens on Tuesdays."}).json()
    found = ask(client, "When does the museum of typewriters open?")
    assert (found["way"], found["sources"][0]["source"]) == ("passage", f"desk#{learnt['id']}")
    client.post("/v1/knowledge", json={"forget": learnt["id"]})
    assert ask(client, "When does the museum of typewriters open?")["way"] == "nobody"


@pytest.mark.parametrize(
    "body",
    [{}, {"text": "a", "question": "b"}, {"question": "b"}, {"text": "  "}, {"forget": 99}, {"text": "a", "x": 1}],
)
def test_wrong_knowledge_is_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.post("/v1/knowledge", json=body).status_code == 400


def test_customers_and_the_desk_have_keys_of_their_own(opened: Desk) -> None:
    options = Options(
        keys=[
            Key.of("c", "site").model_copy(update={"scopes": ["ask"]}),
            Key.of("d", "desk").model_copy(update={"scopes": ["desk"]}),
        ]
    )
    with opened.running(Started(lambda line: None)):
        web = TestClient(asgi(opened, options), base_url="http://elsewhere")
        customer, desk = {"Authorization": "Bearer c"}, {"Authorization": "Bearer d"}
        assert web.get("/v1/inbox").status_code == web.get("/inbox").status_code == 401
        assert "www-authenticate" in web.get("/inbox").headers
        assert [web.get("/v1/inbox", headers=h).status_code for h in (customer, desk)] == [403, 200]
        asked = [web.post("/v1/ask", json={"question": "Is it free?"}, headers=h).status_code for h in (customer, desk)]
        assert asked == [200, 403]
        assert web.get("/health").status_code == 200


def test_metrics_count_ways_and_tickets(client: Client) -> None:
    ask(client, "Can I dim the lamps?")
    ask(client, "Who is the president of France?")
    told = client.get("/metrics").text
    assert 'pretune_support_questions{way="faq"} 1' in told
    assert "pretune_support_tickets_waiting 1" in told
    assert 'pretune_requests_total{route="/v1/ask",status="200"} 2' in told


# ---- what lasts ---------------------------------------------------------------------------------


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_what_was_known(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("The blue lamp weighs two kilograms.\n", encoding="utf-8")
    opened = open_app(made(tmp_path / "desk", docs).path)
    assert isinstance(opened, Desk)
    told: list[str] = []
    assert not opened.live.refresh(told.append)
    (docs / "link.md").symlink_to(SHOP / "docs" / "returns.md")
    (docs / "b.md").write_text("紫色的台灯重三公斤。\n", encoding="utf-8")
    assert opened.live.refresh(told.append)
    assert opened.reply("紫色的台灯多重").sources[0].passage.source == "b.md#0"
    assert {p.source for p in opened.live.now.passages} == {"a.md#0", "b.md#0"}
    for file in docs.iterdir():
        file.unlink()
    opened.live.refresh(told.append)
    assert "cannot be read again" in told[-1]
    assert opened.reply("How much does the blue lamp weigh?").way == "passage"


def test_a_desk_whose_files_changed_while_it_was_down_knows_them(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("The blue lamp weighs two kilograms.\n", encoding="utf-8")
    path = made(tmp_path / "desk", file).path
    file.write_text("The blue lamp weighs nine kilograms.\n", encoding="utf-8")
    opened = open_app(path)
    assert isinstance(opened, Desk)
    assert "nine" in opened.reply("What weighs the blue lamp?").text


def test_what_was_said_survives_and_a_new_desk_says_where_the_old_state_is(desk: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "desk", SHOP / "docs", "words=60").path
    opened = open_app(path)
    assert isinstance(opened, Desk)
    with opened.running(Started(print)):
        opened.record.said("Xylophones?", opened.reply("Xylophones?"), None)  # type: ignore[union-attr]
    again = Record(path / "state")
    assert again.counts()["tickets_waiting"] == 1
    again.close()
    assert [*left_behind(path)] == []
    made(path, SHOP / "docs", "words=40")
    (line,) = left_behind(path)
    assert "--state" in line
    assert leftovers(tmp_path) == []


def test_a_state_that_is_no_database_or_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    record = Record(tmp_path / "new")
    record.state.db.execute("pragma user_version = 99")
    record.close()
    with pytest.raises(NotSupported, match="version 99"):
        Record(tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "app.sqlite").write_bytes(b"no database " * 400)
    with pytest.raises(Damaged):
        Record(tmp_path / "old")


class Hook(BaseHTTPRequestHandler):
    heard: list[Any]
    failing: int

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Hook.failing -= 1
        if Hook.failing < 0:
            Hook.heard.append(body)
        self.send_response(200 if Hook.failing < 0 else 503)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None: ...


def test_a_webhook_that_is_down_is_told_again_in_order_and_reported(tmp_path: Path) -> None:
    Hook.heard, Hook.failing = [], 2
    record, told = Record(tmp_path), list[str]()
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/secret"
    with record.state.writing() as db:
        for n in range(3):
            post(db, {"n": n})
    with sending(record.state, url, told.append, first_wait=0.01):
        for _ in range(500):
            if len(Hook.heard) == 3:
                break
            threading.Event().wait(0.01)
    server.shutdown()
    server.server_close()
    assert [one["n"] for one in Hook.heard] == [0, 1, 2]
    assert len(told) == 1 and "503" in told[0] and "secret" not in told[0]
    assert problems(record.state) == []
    record.close()


def test_what_no_webhook_takes_is_kept_and_check_says_so(tmp_path: Path) -> None:
    record = Record(tmp_path)
    with record.state.writing() as db:
        post(db, {"n": 1})
    assert problems(record.state) == []
    with sending(record.state, "http://127.0.0.1:9/", lambda line: None, first_wait=0.01):
        for _ in range(500):
            if problems(record.state):
                break
            threading.Event().wait(0.01)
    assert "1 messages wait for the webhook" in problems(record.state)[0]
    record.close()


def test_a_shipped_recipe_may_be_begun_with(tmp_path: Path) -> None:
    path = like(str(tmp_path / "my shop"), "support")
    recipe = Recipe.read(path)
    assert (recipe.head.name, recipe.head.work) == ("my shop", "runs/my shop")
    with pytest.raises(UserError, match="exists"):
        like(str(tmp_path / "my shop"), "support")
    with pytest.raises(UserError, match="no recipe 'suport'") as error:
        like(str(tmp_path / "other"), "suport")
    assert "support" in str(error.value.hint)


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "arguments", "error", "says"),
    [
        ({"a.md": "  \n"}, ["a.md"], BadFile, "no passage"),
        ({"faq.csv": "question,answer\nWhy?,\n"}, ["faq=faq.csv"], BadFile, "have no answer"),
        ({"faq.csv": "question,colour\nWhy?,red\n"}, ["faq=faq.csv"], NoSuchColumn, "reply"),
        ({"faq.csv": "question,answer\n"}, ["faq=faq.csv"], PretuneError, "faq"),
        ({"a.md": "Text.", "dev.csv": "question,answer\nWhy?,\n"}, ["a.md", "dev=dev.csv"], BadFile, "has an answer"),
    ],
)
def test_knowledge_that_is_none_is_named(
    tmp_path: Path,
    files: dict[str, str],
    arguments: list[str],
    error: type[PretuneError],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=says):
        made(tmp_path / "desk", *arguments)


def test_no_knowledge_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no passage"):
        made(tmp_path / "desk")
