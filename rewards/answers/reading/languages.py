"""How languages mark an answer: "the answer is …", "答案是 …"."""
# ruff: noqa: RUF001

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SIGN = r"\s*[*_]{0,3}\s*[:=：]"


@dataclass(frozen=True, slots=True)
class Language:
    """A mark begins with one of `stems`; `mark` ends where the answer begins, `ending` is what may
    follow the answer in its sentence."""

    stems: tuple[str, ...]
    mark: re.Pattern[str]
    ending: re.Pattern[str] | None = None


def _language(stems: str, mark: str, ending: str | None = None) -> Language:
    """`SIGN` in a mark is a colon or an equals sign."""
    return Language(
        tuple(stems.split()),
        re.compile(mark.replace("SIGN", _SIGN), re.IGNORECASE),
        re.compile(rf"\s*(?:{ending})[\s.。]*\Z") if ending else None,
    )


_IS = r"(?:is|was|are|equals|would\s+be|should\s+be|must\s+be|will\s+be)\b"

LANGUAGES: dict[str, Language] = {
    "English": _language(
        "answer option choice",
        rf"\b(?:answers?(?:\s*\([^()\n]{{1,20}}\))?(?:[*_]{{0,3}}\s+{_IS}|SIGN)"
        r"|(?:(?<=correct )|(?<=right )|(?<=best ))(?:option|choice)(?:\s+is\b|SIGN))",
    ),
    "Chinese": _language("答案", r"答案(?:应该|应)?(?:是|为|為|SIGN)"),
    "Japanese": _language(
        "答え 解答 正解",
        r"(?:答え|解答|正解)(?:は|SIGN)\s*、?",
        "です|である|だ|となります|になります",
    ),
    "Korean": _language(
        "답", r"답(?:변)?(?:은|는|SIGN)", "입니다|이다|이에요|예요"
    ),
    "Spanish": _language("respuesta", r"\brespuesta(?:\s+(?:final|correcta))?(?:\s+es\b|SIGN)"),
    "Portuguese": _language(
        "resposta", r"\bresposta(?:\s+(?:final|correta))?(?:\s+é(?!\w)|SIGN)"
    ),
    "French": _language(
        "réponse", r"\bréponse(?:\s+(?:finale|correcte))?(?:\s+est\b|SIGN)"
    ),
    "Italian": _language(
        "risposta", r"\brisposta(?:\s+(?:finale|corretta))?(?:\s+è(?!\w)|SIGN)"
    ),
    "German": _language("antwort", r"\bantwort(?:\s+(?:ist|lautet)\b|SIGN)"),
    "Dutch": _language("antwoord", r"\bantwoord(?:\s+is\b|SIGN)"),
    "Polish": _language("odpowied", r"\bodpowiedź(?:\s+to\b|SIGN)"),
    "Russian": _language("ответ", r"\bответ(?:SIGN|\s*[—–-]\s|\s+равен\b)"),
    "Ukrainian": _language("відповідь", r"\bвідповідь(?:SIGN|\s*[—–-]\s)"),
    "Turkish": _language("cevap yanıt", r"\b(?:cevap|yanıt)SIGN"),
    "Vietnamese": _language("đáp câu", r"(?:đáp\s+án|câu\s+trả\s+lời)(?:\s+là(?!\w)|SIGN)"),
    "Indonesian": _language("jawaban", r"\bjawaban(?:nya)?(?:\s+adalah\b|SIGN)"),
    "Arabic": _language(
        "الجواب الإجابة", r"(?:الجواب|الإجابة)(?:\s+(?:هو|هي)(?!\w)|SIGN)"
    ),
    "Hindi": _language("उत्तर", r"उत्तर(?:\s+है|SIGN)", "है|।"),
}  # fmt: skip
"""By name; each has a test."""


def marks(text: str) -> Iterator[tuple[int, int, re.Pattern[str] | None]]:
    """Start and end of every mark in a text, and what may follow its answer; in no order."""
    folded, plain = text.lower(), text.isascii()
    if len(folded) != len(text):  # a few letters are two in lower case
        folded = text
    for language in LANGUAGES.values():
        for stem in language.stems:
            if plain and not stem.isascii():
                continue
            at = folded.find(stem)
            while at >= 0:
                if found := language.mark.match(text, at):
                    yield at, found.end(), language.ending
                at = folded.find(stem, at + len(stem))
