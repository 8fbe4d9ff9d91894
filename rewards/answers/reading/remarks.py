"""What a sentence about an answer says that is none: "the answer is correct", "… found by adding".
And what says it with more words than the answer has: "the answer is therefore 12"."""

import re

from rewards.answers.equality.forms import Kind, form_of

_REMARK = re.compile(
    r"(?:(?:also|very|quite|indeed|now|thus|therefore|always|often|usually|easily|simply|probably|"
    r"most|more|pretty|fairly|really|actually|all)\s+)*"
    r"(?:(?:in)?correct(?:ly)?|right|wrong|(?:un)?clear(?:ly)?|helpful|useful|obvious|simple|easy|"
    r"hard|difficult|different|obtained|derived|calculated|computed|determined|"
    r"(?:un)?reasonable|(?:in)?accurate|(?:in)?consistent|(?:in)?complete|verified|confirmed|"
    r"checked|explained|rounded|supported|satisfactory|acceptable|shown|written|taken|based|"
    r"(?:im)?possible|below|above|here|as\s+follows|straightforward|found)"
    r"(?:\s*[!.,;:?)]|\s*\Z|\s+(?:and|or|but|by|on|to|in|from|using|with|as|for|at|if|when|modulo|"
    r"after|under|because|here|enough|than|now|too|above|below|up|down|through|within|via)\b)"
    r"|(?:in|on|at|from|to|within|with|for|of|by|under|about|up)\s+"
    r"(?:the|this|that|these|those|our|your|my|an?|its|their|terms|fact|line|accordance|agreement|"
    r"you|me|us|it)\b"
    r"|[a-z]{3,}(?:ed|ing)\s+(?:by|on|from|using|as|modulo)\b"
    r"|given\s+(?:by|in|above|below|as|to|the)\b",
)
_DISAGREES = re.compile(r"[\w\s]*\b(?:wrong|incorrect|different|inaccurate|impossible)\b")
_FILLER = re.compile(
    r"\A(?:(?:also|daher|somit|donc|entonces|ent\u00e3o|quindi|dus|therefore|thus|hence|simply|"
    r"clearly|indeed|of\s+course|exactly|just|then|so|actually|however|probably|most\s+likely|"
    r"equal\s+to|given\s+by|the\s+(?:number|value|letter|integer))\s{0,3},?\s{1,3}|,\s{0,3})+"
    r"(?=[$\\(*_`\"'-]*(?:\d|\\|\$|[A-Z]))",
)
_ABOUT = re.compile(r"\A(?:approximately|about|roughly|around)\s+(?=[$\\(*_-]*\d)", re.IGNORECASE)
_NOT_THAT = re.compile(r"\s*,\s+(?:and\s+)?not\s+.*|\s*\((?:and\s+)?not\s+[^()]*\)", re.DOTALL)
_VALUE = re.compile(r"[\s$\u20ac\u00a3\u00a5~\u2248(+\u2212-]*\d")


def remarked(stated: str) -> bool:
    """Whether a sentence says something of the answer, and not what it is."""
    return _REMARK.match(stated.lstrip("*_ ")) is not None


def after_remark(stated: str) -> str | None:
    """The value or the option after a remark's colon: "simple: 12". None if there is none."""
    remark, _, rest = stated.partition(":")
    rest = rest.strip("*_ ")
    told = rest and not _DISAGREES.match(remark) and sort_of(rest) != "words"
    return rest if told else None


def without_filler(stated: str) -> str:
    """What is stated without the words that lead to it, and without what it is not."""
    stated = _ABOUT.sub("", _FILLER.sub("", stated, count=1), count=1)
    return _NOT_THAT.sub("", stated, count=1)


def sort_of(answer: str) -> str:
    """What an answer is by its looks: "value", "option" or "words"."""
    kind = form_of(answer).kind
    if kind is Kind.WORDS:
        return "value" if _VALUE.match(answer) else "words"
    return "option" if kind is Kind.OPTION else "value"
