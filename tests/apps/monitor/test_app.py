"""A watch made by its stage, opened, and asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from pretune.apps.app import Started, app_class, open_app, state_of
from pretune.apps.monitor.app import Monitor, history_of, known_of, store_of
from pretune.apps.monitor.delivery import deliver
from pretune.apps.monitor.following import Follower
from pretune.apps.monitor.making import check_labels
from pretune.apps.monitor.replay import Burst, History, chosen, outcomes, replayed, with_bursts
from pretune.apps.monitor.series import Watching
from pretune.apps.monitor.sources.growing import Growing
from pretune.apps.monitor.store import MIGRATIONS
from pretune.apps.serving import asgi
from pretune.apps.state import State
from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported, PretuneError, WrongValue
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.infer.answers import Label, Many
from pretune.serve.run import Options
from pretune.testing.folders import write_model
from tests.apps.monitor.conftest import HOUR, MONDAY, Words

LABELS = ("坏", "so-so", "good")
DAYS = 16


def made(out: Path, *arguments: object) -> Artifact:
    recipe, _ = stage_recipe("monitor", [*map(str, arguments)], str(out))
    return list(recipe.run(log=Log(quiet=True)).values())[-1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "moods", folder / "words", "bert-labels")


def history(file: Path, days: int = DAYS) -> Path:
    """About three texts an hour."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, days * 24 * HOUR, days * 24 * 3))
    rows = [{"text": f"the cat {k % 7} and the hat", "time": MONDAY + float(t)} for k, t in enumerate(times)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def watch(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A watch with a history of 16 days."""
    folder = tmp_path_factory.mktemp("watch")
    replay = history(folder / "history.jsonl")
    return made(folder / "watch", model, f"topics={model}", f"replay={replay}", "watch.usual.utc_offset=8")


@pytest.fixture
def client(watch: Artifact, tmp_path: Path) -> Iterator[TestClient]:
    """The watch, served, following a file that has six texts of now."""
    import time

    app, now = open_app(watch.path, tmp_path / "state"), time.time()
    rows = [{"id": k, "text": f"<b>the hat {k}</b> 你好", "time": now - 60} for k in range(6)]
    (tmp_path / "news.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with app.running(Started(lambda line: None, sources=[str(tmp_path / "news.jsonl")])):
        client = TestClient(asgi(app, Options()), base_url="http://localhost")
        for _ in range(600):
            if client.get("/v1/watch").json()["sources"]:
                break
            time.sleep(0.05)
        yield client


def test_a_history_chooses_thresholds_and_is_shown_as_a_table_and_a_picture(watch: Artifact) -> None:
    tried = json.loads((watch.path / "replay.json").read_text(encoding="utf-8"))
    setup = json.loads((watch.path / "watch.json").read_text(encoding="utf-8"))
    (detector,) = setup["watch"]["detect"]
    (picked,) = [t for t in tried if (t["fading"], t["threshold"]) == (detector["fading"], detector["threshold"])]
    assert picked["false_a_week"] <= 1
    assert picked["found"] == max(t["found"] for t in tried if t["false_a_week"] <= 1)
    assert watch.card.metrics["found_within_2h"] == picked["found"]
    page = (watch.path / "replay.html").read_text(encoding="utf-8")
    assert "<polyline" in page
    assert page.count("<tr>") == len(tried) + 1


def test_what_a_history_says_is_usual_is_known_before_the_first_text(watch: Artifact, tmp_path: Path) -> None:
    app = open_app(watch.path, tmp_path / "state")
    assert isinstance(app, Monitor)
    with app.running(Started(lambda line: None)):
        store = app.opened_store()
        found = store.state.rows("select state, sentiment from series where kind = 'all'")
        assert store.state.rows("select count(*) as n from alerts where method != 'silence'") == [{"n": 0}]
    states = [json.loads(row["state"])["usual"] for row in found]
    usual = app.setup.watch.usual
    total = sum(usual.expected(state, MONDAY + DAYS * 24 * HOUR) or 0 for state in states)
    assert total == pytest.approx(3, rel=0.3)


def test_a_text_is_answered_with_mood_and_topic(watch: Artifact) -> None:
    (answer,) = open_app(watch.path).answer(["the cat"])
    assert isinstance(answer, Many)
    assert isinstance(answer.parts["sentiment"], Label)
    assert answer.parts["sentiment"].name in LABELS
    assert answer.parts["sentiment"] == answer.parts["topics"]  # the same model


def test_the_dashboard_has_lines_the_texts_behind_them_and_alerts_that_are_seen_once(
    client: TestClient, watch: Artifact, tmp_path: Path
) -> None:
    about = client.get("/v1/watch").json()
    assert about["sources"][0]["texts"] == 6
    assert ["all", ""] in about["subjects"]
    lines = client.get("/v1/watch/lines?days=90&until=" + str(MONDAY + DAYS * 24 * HOUR)).json()
    assert lines["html"].count("<svg") == len(lines["charts"]) >= 2
    texts = client.get("/v1/watch/texts").json()["texts"]
    assert [one["text"] for one in texts] == [f"<b>the hat {k}</b> 你好" for k in range(6)]
    mood = texts[0]["sentiment"]
    assert len(client.get("/v1/watch/texts", params={"kind": "topic", "name": mood}).json()["texts"]) == 6
    assert client.get("/v1/watch/texts", params={"kind": "topic", "name": "' or 1=1 --"}).json()["texts"] == []
    assert client.get("/v1/watch/texts?from=soon").status_code == 400
    assert client.post("/v1/watch/acknowledge", json={"alert": 77}).status_code == 404
    assert (
        client.post("/v1/watch/acknowledge", content='{"alert": 1}', headers={"Content-Type": "text/plain"}).status_code
        == 415
    )
    assert 'pretune_monitor_texts{source="' in client.get("/metrics").text
    assert "text/html" in client.get("/").headers["content-type"]
    told = app_class(watch).told(watch, tmp_path / "state")
    assert told["texts"] == 6


def test_an_alert_that_somebody_has_seen_is_no_longer_open(watch: Artifact, tmp_path: Path) -> None:
    app, lines = open_app(watch.path, tmp_path / "state"), list[str]()
    assert isinstance(app, Monitor)
    with app.running(Started(lambda line: None)):
        store = app.opened_store()
        with store.state.writing() as db:
            upto = store.last_window()
            db.execute(
                "insert into alerts (id, window, until, kind, name, sentiment, method, what, score, rises, count, usual) "
                "values (1, ?, ?, 'all', '', 'good', 'ewma', 'burst', 9, 1, 30, 3)",
                (upto - HOUR, upto),
            )
        client = TestClient(asgi(app, Options()), base_url="http://localhost")
        gauge = 'pretune_monitor_alerts_open{kind="all",name="",sentiment="good",method="ewma"}'
        assert f"{gauge} 1" in client.get("/metrics").text
        assert client.post("/v1/watch/acknowledge", json={"alert": 1, "by": "Ann"}).status_code == 200
        assert client.post("/v1/watch/acknowledge", json={"alert": 1, "by": "Bob"}).status_code == 200
        (alert,) = (one for one in client.get("/v1/watch?language=zh").json()["alerts"] if one["id"] == 1)
        assert (alert["by"], alert["text"]) == ("Ann", "“good”文本激增：一小时内 30 条，通常 3.0 条")
        assert f"{gauge} 1" not in client.get("/metrics").text
        deliver(store.state, {}, seconds=HOUR, utc_offset=0, now=0, write=lines.append)


def test_a_watch_is_made_again_when_its_history_changes_and_not_when_nothing_did(model: Path, tmp_path: Path) -> None:
    file = history(tmp_path / "h.jsonl", days=1)
    first = made(tmp_path / "w", model, f"replay={file}")
    assert first.card.metrics == {"history_windows": 24}  # too short to choose on: the defaults stay
    assert made(tmp_path / "w", model, f"replay={file}").card == first.card
    history(file, days=2)
    assert made(tmp_path / "w", model, f"replay={file}").card.id != first.card.id


def test_a_source_that_was_the_history_is_not_counted_once_more(model: Path, tmp_path: Path) -> None:
    file = history(tmp_path / "h.jsonl", days=1)
    rows = [{"text": "a hat", "time": 0}, {"text": "a hat", "time": MONDAY + 10**9}]  # "unknown", and a wrong clock
    rows += [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:3]]  # sent twice
    with file.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    watch = made(tmp_path / "w", model, f"replay={file}")
    assert watch.card.metrics == {"history_windows": 24}
    app = open_app(watch.path)
    assert isinstance(app, Monitor)
    store = store_of(State(tmp_path / "state", MIGRATIONS), app.setup)
    store.now = lambda: MONDAY + 2 * 24 * HOUR
    store.begin_with(history_of(watch), known_of(watch))
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "a new hat", "time": MONDAY + 25 * HOUR}) + "\n")
    follower = Follower(store, app.models, [Growing(str(file))])
    while follower.round():
        pass
    number = store.state.rows(
        "select sum(number) as n from counts where kind = 'all' and window > 0 and window < ?", MONDAY + 27 * HOUR
    )
    assert number == [{"n": 24 * 3 + 1}]
    assert store.state.rows("select texts, repeated, late from sources") == [{"texts": 75, "repeated": 3, "late": 1}]
    assert store.state.rows("select * from history") == []
    store.state.close()


def test_mistakes_are_told_before_anything_is_served(model: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongValue, match="alert_on names 'bad'"):
        check_labels(["bad"], Words(LABELS))  # type: ignore[arg-type]
    (tmp_path / "h.jsonl").write_text('{"text": "no time"}\n', encoding="utf-8")
    with pytest.raises(EmptyInput, match="no text with a time"):
        made(tmp_path / "w", model, f"replay={tmp_path / 'h.jsonl'}")
    tags = write_model(tmp_path / "tags", tmp_path / "words", "bert-tags")
    with pytest.raises(NotSupported, match="model must give labels"):
        made(tmp_path / "w", tags)
    with pytest.raises(PretuneError, match="alerts"):
        made(tmp_path / "w", model, "alerts=pigeon")


def flat(seed: int, bursts: tuple[Burst, ...] = ()) -> History:
    counts = np.random.default_rng(seed).poisson(6, (2, 30 * 24))
    for burst in bursts:
        counts[burst.series, burst.start : burst.end] = 40
    return History(MONDAY, counts, bursts)


def test_a_burst_that_anyone_sees_is_found_in_its_first_hour_and_nothing_else_is() -> None:
    bursts = tuple(Burst(k % 2, 200 + 50 * k, 206 + 50 * k) for k in range(8))
    watching, told = Watching(), flat(1, bursts)
    (detector,) = watching.detect
    found = replayed(watching, detector, [told], [told.usual(watching)])
    assert (found.found, found.delay_hours) == (1.0, 1.0)
    assert found.false_a_week < 0.5


def test_what_is_chosen_finds_most_among_what_is_quiet_enough() -> None:
    watching = Watching()
    copies = [with_bursts(flat(seed), watching, np.random.default_rng(seed)) for seed in range(2)]
    assert all(len(copy.bursts) == 20 for copy in copies)
    tried = outcomes(watching, copies)
    for most in (0.05, 1.0, 1000.0):
        (detector,) = chosen(watching, tried, most_false=most).detect
        (picked,) = [one for one in tried if all(getattr(detector, k) == v for k, v in one.settings.items())]
        quiet = [one for one in tried if one.false_a_week <= most] or tried
        assert picked.found == max(one.found for one in quiet)
        assert picked.false_a_week == min(one.false_a_week for one in quiet if one.found == picked.found)


def test_an_application_that_follows_nothing_refuses_a_source(watch: Artifact) -> None:
    assert app_class(watch).follows
    assert state_of(watch) == watch.path / "state"
