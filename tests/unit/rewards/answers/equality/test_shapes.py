import pytest

from rewards.answers.equality.shapes import Shape, bare_name, by_place, may_be_one, said


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("2x+1", Shape.VALUE),
        (r"x \in [1,2]", Shape.INTERVAL),
        ("2, 3", Shape.LIST),
        ("2 or 3", Shape.LIST),
        (r"\pm 2", Shape.LIST),
        ("(1,2),(3,4)", Shape.LIST),
        (r"\{2, 3\}", Shape.SET),
        ("{2,3}", Shape.BRACES),
        ("(2,3)", Shape.PAIR),
        (r"\left(2,3\right)", Shape.PAIR),
        ("(2,3,4)", Shape.TUPLE),
        ("[2,3,4]", Shape.TUPLE),
        ("(2,3]", Shape.INTERVAL),
        ("]2,3[", Shape.INTERVAL),
        (r"[0,1)\cup(2,3)", Shape.UNION),
        (r"2 < x \le 3", Shape.INEQUALITY),
        ("x=2 or x=3", Shape.EQUATIONS),
        ("P(X<2)=1/2", Shape.EQUATIONS),
        ("x \\approx 2", Shape.EQUATIONS),
        ("1/3 \\approx 0.33", Shape.VALUE),
    ],
)
def test_shapes(expression: str, shape: Shape) -> None:
    assert said(expression).shape is shape


@pytest.mark.parametrize(
    ("left", "bare"),
    [
        ("x", True), ("x_1", True), (r"\theta", True), ("AB", True), ("|AB|", True), ("f(3)", True),
        ("P(X = 2)", True), ("f'(x)", True), ("a_{37}", True), (r"m\angle A", True),
        ("(x, y)", True), ("A:B", True), (r"\frac{NO}{BO}", True), ("mean", True),
        (r"\vec{v}", True),
        ("2x", False), ("xy", False), ("|x|", False), (r"\ln x", False), (r"\sqrt{x}", False),
        ("1/x", False), ("-x", False), ("x^2", False), ("x+y", False), ("3", False), ("sin", False),
    ],
)  # fmt: skip
def test_what_needs_no_solving_is_a_name(left: str, bare: bool) -> None:
    assert (bare_name(left) is not None) is bare


def test_the_value_of_a_chain_of_equations_is_its_last_side() -> None:
    chain = said("x = 5+5+1 = 1/3 \\approx 0.33")
    assert (list(chain.names), list(chain.values)) == (["x"], ["1/3"])


@pytest.mark.parametrize(
    ("first", "second", "may"),
    [
        ("2, 3", "2<x<3", False),
        ("2, 3", "(2,3)", True),
        ("(2,3)", "2<x<3", True),
        (r"\{2,3\}", "2<x<3", False),
        (r"\{2,3\}", "2, 3", True),
        ("x=2 or x=3", "(2,3)", False),
        ("x=2, y=3", "(2,3)", True),
        ("y=2, x=3", "(2,3)", False),
        ("x=2, y=3", r"\{2,3\}", False),
        ("2x=4", "4", False),
        ("2x=4", "x=2", True),
        ("f(2)=4", "f(3)=4", False),
        ("x=4", "y=4", True),
        ("x=1, y=2", "x=1, z=2", False),
        ("1<2", "2<3", False),
        ("1<2", "1 < 2", True),
        (r"\lambda=2", "2", True),
        ("(x,y)=(1,2)", "x=1, y=2", True),
    ],
)
def test_shapes_that_may_say_the_same(first: str, second: str, may: bool) -> None:
    assert may_be_one(said(first), said(second)) is may
    assert may_be_one(said(second), said(first)) is may


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ("1, 2", "(2, 1)", [("1", "2"), ("2", "1")]),
        ("x=1, y=2", "y=3, x=4", [("1", "4"), ("2", "3")]),
        ("1 or 2", "2 or 1", []),
        ("x=1, x=2", "2, 1", []),
        ("(1,2),(3,4)", "(3,4),(1,2)", []),
        ("1,2", "1.2", []),
    ],
)
def test_values_are_compared_where_they_stand(first: str, second: str, pairs) -> None:
    assert by_place(said(first), said(second)) == pairs
