"""A reflection: the model is shown one of its rollouts per answer, and asked which is right.

Makes the question and reads the choice (SR-TTRL, ICML 2026); asking is the engine's part.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.answers.kind import AnswerKind, may_vote
from rewards.answers.medoid import text_medoid
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.statements import last_box
from rewards.answers.tally import Tally
from rewards.rollouts import Rollout

MOST_ANSWERS = 8
_MOST_CHARS = 12_000
"""Of all representatives together."""
_GAP = "\n[...]\n"
_NAMED = re.compile(r"solution[\s*:#]*(?:no\.?\s*)?(\d{1,3})(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Representative:
    """An answer, as one of its rollouts wrote it, its cluster on the tally, and the text of the
    rollout that speaks for it."""

    answer: str
    cluster: int
    text: str


def representatives_of(
    tally: Tally, texts: Sequence[str], most: int = MOST_ANSWERS
) -> list[Representative]:
    """One representative for each of the `most` commonest answers of a tally [M], `texts` [M] being
    what its rollouts say.

    The text closest to the others of the same answer speaks for it. Their order depends on the
    texts alone: neither the votes nor who came first can be read from it.
    """
    members = tally.members
    commonest = sorted(range(len(members)), key=lambda cluster: -len(members[cluster]))[:most]
    found: list[Representative] = []
    for cluster in commonest:
        said = sorted(texts[row] for row in members[cluster])
        found.append(Representative(tally.labels[cluster], cluster, said[text_medoid(said)]))
    return sorted(found, key=lambda one: _digest(one.text))


def reflection_on(representatives: Sequence[Representative]) -> str:
    """What to ask after the question itself."""
    room = _MOST_CHARS // max(1, len(representatives))
    solutions = [
        f"Solution {number}:\n{_shortened(one.text, room)}"
        for number, one in enumerate(representatives, 1)
    ]
    return "\n\n".join(
        [
            "Here are solutions to the question above. They disagree, so at most one is right.",
            *solutions,
            "Check each solution step by step and look for its mistakes. Then decide which one is "
            "right, however many there are of the others, and end with its number in a box, such "
            r"as \boxed{Solution 1}.",
        ]
    )


def choice_in(
    reflection: Rollout, representatives: Sequence[Representative], kind: AnswerKind
) -> Representative | None:
    """The representative that a reflection chose, by what its last box says, or else its last line:
    the number of a solution, or its answer. None for several, for none, or for any doubt; and if it
    was cut short or loops."""
    reply = without_reasoning(reflection.text) if may_vote(reflection) else None
    if reply is None or not reply.strip():
        return None
    box = last_box(reply)
    last = (box if box is not None else reply.strip().splitlines()[-1]).strip()
    named = {int(number) for number in _NAMED.findall(last)}
    if not named and box is not None:
        numbers = {str(number) for number in range(1, len(representatives) + 1)}
        named = {int(last)} if last in numbers else set[int]()
        named |= {at for at, one in enumerate(representatives, 1) if kind.same(one.answer, last)}
    if len(named) != 1:
        return None
    [number] = named
    return representatives[number - 1] if 1 <= number <= len(representatives) else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _shortened(text: str, room: int) -> str:
    """At most about `room` characters of a text: its beginning, and twice as much of its end."""
    text = text.strip()
    if len(text) <= room:
        return text
    head = max(1, (room - len(_GAP)) // 3)
    return text[:head].rstrip() + _GAP + text[-2 * head :].lstrip()
