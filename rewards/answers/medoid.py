"""The rollout closest on average to the others: minimum Bayes risk (arXiv 2211.07634)."""

import re
import string
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]{4}")
"""A run of a script that is written without spaces."""


def text_closeness(first: str, second: str) -> float:
    """Dice's coefficient of the words of two texts: 2 |A & B| / (|A| + |B|)."""
    one, other = _words(first), _words(second)
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0


def text_medoid(texts: Sequence[str]) -> int:
    """The index of the text closest on average to the others by `text_closeness`; of several, the
    first. Words that a text has, not how often, as in arXiv 2307.06857. Raises ValueError if there
    is none."""
    if not texts:
        raise ValueError("no texts")
    return int(np.argmax(np.round(closeness_to_others(texts), 6)))


def closeness_to_others(texts: Sequence[str]) -> list[float]:
    """Each text's mean `text_closeness` to the others [M]; 0 where there are none."""
    totals = closeness_matrix(texts).sum(axis=1) - 1.0  # less a text's closeness to itself
    return [float(total) / max(1, len(texts) - 1) for total in totals]


def closeness_matrix(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """`text_closeness` of each text to each [M, M]; 1 on the diagonal."""
    codes: dict[str, int] = {}
    rows = [[codes.setdefault(word, len(codes)) for word in _words(text)] for text in texts]
    has = np.zeros((len(rows), max(1, len(codes))), dtype=np.float32)
    for at, row in enumerate(rows):
        has[at, row] = 1.0
    sizes = has.sum(axis=1)
    both = sizes[:, None] + sizes[None, :]
    common = (has @ has.T).astype(np.float64)  # whole numbers, so exact
    return np.where(both > 0, 2 * common / np.maximum(both, 1), 1.0)


def _words(text: str) -> set[str]:
    """The words of a text; pairs of characters where it is written without spaces."""
    plain = text.casefold()
    words = plain.split()
    if not plain.isascii() and _UNSPACED.search(plain):
        return {plain[at : at + 2] for at in range(max(1, len(plain) - 1))}
    return {word.strip(string.punctuation) for word in set(words)} - {""}
