"""What an expression says: a value, several, a set, a pair, an interval, equations.

math-verify takes a pair for an interval, an interval for a set of two roots, and an equation for
its right side, whatever the left one is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from rewards.answers.equality.layout import without_layout

_JOINTS = re.compile(r"[,;]|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\(?:land|lor)(?![a-z])")
_OR = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])|\\lor(?![a-z])")
_PLUS_MINUS = re.compile("\\\\(?:pm|mp)(?![a-z])|\u00b1")
_ORDER = re.compile("[<>\u2264\u2265]|\\\\(?:l|g)(?:e|t|eq|eqslant)(?![a-z])")
_EQUALS = re.compile("(?<![<>!:])=")
_ABOUT = re.compile("\\\\approx(?![a-z])|\u2248")
_MEMBER = re.compile("[A-Za-z]\\s*(?:\\\\in(?![a-z])|\u2208)")
_UNION = re.compile("\\\\(?:cup|cap|setminus)(?![a-z])|[\u222a\u2229]")
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|xi|"
    "rho|sigma|tau|upsilon|phi|varphi|chi|psi|omega"
)
_LETTER = rf"(?:[A-Za-z]|\\(?i:{_GREEK})(?![a-z]))"
_COMMAND = re.compile(rf"\\(?!(?i:{_GREEK})(?![a-z]))[a-zA-Z]+")
_INDEX = r"(?:_(?:\w|\{[^{}=]*\}))?"
_CORNERS = r"[A-Z]{2,5}'?"
_POINTS = rf"(?:{_LETTER}{_INDEX}'*|{_CORNERS})"
_PART = re.compile(
    rf"m?(?:\\(?:angle|triangle)|\u2220)?{_POINTS}{_INDEX}"
    rf"|\|{_CORNERS}\||\\overline\{{{_CORNERS}\}}"
    rf"|{_LETTER}{_INDEX}'*\((?:[^()=<>]|=)*\)"
    rf"|\\(?:vec|hat|bar|overrightarrow)\{{?{_POINTS}\}}?"
    r"|[A-Za-z][a-z]{2,}"
)
_RATIO = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}|([^:/]*)[:/]([^:/]*)")
_NAMES = re.compile(r"\(([^()]*,[^()]*)\)")
_NO_NAMES = re.compile("sin|cos|tan|sec|csc|cot|log|exp|sqrt|max|min|gcd|lcm|det|mod|lim|abs")
_OPEN, _CLOSE = "([{", ")]}"


class Shape(Enum):
    """What an expression is, by its brackets and relations."""

    VALUE = "value"
    LIST = "list"
    BRACES = "braces"
    """LaTeX's own, which group: a tuple, or what was meant as a set."""
    SET = "set"
    TUPLE = "tuple"
    PAIR = "pair"
    """In round brackets: a tuple, or an open interval."""
    INTERVAL = "interval"
    UNION = "union"
    INEQUALITY = "inequality"
    EQUATIONS = "equations"


_NEVER = frozenset(
    frozenset(pair)
    for pair in (
        (Shape.INEQUALITY, Shape.LIST), (Shape.INEQUALITY, Shape.SET),
        (Shape.INEQUALITY, Shape.TUPLE), (Shape.INEQUALITY, Shape.BRACES),
        (Shape.INEQUALITY, Shape.EQUATIONS), (Shape.UNION, Shape.LIST), (Shape.UNION, Shape.TUPLE),
        (Shape.SET, Shape.TUPLE), (Shape.SET, Shape.PAIR), (Shape.SET, Shape.INTERVAL),
    )
)  # fmt: skip
_IN_ORDER = (Shape.TUPLE, Shape.PAIR, Shape.INTERVAL)


@dataclass(frozen=True, slots=True)
class Said:
    """`values` are what it lists, without the names they have; `names`: of each value the bare name
    that it is said of, "" for none, None if what is on the left is no name. `unordered`: it has
    a sign for plus or minus in it, or "or". `text` is the expression without layout."""

    shape: Shape
    text: str
    values: Sequence[str]
    names: Sequence[str | None]
    unordered: bool

    @property
    def each_named(self) -> bool:
        """Whether these are several equations, each of a name of its own."""
        named = [name for name in self.names if name]
        return 1 < len(self.names) == len(named) == len(set(named))


@lru_cache(maxsize=1_024)
def said(answer: str) -> Said:
    """What an expression says."""
    text = _before_the_decimals(without_layout(answer))
    whole = text
    unordered = _OR.search(text) is not None or _PLUS_MINUS.search(text) is not None
    if _outside(text, _ORDER):
        return Said(Shape.INEQUALITY, whole, [text], [""], unordered)
    if _outside(text, _EQUALS):
        pairs = [_named(part) for part in _split(text, _JOINTS)]
        if len(pairs) == 1:
            pairs = _one_by_one(*pairs[0])
        names, values = [name for name, _ in pairs], [value for _, value in pairs]
        return Said(Shape.EQUATIONS, whole, values, names, unordered)
    if member := _MEMBER.match(text):
        text = text[member.end() :].strip()
    shape, values = _listed(text)
    return Said(shape, whole, values, [""] * len(values), unordered)


def may_be_one(first: Said, second: Said) -> bool:
    """Whether two expressions of these shapes may say the same."""
    if first.text.replace(" ", "") == second.text.replace(" ", ""):
        return True
    if frozenset((first.shape, second.shape)) in _NEVER or _certain(first) or _certain(second):
        return False
    if first.shape is Shape.EQUATIONS is second.shape:
        return _names_agree(first, second)
    for one, other in ((first, second), (second, first)):
        if one.shape is Shape.EQUATIONS and not _may_equal(one, other):
            return False
        if one.shape is Shape.LIST and one.unordered and other.shape in _IN_ORDER:
            return False
    return True


