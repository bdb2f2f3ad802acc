"""Wiki markup to text, in one pass and in time that grows with the length, however it is nested.

    {{...}}                  goes; of a few (lang, nowrap, convert) the words stay
    [[target|label]]         label; files, categories and other languages go
    {| ... |}                a line per row, tabs between cells
    <math>x^2</math>         $x^2$; code, pre and nowiki stay letter by letter
    == Heading ==            a line of its own; a heading with nothing under it goes
    <ref>, <gallery>         go
    -{zh-hans:A;zh-hant:B}-  A

A stack of open brackets is kept; a bracket that closes turns what it holds into text for the one around it. Brackets
that never close are letters. What MediaWiki itself does is described in its "Preprocessor ABNF" and "Help:Formatting".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pretune.text.read.characters import word_set
from pretune.text.read.languages import ISO_639_1, WIKIPEDIAS

MAX_DEPTH = 40
"""Deeper brackets are letters: each level copies its text once, so this bounds the time."""

TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|^[ \t:]*+\{\||^[ \t]*+\|\}(?!\})|<!--|</?[a-zA-Z][^<>]*+>", re.M)
OPENING = {"{{": "}}", "[[": "]]", "{|": "|}"}
PARAMETER = re.compile(r"\{\{\{([^{}|]*+)(?:\|([^{}]*+))?\}\}\}")
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>")


LANGUAGES = ISO_639_1 | WIKIPEDIAS
VERBATIM = word_set("nowiki pre math chem ce source syntaxhighlight")
"""Their content is no markup; it is kept."""
DROPPED = word_set(
    "ref gallery imagemap timeline score hiero graph mapframe maplink templatedata categorytree inputbox "
    "indicator templatestyles charinsert style script references"
)
BREAKS = word_set("br p div tr table ul ol dl li dd dt hr blockquote center h1 h2 h3 h4 h5 h6 caption poem")
INLINE = word_set(
    "b i u s small big sub sup span font cite code tt var kbd samp del ins abbr em strong ruby rt rp rb wbr bdi "
    "bdo q strike data time mark td th thead tbody noinclude includeonly onlyinclude section translate tvar "
    "nowiki ref references gallery languages dfn a"
)
KEPT_TEMPLATES = {
    **dict.fromkeys(("nowrap", "nobr", "nobreak", "small", "big", "math", "mvar", "code", "em", "strong", "quote"), 1),
    **dict.fromkeys(("cquote", "blockquote", "ill", "abbr", "tooltip"), 1),
    **dict.fromkeys(("lang", "langx", "transl", "transliteration"), 2),
}
"""Which argument of a template is words of the text; every other template goes."""
SUPERSCRIPT = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
POWER = re.compile(r"<sup>([0-9+−-]{1,8})</sup>")  # 10<sup>6</sup> is not 106
WEB_LINK = re.compile(r"\[(?:[a-z]{3,6}:)?(?://|mailto:)[^\s\[\]<>]*+[ \t]*+([^\[\]\n]*+)\]")
VARIANT = re.compile(r"-\{([^{}]*+)\}-")
EMPTY_BRACKETS = re.compile(r"[ \t]?(?:\([\s,;、，；/]*+\)|（[\s,;、，；/]*+）)")
MAGIC = re.compile(r"__[A-Z]{3,20}__")
HELD = re.compile("\x00(\\d+)\x00")


@dataclass
class _Open:
    """An open bracket and the text in it so far."""

    kind: str
    text: list[str] = field(default_factory=list)


def plain(markup: str, *, media: frozenset[str] = frozenset()) -> str:
    """The text of an article.

    Args:
        media: lower-case prefixes of files and categories in this wiki's language, besides the English ones.
    """
    held: list[str] = []
    markup = POWER.sub(lambda m: m[1].translate(SUPERSCRIPT), markup.replace("\0", ""))
    markup = PARAMETER.sub(lambda m: m[2] or "", markup)
    text = _brackets(markup, media | {"file", "image", "category", "media"}, held)
    text = VARIANT.sub(_variant, text)
    text = EMPTY_BRACKETS.sub("", WEB_LINK.sub(r"\1", MAGIC.sub("", text)))
    lines = _lines(text)
    return HELD.sub(lambda m: held[int(m[1])], "\n".join(_tidy(lines))).strip("\n")


# ---- brackets and tags --------------------------------------------------------------------------


def _brackets(markup: str, media: frozenset[str], held: list[str]) -> str:
    """Templates, links, tables and tags, from the inside out."""
    stack, at = [_Open("")], 0
    closers = _Closers(markup)
    while (found := TOKEN.search(markup, at)) is not None:
        stack[-1].text.append(markup[at : found.start()])
        token, at = found[0], found.end()
        bare = token.strip(" \t:")
        if token.startswith("<"):
            at = _tag(token, at, stack[-1], closers, held)
        elif bare in OPENING and len(stack) <= MAX_DEPTH:
            stack.append(_Open(bare))
        elif any(OPENING.get(o.kind) == bare for o in stack[-3:]):
            _close(stack, bare, media)
        else:
            stack[-1].text.append(token)
    stack[-1].text.append(markup[at:])
    while len(stack) > 1:  # never closed: letters
        _unclose(stack)
    return "".join(stack[0].text)


def _close(stack: list[_Open], bare: str, media: frozenset[str]) -> None:
    """Close the nearest bracket of this kind; those opened within it were letters."""
    while OPENING[stack[-1].kind] != bare:
        _unclose(stack)
    inner = stack.pop()
    text = "".join(inner.text)
    made = _template(text) if inner.kind == "{{" else _table(text) if inner.kind == "{|" else _link(text, media)
    stack[-1].text.append(made)


def _unclose(stack: list[_Open]) -> None:
    """A table that is never closed lost its end; other brackets are letters."""
    inner = stack.pop()
    text = "".join(inner.text)
    stack[-1].text.append(_table(text) if inner.kind == "{|" else inner.kind + text)


class _Closers:
    """Where `</name>` is next; a name without an end is searched for once."""

    def __init__(self, markup: str):
        self.markup = markup
        self.missing: set[str] = set()

    def after(self, name: str, at: int) -> tuple[int, int] | None:
        if name in self.missing:
            return None
        found = re.compile(f"</{name}[ \t]*+>" if name != "<!--" else "-->", re.I).search(self.markup, at)
        if found is None:
            self.missing.add(name)
            return None
        return found.span()


def _tag(token: str, at: int, into: _Open, closers: _Closers, held: list[str]) -> int:
    """Take a tag, or a tag with its content; returns where to go on."""
    parts = TAG.match(token)
    name = parts[2].lower() if parts else "<!--"
    if parts is None or (name in VERBATIM | DROPPED and not parts[1] and not parts[3]):
        span = closers.after(name, at)
        if span is None:
            return len(closers.markup) if parts is None else at  # an open comment hides the rest, as in MediaWiki
        if name in VERBATIM:
            into.text.append(_held(name, closers.markup[at : span[0]], held))
        return span[1]
    into.text.append("\n" if name in BREAKS else "" if name in INLINE | VERBATIM | DROPPED else token)
    return at


def _held(name: str, content: str, held: list[str]) -> str:
    """A place holder that no later rule touches."""
    if name in ("math", "chem", "ce"):
        content = f"${' '.join(content.split())}$"
    block = name in ("pre", "source", "syntaxhighlight") and "\n" in content
    held.append(content.strip("\n") if block else html.unescape(content) if name == "nowiki" else content)
    return f"\n\0{len(held) - 1}\0\n" if block else f"\0{len(held) - 1}\0"


# ---- one bracket --------------------------------------------------------------------------------


def _template(text: str) -> str:
    name, *given = text.split("|")
    name = name.strip().lower()
    words = [g.strip() for g in given if "=" not in g]
    if name in ("convert", "cvt") and len(words) >= 2:
        return f"{words[0]} {words[1]}"
    if name == "!":
        return "|"
    place = 2 if name.startswith("lang-") else KEPT_TEMPLATES.get(name, 0)
    place = 1 if name.startswith("lang-") else place
    return words[min(place, len(words)) - 1] if place and words else ""


def _link(text: str, media: frozenset[str]) -> str:
    target, bar, label = text.partition("|")
    prefix, colon, _ = target.partition(":")
    if colon and (prefix.strip().lower() in media or (not bar and prefix.strip() in LANGUAGES)):
        return ""
    if bar:
        return label.rpartition("|")[2] if label else _short(target)
    return target.lstrip(":").strip() if colon and not prefix else target.strip()


def _short(target: str) -> str:
    """The pipe trick: `Help:Tea (drink)|` is shown as Tea."""
    return target.rpartition(":")[2].partition(" (")[0].strip()


def _table(text: str) -> str:
    """A line per row; the attributes of the table, its rows and its cells go."""
    rows: list[list[str]] = [[]]
    for line in text.split("\n")[1:]:
        start = line.lstrip()
        if start.startswith("|+"):
            rows += [[_cell(start[2:])], []]
        elif start.startswith("|-"):
            rows.append([])
        elif start.startswith(("|", "!")):
            cells = start[1:].replace("!!", "||") if start.startswith("!") else start[1:]
            rows[-1].extend(_cell(c) for c in cells.split("||"))
        elif rows[-1] and line.strip():
            rows[-1][-1] += (" " if rows[-1][-1] else "") + line.strip()
    return "\n" + "".join("\t".join(row) + "\n" for row in rows if any(row))


def _cell(text: str) -> str:
    """`a` of `style="x" | a`."""
    before, bar, after = text.partition("|")
    return (after if bar and "=" in before else text).strip()


def _variant(found: re.Match[str]) -> str:
    """The first way of writing of `-{zh-hans:A;zh-hant:B}-`; rules that show nothing give nothing."""
    flags, bar, body = found[1].rpartition("|")
    if bar and set(flags.upper().replace(";", "").strip()) & set("HT-"):
        return ""
    first, _, _ = body.partition(";")
    name, colon, words = first.partition(":")
    return words.strip() if colon and name.strip().startswith("zh") else body


# ---- lines --------------------------------------------------------------------------------------


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(level of the heading or 0, line)."""
    for line in re.sub("'{2,5}", "", text).split("\n"):
        level, plain_line = _heading(line)
        if not level:
            plain_line = _listed(plain_line)
        yield level, html.unescape(plain_line).replace("\xa0", " ").rstrip()


