"""The rollout closest on average to the others: minimum Bayes risk (arXiv 2211.07634)."""

import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

_WORDS = re.compile(r"\w+|[^\w\s]")
_MAX_WORDS = 4_096
_FIRST_CODE = 1
_SURROGATES = range(0xD800, 0xE000)


def text_closeness(first: str, second: str) -> float:
    """ROUGE-L: twice the longest common subsequence of words over the words of both (Lin 2004)."""
    one, other = _coded([first, second])
    return Indel.normalized_similarity(one, other)


def text_medoid(texts: Sequence[str]) -> int:
    """The index of the text closest on average to the others by `text_closeness`; of several, the
    first. Raises ValueError if there is none."""
    if not texts:
        raise ValueError("no texts")
    coded = _coded(texts)
    distinct = list(dict.fromkeys(coded))
    if len(distinct) == 1:
        return 0
    closeness: Any = cdist(distinct, distinct, scorer=Indel.normalized_similarity)
    counts = [coded.count(each) for each in distinct]
    totals: list[float] = (closeness @ counts).round(5).tolist()
    return coded.index(distinct[totals.index(max(totals))])


def medoid(answers: Sequence[str], closeness: Callable[[str, str], float]) -> int:
    """The index of the answer closest on average to the others by a kind's `closeness`; of several,
    the first. Raises ValueError if there is none."""
    if not answers:
        raise ValueError("no answers")
    distinct = list(dict.fromkeys(answers))
    counts = [answers.count(each) for each in distinct]
    totals = [float(count) for count in counts]
    for (one, first), (other, second) in combinations(enumerate(distinct), 2):
        near = closeness(first, second)
        totals[one] += counts[other] * near
        totals[other] += counts[one] * near
    return answers.index(distinct[totals.index(max(totals))])


def _coded(texts: Sequence[str]) -> list[str]:
    """Each text with a character for every word: what the library compares fastest."""
    codes: dict[str, str] = {}
    coded: list[str] = []
    for text in texts:
        words = _WORDS.findall(text.casefold())[:_MAX_WORDS]
        for word in words:
            if word not in codes:
                code = len(codes) + _FIRST_CODE
                codes[word] = chr(code if code < _SURROGATES.start else code + len(_SURROGATES))
        coded.append("".join([codes[word] for word in words]))
    return coded
