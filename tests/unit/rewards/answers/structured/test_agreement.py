from rewards.answers.structured.agreement import field_agreement, majority_fields, share_of_fields

ANSWERS = [{"/a": "1", "/b": "2"}, {"/a": "1", "/b": "3"}, {"/a": "4"}, {"/a": "1", "/c": "5"}]


def test_the_majority_of_each_field_that_half_have() -> None:
    assert majority_fields(ANSWERS) == {"/a": "1", "/b": "2"}
    assert majority_fields([]) == {}


def test_agreement_is_of_all_answers() -> None:
    assert field_agreement(ANSWERS) == {"/a": 3 / 4, "/b": 1 / 4, "/c": 1 / 4}


def test_shares() -> None:
    assert share_of_fields(ANSWERS[0], ANSWERS[1]) == 1 / 2
    assert share_of_fields({}, {}) == 1.0
    assert share_of_fields({}, {"/a": "1"}) == 0.0