def _heading(line: str) -> tuple[int, str]:
    bare = line.strip()
    if len(bare) > 2 and bare.startswith("=") and bare.endswith("="):
        level = min(len(bare) - len(bare.lstrip("=")), len(bare) - len(bare.rstrip("=")), 6)
        words = bare[level : len(bare) - level].strip()
        return (level, words) if words.strip("=") else (0, line)
    return 0, line


def _listed(line: str) -> str:
    """`** x` becomes `  - x`; an indented or defined line loses its marks; a ruler is an empty line."""
    if line.startswith("----"):
        return line.lstrip("-")
    words = line.lstrip("*#:;")
    marks = line[: len(line) - len(words)]
    if not marks:
        return line
    words = words.strip()
    return f"{'  ' * (len(marks) - 1)}- {words}" if words and marks[-1] in "*#" else words


def _tidy(lines: Iterator[tuple[int, str]]) -> list[str]:
    """One empty line between paragraphs; headings with nothing under them go."""
    kept: list[tuple[int, str]] = []
    for level, line in lines:
        if level:
            _drop_empty_headings(kept, level)
            kept += [(0, ""), (level, line), (0, "")]
        elif line or (kept and kept[-1][1]):
            kept.append((0, line))
    _drop_empty_headings(kept, 1)
    shown = [line for _, line in kept]
    return [line for line, before in zip(shown, ["", *shown], strict=False) if line or before]


def _drop_empty_headings(kept: list[tuple[int, str]], level: int) -> None:
    """Before a heading of this level: take away headings of this level or deeper that nothing followed."""
    while kept:
        last = next((i for i in range(len(kept) - 1, -1, -1) if kept[i][1]), -1)
        if last < 0 or kept[last][0] < level:
            return
        del kept[last:]
