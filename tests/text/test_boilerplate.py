import re
import time

import pytest

from pretune.text.clean.boilerplate import BlankLines, Boilerplate, Controls, Invisible
from pretune.text.clean.cleaners import CLEAN

CONTROLS, INVISIBLE, BLANK, MENUS = Controls(), Invisible(), BlankLines(), Boilerplate()


# ---- what goes ----------------------------------------------------------------------------------


def test_control_characters_go_and_tab_newline_form_feed_and_return_stay():
    kept = "a\tb\nc\fd\r\ne"
    every = "".join(chr(c) for c in [*range(0x20), *range(0x7F, 0xA0)] if chr(c) not in "\t\n\f\r\x0b\x85\x1b\x08")
    assert CONTROLS.clean(kept + every) == kept
    assert CONTROLS.clean("a\x0bb\x85c") == "a\nb\nc"


def test_what_a_terminal_shows_stays_once():
    assert CONTROLS.clean("\x1b[1;31mred\x1b[0m N\x08NA\x08AME _\x08x") == "red NAME x"


def test_a_bom_inside_zero_width_spaces_and_soft_hyphens_go():
    assert INVISIBLE.clean("\ufeffa\ufeffb\u200bc co\u00adop") == "abc coop"
    assert INVISIBLE.clean("co\u00ad\n  operate x\u00ad\n\ny") == "co\n  operate x\n\ny"
    assert Invisible(join_lines=True).clean("co\u00ad\n  operate x\u00ad\n\ny") == "cooperate x\n\ny"


def test_four_blank_lines_and_more_become_two():
    assert BLANK.clean("a\n\n\n\n\nb") == "a\n\n\nb"
    assert BLANK.clean("a\n \n\t\n\n  \n\n\n  b") == "a\n\n\n  b"


def test_a_menu_goes_from_its_second_time_on():
    page = "Home | About | Contact\nThe news of today is long.\nBack to top\nMore news.\nHome | About | Contact\nBack to top"
    assert MENUS.clean(page) == "Home | About | Contact\nThe news of today is long.\nBack to top\nMore news."
    page = "首页\n登录\n正文第一段。\n返回顶部\n首页\n登录\n正文第二段。\n返回顶部"
    assert MENUS.clean(page) == "首页\n登录\n正文第一段。\n返回顶部\n正文第二段。"


# ---- what stays ---------------------------------------------------------------------------------

STAYS = [
    "a\n\n\n\nb\n\nc",  # three blank lines
    "می\u200cخواهم क्\u200dष 👩\u200d👩\u200d👧 \u200eשלום\u200f 🏴\U000e0067\U000e0062\U000e007f ❤\ufe0f",
    "ភាសា\u200bខ្មែរ ไทย\u200bไทย",
    "Home\nI want to go\nHome\nI want to go\nHome",  # a refrain
    "O captain\nmy captain\nO captain\nmy captain\n\nMore\nand more\nMore",
    "明月几时有\n把酒问青天\n明月几时有\n把酒问青天",
    "if x:\n    return None\nelse:\n    return None\n}\n}\n);\n);",
    "```\nHome\nAbout\nHome\nAbout\nread more\nread more\n```",
    "    read more\n    read more\n\tread more\n\tread more",
    "| Home | About |\n| Home | About |\n|---|---|\n|---|---|",
    "| 首页 | 登录 |\n| 首页 | 登录 |",
    "---\n---\n***\n***\n\n- yes\n- yes\n1\n1\n2\n2",
    "Search the house for more.\nSearch the house for more.\nNext, we\nNext, we",
    "name\tshare\nname\tshare\n分享 会\n分享 会",
    "Home\n\n\nHome\n\n\nHome",
]


@pytest.mark.parametrize("text", STAYS)
def test_poems_code_tables_and_joiners_stay(text):
    for cleaner in (CONTROLS, INVISIBLE, BLANK, MENUS):
        assert cleaner.clean(text) is text or cleaner.clean(text) == text


def test_the_first_menu_stays_and_nothing_else_is_touched():
    text = "read more\nA.\n\nread more\nB.\n\nread more"
    assert MENUS.clean(text) == "read more\nA.\n\nB.\n"


@pytest.mark.parametrize("kind", ["controls", "invisible", "blank-lines", "boilerplate"])
def test_each_rule_has_a_kind_and_names_its_source(kind):
    cleaner = CLEAN(kind)
    assert cleaner.kind == kind
    assert "Source:" in str(type(cleaner).__doc__)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 1_000_000,
        "\n" + " " * 999_999,
        "\n \n \n x" * 120_000,
        "a\x08" * 500_000,
        "\x1b[" * 500_000,
        "_\x08" * 500_000,
        "\u00ad\n" * 500_000,
        "Home\n" * 200_000,
        " | " * 300_000 + "\n\n",
        "é\u00ad\n        " * 90_000,
    ],
    ids=lambda t: re.sub(r"\W", "-", t[:6]),
)
def test_a_hostile_megabyte_takes_moments_and_not_an_hour(text):
    start = time.process_time()
    for cleaner in (CONTROLS, Invisible(join_lines=True), BLANK, MENUS):
        cleaner.clean(text)
    assert time.process_time() - start < 3  # 0.9 at most where it was written; a quadratic pattern takes an hour
