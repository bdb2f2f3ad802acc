"""How a text is cut into tokens by a tokenizer of the folder; the same as `pretune show TOKENIZER --text TEXT`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretune.studio.folder import Folder, kind_of
from pretune.studio.pages.files import existing
from pretune.studio.rendering import form_of, reply, studio_of
from pretune.tokens.encode.shown import pieces_of

EXAMPLE = "Tokenization of 你好，世界 🙂, 1,234.5 and naïve"
DEPTH = 3
"""So many folders deep tokenizers are looked for."""


async def tokens(request: Request) -> Response:
    folder = studio_of(request).folder
    form = await form_of(request) if request.method == "POST" else dict(request.query_params)
    known = tokenizers(folder)
    path, text = form.get("path", "") or next(iter(known), ""), form.get("text", EXAMPLE)
    pieces = pieces_of(existing(folder, path), text) if path else []
    number = sum(len(ids) for _, ids in pieces)
    command = ["show", f"./{path}", "--text", text]
    return reply(
        request, "tokens", known=known, path=path, text=text, pieces=pieces, number=number, command_words=command
    )


def tokenizers(folder: Folder) -> list[str]:
    """Folders with a tokenizer, as they are typed."""
    return [name for name in found_in(folder) if kind_of(folder.root / name) in ("tokenizer", "model", "bundle")]


def found_in(folder: Folder, depth: int = DEPTH) -> list[str]:
    """Artifacts of the folder, so many folders deep, as they are typed."""
    found, level = list[str](), [folder.root]
    for _ in range(depth):
        below = [one for parent in level for one in folder.entries(parent) if one.is_dir()]
        artifacts = [one for one in below if kind_of(one) != "folder"]
        found += [folder.name(one) for one in artifacts]
        level = [one for one in below if one not in artifacts]
    return found


ROUTES = (Route("/tokens", tokens, methods=["GET", "POST"]),)
