"""Masking: what points to one person becomes a placeholder, so that no model can learn it by heart.

    mail zhang@qq.com or call 138-1234-5678   ->   mail <EMAIL> or call <PHONE>

A number is masked only if it *proves* what it is: a card by Luhn's sum and its issuer's prefix, a Chinese ID card by
its check digit, its province and its birth date, a phone number by its layout. So years, prices, versions, decimals,
ISBN and long plain numbers stay. The price: a number written in an unusual way stays as well, and one in ten random
16-digit numbers with a bank's prefix passes Luhn.

Every pattern is bounded, so a hostile text costs time in proportion to its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date
from ipaddress import IPv6Address, ip_network
from typing import Literal

from pretune.text.clean.cleaners import Clean
from pretune.text.read.characters import word_set

Kind = Literal["email", "phone", "id-card", "bank-card", "ipv4", "ipv6", "private-ip"]
Test = Callable[[re.Match[str]], bool]


class MaskPii(Clean):
    """E-mail addresses, phone numbers, Chinese ID cards, bank cards and IP addresses become placeholders.

    Source: FineWeb (arXiv:2406.17557: e-mail and public IP addresses); the numbers are ours.
    """

    kinds: list[Kind] = ["email", "phone", "id-card", "bank-card", "ipv4", "ipv6"]
    """What is masked. `ipv4` and `ipv6` are public addresses; `private-ip` adds 127.0.0.1, 192.168.*, ::1 and their
    like, which point to nobody."""

    def clean(self, text: str) -> str:
        return mask(text, self.kinds)


DIGITS = re.compile(r"[0-9+(（][0-9 ()（）+.\-]{6,}")
COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")


def mask(text: str, kinds: Collection[Kind]) -> str:
    """`text` with what is of these kinds replaced; the same object if there was nothing."""
    if not _suspicious(text):
        return text
    lines = text.split("\n")
    masked = [_mask_line(line, kinds) if _suspicious(line) else line for line in lines]
    return text if masked == lines else "\n".join(masked)


def _suspicious(text: str) -> bool:
    return "@" in text or DIGITS.search(text) is not None or COLONS.search(text) is not None


def _mask_line(line: str, kinds: Collection[Kind]) -> str:
    # E-mail first: 13812345678@qq.com is an address. Cards before phones: they are longer.
    if "email" in kinds:
        line = _mask_emails(line)
    line = _replaced(IPV6, lambda m: _is_ipv6(m, kinds), "<IP>", line)
    if "id-card" in kinds:
        line = _replaced(ID_CARD, _is_id_card, "<ID-CARD>", line)
    if "bank-card" in kinds:
        line = _replaced(BANK_CARD, _is_bank_card, "<BANK-CARD>", line)
    if "phone" in kinds:
        line = _replaced(PHONE, _is_phone, "<PHONE>", line)
    return _replaced(IPV4, lambda m: _is_ipv4(m, kinds), "<IP>", line)


def _replaced(pattern: re.Pattern[str], test: Test, placeholder: str, line: str) -> str:
    return pattern.sub(lambda m: placeholder if test(m) else m[0], line)


# ---- e-mail -------------------------------------------------------------------------------------

LOCAL = re.compile(r"(?<![\w%+])\w(?:[\w.%+'-]{0,62}[\w%+-])?\Z", re.ASCII)
DOMAIN = re.compile(
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}([a-z]{2,24})(?!\w|-\w|\.\w)", re.ASCII | re.IGNORECASE
)
VERSION_DOMAIN = re.compile(r"@[0-9]+\.[0-9]")
NOT_TOP_LEVEL = word_set(
    "png jpg jpeg gif svg webp bmp ico css js mjs ts tsx py md html htm json yaml yml txt xml pdf zip gz "
    "weight bias data shape grad local value values"
)
BEFORE_A_BRACKET = word_set("com net org edu gov info cn uk de fr jp ru io hk tw")


def _mask_emails(line: str) -> str:
    pieces: list[str] = []
    done = last = 0
    for domain in DOMAIN.finditer(line):
        local = LOCAL.search(line, max(last, domain.start() - 64), domain.start())
        last = domain.end()
        if local and _is_email(local[0], domain):
            pieces += [line[done : local.start()], "<EMAIL>"]
            done = domain.end()
    return "".join([*pieces, line[done:]]) if pieces else line


def _is_email(local: str, domain: re.Match[str]) -> bool:
    """Not git@github.com:a/b, icon@2x.png, package@1.2.x-rc or the matrix product x@w.mean()."""
    top, after = domain[1].lower(), domain.string[domain.end() : domain.end() + 1]
    version = VERSION_DOMAIN.match(domain[0])
    call = after in ("(", "[") and top not in BEFORE_A_BRACKET
    return local != "git" and top not in NOT_TOP_LEVEL and not version and not call


# ---- ID cards and bank cards ----------------------------------------------------------------------

ID_CARD = re.compile(r"(?<![\w.])([1-9]\d{5})([ -]?)((?:19|20)\d{6})\2(\d{3}[\dXx])(?!\w|\.\d)", re.ASCII)
PROVINCES = word_set(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
BANK_CARD = re.compile(
    r"(?<![\w.+/#$¥￥€£-])"
    r"(?:\d{13,19}|\d{6} \d{10,13}"
    r"|(?<!\d\d\d )(?:\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5})(?! \d{3}))"
    r"(?!\w|[-.]\d)",
    re.ASCII,
)
ISSUERS = re.compile(
    r"4\d{15}(?:\d{3})?"  # Visa; its 13 digits are long gone, and EAN bar codes look like them
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|62\d{14,17}|9558\d{15}"  # UnionPay
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"  # American Express, Diners Club
    r"|(?:35(?:2[89]|[3-8]\d)|6011|64[4-9]\d|65\d\d)\d{12,15}"  # JCB, Discover
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}|220[0-4]\d{12,15}"  # Maestro, Mir
)
REFERENCE = re.compile(
    r"(?:(?<![a-z])(?:isbn|issn|ean|upc|doi|pmid|arxiv|order|invoice|serial|part|sku)|订单|单号|编号|货号|条码|流水)"
    r"(?: ?(?:number|no\.?|id|号码?))?[\s#:：=]{0,3}\Z"
    r"|[a-z]/\Z|[?&]\w{1,20}=\Z",
    re.IGNORECASE,
)
"""What is before a number that names a thing, not a person: an order, a book, a part of a URL."""


def _is_id_card(found: re.Match[str]) -> bool:
    region, day, rest = found[1], found[3], found[4]
    return region[:2] in PROVINCES and _is_day(day) and id_card_sum(region + day + rest) == 1


def _is_day(digits: str) -> bool:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year < 2050
    except ValueError:
        return False


def id_card_sum(number: str) -> int:
    """The sum modulo 11 of an 18-digit ID number whose last place may be X; 1 if it is right.

    Source: GB 11643-1999; ISO 7064 MOD 11-2.
    """
    digits = [10 if c in "Xx" else int(c) for c in number]
    return sum(d * pow(2, 17 - i, 11) for i, d in enumerate(digits)) % 11


def _is_bank_card(found: re.Match[str]) -> bool:
    digits = re.sub("[ -]", "", found[0])
    return ISSUERS.fullmatch(digits) is not None and luhn_sum(digits) == 0 and not _is_reference(found)


def luhn_sum(digits: str) -> int:
    """Luhn's sum modulo 10; 0 if the check digit is right. Source: ISO/IEC 7812-1, annex B."""
    doubled = [2 * int(c) for c in digits[-2::-2]]
    return (sum(map(int, digits[::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10


def _is_reference(found: re.Match[str]) -> bool:
    return REFERENCE.search(found.string[max(0, found.start() - 24) : found.start()]) is not None


# ---- phones -------------------------------------------------------------------------------------

_PREFIX = r"1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])"
_AREA = r"0(?:10|2\d|[3-9]\d\d)"
_COUNTRY = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|2[1-69]\d|35\d|37\d|38\d|42\d|50\d|59\d|67\d|68\d|69\d|85\d|88\d|96\d|97\d|99\d)"
)
PHONE = re.compile(
    r"(?<![\w.+$¥￥€£])(?<!\d-)(?<![ =(]-)(?:"
    rf"(?:\(?(?:\+|00)86\)?[- ]?|86[- ]?)?{_PREFIX}(?:\d{{8}}|([ -])\d{{4}}\1\d{{4}})"  # Chinese mobile
    rf"|(?:\(?(?:\+|00)86\)?[- ]?)?(?:[(（]{_AREA}[)）][ -]?|{_AREA}[ -])\d{{3,4}}[ -]?\d{{4}}(?:(?:-|转)\d{{1,5}})?"
    rf"|\+{_COUNTRY}(?:[ .-]?\(0?\d{{0,4}}\))?(?:[ .-]?\d){{6,13}}"  # with a country
    r"|(?:\+?1[-. ]?)?\([2-9]\d\d\)[ -]?\d{3}[-. ]\d{4}|(?:1[-. ]|(?![48]00))[2-9]\d\d([-.])\d{3}\2\d{4}"  # US
    r")(?: ?(?:x|ext\.?) ?\d{1,5})?"
    r"(?![\w%％‰]|[-.]\d|\)?\.(?:jpe?g|png|gif)|,\d{3}(?!\d)| ?(?:元|块|美元|万|亿|人|个|次|字节|bytes|km))",
    re.ASCII,
)


def _is_phone(found: re.Match[str]) -> bool:
    """Not a decimal with a sign, a row of a table or the number of an order."""
    number, line = found[0], found.string
    digits = re.sub("[^0-9]", "", number)
    if number.startswith("+") and (not 10 <= len(digits) <= 15 or re.fullmatch(r"\+\d+\.\d+", number)):
        return False
    if re.match(rf"\+{_COUNTRY}0{{2}}", number):  # +20000000 is a growth, no place has a national number 00
        return False
    row = line[max(0, found.start() - 2) : found.start()][:1].isdigit() and line[found.start() - 1] == " "
    row = row or re.match(r" \d", line[found.end() : found.end() + 2]) is not None
    return not (row and " " in number) and not _is_reference(found)


# ---- IP addresses -------------------------------------------------------------------------------

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = re.compile(rf"(?<![\w.+-])(?<!\w/){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|-\w|\.[\d*])", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{1,4}:|::)[0-9a-f:]{1,37}(?![\w:]|\.\w)", re.ASCII | re.IGNORECASE)
# Written out, for Python's own is_private has changed between its minor versions.
PRIVATE_V4 = [
    ip_network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
]
PRIVATE_V6 = [ip_network(net) for net in ("::1/128", "fc00::/7", "fe80::/10", "2001:db8::/32")]
# As numbers, since `address in network` takes a microsecond each.
PRIVATE = {
    version: [(int(net.netmask), int(net.network_address)) for net in nets]
    for version, nets in ((4, PRIVATE_V4), (6, PRIVATE_V6))
}
VERSION_WORDS = word_set("v ver version release build firmware driver section sec chapter clause figure table oid")
VERSION_ENDS = ("版本", "版本号", "版", "固件", "驱动", "第", "章", "节", "图", "表", "§")
LAST_WORD = re.compile(r"[A-Za-z]{1,10}\Z")


def _is_ipv4(found: re.Match[str], kinds: Collection[Kind]) -> bool:
    a, b, c, d = map(int, found[0].split("."))
    if _is_private(4, a << 24 | b << 16 | c << 8 | d):
        return "private-ip" in kinds
    return "ipv4" in kinds and d != 0 and not _is_version(found)


def _is_private(version: int, number: int) -> bool:
    return any(number & netmask == start for netmask, start in PRIVATE[version])


def _is_version(found: re.Match[str]) -> bool:
    """A version or the number of a section: after such a word, or small numbers that open a line before a title."""
    line, start, end = found.string, found.start(), found.end()
    after = line[end : end + 2]
    small = start <= 8 and all(int(octet) < 30 for octet in found[0].split("."))
    title = small and not line[:start].strip(" #\t") and after[1:].isalpha()
    before = line[max(0, start - 20) : start].rstrip(" .:：=#\"'(>")
    word = LAST_WORD.search(before)
    named = before.endswith(VERSION_ENDS) or (word is not None and word[0].lower() in VERSION_WORDS)
    return named or title or after.lstrip()[:1] in ("版", "节", "章")


def _is_ipv6(found: re.Match[str], kinds: Collection[Kind]) -> bool:
    """Public ones are in 2000::/3; with fewer than three groups it is a slice, x[2000::2], or a C++ name."""
    try:
        address = IPv6Address(found[0])
    except ValueError:
        return False
    if _is_private(6, int(address)):
        return "private-ip" in kinds
    groups = [group for group in found[0].split(":") if group]
    return "ipv6" in kinds and int(address) >> 125 == 1 and len(groups) >= 3
