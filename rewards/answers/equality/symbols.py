"""What may be compared by mathematics, and how it is written for that."""

import re

_COMMAND = re.compile(r"\\++(?:begin|end)\s*\{[a-zA-Z*]+\}|\\++[a-zA-Z]+|\\[{}\\,;|]")
_RUN = re.compile(r"[^\W\d_]+")
_FUNCTIONS = """
sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt abs min max gcd
lcm mod det pi inf infty infinity oo lim dx dy dt alpha beta gamma theta
"""
_NAMES = frozenset(_FUNCTIONS.split())
_SMALL_WORDS = "am an as at be by do go he if in is it me my no of on or so to up us we"
_ENGLISH = frozenset(_SMALL_WORDS.split())
"""Two letters that are a word sooner than a product."""
CONSTANTS = frozenset({"pi", "inf", "infty", "infinity", "oo"})
_JOINTS = frozenset({"and", "or"})
_FOREIGN = re.compile(
    r"[^\w\s+\-*/^=<>!()\[\]{},.;:|&'%\u00b0\u00b1\u00b7\u00d7\u00f7\u03c0\u221a\u221e\u2208-\u222a"
    r"\u2248\u2260-\u2265\u22c5]"
)
_CODED = re.compile(r"\d\s*:\s*\d|\d\.\d+\.\d|\^[\s{]*\w+[\s}]*\^|\bd\w?\s*\}?\s*[/{]\s*d\w")
"""Times, addresses, powers of powers and derivatives, which are read one way or the other."""
_NAMED_COMMAND = re.compile(r"\\++([a-zA-Z]+)")
_COMMANDS = """
frac dfrac tfrac cfrac sqrt pi sin cos tan sec csc cot arcsin arccos arctan sinh cosh tanh log
ln lg exp cdot times div pm mp le leq leqslant ge geq geqslant lt gt ne neq infty cup cap in
left right circ sum prod int lim begin end pmatrix bmatrix matrix vmatrix cases text approx
equiv to mid ldots dots cdots alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta
iota kappa lambda mu nu xi rho sigma tau upsilon phi varphi chi psi omega big bigl bigr emptyset
varnothing setminus land lor wedge vee mod max min gcd lcm det abs lvert rvert vert langle
rangle displaystyle degree mathbb
"""
_KNOWN = frozenset(_COMMANDS.split())
"""LaTeX that math-verify reads. What it does not know it leaves out, and then calls equal."""
_INDEXED = re.compile(r"[^\W\d_]\d")
_MAX_LOWER, _MAX_UPPER = 2, 4
_SPELT = re.compile(r"\b(exp|sqrt)\s*\(([^()]*)\)")
_ROOT = re.compile(r"\u221a\s*(?:\(([^()]*)\)|(\d+|[a-z]))")
_SYMBOLS = str.maketrans(
    {
        "\u03c0": r"\pi ", "\u221e": r"\infty ", "\u2264": r"\le ", "\u2265": r"\ge ",
        "\u2260": r"\ne ", "\u00b1": r"\pm ", "\u222a": r"\cup ", "\u2229": r"\cap ",
        "\u2208": r"\in ", "\u2248": r"\approx ", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*",
        "\u00f7": "/", "\u00b0": r"^\circ ",
    }
)  # fmt: skip
_NAMED = re.compile(r"(?<![\\a-zA-Z])(pi|sin|cos|tan|log|ln)(?![a-zA-Z])")


def mathematical(text: str) -> bool:
    """Whether the text, without layout, is an expression and nothing else: numbers, variables,
    functions, relations, lists of them. What has words in it is no expression, nor what only looks
    like one: `H2O`, `A and B`."""
    bare = _COMMAND.sub(" ", text.translate(_SYMBOLS))
    if _FOREIGN.search(bare) or not any(c.isalnum() for c in bare):
        return text.startswith("\\") and not _FOREIGN.search(bare)
    runs = _RUN.findall(bare)
    if len(text) == 1 or text.lower() in CONSTANTS:
        return True
    if _INDEXED.search(bare) or _CODED.search(bare):
        return False
    result = text.rpartition("=")[2]
    if not {name.lower() for name in _NAMED_COMMAND.findall(result)} <= _KNOWN:
        return False
    worked = any(c.isdigit() or c in "=<>" for c in bare) or "\\" in text
    if not worked and all(len(run) > 1 for run in runs):
        return any(c in "+*^(" for c in bare) and all(run in _NAMES for run in runs)
    return all(_may_stand(run, worked) for run in runs)


def _may_stand(run: str, worked: bool) -> bool:
    if len(run) == 1 or run in _NAMES:
        return True
    if run in _JOINTS:
        return worked
    if not run.isascii() or run in _ENGLISH:
        return False
    return len(run) <= (_MAX_UPPER if run.isupper() and worked else _MAX_LOWER)


def source_of(text: str) -> str:
    """An answer in plain characters as math-verify reads it best."""
    text = _ROOT.sub(lambda root: rf"\sqrt{{{root[1] or root[2]}}}", text).translate(_SYMBOLS)
    if "\\" not in text and _RUN.search(text):
        spelt = _SPELT.sub(
            lambda call: f"e^{{{call[2]}}}" if call[1] == "exp" else rf"\sqrt{{{call[2]}}}", text
        )
        return _NAMED.sub(r"\\\1 ", spelt)
    return text
