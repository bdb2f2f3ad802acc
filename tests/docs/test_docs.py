"""README and guide say what the program does: their commands exist, and both languages say the same.

Nothing is run: commands are parsed and their settings are checked against the stages' classes.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import pretune
from pretune.base.checking import RESERVED
from pretune.base.config import Mistake, check, facts
from pretune.base.errors import all_errors
from pretune.base.explain import explain
from pretune.base.new import recipe_text
from pretune.base.recipe import Recipe
from pretune.base.stage import STAGE
from pretune.base.yaml import SETTING, override, read_yaml
from pretune.cli import STAGES, cli
from pretune.tune.space import read_space
from tests.architecture.test_imports import ORDER

ROOT = Path(__file__).parents[2]
PAIRS = [
    ("README.md", "README.zh-CN.md"),
    ("docs/en/guide.md", "docs/zh/guide.md"),
    ("docs/en/shapes.md", "docs/zh/shapes.md"),
    ("docs/en/watching.md", "docs/zh/watching.md"),
    ("docs/en/recommend.md", "docs/zh/recommend.md"),
    ("docs/en/architecture.md", "docs/zh/architecture.md"),
    ("docs/en/tutorials.md", "docs/zh/tutorials.md"),
]
PAGES = [page for pair in PAIRS for page in pair]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)")
TOOLS = ("pretune ", "make ", "pip ", "curl ")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(read(page)) if found == language]


def commands(page: str) -> list[list[str]]:
    """Every command in a page's fences as words, comments taken off."""
    lines = (line for body in fences(page, "") for line in body.splitlines() if line.startswith(TOOLS))
    return [shlex.split(line, comments=True) for line in lines]


def pretune_commands() -> list[Any]:
    found = [(page, words[1:]) for page in PAGES for words in commands(page) if words[0] == "pretune"]
    return [pytest.param(words, id=f"{page}: {' '.join(words)}") for page, words in found]


# ---- commands exist -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", pretune_commands())
def test_a_command_in_the_docs_has_the_verb_options_and_settings_that_it_shows(
    words: list[str], tmp_path: Path
) -> None:
    given = parsed(words)
    verb, settings = words[0], [w for w in words if SETTING.match(w)]
    if verb in STAGES:
        assert not list(wrong_settings(verb, settings))
    elif verb in ("run", "plan"):
        if given["recipe"] == "runs/support.tune/best.yaml":
            return  # which the search of the line above it writes
        if given["recipe"].startswith("recipes/"):
            assert Recipe.read(ROOT / given["recipe"], tuple(settings), given.get("size")).stages
            return
        assert given["recipe"] == "my-bot.yaml", "the docs run the recipe that `pretune new my-bot` writes"
        size = given.get("size")
        assert new_recipe(tuple(settings), size if isinstance(size, str) else None).stages
    elif verb == "tune":
        path = tmp_path / "support.yaml"
        path.write_text(fences("docs/en/guide.md", "yaml")[0], encoding="utf-8")
        assert read_space(path, tuple(settings)).axes
    elif verb == "explain":
        assert explain(given["name"])


def parsed(words: list[str]) -> dict[str, Any]:
    """Options and arguments as click reads them; fails for unknown or missing ones. Paths need not exist."""
    command = cli.commands[words[0]]
    given, stray, _ = command.make_parser(click.Context(command)).parse_args(words[1:])
    assert not stray, f"too many arguments: {stray}"
    missing = [
        p.name for p in command.params if p.required and not isinstance(given.get(p.name or ""), str | tuple | list)
    ]
    assert not missing, f"not given: {missing}"
    return given


def wrong_settings(main: str, settings: list[str]) -> Iterator[Mistake]:
    """Mistakes in `stage.key=value` and `key=value`, with anything for the inputs."""
    trees: dict[str, dict[str, Any]] = {main: {}}
    for setting in settings:
        first, dot, rest = setting.partition(".")
        other = bool(dot) and first in STAGE.kinds() and first != main
        override(trees.setdefault(first, {}) if other else trees[main], rest if other else setting)
    for kind, tree in trees.items():
        cls = STAGE.find(kind)
        inputs = {n: "x" for n, f in cls.model_fields.items() if facts(cls, n).input and f.is_required()}
        either = {"corpus": "x"} if kind == "tokens" and "ids" not in tree else {}  # a corpus, or token files
        either |= {"data": "x"} if kind == "evaluate" and not {"pairs", "choices"} & tree.keys() else {}
        yield from check(cls, {**inputs, **either, **tree, "kind": kind})[1]


def new_recipe(settings: tuple[str, ...] = (), size: str | None = None) -> Recipe:
    text = recipe_text(Path("my-bot.yaml"), "my-bot", "books")
    return Recipe.build(tree_of(text), overrides=settings, size=size)


