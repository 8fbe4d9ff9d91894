"""How languages mark an answer: "the answer is …", "答案是 …"."""
# ruff: noqa: RUF001

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_SIGN = r"\s*[*_]{0,3}\s*[:=：]"
_SIGNS = ":=："
_DOUBT_CHARS = 40


@dataclass(frozen=True, slots=True)
class Language:
    """A mark begins with one of `stems`; `mark` ends where the answer begins, `ending` is what may
    follow the answer in its sentence. After `doubt` a mark states nothing: "if the answer is 5".
    `no` are words that deny what follows them, `no_after` what goes before them."""

    stems: tuple[str, ...]
    mark: re.Pattern[str]
    ending: re.Pattern[str] | None = None
    doubt: re.Pattern[str] | None = None
    no: str = ""
    no_after: str = ""


class Mark(NamedTuple):
    """Where a mark starts and ends. `signed`: it ends in a colon or the like, so that an answer is
    sure to follow; `doubted`: it states nothing, or only on some condition."""

    start: int
    end: int
    language: Language
    signed: bool
    doubted: bool


def _language(
    stems: str,
    mark: str,
    ending: str | None = None,
    *,
    doubt: str = "",
    no: str = "",
    no_after: str = "",
) -> Language:
    """`SIGN` in a mark is a colon or an equals sign."""
    return Language(
        tuple(stems.split()),
        re.compile(mark.replace("SIGN", _SIGN), re.IGNORECASE),
        re.compile(rf"\s*(?:{ending})[\s.。]*\Z") if ending else None,
        re.compile(rf"(?:{doubt})\Z", re.IGNORECASE) if doubt else None,
        no,
        no_after,
    )


_IS = r"(?:is|was|are|equals|would\s+be|should\s+be|must\s+be|will\s+be)\b"
_THE = r"(?:(?:the|this|that|my|our|an?|any|final|correct|right|above|given)\s+)*"
_ENGLISH_DOUBT = (
    rf"\b(?:if|whether|unless|hope|hoping|hopefully)(?:\s+that)?\s+{_THE}"
    r"|\b(?:other|others|your|previous|wrong|incorrect|no|another|each|every|whose)\s+"
    r"(?:(?:final|possible|two|three|four)\s+)?"
    r"|\b(?:might|may|could|people|students?|some|many|someone|you|he|she|they)\s+(?:\w+\s+)?"
    rf"(?:think|believe|guess|assume|suppose|claim)s?(?:\s+that)?\s+{_THE}"
)

