"""From tables to a recommender that is served: what is read, what is held out, and what an event changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from pretune.apps.app import Started, app_class, open_app, state_of
from pretune.apps.recommend.app import Recommend, Search
from pretune.apps.recommend.columns import ShopColumns
from pretune.apps.recommend.making import lists_of, pairs_of
from pretune.apps.recommend.split import Seen, divided
from pretune.apps.recommend.tables import Events, Items, Notes, Sheet, events_of, is_events, items_of
from pretune.apps.serving import asgi
from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand, BadFile, EmptyInput, NoSuchColumn, WrongValue
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.cli import cli
from pretune.serve.run import Options
from tests.docs.test_docs import ROOT, commands

KINDS = {"red": "red wine grapes", "blue": "blue sea fish", "猫": "猫 可爱 动物"}
PER_KIND, USERS = 8, 40


def tables(folder: Path) -> tuple[Path, Path]:
    """Three kinds of items; each user likes one kind, and has seen five of its eight."""
    items, events = folder / "items.csv", folder / "events.csv"
    rows = [f"{kind}{k},{text} {k},{k % 2}" for kind, text in KINDS.items() for k in range(PER_KIND)]
    items.write_text("item_id,title,stock\n" + "\n".join([*rows, "new,blue sea fish of today,1"]) + "\n", "utf-8")
    rng, lines = np.random.default_rng(0), []
    for user in range(USERS):
        kind = [*KINDS][user % 3]
        for moment, k in enumerate(rng.permutation(PER_KIND)[:5]):
            lines.append(f"u{user},{kind}{k},{1000 * user + moment}")
    events.write_text("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n", "utf-8")
    return items, events


def made(arguments: list[str], out: Path) -> Artifact:
    recipe, _ = stage_recipe("recommend", arguments, str(out))
    return recipe.run(log=Log(silent=True))["recommend"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("shop")
    items, events = tables(folder)
    return made([str(events), str(items), "ridge=1", "shrinkage=1"], folder / "shop")


@pytest.fixture
def client(shop: Artifact, tmp_path: Path) -> Iterator[tuple[TestClient, Recommend]]:
    app = open_app(shop.path, tmp_path / "state")
    assert isinstance(app, Recommend)
    with app.running(Started(print)):
        yield TestClient(asgi(app, Options()), base_url="http://localhost", raise_server_exceptions=False), app


def post(client: TestClient, path: str, **body: Any) -> Any:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: Any) -> list[str]:
    return [one["id"] for one in found["items"]]


# ---- tables -------------------------------------------------------------------------------------


def sheet(name: str, *records: dict[str, Any]) -> Sheet:
    rows = [(f"{name}#{k}", record) for k, record in enumerate(records)]
    return Sheet(name, rows, list(dict.fromkeys(c for record in records for c in record)))


ITEMS = sheet("items", {"id": "a", "name": "An A"}, {"id": "b", "name": ""}, {"id": "a", "name": "Again"}, {"id": ""})


def read(*records: dict[str, Any], min_rating: float | None = None) -> tuple[Items, Events, Notes]:
    notes = Notes()
    items = items_of([ITEMS], ShopColumns(), notes)
    return items, events_of([sheet("events", *records)], items, ShopColumns(), notes, min_rating=min_rating), notes


def test_what_cannot_be_used_is_left_out_and_counted() -> None:
    items, events, notes = read(
        {"user": "1", "item": "a", "rating": 5},
        {"user": "1", "item": "a", "rating": 4},
        {"user": "2", "item": "gone", "rating": 5},
        {"user": "", "item": "b", "rating": 5},
        {"user": "3", "item": "b", "rating": 1},
        {"user": 3, "item": "a", "rating": 3},
        min_rating=2,
    )
    assert (items.ids, items.titles) == (["a", "b"], ["An A", "b"])
    assert [(events.users[u], items.ids[i]) for u, i in zip(events.user_E, events.item_E, strict=True)] == [
        ("1", "a"),
        ("3", "a"),
    ]
    assert dict(notes.left_out) == {
        "items whose id is there twice": 1,
        "items without an id": 1,
        "items without text (they are recommended by behaviour alone)": 1,
        "events of items that the table of items does not have": 1,
        "events that repeat another of the same user and item": 1,
        "events without a user or an item": 1,
        "events with a rating below 2": 1,
    }


def test_events_are_in_order_of_time_whether_seconds_or_dates_and_of_the_file_without_it() -> None:
    _, by_date, _ = read(
        {"user": "1", "item": "a", "when": "2026-02-01"}, {"user": "1", "item": "b", "when": "2026-01-31T23:00:00Z"}
    )
    _, by_file, _ = read({"user": "1", "item": "a"}, {"user": "1", "item": "b"})
    assert (by_date.item_E.tolist(), by_file.item_E.tolist()) == ([1, 0], [0, 1])
    assert by_date.time_E is not None
    assert by_date.time_E.tolist() == [1769900400.0, 1769904000.0]
    assert by_file.time_E is None


def test_a_time_that_is_none_is_named_with_its_place() -> None:
    with pytest.raises(BadFile, match=r"events#0: column 'time' holds 'soon', neither seconds nor a date"):
        read({"user": "1", "item": "a", "time": "soon"})


def test_a_table_of_events_has_a_user_and_an_item_and_others_are_items() -> None:
    assert is_events(sheet("x", {"user_id": "1", "item_id": "2"}), ShopColumns())
    assert not is_events(ITEMS, ShopColumns())
    with pytest.raises(NoSuchColumn, match="no column that could be the item; it has: isbn"):
        items_of([sheet("books", {"isbn": "1"})], ShopColumns(), Notes())
    assert items_of([sheet("books", {"isbn": "1"})], ShopColumns(item="ISBN"), Notes()).ids == ["1"]


def test_tables_without_events_or_with_none_that_fits_say_so(tmp_path: Path) -> None:
    items, events = tables(tmp_path)
    with pytest.raises(BadCommand, match=r"no table of events, with a user and an item, among: items.csv"):
        made([str(items)], tmp_path / "a")
    strangers = tmp_path / "strangers.csv"
    strangers.write_text("user_id,item_id\n1,nothing\n", "utf-8")
    with pytest.raises(EmptyInput, match=r"no event is left \(1 events of items that the table of items does not have"):
        made([str(items), str(strangers)], tmp_path / "b")
    with pytest.raises(WrongValue, match="no item has a column 'stok'"):
        made([str(items), str(events), "exclude=stok=0"], tmp_path / "c")


def test_one_user_is_too_few_for_three_parts_and_that_is_said(tmp_path: Path) -> None:
    one = tmp_path / "events.csv"
    one.write_text("user_id,item_id,timestamp\n1,a,1\n1,b,2\n", "utf-8")
    with pytest.raises(EmptyInput, match=r"split=last leaves no event for validation \(2 events in all\)"):
        made([str(one)], tmp_path / "out")


# ---- parts --------------------------------------------------------------------------------------

NUMBERS = np.random.default_rng(3)
PAIRS = np.unique(NUMBERS.integers([0, 0], [20, 30], size=(300, 2)), axis=0)
MANY = Events([f"u{k}" for k in range(20)], PAIRS[:, 0], PAIRS[:, 1], np.sort(NUMBERS.random(len(PAIRS))))
THIRTY = Items([f"i{k}" for k in range(30)], ["t"] * 30, ["t"] * 30, [{}] * 30)


@pytest.mark.parametrize("how", ["last", "time", "random"])
def test_every_pair_is_in_one_part_only(how: Any) -> None:
    parts = divided(MANY, THIRTY, how=how, validation=0.2, test=0.2, cold=0.0)
    every = [
        (int(u), int(i))
        for p in (parts.train, parts.validation, parts.test)
        for u, i in zip(p.user_E, p.item_E, strict=True)
    ]
    assert sorted(every) == [tuple(pair) for pair in PAIRS.tolist()]


def test_last_holds_out_the_last_of_each_user_and_time_what_happened_last_of_all() -> None:
    assert MANY.time_E is not None
    parts = divided(MANY, THIRTY, how="last", validation=0.1, test=0.1, cold=0.0)
    assert parts.train.time_E is not None and parts.validation.time_E is not None and parts.test.time_E is not None
    for user in range(20):
        own = [part.time_E[part.user_E == user] for part in (parts.train, parts.validation, parts.test)]  # type: ignore[index]
        assert len(own[1]) == len(own[2]) == 1
        assert own[0].max() < own[1][0] < own[2][0]
    parts = divided(MANY, THIRTY, how="time", validation=0.2, test=0.2, cold=0.0)
    assert parts.train.time_E.max() < parts.validation.time_E.min()  # type: ignore[union-attr]
    assert parts.validation.time_E.max() < parts.test.time_E.min()  # type: ignore[union-attr]
    assert len(parts.test) == pytest.approx(0.2 * len(MANY), abs=1)


def test_an_order_that_is_wanted_without_times_is_refused_and_auto_draws() -> None:
    timeless = Events(MANY.users, MANY.user_E, MANY.item_E, None)
    with pytest.raises(WrongValue, match="split=time needs times"):
        divided(timeless, THIRTY, how="time", validation=0.1, test=0.1, cold=0.0)
    assert divided(timeless, THIRTY, how="auto", validation=0.2, test=0.2, cold=0.0).how == "random"


def test_nobody_has_seen_a_cold_item_before_the_test() -> None:
    parts = divided(MANY, THIRTY, how="random", validation=0.2, test=0.2, cold=0.3)
    cold = set(np.flatnonzero(parts.cold_N).tolist())
    assert 3 <= len(cold) <= 15
    assert not cold & {*parts.train.item_E.tolist(), *parts.validation.item_E.tolist()}
    assert cold & {*parts.test.item_E.tolist()}


def test_what_an_embed_model_learns_from_is_in_train_alone() -> None:
    parts = divided(MANY, THIRTY, how="last", validation=0.1, test=0.1, cold=0.2)
    items = Items(THIRTY.ids, THIRTY.ids, [f"text {k}" for k in range(30)], THIRTY.rows)
    seen = Seen.of(parts.train)
    together = {
        (f"text {a}", f"text {b}") for user in range(len(seen)) for a in seen[user] for b in seen[user] if a != b
    }
    pairs = [(one["source"], target) for one in pairs_of(items, seen, most=3) for target in one["targets"]]
    assert pairs
    assert set(pairs) <= together
    lists = [*lists_of(items, seen, np.random.default_rng(0), most=2, others=4)]
    for one in lists:
        assert one["scores"] == [1.0, *[0.0] * (len(one["candidates"]) - 1)]
    cold = {f"text {k}" for k in np.flatnonzero(parts.cold_N)}
    assert not cold & {text for one in lists for text in one["candidates"]}


def test_what_is_learnt_from_before_the_test_is_train_and_validation_in_the_order_of_the_file() -> None:
    timeless = Events(MANY.users, MANY.user_E, MANY.item_E, None)
    parts = divided(timeless, THIRTY, how="random", validation=0.3, test=0.2, cold=0.0)
    tested = {*zip(parts.test.user_E.tolist(), parts.test.item_E.tolist(), strict=True)}
    wanted = [tuple(pair) for pair in PAIRS.tolist() if tuple(pair) not in tested]
    assert [*zip(parts.before.user_E.tolist(), parts.before.item_E.tolist(), strict=True)] == wanted


def test_the_last_event_of_a_user_is_that_of_the_latest_time_and_of_equal_times_the_last_row() -> None:
    rows = [("1", "a", 30), ("1", "b", 10), ("1", "c", 20), ("2", "c", 5), ("2", "a", 5), ("2", "b", 5)]
    notes, items = Notes(), Items(["a", "b", "c"], ["t"] * 3, ["t"] * 3, [{}] * 3)
    records = [{"user": user, "item": item, "time": time} for user, item, time in rows]
    events = events_of([sheet("e", *records)], items, ShopColumns(), notes, min_rating=None)
    parts = divided(events, items, how="auto", validation=0.1, test=0.1, cold=0.0)
    held = [
        {parts.test.users[u]: items.ids[i] for u, i in zip(part.user_E, part.item_E, strict=True)}
        for part in (parts.train, parts.validation, parts.test)
    ]
    assert held == [{"1": "b", "2": "c"}, {"1": "c", "2": "a"}, {"1": "a", "2": "b"}]


# ---- the recommender ----------------------------------------------------------------------------


def test_the_report_says_what_beats_what(shop: Artifact) -> None:
    metrics = shop.card.metrics
    assert metrics["ndcg_10"] > metrics["popularity_ndcg_10"] + 0.2
    assert metrics["split"] == "last"
    assert (metrics["items"], metrics["users"], metrics["events"]) == (25, 40, 200)
    page = (shop.path / "report.html").read_text("utf-8")
    for shown in ("nDCG@10", "popularity", "EASE", "The model"):
        assert shown in page
    assert "because of" in page


def test_a_user_is_shown_the_kind_that_is_liked_and_nothing_that_was_seen(
    client: tuple[TestClient, Recommend],
) -> None:
    http, app = client
    for user, kind in (("u0", "red"), ("u1", "blue"), ("u2", "猫")):
        seen = {app.shop.items.ids[k] for k in app.seen[user]}
        found = post(http, "recommend", user_id=user, places=3)
        assert found["known"]
        assert {one.rstrip("01234567") for one in ids(found)} <= {kind, "new"}
        assert not seen & {*ids(found)}
        assert all(one["because"]["id"] in seen for one in found["items"])


def test_an_event_counts_at_once_and_after_a_restart(client: tuple[TestClient, Recommend], shop: Artifact) -> None:
    http, app = client
    nobody = post(http, "recommend", user_id="guest", places=5)
    assert not nobody["known"]
    assert all(one["because"] is None for one in nobody["items"])
    events = [{"user_id": "guest", "item_id": "猫1"}, {"user_id": "guest", "item_id": "猫2", "timestamp": 5.0}]
    assert post(http, "events", events=events) == {"counted": 2, "unknown": []}
    found = post(http, "recommend", user_id="guest", places=5)
    assert {one.rstrip("01234567") for one in ids(found)} == {"猫"}
    assert not {"猫1", "猫2"} & {*ids(found)}
    assert found["items"] == post(http, "recommend", liked=["猫1", "猫2"], places=5)["items"]
    again = open_app(shop.path, app.folder)
    assert isinstance(again, Recommend)
    assert again.answer(["guest"])[0].to_json()["items"][:5] == found["items"]
    assert app_class(shop).told(shop, app.folder) == {"events": 2, "users": 1}


def test_an_event_of_an_unknown_item_is_kept_and_named_and_a_repeated_one_is_the_last_seen(
    client: tuple[TestClient, Recommend],
) -> None:
    http, app = client
    popular = app.shop.systems["popularity"].scores(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)).copy()
    events = [{"user_id": "x", "item_id": name} for name in ("red1", "red2", "later", "red1")]
    assert post(http, "events", events=events) == {"counted": 3, "unknown": ["later"]}
    assert ids(post(http, "history", user_id="x")) == ["red1", "red2"]
    now = app.shop.systems["popularity"].scores(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    changed = np.flatnonzero(now != popular).tolist()
    assert [app.shop.items.ids[k] for k in changed] == ["red1", "red2"]
    assert app.state is not None
    assert [row["item"] for row in app.state.rows("select item from event")] == ["red1", "red2", "later", "red1"]


def test_what_is_liked_and_was_seen_counts_once(client: tuple[TestClient, Recommend]) -> None:
    http, _ = client
    events = [{"user_id": "x", "item_id": name} for name in ("red1", "blue2")]
    post(http, "events", events=events)
    once = post(http, "recommend", liked=["blue2", "red1"], places=9)["items"]
    assert post(http, "recommend", user_id="x", liked=["red1"], places=9)["items"] == once
    assert post(http, "recommend", liked=["red1", "blue2", "red1"], places=9)["items"] == once


def test_events_that_come_out_of_order_are_seen_in_the_order_of_their_times_also_after_a_restart(
    client: tuple[TestClient, Recommend], shop: Artifact
) -> None:
    http, app = client
    rows = [("red1", 300), ("red2", 100), ("red3", 200), ("red4", 200), ("red5", None), ("red1", 50), ("red2", 250)]
    events = [{"user_id": "x", "item_id": name, "timestamp": time} for name, time in rows]
    assert post(http, "events", events=events)["counted"] == 7
    wanted = ["red5", "red1", "red2", "red4", "red3"]  # the newest first
    assert ids(post(http, "history", user_id="x")) == wanted
    again = open_app(shop.path, app.folder)
    assert isinstance(again, Recommend)
    assert [again.shop.items.ids[k] for k in reversed(again.seen["x"])] == wanted
    user, old = next((user, k) for user, k in app.seen.items() if user == "u0")
    unseen = next(name for name in app.number if app.number[name] not in old)
    post(http, "events", events=[{"user_id": user, "item_id": unseen, "timestamp": -1.0}])
    assert app.seen["u0"][0] == app.number[unseen]


def test_like_one_thing_are_those_that_the_same_people_saw_and_a_new_one_lives_by_its_text(
    client: tuple[TestClient, Recommend],
) -> None:
    http, _ = client
    assert {one.rstrip("01234567") for one in ids(post(http, "similar", item_id="blue3", places=4))} == {"blue"}
    if client[1].mixture.weights["text"]:
        assert {one.rstrip("01234567") for one in ids(post(http, "similar", item_id="new", places=4))} == {"blue"}
    assert ids(post(http, "search", query="动物", places=20)) == [f"猫{k}" for k in range(8)]
    assert ids(post(http, "search", query="sea today", places=1)) == ["new"]


def test_only_what_a_request_wants_is_shown_and_what_is_unknown_is_refused_by_name(
    client: tuple[TestClient, Recommend],
) -> None:
    http, app = client
    found = post(http, "recommend", user_id="u0", only={"stock": "1"}, places=50)
    stock = dict(zip(app.shop.items.ids, (row["stock"] for row in app.shop.items.rows), strict=True))
    assert {stock[one] for one in ids(found)} == {"1"}
    for path, body, problem in (
        ("recommend", {"user_id": "u0", "only": {"colour": "1"}}, "no item has a column 'colour'"),
        ("recommend", {"liked": ["nothing"]}, "there is no item 'nothing'"),
        ("recommend", {"places": 101}, "places is 101, this server allows 100"),
        ("similar", {"item_id": "nothing"}, "there is no item 'nothing'"),
        ("events", {"events": [{"user_id": "", "item_id": "red1"}]}, "events.0.user_id"),
        ("recommend", {"usr": "u0"}, "'usr' is unknown"),
    ):
        answer = http.post(f"/v1/{path}", json=body)
        assert answer.status_code in (400, 404)
        assert problem in answer.json()["error"]["message"]


def test_rules_leave_items_out_for_everybody(tmp_path: Path) -> None:
    items, events = tables(tmp_path)
    shop = made([f"items={items}", f"events={events}", "exclude=stock=0", "repeat=true"], tmp_path / "shop")
    app = open_app(shop.path)
    assert isinstance(app, Recommend)
    (found,) = app.answer(["u0"])
    stock = dict(zip(app.shop.items.ids, (row["stock"] for row in app.shop.items.rows), strict=True))
    shown = ids(found.to_json())
    assert {stock[one] for one in shown} == {"1"}
    assert {app.shop.items.ids[k] for k in app.seen["u0"]} & {*shown}, "what was seen may be shown again"
    found_by_words = {one["id"] for one in app.search(Search(query="sea", places=20))["items"]}
    assert {stock[one] for one in found_by_words} == {"1"}, "what is never shown is not found either"
    assert not state_of(shop).exists(), "who only asks leaves nothing behind"


def test_the_same_tables_make_the_same_recommender(shop: Artifact, tmp_path: Path) -> None:
    items, events = tables(tmp_path)
    assert made([str(events), str(items), "ridge=1", "shrinkage=1"], tmp_path / "shop").card.id == shop.card.id


def test_the_page_has_every_word_in_both_languages(client: tuple[TestClient, Recommend]) -> None:
    page = client[0].get("/").text
    assert "/*look*/" not in page
    words = json.loads(json.dumps([line for line in page.splitlines() if line.startswith("  ") and '", "' in line]))
    assert any("推荐" in line for line in words)
    assert client[0].get("/metrics").text.count("\npretune_recommend_items ") == 1


def test_the_three_commands_of_the_guide_lead_from_two_tables_to_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("items.csv", "events.csv"):
        (tmp_path / name).write_bytes((ROOT / "tests/recipes/data/books" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    make, ask, serve = (words[1:] for words in commands("docs/en/recommend.md")[:3])
    assert CliRunner().invoke(cli, [*make, "--quiet"], catch_exceptions=False).exit_code == 0
    told = CliRunner().invoke(cli, [*ask, "--json"], catch_exceptions=False).stdout
    (shown,) = json.loads(told)
    assert serve[0] == "serve"
    app = open_app(serve[1])
    with app.running(Started(print)):
        http = TestClient(asgi(app, Options()), base_url="http://localhost")
        assert post(http, "recommend", user_id=ask[2])["items"] == shown["items"]
