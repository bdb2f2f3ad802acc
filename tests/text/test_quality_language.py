"""Languages told with the model file, and without one."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from pretune.base.errors import BadFile, NoSuchFile
from pretune.text.clean.quality.language import MAX_CHARACTERS, by_words, identify
from pretune.text.clean.quality.words import STOP_WORDS

SAMPLES = {
    "en": "The committee will meet again on Thursday, and it is expected that the report will be published after that.",
    "de": "Der Ausschuss wird sich am Donnerstag wieder treffen, und es ist nicht zu erwarten, dass der Bericht fertig ist.",
    "fr": "Le comité se réunira de nouveau jeudi et il est prévu que le rapport sera publié dans les jours qui suivent.",
    "es": "El comité se reunirá de nuevo el jueves y se espera que el informe sea publicado por la tarde en la capital.",
    "it": "Il comitato si riunirà di nuovo giovedì e si prevede che il rapporto della commissione sia pubblicato con una nota.",
    "pt": "O comité vai reunir-se de novo na quinta-feira e espera-se que o relatório seja publicado depois, mas não há data.",
    "nl": "De commissie komt donderdag weer bijeen en het is niet zeker dat het rapport met de bijlagen op tijd klaar is.",
    "pl": "Komitet spotka się ponownie w czwartek i nie jest pewne, czy raport będzie już gotowy, ale do tego czasu się czeka.",
    "tr": "Komite perşembe günü yeniden toplanacak ve raporun bu hafta yayımlanması için çok çalışıyor ama daha bir karar yok.",
    "vi": "Ủy ban sẽ họp lại vào thứ năm và báo cáo của các chuyên gia là một trong những tài liệu được công bố sau đó.",
    "ru": "Комитет соберётся снова в четверг, и не исключено, что доклад будет опубликован уже на следующий день после этого.",
    "uk": "Комітет збереться знову у четвер, і не виключено, що доповідь буде опублікована вже на наступний день після цього.",
    "ar": "ستجتمع اللجنة مرة أخرى يوم الخميس ومن المتوقع أن يتم نشر التقرير بعد ذلك في كل من المدن التي شاركت في هذا العمل.",
    "fa": "کمیته روز پنجشنبه دوباره تشکیل جلسه خواهد داد و این گزارش را که برای آن کار شده است از آن پس منتشر می‌کند.",
    "he": "הוועדה תתכנס שוב ביום חמישי והדוח יפורסם לאחר מכן, אבל לא ברור אם כל החברים יגיעו אל הישיבה הזאת.",
    "hi": "समिति की बैठक गुरुवार को फिर होगी और उम्मीद है कि रिपोर्ट उसके बाद प्रकाशित की जाएगी।",
    "th": "คณะกรรมการจะประชุมอีกครั้งในวันพฤหัสบดีและคาดว่าจะมีการเผยแพร่รายงานหลังจากนั้น",
    "el": "Η επιτροπή θα συνεδριάσει ξανά την Πέμπτη και αναμένεται ότι η έκθεση θα δημοσιευθεί μετά από αυτό.",
    "ko": "위원회는 목요일에 다시 열릴 예정이며 보고서는 그 이후에 발표될 것으로 예상된다.",
    "ja": "委員会は木曜日に再び開かれ、その後に報告書が公表される予定である。",
    "zh": "委员会将于星期四再次开会，预计报告将在此之后公布，但是目前还没有确定的日期。",
}


@pytest.mark.parametrize("language", SAMPLES)
def test_without_a_model_script_and_stop_words_tell_the_language(language):
    told, confidence = by_words([SAMPLES[language]])[0]
    assert told == language
    assert 0.5 < confidence <= 1


@pytest.mark.parametrize("language", SAMPLES)
def test_the_fasttext_model_tells_the_language(language, shared):
    path = shared / "data/lid.176/lid.176.ftz"
    [(told, confidence)] = identify([SAMPLES[language]], path)
    assert told == language
    assert 0.5 < confidence <= 1


def test_many_texts_are_told_like_each_alone(shared):
    texts = ["", *SAMPLES.values(), "123", " \n"] * 60
    assert len(texts) > 1024
    for model in (None, shared / "data/lid.176/lid.176.ftz"):
        assert identify(texts, model) == [one for text in texts for one in identify([text], model)]
        assert identify([], model) == []


@pytest.mark.parametrize(
    "poem", ["寥落古行宮，宮花寂寞紅。白頭宮女在，閒坐說玄宗。", "秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。"]
)
def test_han_text_without_kana_is_not_called_japanese(poem, shared):
    model = shared / "data/lid.176/lid.176.ftz"
    assert identify([poem], model)[0][0] == "zh"
    assert identify([SAMPLES["ja"]], model)[0][0] == "ja"


def test_no_tang_poem_is_in_another_language_than_chinese(shared):
    model = shared / "data/lid.176/lid.176.ftz"
    with gzip.open(shared / "data/chinese-poetry/tang.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in islice(file, 3000)]
    assert {language for language, _ in identify([poem for poem in poems if poem.strip()], model)} <= {
        "zh",
        "yue",
        "wuu",
    }


def test_the_model_reads_lines_as_one_and_only_the_head(shared):
    model = shared / "data/lid.176/lid.176.ftz"
    text = SAMPLES["de"].replace(" ", "\n")
    assert identify([text], model)[0] == identify([SAMPLES["de"]], model)[0]
    head = (SAMPLES["fr"] + " ") * 30
    assert len(head) > MAX_CHARACTERS
    assert identify([head], model)[0] == identify([head + SAMPLES["ru"] * 50], model)[0]


@pytest.mark.parametrize("text", ["", " \n\t", "123 + 456", "xyzzy plugh qwfp", "🙂🙂"])
def test_what_has_no_language_is_und_without_a_model(text):
    assert identify([text])[0] == ("und", 0.0)


def test_a_model_is_not_troubled_by_nul_and_lone_surrogates(shared):
    model = shared / "data/lid.176/lid.176.ftz"
    for text in ("\x00", "The dog\x00and the cat", "🙂", "\ufffd"):
        language, confidence = identify([text], model)[0]
        assert isinstance(language, str)
        assert 0 <= confidence <= 1


def test_a_missing_model_file_and_a_wrong_one_are_told(tmp_path: Path):
    pytest.importorskip("fasttext")
    with pytest.raises(NoSuchFile, match="no such language model"):
        identify(["a"], tmp_path / "none.ftz")
    (tmp_path / "wrong.ftz").write_bytes(b"not a model at all" * 100)
    with pytest.raises(BadFile, match="not a fastText model"):
        identify(["a"], tmp_path / "wrong.ftz")
    (tmp_path / "empty.ftz").write_bytes(b"")
    with pytest.raises(BadFile):
        identify(["a"], tmp_path / "empty.ftz")


def test_stop_word_lists_hold_no_word_twice_and_only_lower_case():
    for language, words in STOP_WORDS.items():
        listed = words.split()
        assert len(listed) == len(set(listed)), language
        assert words == words.lower(), language


def test_thousands_of_chinese_and_english_paragraphs_are_told_without_a_model(shared):
    english = (shared / "data/gutenberg-en/Charlotte Bronte__Shirley.md").read_text("utf-8").split("\n\n")
    english = [p for p in english if len(p) > 200]
    chinese = [p.read_text("utf-8") for p in (shared / "data/d2l-zh").glob("*.md")]
    model = None
    assert sum(identify([p], model)[0][0] == "en" for p in english) >= 0.99 * len(english)
    assert sum(identify([p], model)[0][0] == "zh" for p in chinese) >= 0.95 * len(chinese)
