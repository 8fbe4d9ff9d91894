"""Whether a text repeats itself."""

import zlib

_LOOP_WINDOWS = (1_024, 4_096)
_LOOP_RATIO = 8.0
_BLOCK = _LOOP_WINDOWS[0] // 2
_FLUSH_BYTES = 40


def loops(text: str) -> bool:
    """Whether `text` repeats itself like a stuck generation: its entropy is near zero, which DARE
    would reward. Some window of 1,024 or 4,096 characters then compresses to less than an eighth,
    which prose, working and tables never do."""
    if len(text) < _LOOP_WINDOWS[0]:
        return False
    costs = _block_costs(text)
    for window in _LOOP_WINDOWS:
        half = window // 2
        for start in range(0, len(text) - window + 1, half):
            blocks = costs[start // _BLOCK : (start + window) // _BLOCK]
            if _LOOP_RATIO * (sum(blocks) - _FLUSH_BYTES * len(blocks)) < window:
                chunk = text[start : start + window].encode(errors="replace")
                if len(chunk) > _LOOP_RATIO * len(zlib.compress(chunk, 1)):
                    return True
    return False


def _block_costs(text: str) -> list[int]:
    """Bytes that each 512 characters add to the compressed text before them: few where it loops, so
    few windows need a compression of their own. Of each, `_FLUSH_BYTES` at most end a block."""
    compressor = zlib.compressobj(1)
    return [
        len(compressor.compress(text[at : at + _BLOCK].encode(errors="replace")))
        + len(compressor.flush(zlib.Z_SYNC_FLUSH))
        for at in range(0, len(text), _BLOCK)
    ]
