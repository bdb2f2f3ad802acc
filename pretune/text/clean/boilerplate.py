"""What a page carries besides its text: control characters, invisible ones, runs of blank lines, repeated menus.

Poems repeat lines, code repeats lines, tables repeat lines. So a repeated line goes only if its words are those of a
menu; C4's rule (keep lines that end in a full stop) would take poems, code and most of Chinese, and is not here.

    controls      NUL, escape sequences of a terminal, printed-over letters of man pages
    invisible     BOM inside a text, zero-width spaces, soft hyphens; never ZWJ, ZWNJ, marks of direction or variants
    blank-lines   four blank lines and more become two
    boilerplate   menu lines from their second time on
"""

from __future__ import annotations

import re
from collections import Counter

from pretune.text.clean.cleaners import Clean

# ---- control characters -------------------------------------------------------------------------

CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
OVERSTRIKE = re.compile("(.)\x08\\1|_\x08(.)")
LINE_BREAKS = str.maketrans(dict.fromkeys("\x0b\x85", "\n"))


class Controls(Clean):
    """Control characters go, all but tab, newline, form feed and carriage return (`lines` mends that one).

    A vertical tab and NEL are line ends. What a terminal would show is kept: colours are taken off with their whole
    sequence, and bold letters of man pages (N, backspace, N) stay once.

    Source: ECMA-48 (escape sequences, NEL); man-db's `col -b` for printed-over letters.
    """

    def clean(self, text: str) -> str:
        if not CONTROL.search(text):
            return text
        text = ESCAPE_SEQUENCE.sub("", OVERSTRIKE.sub(r"\1\2", text))
        return CONTROL.sub("", text.translate(LINE_BREAKS))


# ---- invisible characters -----------------------------------------------------------------------

ZERO_WIDTH = re.compile("[\u200b\ufeff\u00ad]")
# Thai, Lao, Tibetan, Myanmar, Khmer, Tai Tham: there a zero-width space divides words.
_WORDS_WITHOUT_SPACES = "\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf\uaa60-\uaadf"
JUNK = re.compile(
    f"[\ufeff\u00ad]|(?<![{_WORDS_WITHOUT_SPACES}])\u200b(?![{_WORDS_WITHOUT_SPACES}])",
)
HYPHENATED = re.compile("(?<=[^\\W\\d_])\u00ad\n[ \t]{0,8}(?=[^\\W\\d_])")


class Invisible(Clean):
    """A BOM inside a text, zero-width spaces and soft hyphens go; joiners stay.

    ZWJ and ZWNJ shape Persian, Indic scripts and families of emoji; a zero-width space divides words in Thai, Khmer
    and their neighbours; marks of direction order Hebrew and Arabic. They are text.

    Source: Unicode Standard, chapter 23.2 (layout controls) and 23.8 (BOM); its Annex 14 for U+00AD.
    """

    join_lines: bool = False
    """A soft hyphen at a line's end joins the halves of the word; otherwise only the hyphen goes."""

    def clean(self, text: str) -> str:
        if text.isascii() or not ZERO_WIDTH.search(text):
            return text
        if self.join_lines:
            text = HYPHENATED.sub("", text)
        return JUNK.sub("", text)


# ---- blank lines --------------------------------------------------------------------------------

BLANK_RUN = re.compile(r"\n(?:[ \t]*\n){4,}")


class BlankLines(Clean):
    """Four blank lines and more become two; stanzas and sections stay apart.

    Source: ours; the field collapses all white space, which takes stanzas and the indents of code.
    """

    def clean(self, text: str) -> str:
        return BLANK_RUN.sub("\n\n\n", text) if "\n" in text else text


# ---- repeated menus -----------------------------------------------------------------------------


def _phrases(text: str) -> frozenset[str]:
    return frozenset(text.replace("\n", "|").split("|"))