def by_place(first: Said, second: Said) -> list[tuple[str, str]]:
    """The values that have to be the same one by one, where places or names decide; none where
    they do not."""
    if len(first.values) != len(second.values) or len(first.values) < 2:
        return []
    if first.each_named and second.each_named:
        where = dict(zip(second.names, second.values, strict=True))
        return [(v, where[n]) for n, v in zip(first.names, first.values, strict=True)]
    either_or = _OR.search(first.text) and _OR.search(second.text)
    for one, other in ((first, second), (second, first)):
        if not (one.shape is Shape.LIST or one.each_named):
            continue
        if other.shape in (Shape.LIST, Shape.BRACES, *_IN_ORDER) and not (
            either_or or any(each[:1] in _OPEN for each in (*one.values, *other.values) if each)
        ):
            return list(zip(first.values, second.values, strict=True))
    return []


def bare_name(text: str) -> str | None:
    """What stands left of an equation if it is a name: `x`, `x_1`, `AB`, `|AB|`, `f(3)`, `S:T`,
    `(x,y)`; None for anything that has to be solved, as `2x`, `xy`, `\\ln x`."""
    name = text.replace(" ", "")
    if tuple_of := _NAMES.fullmatch(name):
        return name if all(_is_part(each) for each in tuple_of[1].split(",")) else None
    if _is_part(name):
        return name
    ratio = _RATIO.fullmatch(name)
    return name if ratio and all(_is_part(e) for e in ratio.groups() if e is not None) else None


def _may_equal(equations: Said, other: Said) -> bool:
    """Whether what is no equation may be what these say of their names."""
    if None in equations.names:
        return False
    if other.shape is Shape.SET:
        return not equations.each_named
    several = len(equations.names) > 1 or equations.unordered
    if other.shape not in _IN_ORDER or not several or str(equations.names[0]).startswith("("):
        return True
    return equations.each_named and list(equations.names) == sorted(map(str, equations.names))


def _names_agree(one: Said, other: Said) -> bool:
    """Whether both are said of the same; letters that are solved for may be."""
    if one.each_named or other.each_named:
        return set(one.names) == set(other.names)
    if len(one.names) == 1 == len(other.names) and one.names[0] and other.names[0]:
        return one.names[0] == other.names[0] or len(one.names[0]) == 1 == len(other.names[0])
    return True


def _certain(one: Said) -> bool:
    """Whether it is a relation without anything unknown, true or false."""
    relation = one.shape in (Shape.EQUATIONS, Shape.INEQUALITY)
    return relation and not any(c.isalpha() for c in _COMMAND.sub("", one.text))


def _is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None and _NO_NAMES.fullmatch(name) is None


def _before_the_decimals(text: str) -> str:
    """Without what an exact value is about: `x = 1/3` of `x = 1/3 \\approx 0.33`."""
    found = _outside(text, _ABOUT)
    if not found or not found[0][0]:
        return text
    left = text[: found[0][0]].strip()
    return f"{left} = {text[found[0][1] :].strip()}" if bare_name(left) else left


def _named(part: str) -> tuple[str | None, str]:
    """The name of an equation and its last side."""
    sides = _split(part, _EQUALS)
    if len(sides) < 2:
        return "", part
    return next((side for side in map(bare_name, sides[:-1]) if side), None), sides[-1]


def _one_by_one(name: str | None, value: str) -> list[tuple[str | None, str]]:
    """`x = 1, y = 2` of `(x,y) = (1,2)`; what says it of one name as it is."""
    if name and name[0] == "(" and value[:1] == "(" and value[-1:] == ")":
        names, values = name[1:-1].split(","), _split(value[1:-1], _JOINTS)
        if len(names) == len(values):
            return list(zip(names, values, strict=True))
    return [(name, value)]


def _listed(text: str) -> tuple[Shape, list[str]]:
    """The shape of what is no relation, and what it lists."""
    if _UNION.search(text):
        return Shape.UNION, [text]
    parts = _split(text, _JOINTS)
    if len(parts) == 1 and text.startswith("\\{") and text.endswith("\\}"):
        return Shape.SET, _split(text[2:-2], _JOINTS)
    if text[:1] == "]" or (len(parts) == 1 and text[:1] and text[0] in _OPEN):
        values = _split(text[1:-1], _JOINTS)
        if len(values) > 1 and text[-1] in ")]}[":
            return _bracketed(text[0], text[-1], len(values)), values
    several = len(parts) > 1 or _PLUS_MINUS.search(text)
    return (Shape.LIST if several else Shape.VALUE), parts


def _bracketed(first: str, last: str, values: int) -> Shape:
    if first == "{":
        return Shape.BRACES
    if values > 2:
        return Shape.TUPLE
    return Shape.PAIR if (first, last) == ("(", ")") else Shape.INTERVAL


def _split(text: str, joint: "re.Pattern[str]") -> list[str]:
    """The parts between joints outside of brackets, without empty ones."""
    parts, start = list[str](), 0
    for begin, end in _outside(text, joint):
        parts.append(text[start:begin])
        start = end
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _outside(text: str, joint: "re.Pattern[str]") -> list[tuple[int, int]]:
    """Where a joint stands outside of brackets."""
    depths, depth = list[int](), 0
    for character in text:
        if character in _OPEN:
            depth += 1
        depths.append(depth)
        if character in _CLOSE:
            depth = max(0, depth - 1)
    return [match.span() for match in joint.finditer(text) if depths[match.start()] == 0]
