"""Numbers with a unit: `5 km`, `€5`, `90°`, `50 %`, `3 million`."""

import re
from collections.abc import Mapping
from fractions import Fraction
from string import ascii_letters

from rewards.answers.equality.nouns import may_be_counted
from rewards.answers.equality.numbers import exact_number

PERCENT = "%"


def _names(*groups: str) -> Mapping[str, str]:
    """Each name of a group for its first one."""
    return {name: group.split()[0] for group in groups for name in group.split()}


_MONEY = _names(
    "$ US$ USD dollar dollars", "\u20ac EUR euro euros", "\u00a3 GBP", "\u00a5", "JPY yen",
    "CNY RMB yuan", "\u20b9 INR rupee rupees Rs Rs.", "\u20a9 KRW won", "CHF", "C$ CAD", "A$ AUD",
    "cent cents \u00a2", "penny pence",
)  # fmt: skip
_UNITS = _names(
    "s sec secs second seconds", "min mins minute minutes", "h hr hrs hour hours", "day days",
    "week weeks", "month months", "yr yrs year years", "ms millisecond milliseconds",
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres", "m meter meters metre metres",
    "km kilometer kilometers kilometre kilometres", "inch inches in", "ft foot feet",
    "yd yard yards", "mile miles", "mg milligram milligrams", "g gram grams",
    "kg kilogram kilograms",
    "lb lbs pound pounds", "oz ounce ounces", "mL ml milliliter milliliters millilitre millilitres",
    "L liter liters litre litres", "W watt watts", "kW kilowatt kilowatts", "MW megawatt megawatts",
    "mW milliwatt milliwatts", "kWh", "MWh", "V volt volts", "mV", "kV", "MV", "mA", "MA", "kA",
    "A ampere amperes amps", "N newton newtons", "kN", "J joule joules", "kJ", "MJ", "mJ",
    "Pa pascal pascals", "kPa", "MPa", "mPa", "Hz hertz", "kHz", "MHz", "mHz", "GHz",
    "K kelvin kelvins", "mol mole moles", "mmol", "M", "mM", "kb", "kB", "Mb", "MB", "Gb", "GB",
    "TB", "Tb", "bit bits", "byte bytes", "mph", "kph", "rpm", "dB", "\u03bcm", "nm",
    "\u03a9 ohm ohms", "cal", "kcal", "atm", "bar", "ppm", "eV", "MeV", "keV",
    "\u00b0C degC celsius", "\u00b0F degF fahrenheit", "\u00b0 degree degrees deg",
    "rad radian radians", "% percent pct percentage",
)  # fmt: skip
_SCALES: Mapping[str, int] = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_NUMBER = (
    r"[-+]?\s*(?:\d*\s*\\[dtc]?frac\s*(?:\{\d+\}\s*\{\d+\}|\d\s*\d)"
    r"|(?:\d[\d,.']*(?: \d{3})*(?: +\d+)?(?:/\d+)?|\.\d+)(?:[eE][-+]?\d+(?!\d))?"
    r"(?:\s*(?:x|\u00d7|\*|\\times|\\cdot)\s*10\s*\^\s*\{?[-+]?\d+\}?)?)"
)
_AFTER = re.compile(rf"({_NUMBER})(\s*)([^\d\s].*)")
_LETTERS = frozenset(ascii_letters)
_BEFORE = re.compile(r"([-+]?)\s*(US\$|[AC]\$|[$\u20ac\u00a3\u00a5\u20b9\u20a9]|[A-Z]{3} )\s*(.+)")
_DEGREES = re.compile(
    r"\s*\^\s*\{?\s*\\circ\s*\}?\s*|\s*\\(?:degree|circ)(?![a-z])\s*|\s*\u00b0\s*"
)
_WORDS = re.compile(r"[a-z]{3,}(?:[ -][a-z]{2,}){0,2}")
_COMPOUND = re.compile(r"[^\W\d_]{1,16}(?:\^-?\d)?(?:[/*][^\W\d_]{1,16}(?:\^-?\d)?){0,3}")
_POWERS: Mapping[str, str] = {"square": "^2", "squared": "^2", "cubic": "^3", "cubed": "^3"}
_POWER_WORD = re.compile(r"(square|cubic) ([a-z]+)|([a-z]+) (squared|cubed)")
_OF_DEGREES = re.compile(r"(?:degrees?|deg|\u00b0) ?(?=celsius|fahrenheit|[CF]\Z)", re.IGNORECASE)
_MOST_CHARS = 80
_SPEEDS: Mapping[str, str] = {"mile/h": "mph", "kph": "km/h"}


