"""Words after a number that it may count, and those that change it instead."""

import re
from collections.abc import Sequence

_MODIFIERS = """
and or not to of by out over per plus minus times more less than at least most about around half
halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths eighth eighths
tenth tenths squared cubed factorial base mod modulo remainder dozen dozens score gross pair
pairs double twice fold am pm ad bc ce bce ago later before after from into if is are was but
nor with without pi sin cos tan sec csc cot log ln exp sqrt max min lim inf infinity infty oo
choose
"""
_DIRECTIONS = """
below above under beneath beyond except excluding including unless approximately approx exactly
exact roughly nearly almost loss losses deficit clockwise counterclockwise anticlockwise north south
east west up down exclamation
"""
_ADJECTIVES = """
correct incorrect wrong right true false impossible possible valid invalid inexact approximate
rounded estimated maximum minimum inclusive exclusive included excluded only missing short extra
conjugate complement prime composite square cubic cube negative positive fewer higher lower greater
bigger smaller larger longer shorter older younger
"""
_BASES = "binary octal decimal hex hexadecimal ternary"
_SPANS = "decade decades century centuries millennium millennia fortnight fortnights"
_AMOUNTS = "lakh lakhs crore crores grand mil mille mln mio mrd bn mn tn googol myriad ribu juta"
_NOT_COUNTED = frozenset(" ".join((_MODIFIERS, _DIRECTIONS, _BASES, _SPANS, _AMOUNTS)).split())
_NOT_ALONE = frozenset(_ADJECTIVES.split())
_NUMERAL = re.compile(
    r"zero|point|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teen|twent(?:y|ies)"
    r"|(?:thir|for|fif|six|seven|eigh|nine)t(?:y|ies))(?:e?s)?"
    r"|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)tie|hundred|thousand|[mb]illion|trillion)ths?"
    r"|(?:hundred|thousand|tausend|hundert)(?:s|e|en)?"
    r"|(?:m|b|tr|quadr|quint|zept)ill?(?:i|j)(?:on|ard|oen|un)[a-z]*"
    r"|mill(?:on|\u00f3n|ones)|milh(?:\u00e3o|\u00f5es)|mili?(?:on|ard)[a-z]*"
)
"""Number words, their plurals, ordinals and fractions; powers of a thousand in some languages."""


def may_be_counted(words: Sequence[str]) -> bool:
    """Whether a number and these words may be so many of something: `5 prime numbers`, not
    `5 prime`, `5 below zero`, `5 millions`."""
    return words[-1] not in _NOT_ALONE and not any(
        word in _NOT_COUNTED or _NUMERAL.fullmatch(word) for word in words
    )
