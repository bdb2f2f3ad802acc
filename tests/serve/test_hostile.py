"""Five hundred drawn attacks on a real server; scripts/hostile runs thousands, and schemathesis."""

from urllib.parse import urlsplit

import httpx

from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel
from pretune.infer.spans import SpanFinder
from pretune.serve.requests import Limits
from pretune.serve.run import Options, serving
from tests.serve.hostile import attack
from tests.serve.test_app import ask


def test_no_attack_is_answered_with_5xx_and_the_server_answers_as_before(
    talker: LanguageModel, counter: TextClassifier, finder: SpanFinder
) -> None:
    options = Options(limits=Limits(max_body_seconds=5, max_tokens=64))
    with serving({"talker": talker, "counter": counter, "finder": finder}, options=options) as url:
        place = (urlsplit(url).hostname or "", urlsplit(url).port or 0)

        def told() -> str:
            answer = httpx.post(url + "/v1/chat/completions", json=ask(max_tokens=20), timeout=20)
            return str(answer.json()["choices"][0]["message"]["content"])

        before = told()
        tasks = {"talker": "chat", "counter": "classify", "finder": "answer"}
        counts, wrong = attack(place, tasks, key=None, number=500, seconds=20)
        assert wrong == [] and told() == before
        assert {"value 200", "value 400", "big 413", "target 404", "method 405"} <= set(counts)