CLEAR = _phrases(
    """back to top|return to top|skip to content|skip to main content|skip to navigation|jump to navigation
all rights reserved|read more|continue reading|read more »|learn more|click here|terms of use|terms of service
terms and conditions|privacy policy|cookie policy|cookies policy|cookie settings|accept all cookies|sign in|sign up
log in|log out|create account|my account|add to cart|view cart|share this|share on facebook|share on twitter
tweet this|follow us|subscribe now|subscribe to our newsletter|leave a comment|leave a reply|post a comment
previous page|next page|previous post|next post|about us|contact us|site map|print this page|email this|load more
show more|related articles|related posts|advertisement|sponsored content|table of contents
返回顶部|回到顶部|返回首页|上一页|下一页|上一篇|下一篇|阅读更多|查看更多|点击查看|查看全文|阅读全文|展开全文|版权所有|联系我们|关于我们
隐私政策|用户协议|服务条款|免责声明|网站地图|加入收藏|设为首页|免费注册|立即注册|立即登录|立即购买|加入购物车|分享到微信|分享到微博
扫一扫|微信扫一扫|关注我们|相关推荐|相关阅读|热门推荐|猜你喜欢|发表评论|广告"""
)
"""Lines that are never prose: C4's policy and cookie lines (arXiv:1910.10683, section 2.2) and their neighbours."""

VAGUE = _phrases(
    """home|menu|search|login|register|help|faq|contact|about|news|blog|archive|archives|print|share|email|e-mail
reply|tags|categories|next|previous|prev|top|comments|facebook|twitter|instagram|youtube|linkedin|rss|more|close
首页|主页|登录|注册|搜索|帮助|新闻|导航|菜单|分享|收藏|打印|评论|回复|举报|更多|关闭|微信|微博|点赞|转发|标签|分类"""
)
"""Words of menus that are words of songs too: a line of one of them goes only next to another line of a menu."""

SEPARATOR = re.compile(r"\s*[|»›·•/]\s*|[ \t]{2,}|\u3000")
MAX_CHARACTERS = 80


class Boilerplate(Clean):
    """A line of menu words that comes again in a text goes; the first one stays.

    Only whole lines, at most 80 characters, not indented, not inside a code fence, not a table's row, all of whose
    parts are known phrases of menus. A refrain, a row, `return None` and `}` are none, however often they come.

    Source: repeated lines in one document, MassiveWeb (arXiv:2112.11446, A1.1); phrases after C4 (arXiv:1910.10683,
    section 2.2). CCNet (arXiv:1911.00359) removes paragraphs repeated over the whole corpus: see dedup.
    """

    def clean(self, text: str) -> str:
        lines = text.split("\n")
        if len(set(lines)) == len(lines) or not _any_menu_again(lines):
            return text
        gone = _again(lines, _menu_lines(lines))
        return "\n".join(line for i, line in enumerate(lines) if i not in gone) if gone else text


def _any_menu_again(lines: list[str]) -> bool:
    return any(number > 1 and _could_be_menu(line) and _menu_parts(line) for line, number in Counter(lines).items())


def _could_be_menu(line: str) -> bool:
    return 1 < len(line) <= MAX_CHARACTERS and line[0] not in " \t|"


def _menu_lines(lines: list[str]) -> dict[int, bool]:
    """Lines of menu words by their index, in order; True for those that are beyond doubt."""
    found: dict[int, bool] = {}
    fenced = False
    for i, line in enumerate(lines):
        fenced ^= line.startswith(("```", "~~~"))
        parts = _menu_parts(line) if not fenced and _could_be_menu(line) else []
        if parts:
            found[i] = len(parts) > 1 or parts[0] in CLEAR
    return found


def _menu_parts(line: str) -> list[str]:
    """The phrases of a line of menu words; empty for any other line."""
    parts = _parts(line)
    return parts if all(part in CLEAR or part in VAGUE for part in parts) else []


def _parts(line: str) -> list[str]:
    bare = line.casefold().strip().strip("[]()【】<>")
    return [bare] if bare in CLEAR or bare in VAGUE else [part for part in SEPARATOR.split(bare) if part]


def _again(lines: list[str], menu: dict[int, bool]) -> set[int]:
    """Indices of menu lines that came before; a doubtful one only next to another menu line."""
    seen: set[str] = set()
    gone: set[int] = set()
    for i, clear in menu.items():
        if lines[i] in seen and (clear or _is_next_to_menu(lines, i, menu)):
            gone.add(i)
        seen.add(lines[i])
    return gone


def _is_next_to_menu(lines: list[str], i: int, menu: dict[int, bool]) -> bool:
    """The next line with text, on either side and at most two lines away, is of a menu too."""
    before = next((j for j in (i - 1, i - 2) if j >= 0 and lines[j].strip()), -1)
    after = next((j for j in (i + 1, i + 2) if j < len(lines) and lines[j].strip()), -1)
    return any(j in menu and lines[j].strip() != lines[i].strip() for j in (before, after))
