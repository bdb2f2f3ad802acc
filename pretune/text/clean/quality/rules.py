"""The field's rules for web text, each with two sets of limits: scripts with spaces between words, and the others.

    filters: [debris, {kind: gopher, spaced: {min_words: 20}}, {kind: language, keep: [zh, en]}]

The papers measured English. Their word limits turn Chinese away (41 of 41 documents in a trial), so the second set is
ours: a guess in characters, checked on Chinese manuals and poems, not tuned by training. Only `debris` is on by
default; it is looser than all of the papers.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from pretune.base.json import JsonMap
from pretune.text.clean.filters import Filter, LimitFilter, Limits, columns_of

# ---- Gopher: quality ----------------------------------------------------------------------------


class GopherSpaced(Limits):
    """Gopher's limits, as printed; any two stop words of one language stand for two of its eight English ones."""

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_length: float | None = 3
    max_mean_word_length: float | None = 10
    max_hashes_per_word: float | None = 0.1
    max_ellipses_per_word: float | None = 0.1
    max_bullet_line_share: float | None = 0.9
    max_ellipsis_line_share: float | None = 0.3
    min_alphabetic_word_share: float | None = 0.8
    min_distinct_stop_words: int | None = 2


class GopherUnspaced(GopherSpaced):
    """The same in characters: no word length, and marks count as units, so fewer units hold a letter."""

    min_words: int | None = 80
    max_words: int | None = 160_000
    min_mean_word_length: float | None = None
    max_mean_word_length: float | None = None
    min_alphabetic_word_share: float | None = 0.5
    min_distinct_stop_words: int | None = None


class Gopher(LimitFilter):
    """Gopher's quality rules. Source: Rae et al. 2021, arXiv:2112.11446, appendix A1."""

    kind: str = "gopher"
    needs: ClassVar[tuple[str, ...]] = columns_of(GopherSpaced)
    spaced: GopherSpaced = GopherSpaced()
    """Limits for scripts with spaces between words."""
    unspaced: GopherUnspaced = GopherUnspaced()
    """Limits for Chinese, Japanese, Thai and their like."""


# ---- Gopher: repetition -------------------------------------------------------------------------


class RepetitionSpaced(Limits):
    """Gopher's limits, as printed in table A1."""

    max_duplicate_line_share: float | None = 0.3
    max_duplicate_paragraph_share: float | None = 0.3
    max_duplicate_line_character_share: float | None = 0.2
    max_duplicate_paragraph_character_share: float | None = 0.2
    max_top_2gram_share: float | None = 0.2
    max_top_3gram_share: float | None = 0.18
    max_top_4gram_share: float | None = 0.16
    max_repeated_5gram_share: float | None = 0.15
    max_repeated_6gram_share: float | None = 0.14
    max_repeated_7gram_share: float | None = 0.13
    max_repeated_8gram_share: float | None = 0.12
    max_repeated_9gram_share: float | None = 0.11
    max_repeated_10gram_share: float | None = 0.1


class RepetitionUnspaced(RepetitionSpaced):
    """The same in characters: ten of them are about six words, so only long n-grams have a limit."""

    max_repeated_5gram_share: float | None = None
    max_repeated_6gram_share: float | None = None
    max_repeated_7gram_share: float | None = None
    max_repeated_8gram_share: float | None = None
    max_repeated_9gram_share: float | None = 0.3
    max_repeated_10gram_share: float | None = 0.25


class GopherRepetition(LimitFilter):
    """Gopher's rules against repetition. Source: Rae et al. 2021, arXiv:2112.11446, table A1."""

    kind: str = "gopher-repetition"
    needs: ClassVar[tuple[str, ...]] = columns_of(RepetitionSpaced)
    spaced: RepetitionSpaced = RepetitionSpaced()
    """Limits for scripts with spaces between words."""
    unspaced: RepetitionUnspaced = RepetitionUnspaced()
    """Limits for Chinese, Japanese, Thai and their like."""


