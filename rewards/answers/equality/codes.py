"""Answers that are numbers to the eye alone: dates, times, ranges, scores, addresses, versions.

Arithmetic would call different ones equal, so each has one text, and only that counts.
"""

import datetime
import ipaddress
import re

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar", "february feb februar", "march mar m\u00e4rz", "april apr",
            "may mai", "june jun juni", "july jul juli", "august aug", "september sep sept",
            "october oct oktober", "november nov", "december dec dezember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = rf"({'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th|\.)?"
_YEAR = r"(\d{4})"
_TIME_OF_DAY = r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:([ap])\.?m\.?)?"
_DAY_FIRST = re.compile(
    rf"(?:the\s+)?{_DAY}[\s-]\s*(?:of\s+)?{_MONTH}(?:[\s,-]\s*{_YEAR})?", re.IGNORECASE
)
_MONTH_FIRST = re.compile(rf"{_MONTH}\s+{_DAY}(?:\s*,?\s+{_YEAR})?", re.IGNORECASE)
_MONTH_YEAR = re.compile(rf"{_MONTH},?\s+{_YEAR}", re.IGNORECASE)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_WEEKDAY = re.compile(rf"({'|'.join(_DAYS)}),?\s+", re.IGNORECASE)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_HAN_DATE = re.compile(r"(\d{4})\s*\u5e74\s*(\d{1,2})\s*\u6708\s*(\d{1,2})\s*\u65e5")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_TIME = re.compile(_TIME_OF_DAY, re.IGNORECASE)
_HOUR = re.compile(r"(\d{1,2})\s*([ap])\.?m\.?", re.IGNORECASE)
_DATE_AND_TIME = re.compile(rf"(.*\d)(?:\s*T|,?\s+(?:at\s+)?)({_TIME_OF_DAY})(Z?)", re.IGNORECASE)
_CODES = re.compile(
    r"\d+(?:\s*-\s*\d+)+"  # ranges, scores, telephone numbers
    r"|\d+(?:\.\d+){2,}|\d+(?:/\d+){2,}"  # addresses, versions
    r"|\d+(?:\s*:\s*\d+)+(?:\.\d+)?"  # ratios
    r"|\d+(?:\s*[xX\u00d7]\s*\d+)+"  # sizes
    r"|\d+(?: +\d+)+"
    r"|\+?\(?\d[\d()]*(?:[\s.-]+\(?\d+\)?)+"
)
_BASE = re.compile(r"\(?(\d[\dA-Fa-f]*)\)?\s*_\s*\{?\s*(\d+)\s*\}?")
_EMAIL = re.compile(r"([^\s@<>]+)@([^\s@<>]+\.[^\s@<>]+)")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s]+)([^\s]*)")
_PHONE = re.compile(r"\+?\d?[\s.-]?\(?\d{3}\)?[\s.-]?(?:\d{3}[\s.-])?\d{4}|\+\d[\d\s().-]{6,}\d")


def code(text: str) -> str | None:
    """One text for a date, a time, a range, a score, an address, a size, a number of some base;
    None for anything else."""
    if not any(c.isdigit() or c in ":@" for c in text):
        return None
    if (when := _when(text)) is not None:
        return when
    if base := _BASE.fullmatch(text):
        return f"{base[1].upper()}_{base[2]}"
    if text.count(":") > 1 and (address := _address(text)) is not None:
        return address
    if _CODES.fullmatch(text):
        return re.sub(r"\s*([-:xX\u00d7])\s*", r"\1", text).replace("\u00d7", "x").replace("X", "x")
    if ":" in text or "@" in text:
        return _address(text)
    return None


def telephone(text: str) -> bool:
    """Whether the text looks like a telephone number."""
    return _PHONE.fullmatch(text.strip()) is not None and not text.strip().isdigit()


def _when(text: str) -> str | None:
    if (date := _date(text)) is not None:
        return date
    if (time := _time(text)) is not None:
        return time
    if both := _DATE_AND_TIME.fullmatch(text):
        date, time = _date(both[1]), _time(both[2].strip())
        if date is not None and time is not None:
            return f"{date} {time}{both[7].upper()}"
    return None


def _date(text: str) -> str | None:
    if weekday := _WEEKDAY.match(text):
        return _on(weekday[1].lower(), _date_itself(text[weekday.end() :]))
    return _date_itself(text)


def _on(weekday: str, date: str | None) -> str | None:
    """The date, if it is one that was on that day of the week."""
    if date is None or _ISO.fullmatch(date) is None:
        return None
    return date if datetime.date.fromisoformat(date).weekday() == _DAYS.index(weekday) else None


def _date_itself(text: str) -> str | None:
    if match := _YEAR_FIRST.fullmatch(text):
        return _iso(match[1], match[3], match[4])
    if match := _HAN_DATE.fullmatch(text):
        return _iso(*match.groups())
    if match := _DAY_FIRST.fullmatch(text):
        return _iso(match[3], _MONTHS[match[2].lower()], match[1])
    if match := _MONTH_FIRST.fullmatch(text):
        return _iso(match[3], _MONTHS[match[1].lower()], match[2])
    if match := _MONTH_YEAR.fullmatch(text):
        return f"{match[2]}-{_MONTHS[match[1].lower()]:02}"
    if match := _YEAR_LAST.fullmatch(text):
        first, second = int(match[1]), int(match[3])
        if first > 12 >= second or first == second:
            return _iso(match[4], second, first)
        if second > 12 >= first:
            return _iso(match[4], first, second)
        return f"{first}/{second}/{match[4]}"  # whether the day or the month is first, who knows
    return None


def _iso(year: str | None, month: str | int, day: str | int) -> str | None:
    try:
        date = datetime.date(int(year or 2000), int(month), int(day))
    except ValueError:
        return None
    return date.isoformat() if year else date.strftime("--%m-%d")


def _time(text: str) -> str | None:
    if match := _TIME.fullmatch(text):
        hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    elif match := _HOUR.fullmatch(text):
        hour, minute, second, half = int(match[1]), 0, None, match[2]
    else:
        return None
    if minute > 59 or hour > 24 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half in "pP" else 0)
    certain = half or hour > 12 or hour == 0  # else it may be in the morning or not
    counted = second and not (certain and second == "00")
    shown = f"{hour}:{minute:02}" + (f":{second}" if counted else "")
    return shown if certain else f"{shown} o'clock"


def _address(text: str) -> str | None:
    if url := _URL.fullmatch(text):
        rest = "" if url[3] == "/" else url[3]
        return f"{url[1].lower()}://{url[2].lower()}{rest}"
    if email := _EMAIL.fullmatch(text):
        return f"{email[1]}@{email[2].lower()}"
    if text.count(":") > 1:
        try:
            return str(ipaddress.IPv6Address(text))
        except ValueError:
            return None
    return None
