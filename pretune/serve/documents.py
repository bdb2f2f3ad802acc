"""The OpenAPI 3.1 document of the routes: for programs that make clients, or test servers.

What a request may be comes from the same types that check it (requests.py, generating.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pretune.base.extras import versions
from pretune.base.json import Json
from pretune.serve.generating import Chat, Complete
from pretune.serve.keys import OPEN
from pretune.serve.metrics import CONTENT_TYPE
from pretune.serve.requests import AnswerIn, Embed, Limits, Rerank, Texts


@dataclass(frozen=True)
class Described:
    """A route.

    Args:
        reads: its request; None: it is a GET.
        gives: media types of its answer.
    """

    summary: str
    reads: type[BaseModel] | None = None
    gives: tuple[str, ...] = ("application/json",)


EVENTS = "text/event-stream"
PATHS: Mapping[str, Described] = {
    "/": Described("The chat page", gives=("text/html; charset=utf-8",)),
    "/health": Described("Whether the process lives"),
    "/ready": Described("Whether it takes requests"),
    "/metrics": Described("Counts for Prometheus", gives=(CONTENT_TYPE,)),
    "/openapi.json": Described("This document"),
    "/v1/models": Described("The models that are served"),
    "/v1/models/{name}": Described("One of them"),
    "/v1/chat/completions": Described("The reply to messages", Chat, ("application/json", EVENTS)),
    "/v1/completions": Described("How a text goes on", Complete, ("application/json", EVENTS)),
    "/v1/classify": Described("Labels of texts", Texts),
    "/v1/score": Described("Numbers of texts or pairs", Texts),
    "/v1/answer": Described("Answers to questions about contexts", AnswerIn),
    "/v1/tag": Described("Tags of words", Texts),
    "/v1/embeddings": Described("Vectors of texts", Embed),
    "/v1/rerank": Described("Documents in the order of a query", Rerank),
}
REFUSALS = {
    400: "A setting is wrong, unknown or too large",
    401: "No key, or a wrong one",
    403: "A key that is not good for this, or a Host that is not this machine",
    404: "No such model",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "The request is not application/json",
    429: "Too much at once; Retry-After says when to come back",
    504: "The answer took too long",
}
OF_A_GET = (401, 403, 404, 429)


def template(path: str) -> str:
    """The route of a path, without what clients make up: for metrics and log."""
    if path.startswith("/v1/models/"):
        return "/v1/models/{name}"
    return path if path in PATHS else "other"


def document(limits: Limits, names: Sequence[str]) -> Json:
    """The whole document, with the names of the models that are served."""
    kinds = {route.reads for route in PATHS.values() if route.reads}
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in sorted(kinds, key=lambda kind: kind.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    for schema in schemas["$defs"].values():
        if "model" in schema["properties"]:
            schema["properties"]["model"] = {"enum": [*names, None], "title": "Model"}
    refusal = {name: {"type": ["string", "null"]} for name in ("message", "type", "code", "param")}
    error = {"type": "object", "required": list(refusal), "properties": refusal}
    about = f"Requests of at most {limits.max_body_bytes} bytes; answers of at most {limits.max_tokens} tokens."
    return {
        "openapi": "3.1.0",
        "info": {"title": "pretune", "version": versions().get("pretune", "unknown"), "description": about},
        "security": [{"key": []}],
        "paths": {path: _path(path, route) for path, route in PATHS.items()},
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                **schemas["$defs"],
                "Refusal": {"type": "object", "required": ["error"], "properties": {"error": error}},
            },
        },
    }


def _path(path: str, route: Described) -> Json:
    told: Json = {"summary": route.summary, "responses": _responses(path, route)}
    if path in OPEN:
        told["security"] = []
    if "{name}" in path:
        told["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    if route.reads is None:
        return {"get": told}
    schema = {"$ref": f"#/components/schemas/{route.reads.__name__}"}
    return {"post": {**told, "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}}


def _responses(path: str, route: Described) -> Json:
    kinds = {kind: {"schema": {"type": "object"} if kind == "application/json" else {}} for kind in route.gives}
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    numbers = REFUSALS if route.reads else OF_A_GET
    refused = {str(number): {"description": REFUSALS[number], "content": refusal} for number in numbers}
    if path == "/ready":
        refused["503"] = {"description": "It is leaving", "content": {"application/json": {}}}
    return {"200": {"description": "The answer", "content": kinds}, **refused}
