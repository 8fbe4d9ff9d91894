"""An answer without its layout: plain characters, no LaTeX text commands, quotes, emphasis."""

import re
import unicodedata

_SUPERSCRIPTS = re.compile("[\u207a\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_SUBSCRIPTS = re.compile("[\u2080-\u2089]+")
_AFTER_A_DIGIT = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e])")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2012\u2013\u2010\u2011", "-"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u300c\u300d\u300e\u300f\uff02", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc", "'"),
        "\u2044": "/",
        "\u2215": "/",
        "\u066b": ".",
        "\u066c": ",",
        "\u3002": ".",
        "\u00ba": "\u00b0",
    }
)
_DOLLAR = "\ue000"
"""Stands for a dollar sign that is money while the others, which enclose mathematics, go."""
_TEXT_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|tt)?|textnormal|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"
)
_OTHER_DIGITS = re.compile(r"(?![0-9])\d")
_SPACES = re.compile(r"\\(?:[,;: ]|quad(?![a-z])|qquad(?![a-z]))|(?<=[^\s(])~|\s+")
_DROPPED = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\!\s*|\\[()\[\]]")
_BOLD = re.compile(r"(?:(?<=^)|(?<=[\s(]))\*\*(?=\S)([^*]+)(?<=\S)\*\*(?=$|[\s.,;:!?)])")
_WRAPPED = re.compile(
    r"\*\*([^*]+)\*\*|\*([^*]+)\*|__([^_]+)__|_([^_]+)_|```\w*\s(.*)```|`+([^`]+)`+"
    r"|\"([^\"]+)\"|'([^']+)'",
    re.DOTALL,
)


def plain_characters(answer: str) -> str:
    """NFKC with raised and lowered digits kept as such, and ASCII for every script's digits, minus
    signs and quotes."""
    if answer.isascii():
        return answer
    text = _SUPERSCRIPTS.sub(lambda run: "^" + _braced(run[0]), _INVISIBLE.sub("", answer))
    text = _SUBSCRIPTS.sub(lambda run: "_" + unicodedata.normalize("NFKC", run[0]), text)
    text = unicodedata.normalize("NFKC", _AFTER_A_DIGIT.sub(" ", text.translate(_PLAIN)))
    text = text.translate(_PLAIN)
    return _OTHER_DIGITS.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def without_layout(text: str) -> str:
    """Text in plain characters without what only lays it out, in single spaces."""
    before = None
    text = _money_apart(text.replace(r"\$", _DOLLAR))
    while before != text:
        before = text
        text = _SPACES.sub(" ", _DROPPED.sub("", _TEXT_COMMAND.sub(r"\1", text))).strip()
        text = _BOLD.sub(r"\1", text)
        if wrapped := _WRAPPED.fullmatch(text):
            text = wrapped[wrapped.lastindex or 0]
        if not text.endswith(("...", "\\.")):
            text = text.removesuffix(".").rstrip("\\")
    return text.replace(_DOLLAR, "$")


def _braced(raised: str) -> str:
    digits = unicodedata.normalize("NFKC", raised).translate(_PLAIN)
    return digits if digits.isdigit() and len(digits) == 1 else f"{{{digits.lstrip('+')}}}"


def _money_apart(text: str) -> str:
    """Without dollar signs that come in pairs; one alone before or after a digit is money."""
    if text.count("$") == 1 and re.search(r"\$\s*-?[\d.]|\d\s*\$", text):
        return text.replace("$", _DOLLAR)
    return text.replace("$", "")
