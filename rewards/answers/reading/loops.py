"""Whether a text repeats itself."""

import zlib

_WINDOWS = (1_024, 4_096)
_RATIO = 8.0
_PROBES = 8
_PROBE_CHARS = 6
_FEWEST = 3
"""So many of the probes stand elsewhere in a window that may loop."""


def loops(text: str) -> bool:
    """Whether `text` repeats itself like a stuck generation: its entropy is near zero, which DARE
    would reward. Some window of 1,024 or 4,096 characters then compresses to less than an eighth,
    which prose, working and tables never do."""
    for window in _WINDOWS:
        for start in range(0, len(text) - window + 1, window // 2):
            if _repetitive(text, start, window):
                chunk = text[start : start + window].encode(errors="replace")
                if len(chunk) > _RATIO * len(zlib.compress(chunk, 1)):
                    return True
    return False


def _repetitive(text: str, start: int, window: int) -> bool:
    """A look at a few places before the window is compressed: most of one that loops stands in it
    again, at length."""
    end, found = start + window, 0
    for at in range(start, end - _PROBE_CHARS, window // _PROBES):
        probe = text[at : at + _PROBE_CHARS]
        if text.find(probe, at + 1, end) >= 0:
            found += 1
            if found == _FEWEST:
                return True
    return False
