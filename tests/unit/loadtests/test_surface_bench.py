"""The table of what surfaces cost."""

from loadtests.surface_bench import Cost, Way, table

VOTED, STREAMED = Way("voted", 8, False), Way("streamed", 1, True)


def test_what_misses_its_target_is_bold() -> None:
    costs = {
        VOTED: {"chat": Cost(1.0, 2.0), "responses": Cost(1.2, 9.0), "messages": Cost(1.3, 2.0)},
        STREAMED: {"chat": Cost(2.0, 1.0), "responses": Cost(2.0, 3.0), "messages": Cost(2.2, 3.5)},
    }
    assert table(costs).splitlines()[2:] == [
        "| voted | chat | 1.00 | 1.00 | 2.00 |",
        "| voted | responses | 1.20 | 1.20 | 9.00 |",  # not streamed: there is no first text
        "| voted | messages | 1.30 | **1.30** | 2.00 |",
        "| streamed | chat | 2.00 | 1.00 | 1.00 |",
        "| streamed | responses | 2.00 | 1.00 | 3.00 |",
        "| streamed | messages | 2.20 | 1.10 | **3.50** |",
    ]
