"""Which forms of one tally are the same."""

from collections.abc import Callable, Collection, Mapping, Sequence

from rewards.answers.equality.forms import Form, Kind, Sameness, plainly_equal, sameness

MAX_JUDGED_PAIRS = 256
"""Most pairs of one tally that go to the judge; after them only plain equality counts."""


def leaders(forms: Mapping[str, Form], judge: Callable[[Form, Form], bool]) -> dict[str, str]:
    """For each form, by its text, the text of the one that leads its cluster.

    `judge` decides what is left to mathematics. Its relation need not be transitive: each form,
    shortest first, is compared with the first form of every cluster so far that has none which
    plainly differs, as `x = 5 m` does from `5 km`.
    """
    leader = {text: text for text in forms}
    leader |= _numbers([form for form in forms.values() if form.kind is Kind.NUMBER])
    if not left_open(forms.values()):
        return leader
    leading: list[Form] = []
    members: dict[str, list[Form]] = {}
    for text, first in leader.items():
        members.setdefault(first, []).append(forms[text])
    budget = MAX_JUDGED_PAIRS
    for text in sorted(forms, key=lambda text: (len(text), text)):
        form = forms[text]
        if leader[text] != text or form.kind not in (Kind.NUMBER, Kind.EXPRESSION):
            continue
        for other in leading:
            if not budget:
                break
            if all(plainly_equal(each, form) is not False for each in members[other.text]):
                budget -= 1
                if judge(other, form):
                    leader[text] = other.text
                    members[other.text].append(form)
                    break
        if leader[text] == text:
            leading.append(form)
    return {text: leader[leader[text]] for text in forms}


def left_open(forms: Collection[Form]) -> bool:
    """Whether some of these forms may be the same by mathematics alone."""
    expressions = [form for form in forms if form.kind is Kind.EXPRESSION]
    if not expressions:
        return False
    numbers = sum(form.kind is Kind.NUMBER for form in forms)
    return numbers > 0 or len({form.text for form in expressions}) > 1


def _numbers(numbers: Sequence[Form]) -> dict[str, str]:
    """The leaders of numbers. One that is the same as two which differ, as 5 is the same as €5 and
    $5, is neither: it stays alone, unless it is certain to be one of them."""
    special = [form for form in numbers if form.unit or form.rounded]
    if len(numbers) < 2 or not special:
        return {}
    near: dict[str, dict[str, Sameness]] = {form.text: {} for form in numbers}
    by_text = {form.text: form for form in numbers}
    for one in special:
        for other in numbers:
            if one.text != other.text and (how := sameness(one, other)) is not None:
                near[one.text][other.text] = near[other.text][one.text] = how
    for text, others in near.items():
        if not _alike(others, by_text):
            certain = {name for name, how in others.items() if how is Sameness.CERTAIN}
            kept = certain if _alike(certain, by_text) else set[str]()
            for name in set(others) - kept:
                others.pop(name)
                near[name].pop(text, None)
    leader: dict[str, str] = {}
    for text in sorted(near, key=lambda text: (len(text), text)):
        leader.setdefault(text, text)
        if leader[text] == text:
            for other in near[text]:
                leader.setdefault(other, text)
    return leader


def _alike(texts: Collection[str], forms: Mapping[str, Form]) -> bool:
    """Whether these forms are all the same as each other."""
    named = sorted(texts)
    return all(
        sameness(forms[one], forms[other]) is not None
        for at, one in enumerate(named)
        for other in named[at + 1 :]
    )
