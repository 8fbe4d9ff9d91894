"""The last number, read whole or not at all."""

import pytest

from rewards.answers.reading.values import last_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("first 3, then 1,234 and 5.5", "5.5"),
        ("12+34=46", "46"),
        ("12 + 34 = 46.", "46"),
        ("it is -7", "-7"),
        ("about 1/3 of it", "1/3"),
        ("about 1 / 3 of it", "1 / 3"),
        ("it takes 2½ hours", "2½"),
        ("it takes 2 1/2 hours", "2 1/2"),
        ("number: 6.02e23", "6.02e23"),
        ("number: 6.02 x 10^23", "6.02 x 10^23"),
        ("the size is 10^5", "10^5"),
        ("on 2024-01-15.", "2024-01-15"),
        ("on 3/4/2024.", "3/4/2024"),
        ("at 10:45.", "10:45"),
        ("from 1990-1995", "1990-1995"),
        ("at 192.168.0.1", "192.168.0.1"),
        ("that is 50%", "50%"),
        ("it costs $5", "5"),
        ("a 5th of the 3D room", None),
        ("5 m2", "5"),
        ("x - 2", None),
        ("(x+1)(x-2)", None),
        ("x^5", None),
        ("1,2345", None),
        ("5(x+1)", None),
        ("none", None),
    ],
)
def test_the_last_number(text: str, value: str | None) -> None:
    assert last_value(text) == value
