"""A folder with data, a recipe and a secret next to it, behind the studio's application in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pretune.studio.app import create_app
from pretune.studio.folder import Folder

TOKEN = "the-token"
HOST = "127.0.0.1:8100"
SECRET = "nobody may read this"
RECIPE = """\
# what it is for
name: tiny
work: runs/tiny
stages:
  corpus: {kind: corpus, read: [texts.txt], test: 0.0}   # read, mend
  tokenizer: {kind: tokenizer, corpus: $corpus, vocab_size: 300}
  tokens: {kind: tokens, corpus: $corpus, tokenizer: $tokenizer}
  base: {kind: pretrain, tokens: $tokens, model: qwen3-nano, steps: 9, optim: {learning_rate: 1e-3}}
sizes:
  smoke: {base.steps: 3}
"""


def lay_out(root: Path) -> Folder:
    """The studio's folder `desk` in `root`, next to what it must not show."""
    desk = root / "desk"
    (desk / "inner").mkdir(parents=True)
    (root / "secret.txt").write_text(SECRET, encoding="utf-8")
    (desk / "link.txt").symlink_to(root / "secret.txt")
    (desk / "outside").symlink_to(root)
    (desk / ".env").write_text(SECRET, encoding="utf-8")
    (desk / "texts.txt").write_text("A small text. 你好 🙂\n" * 8, encoding="utf-8")
    (desk / "mails.csv").write_text("text\nlate\nquick\nso so 你好\nbroken\n", encoding="utf-8")
    (desk / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    (desk / "inner" / "page.html").write_text("<script>hacked = 1</script>", encoding="utf-8")
    (desk / "scored.jsonl").write_text(json.dumps({"text": "a"}), encoding="utf-8")
    return Folder.of(desk)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return lay_out(tmp_path)


@pytest.fixture
def stranger(folder: Folder) -> TestClient:
    """A browser without the token."""
    return TestClient(create_app(folder, TOKEN), base_url=f"http://{HOST}", follow_redirects=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A browser that opened the address with the token, and asks from the studio's own pages."""
    stranger.get("/", params={"token": TOKEN})
    stranger.headers["Origin"] = f"http://{HOST}"
    return stranger