def tree_of(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


def test_the_check_itself_sees_a_misspelt_option_setting_kind_and_value() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["serve", "m", "--prt", "80"])
    with pytest.raises(AssertionError, match="not given"):
        parsed(["corpus", "books/"])
    for wrong in ("vocab_sise=8000", "tokenizer.vocab=8", "model=qwen9", "batch=many"):
        assert list(wrong_settings("pretrain", [wrong])), wrong


@pytest.mark.parametrize("page", ["docs/en/guide.md", "docs/zh/guide.md"])
def test_a_recipe_in_the_guide_is_right_at_every_size(page: str, tmp_path: Path) -> None:
    (body,) = fences(page, "yaml")
    path = tmp_path / "recipe.yaml"
    path.write_text(body, encoding="utf-8")
    tree, _ = read_yaml(path)
    for size in (None, *tree["sizes"]):
        assert Recipe.read(path, size=size).stages


@pytest.mark.parametrize("page", PAGES)
def test_python_in_the_docs_parses_and_uses_public_names_only(page: str) -> None:
    for body in fences(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pretune":
                assert node.attr in pretune.__all__


@pytest.mark.parametrize("page", PAGES)
def test_a_setting_in_running_text_belongs_to_a_stage(page: str) -> None:
    known = {*STAGE.kinds(), *RESERVED}.union(*(STAGE.find(kind).model_fields for kind in STAGE.kinds()))
    text = FENCE.sub("", read(page))
    for found in re.findall(r"`([^`]+)`", text):
        for word in found.split():
            if SETTING.match(word) and not found.startswith("pip "):
                assert word.partition("=")[0].partition(".")[0] in known, word


# ---- both languages, and the links --------------------------------------------------------------


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_show_the_same_commands(english: str, chinese: str) -> None:
    assert commands(english) == commands(chinese)
    for language in ("python", "json", "diff"):
        assert fences(english, language) == fences(chinese, language)
    assert [tree_of(b) for b in fences(english, "yaml")] == [tree_of(b) for b in fences(chinese, "yaml")]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_have_the_same_headings_and_tables(english: str, chinese: str) -> None:
    pages = [FENCE.sub("", read(page)) for page in (english, chinese)]
    headings = [[len(marks) for marks in HEADING.findall(text)] for text in pages]
    assert headings[0] == headings[1]
    rows = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in pages]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_name_the_same_settings_in_running_text(english: str, chinese: str) -> None:
    def named(page: str) -> set[str]:
        spans = re.findall(r"`([^`]+)`", FENCE.sub("", read(page)))
        return {one.partition("=")[0] for one in spans if "=" in one and one[0].islower()}

    assert named(english) == named(chinese)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_a_link_to_a_file_leads_somewhere(page: str) -> None:
    targets = [t for t in LINK.findall(read(page)) if "://" not in t]
    assert [t for t in targets if not ((ROOT / page).parent / t).exists()] == []


@pytest.mark.parametrize("page", ["docs/en/architecture.md", "docs/zh/architecture.md"])
def test_the_architecture_page_has_the_rooms_in_their_order_and_names_files_tables_and_groups_that_exist(
    page: str,
) -> None:
    text, package = FENCE.sub("", read(page)), ROOT / "pretune"
    named = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in text.splitlines() if line.startswith("| `")]
    line = next(one for one in text.splitlines() if " ← " in one).strip("`").split(" ← ")
    assert [room for names in named for room in names] == line == [r for r in ORDER if r != "__main__"]
    files = re.findall(r"`(\w+(?:/\w+)+(?:\.py)?)`", text)
    assert len(files) > 15 and [name for name in files if not (package / name).exists()] == []
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert [t for t in re.findall(r"`([A-Z]{4,})`", text) if f"\n{t} = " not in source] == []
    assert [g for g in re.findall(r"`(pretune\.\w+)`", text) if f'group="{g}"' not in source] == []


@pytest.mark.parametrize("page", ["docs/en/guide.md", "docs/zh/guide.md"])
def test_every_error_code_in_the_guide_exists(page: str) -> None:
    table = read(page).rpartition("pretune explain not-finite")[2]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    codes = [code for cell in first_cells for code in re.findall(r"`([^`]+)`", cell)]
    assert len(codes) > 20
    assert set(codes) <= all_errors().keys()


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_stays_short(page: str) -> None:
    assert len(read(page).splitlines()) <= 120


def test_every_decision_tells_context_options_decision_and_price() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert [w for w in ("Context", "Options", "Decision", "Price") if f"**{w}.**" not in text] == [], page.name
