"""Settings: every mistake at once, short forms, and what goes into a key."""

from __future__ import annotations

from typing import Annotated

import pytest

from pretune.base.config import Choice, Config, Free, Input, Variant, build, chosen, differing, inputs_of
from pretune.base.errors import SettingsError
from pretune.base.yaml import override, parse_value, read_yaml


class Tool(Variant):
    """A tool."""

    size: int = 1


class Saw(Tool):
    teeth: int = 10


class Hammer(Tool):
    pass


TOOL = Choice(Tool, {"saw": f"{__name__}:Saw", "hammer": f"{__name__}:Hammer"}, group="none", default="saw")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    for name in ("Saw", "Hammer"):
        setattr(sys.modules[__name__], name, globals()[name])


class Inner(Config):
    learning_rate: float = 0.1


class Bench(Config):
    tool: Annotated[Tool, *chosen(TOOL)] = Hammer(kind="hammer")
    tools: tuple[Annotated[Tool, *chosen(TOOL)], ...] = ()
    inner: Inner = Inner()
    wood: Annotated[str, Input("corpus")] = "$oak"
    workers: Annotated[int, Free] = 2


def test_all_mistakes_are_told_at_once_with_line_nearest_name_and_value() -> None:
    tree = {"tool": {"kind": "saw", "teath": 4}, "inner": {"learning_rate": "fast"}, "tools": [{"kind": "axe"}]}
    with pytest.raises(SettingsError) as caught:
        build(Bench, tree, source="a.yaml", prefix=("b",), lines={("b", "inner", "learning_rate"): 9})
    text = str(caught.value)
    assert "a.yaml: 3 settings are wrong" in text
    assert "b.tool.teath: no such setting; did you mean 'teeth'? (got 4)  [unknown-setting]" in text
    assert "b.inner.learning_rate (line 9): must be a number (got 'fast')  [wrong-type]" in text
    assert "b.tools.0: no such tool: 'axe'" in text
    assert "[unknown-kind]" in text


def test_a_misspelt_setting_in_a_list_of_variants_names_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="did you mean 'teeth'"):
        build(Bench, {"tools": [{"kind": "saw", "teth": 1}]}, source="x")


def test_a_bare_word_is_a_kind_and_a_comma_makes_a_list() -> None:
    bench = build(Bench, {"tool": "saw", "tools": "saw,hammer"}, source="x")
    assert bench.tool.kind == "saw"
    assert [t.kind for t in bench.tools] == ["saw", "hammer"]


def test_a_block_without_a_kind_keeps_the_kind_of_the_fields_own_default() -> None:
    assert build(Bench, {"tool": {"size": 3}}, source="x").tool == Hammer(kind="hammer", size=3)
    with pytest.raises(SettingsError, match=r"tool\.teeth: no such setting"):
        build(Bench, {"tool": {"teeth": 3}}, source="x")


def test_settings_without_a_kind_and_without_a_default_take_the_choices_own_kind() -> None:
    assert TOOL({"teeth": 3}) == Saw(kind="saw", teeth=3)


def test_a_key_holds_what_differs_and_each_variants_kind_and_version_but_no_input_and_nothing_free() -> None:
    bench = build(Bench, {"tools": ["saw"], "wood": "elsewhere", "workers": 7}, source="x")
    assert differing(bench) == {"tool": {"kind": "hammer", "version": 1}, "tools": [{"kind": "saw", "version": 1}]}


def test_inputs_are_found_by_their_dotted_place() -> None:
    assert [(p, v) for p, v, _ in inputs_of(Bench())] == [("wood", "$oak")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-4", 5e-4), ("1e-4", 1e-4), ("true", True), ("no", "no"), ("[1, 2]", [1, 2]), ("nfc,lines", "nfc,lines"),
     ("*.txt", "*.txt"), ("", ""), ("null", None), ("12", 12)],
)  # fmt: skip
def test_values_are_read_as_yaml_1_2(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_an_override_below_a_bare_kind_keeps_the_kind() -> None:
    tree: dict[str, object] = {"method": "lora"}
    override(tree, "method.rank=4")
    assert tree == {"method": {"kind": "lora", "rank": 4}}


def test_a_bare_star_in_a_recipe_gets_its_hint(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "r.yaml"
    path.write_text("stages:\n  a: {read: *.txt}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_yaml(path)
    assert "line 2" in str(caught.value)
    assert "quotes" in str(caught.value)


def test_lines_are_known_for_every_place(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nstages:\n  a:\n    kind: corpus\n    read: [one]\n", encoding="utf-8")
    tree, lines = read_yaml(path)
    assert tree["stages"]["a"]["read"] == ["one"]
    assert lines["stages", "a", "read"] == 5
