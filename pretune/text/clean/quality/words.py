"""The most frequent words of many languages: what running prose cannot do without.

Our own lists: 16 to 40 function words of each language. Neighbours share words (`de`, `en`, `a`); the language with
the most occurrences wins. Chinese and Japanese, written without spaces, have characters.
"""

from __future__ import annotations

from functools import cache
from typing import Final

STOP_WORDS: Final = {
    "en": "a i the be to of and that have with is was are for it not this but from by at which were his her you they",
    "de": "der die das und ist nicht ein eine den dem mit sich auf für von zu auch werden wird als bei nach wie aus",
    "fr": "le la les des et est une dans que pour qui pas sur avec plus par sont ce cette au aux du il elle nous vous",
    "es": "el la los las de que y en un una por con para no se su del al como más pero sus es son fue este esta",
    "it": "il di che la e non un una per con sono della del dei le gli si come più anche nel alla ma questo essere",
    "pt": "de que não uma um para com os as do da dos das em no na por mais se ao como mas foi são ele seu sua à",
    "nl": "de het een van en is dat niet op te zijn met voor die aan er ook als maar om bij dan nog wel naar door",
    "sv": "och att det som en på är av för med den till inte om ett har jag var han de från vi kan men eller när",
    "da": "og at det er en til på af for med den der ikke har som jeg var han de fra vi kan men eller når blev et",
    "nb": "og at det er en til på av for med den som ikke har jeg var han de fra vi kan men eller når ble et seg",
    "fi": "ja on ei että oli se hän mutta ovat kun joka myös niin kuin tai sen mitä ole olla hänen jos vain nyt",
    "pl": "i w nie na się że z do to jest jak co ale po tak za od już jego tylko jej może być był przez dla oraz",
    "cs": "a se na je že to v s z do jako ale si by jsem pro tak po jeho jsou byl být co které který podle nebo",
    "hu": "a az és hogy nem is egy ez meg volt csak de mint már el ha azt vagy még ki van kell lehet minden után",
    "ro": "și în de la cu pe că nu este un o din mai pentru care sunt prin dar ale lui să se ca fost după sau",
    "tr": "ve bir bu da de için ile çok ne daha gibi olarak kadar olan ama sonra her var ben o değil mi en ya",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada juga ke adalah karena oleh saya ada mereka atau",
    "vi": "của và là có được cho trong không một những các với người này khi đã để từ ra vào đến cũng như nhưng về",
    "ru": "и в не на что с он как это по но из у за к то от все его бы так же был для если или мы они она когда",
    "uk": "і в не на що з він як це та за до у від його але для про є й або ми вони вона якщо коли бути ще також",
    "bg": "и в на не се да за от е с че по като са до си но или това към при които който може има след ще беше",
    "ar": "في من على أن إلى عن التي الذي هذا هذه ما لا كان مع كل بعد هو هي كما ذلك أو قد بين لم ثم إن عند حتى",
    "fa": "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز شد ما یا اما اگر هر بود می‌شود باید",
    "ur": "کے کی میں ہے اور سے کا کو اس کہ ہیں نے پر یہ بھی ایک کیا تھا نہیں جو تو ہو گیا کر وہ ان لئے",
    "he": "של על את לא זה הוא היא עם כי גם או אם כל אל יש מה הם אני רק היה אך לפי בין כדי אשר היו",
    "hi": "के में की है और से का को पर ने यह भी एक हैं कि नहीं इस तो ही था कर हो लिए गया जो वह थे या",
    "el": "και το να του η της με που την από για τα είναι των σε ο οι στο θα τη δεν στην μια τους ένα ότι",
    "ko": "이 그 수 것 및 등 더 한 있는 있다 하는 할 대한 위해 그리고 하지만 또한 때 것은 것이 있습니다 입니다 우리",
    "zh": "的 了 是 在 不 我 有 这 個 个 们 們 他 她 和 也 到 就 说 說 要 你 会 會 为 為 與 与 之 其 而 以 于 於 一 人",
    "ja": "の に は を が で て と た し も な れ る い か ら こ さ す",
}


@cache
def all_words() -> tuple[str, ...]:
    """Every word of every list, once, in code point order."""
    return tuple(sorted({word for words in STOP_WORDS.values() for word in words.split()}))


@cache
def languages_of() -> dict[str, tuple[str, ...]]:
    """Word -> the languages whose list holds it."""
    return {w: tuple(n for n, words in STOP_WORDS.items() if w in words.split()) for w in all_words()}