def quantity(text: str) -> tuple[Fraction, str] | None:
    """The number and its unit, in one form for names of one unit; no unit is "". None if the text
    is anything else. Case is kept where it has a meaning: `MW` is not `mW`."""
    text = _DEGREES.sub("\u00b0", text.replace(r"\%", "%"))
    if (match := _BEFORE.fullmatch(text)) and (money := _MONEY.get(match[2].strip())):
        found = _scaled(match[3])
        sign = -1 if match[1] == "-" else 1
        return None if found is None or found[1] else (sign * found[0], money)
    return _scaled(text)


def unit_of(name: str) -> str | None:
    """The form of a known unit; None for any other word."""
    return _MONEY.get(name) or _UNITS.get(name) or _compound(name)


def _scaled(text: str) -> tuple[Fraction, str] | None:
    value = exact_number(text)
    if value is not None:
        return value, ""
    match = _AFTER.fullmatch(text)
    value = None if match is None else exact_number(match[1])
    if match is None or value is None:
        return None
    glued, rest = not match[2], match[3]
    first, _, more = rest.partition(" ")
    while first in _SCALES:
        value *= _SCALES[first]
        first, _, more = more.partition(" ")
        rest = f"{first} {more}".strip()
        if not rest:
            return value, ""
    unit = _unit(rest, glued)
    return None if unit is None else (value, unit)


def _unit(text: str, glued: bool) -> str | None:
    """One name for a unit; None for what is none. A single letter glued to its number may be a
    variable."""
    text = _temperature(text)
    if (known := _MONEY.get(text) or _UNITS.get(text)) and not (glued and text in _LETTERS):
        return _SPEEDS.get(known, known)
    if (compound := _compound(text)) is not None:
        return compound
    words = re.split("[ -]+", text)
    if not may_be_counted(words) or any(word in _SCALES for word in words):
        return None
    if not glued and _WORDS.fullmatch(text):
        return _singular(text)
    return None


def _compound(text: str) -> str | None:
    """Units divided, multiplied or raised, in symbols or in words; None for anything else."""
    if len(text) > _MOST_CHARS:
        return None
    text = _POWER_WORD.sub(
        lambda power: (power[2] or power[3]) + _POWERS[power[1] or power[4]], text
    )
    text = re.sub(r" per | ?/ ?", "/", re.sub(r"[\u00b7\u22c5]", "*", text))
    text = text.replace("{", "").replace("}", "")
    if _COMPOUND.fullmatch(text) is None or not any(c in text for c in "/*^"):
        return None
    parts = re.split(r"([/*])", text)
    for at in range(0, len(parts), 2):
        name, raised, power = parts[at].partition("^")
        if name not in _UNITS:
            return None
        parts[at] = _UNITS[name] + raised + power
    unit = "".join(parts)
    return _SPEEDS.get(unit, unit)


def _temperature(text: str) -> str:
    """`\u00b0C` for `degrees Celsius`."""
    if found := _OF_DEGREES.match(text):
        rest = text[found.end() :].lower()
        scale = {"c": "C", "celsius": "C", "f": "F", "fahrenheit": "F"}.get(rest)
        return f"\u00b0{scale}" if scale else text
    return text


def _singular(words: str) -> str:
    """One form for a noun and its plural, as the plural has it without its s: `boxe`."""
    if words.endswith(("x", "ch", "sh", "ss", "z")):
        return f"{words}e"
    stem = words[:-1] if len(words) > 4 and words.endswith("s") else words
    return f"{stem[:-1]}ie" if re.search("[^aeiou ]y\\Z", stem) else stem