LANGUAGES: dict[str, Language] = {
    "English": _language(
        "answer option choice",
        rf"\b(?:answers?(?:(?:\s*\([^()\n]{{1,20}}\))?(?:[*_]{{0,3}}\s+{_IS}|SIGN)"
        rf"|\s+(?:to|for)\s+(?:the|this|that|your|my|part|question)\b[^.,;:!?\n]{{0,40}}?\s+{_IS})"
        r"|(?:(?<=correct )|(?<=right )|(?<=best ))(?:option|choice)(?:\s+is\b|SIGN))",
        doubt=_ENGLISH_DOUBT,
        no=r"not|no|never|neither|nor|cannot|than|instead\s+of|hardly|barely|scarcely|rarely|seldom"
        r"|unlikely|nothing|none\s+of|nobody|without|lack(?:s|ing)?|fail(?:s|ed)?|anything\s+but|far\s+from"
        r"|(?:wrong|mistake|incorrect)\s+to|non|except|eliminate|exclude|reject|rule\s+out",
    ),
    "Chinese": _language(
        "答案",
        r"答案(?:(?:应该|应|就)?(?:是|为|為)|等于|等於|选|選|SIGN)",
        doubt="(?:如果|若|假如|希望|是否|其他|其它|你的|您的)(?:这个|這個|该|該|的)?",
        no="不是?|没有?|沒有?|并非|並非|非",
    ),
    "Japanese": _language(
        "答え 解答 正解",
        r"(?:答え|解答|正解)(?:は|SIGN)\s*、?",
        "です|である|だ|となります|になります",
        doubt="もし|もしも|他の",
        no_after="では(?:ない|なく|ありません)|じゃ(?:ない|なく|ありません)",
    ),
    "Korean": _language(
        "답",
        r"답(?:변)?(?:은|는|SIGN)",
        "입니다|이다|이에요|예요",
        doubt=r"(?:만약|다른)\s*",
        no_after=r"[이가]?\s*(?:아니|아닙|않)",
    ),
    "Spanish": _language(
        "respuesta",
        r"\brespuesta(?:\s+(?:final|correcta))?(?:\s+es\b|SIGN)",
        doubt=r"\b(?:si|espero\s+que|tu|su|otra)\s+(?:la\s+|esta\s+)?",
        no="nunca|tampoco",
    ),
    "Portuguese": _language(
        "resposta",
        r"\bresposta(?:\s+(?:final|correta))?(?:\s+é(?!\w)|SIGN)",
        doubt=r"\b(?:se|espero\s+que|sua|tua|outra)\s+(?:a\s+|esta\s+)?",
        no="não|nunca",
    ),
    "French": _language(
        "réponse",
        r"\bréponse(?:\s+(?:finale|correcte))?(?:\s+est\b|SIGN)",
        doubt=r"\b(?:si|espère\s+que|votre|ta|autre)\s+(?:la\s+|cette\s+)?",
        no="pas|jamais|guère",
    ),
    "Italian": _language(
        "risposta",
        r"\brisposta(?:\s+(?:finale|corretta))?(?:\s+è(?!\w)|SIGN)",
        doubt=r"\b(?:se|spero\s+che|tua|altra)\s+(?:la\s+|questa\s+)?",
        no="non|mai",
    ),
    "German": _language(
        "antwort",
        r"\bantwort(?:\s+(?:ist|lautet)\b|SIGN)",
        doubt=r"\b(?:ob|wenn|falls|hoffe,?|deine|ihre|andere)\s+(?:die\s+|diese\s+|meine\s+)?",
        no="nicht|kein(?:e|er|en|em|eswegs)?|nie|niemals|weder",
    ),
    "Dutch": _language(
        "antwoord",
        r"\bantwoord(?:\s+is\b|SIGN)",
        doubt=r"\b(?:als|of|hoop\s+dat|jouw|uw|je|ander)\s+(?:het\s+|dit\s+)?",
        no="niet|geen|nooit",
    ),
    "Polish": _language(
        "odpowied",
        r"\bodpowiedź(?:\s+to\b|SIGN)",
        doubt=r"\b(?:jeśli|jeżeli|czy|twoja)\s+",
        no="nie|nigdy",
    ),
    "Russian": _language(
        "ответ",
        r"\bответ(?:SIGN|\s*[—–-]\s|\s+равен\b)",
        doubt=r"\b(?:если|ваш|твой|надеюсь,\s+что)\s+",
        no="не|ни|нет",
    ),
    "Ukrainian": _language(
        "відповідь",
        r"\bвідповідь(?:SIGN|\s*[—–-]\s)",
        doubt=r"\b(?:якщо|ваша|твоя)\s+",
        no="не|ні",
    ),
    "Turkish": _language("cevap yanıt", r"\b(?:cevap|yanıt)SIGN", no_after=r"\s+değil"),
    "Vietnamese": _language(
        "đáp câu",
        r"(?:đáp\s+án|câu\s+trả\s+lời)(?:\s+là(?!\w)|SIGN)",
        doubt=r"\b(?:nếu|liệu)\s+",
        no="không|chẳng|chưa",
    ),
    "Indonesian": _language(
        "jawaban",
        r"\bjawaban(?:nya)?(?:\s+adalah\b|SIGN)",
        doubt=r"\b(?:jika|kalau|apakah)\s+",
        no="bukan|tidak",
    ),
    "Arabic": _language(
        "الجواب الإجابة",
        r"(?:الجواب|الإجابة)(?:\s+(?:هو|هي)(?!\w)|SIGN)",
        doubt=r"(?:إذا|لو)\s+(?:كان(?:ت)?\s+)?",
        no="ليس|ليست|لا|غير",
    ),
    "Hindi": _language(
        "उत्तर", r"उत्तर(?:\s+है|SIGN)", "है|।", doubt=r"(?:यदि|अगर)\s+", no_after=r"\s+नहीं"
    ),
    "Swedish": _language(
        "svar", r"\bsvar(?:et)?(?:\s+(?:är|er)(?!\w)|SIGN)", no="inte|ikke|aldrig"
    ),
    "Finnish": _language("vastaus", r"\bvastaus(?:\s+on\b|SIGN)", no="ei|eivät"),
    "Hungarian": _language("válasz", r"\bválasz(?:SIGN)", no="nem|sem"),
    "Czech": _language("odpověď", r"\bodpověď(?:\s+je\b|SIGN)", no="není|nikdy"),
    "Romanian": _language("răspuns", r"\brăspuns(?:ul)?(?:\s+este\b|SIGN)", no="nu|niciodată"),
    "Greek": _language(
        "απάντηση", r"\bαπάντηση(?:\s+είναι(?!\w)|SIGN)", no="δεν|μην|όχι"
    ),
}  # fmt: skip
"""By name; each has a test. Swedish stands for Danish and Norwegian too."""

_STEMS = tuple((stem, each) for each in LANGUAGES.values() for stem in each.stems)
_ASCII_STEMS = tuple(each for each in _STEMS if each[0].isascii())


def marks(text: str) -> Iterator[Mark]:
    """Every mark in a text, in no order."""
    folded, stems = text.lower(), _ASCII_STEMS if text.isascii() else _STEMS
    if len(folded) != len(text):  # a few letters are two in lower case
        folded = text
    for stem, language in stems:
        at = folded.find(stem)
        while at >= 0:
            if found := language.mark.match(text, at):
                yield _mark(text, at, found, language)
            at = folded.find(stem, at + len(stem))


def _mark(text: str, at: int, found: re.Match[str], language: Language) -> Mark:
    signed = found[0].rstrip(" 、")[-1] in _SIGNS
    before = text[max(0, at - _DOUBT_CHARS) : at]
    doubted = language.doubt is not None and language.doubt.search(before) is not None
    return Mark(at, found.end(), language, signed, doubted and not signed)
