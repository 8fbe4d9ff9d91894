import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.learner.prompt_print import PromptPrint
from adapter.learner.quota import InfluenceLimits, Member, refusal, surplus
from adapter.store.buffer import Outcome

PROMPTS = [PromptPrint.of(text) for text in ("red", "green", "blue")]


def batch(*members: tuple[str, int]) -> list[Member]:
    return [Member(client, tokens, PROMPTS[0]) for client, tokens in members]


def test_groups_of_one_client() -> None:
    limits = InfluenceLimits(client_groups=2)
    members = batch(("a", 1), ("b", 1), ("a", 1))
    assert refusal(members, "a", PROMPTS[1], limits) == Outcome.CLIENT_QUOTA
    assert refusal(members, "b", PROMPTS[1], limits) is None
    assert refusal(members, "c", PROMPTS[1], limits) is None


def test_copies_of_one_prompt() -> None:
    members = [Member("a", 1, PROMPTS[0]), Member("b", 1, PROMPTS[1]), Member("c", 1, PROMPTS[0])]
    copy = Outcome.NEAR_DUPLICATE
    for limit, expected in ((1, [copy, copy, None]), (2, [copy, None, None]),
                            (3, [None, None, None])):  # fmt: skip
        limits = InfluenceLimits(duplicates=limit)
        assert [refusal(members, "d", prompt, limits) for prompt in PROMPTS] == expected


def test_a_key_s_holder_is_one_client_whatever_users_it_names() -> None:
    limits = InfluenceLimits(client_groups=2)
    members = batch(("a/x", 1), ("b/x", 1), ("a", 1))
    assert refusal(members, "a/y", PROMPTS[1], limits) == Outcome.CLIENT_QUOTA
    assert refusal(members, "b/y", PROMPTS[1], limits) is None
    assert refusal(members, "a.y", PROMPTS[1], limits) is None


def test_shares_go_by_key_first_and_by_user_second() -> None:
    limits = InfluenceLimits(client_token_share=0.5)
    # a has 60 of 100 in all; of its users y has most, and of y's groups the first is longer
    members = batch(("a/x", 25), ("b", 40), ("a/y", 20), ("a/y", 15))
    assert surplus(members, limits) == 2


def test_one_client_s_variants_of_a_prompt() -> None:
    limits, other = InfluenceLimits(variants=1), PromptPrint.of("something else")
    first, second = (PromptPrint.of(f"Is it red? (id {number})") for number in (1, 2))
    assert not first.like(second)
    members = [Member("a/x", 1, first)]
    assert refusal(members, "a/y", second, limits) == Outcome.NEAR_DUPLICATE
    assert refusal(members, "b", second, limits) is None
    assert refusal(members, "a", other, limits) is None
    assert refusal(members, "a", second, InfluenceLimits()) is None


def test_no_limits_by_default() -> None:
    members = batch(*[("a", 100)] * 8)
    assert refusal(members, "a", PROMPTS[0], InfluenceLimits()) is None
    assert surplus(members, InfluenceLimits()) is None


@pytest.mark.parametrize(
    ("members", "share", "expected"),
    [
        # 50 of 100 is no more than half
        ([("a", 20), ("b", 50), ("a", 30)], 0.5, None),
        # 51 of 100 is: the longest of b's goes
        ([("b", 20), ("a", 49), ("b", 31)], 0.5, 2),
        # of equals the last
        ([("b", 30), ("a", 20), ("b", 30)], 0.5, 2),
        # a and b both have too much: the one with more is first
        ([("a", 40), ("b", 41), ("c", 19)], 0.3, 1),
        # only one client: it never fits below 1
        ([("a", 1), ("a", 1)], 0.9, 1),
        # groups without a token weigh nothing
        ([("a", 0), ("b", 0)], 0.1, None),
    ],
)
def test_shares_by_hand(members: list[tuple[str, int]], share: float, expected: int | None) -> None:
    assert surplus(batch(*members), InfluenceLimits(client_token_share=share)) == expected


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 3000)), min_size=1, max_size=40),
    st.integers(1, 100),
)
def test_a_batch_without_surplus_is_within_the_limit_and_nothing_is_left_out_in_vain(
    members: list[tuple[str, int]], percent: int
) -> None:
    limits = InfluenceLimits(client_token_share=percent / 100)
    left = batch(*members)
    while (at := surplus(left, limits)) is not None:
        out = left[at]
        share = sum(m.tokens for m in left if m.client == out.client)
        assert share * 100 > percent * sum(m.tokens for m in left)  # it was over
        left.pop(at)
        if not left:
            break
    for client in {member.client for member in left}:
        share = sum(m.tokens for m in left if m.client == client)
        assert share * 100 <= percent * sum(m.tokens for m in left)