# ---- C4 and FineWeb -----------------------------------------------------------------------------


class C4Limits(Limits):
    """C4's limits on pages; sentences are counted in every script, so one set is enough."""

    min_sentences: int | None = 3
    max_lorem_ipsum: int | None = 0
    max_curly_brace_share: float | None = 0
    max_javascript_lines: int | None = None


class C4(LimitFilter):
    """C4's rules on whole pages. Its rules on lines (a full stop at the end, no `javascript`) cut lines, not pages.

    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.2. The list of bad words is left to the user.
    """

    kind: str = "c4"
    needs: ClassVar[tuple[str, ...]] = columns_of(C4Limits)
    spaced: C4Limits = C4Limits()
    """Limits for scripts with spaces between words. A curly brace means code: such pages go."""
    unspaced: C4Limits = C4Limits()
    """Limits for Chinese, Japanese, Thai and their like."""


class FineWebSpaced(Limits):
    """FineWeb's own three limits, as printed."""

    min_terminal_line_share: float | None = 0.12
    max_duplicate_line_character_share: float | None = 0.1
    max_lines_under_30_share: float | None = 0.67


class FineWebUnspaced(FineWebSpaced):
    """The same; a line of 30 Latin characters is one of some 12 Chinese ones."""

    max_lines_under_30_share: float | None = None
    max_lines_under_12_share: float | None = 0.67


class FineWeb(LimitFilter):
    """FineWeb's rules besides Gopher's and C4's. Source: Penedo et al. 2024, arXiv:2406.17557, section 3.6."""

    kind: str = "fineweb"
    needs: ClassVar[tuple[str, ...]] = columns_of(FineWebUnspaced)
    spaced: FineWebSpaced = FineWebSpaced()
    """Limits for scripts with spaces between words."""
    unspaced: FineWebUnspaced = FineWebUnspaced()
    """Limits for Chinese, Japanese, Thai and their like."""


# ---- ours ---------------------------------------------------------------------------------------


class DebrisSpaced(Limits):
    """Far from prose, verse and programs. Lists of bare figures and one phrase over and over do break them."""

    max_replacement_share: float | None = 0.1
    max_control_share: float | None = 0.05
    min_letter_share: float | None = 0.15
    max_mean_word_length: float | None = 60
    max_duplicate_line_character_share: float | None = 0.8
    max_duplicate_paragraph_character_share: float | None = 0.8
    max_often_10gram_share: float | None = 0.5


class DebrisUnspaced(DebrisSpaced):
    """The same without word length."""

    max_mean_word_length: float | None = None


class Debris(LimitFilter):
    """Leaves out what is hardly text: undecodable bytes, base64, rows of figures, the same over and over. Ours."""

    kind: str = "debris"
    needs: ClassVar[tuple[str, ...]] = columns_of(DebrisSpaced)
    spaced: DebrisSpaced = DebrisSpaced()
    """Limits for scripts with spaces between words."""
    unspaced: DebrisUnspaced = DebrisUnspaced()
    """Limits for Chinese, Japanese, Thai and their like."""


class Language(Filter):
    """Keeps documents in some languages, or those whose language is sure."""

    kind: str = "language"
    needs: ClassVar[tuple[str, ...]] = ("language", "language_confidence")
    keep: list[str] = []
    """Languages that stay (zh, en ...); all of them if the list is empty."""
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """Documents whose language is less sure are left out."""

    def reject(self, row: JsonMap) -> str | None:
        language, confidence = row["language"], row["language_confidence"]
        if self.keep and language not in self.keep:
            return f"language: {language} is not kept"
        if confidence < self.min_confidence:
            return f"language: confidence {confidence:.2f} of {language} < {self.min_confidence:g}"
        return None


DEFAULT_FILTERS: Final[tuple[Filter, ...]] = (Debris(),)
"""On unless the user says otherwise. No limit on length: headlines, poems and single sentences are documents."""
