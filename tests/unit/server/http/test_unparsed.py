"""Who gives way when too much of all requests is still coming."""

from server.http.unparsed import Unparsed, UnparsedBytes


class Sender:
    def __init__(self, budget: UnparsedBytes) -> None:
        self.gone = False
        self.request = Unparsed(budget, self.go)

    def go(self) -> None:
        self.gone = True


def test_the_oldest_that_is_not_whole_gives_way() -> None:
    budget = UnparsedBytes(100)
    whole, slow, honest, late = (Sender(budget) for _ in range(4))
    whole.request.add(40)
    whole.request.whole = True
    slow.request.add(1)
    honest.request.add(30)
    slow.request.add(29)
    assert budget.held == 100 and not slow.gone
    late.request.add(30)
    assert [one.gone for one in (whole, slow, honest, late)] == [False, True, False, False]
    assert budget.held == 100
    honest.request.taken()
    honest.request.taken()
    assert budget.held == 70


def test_who_comes_when_all_others_are_whole_gives_way_itself() -> None:
    budget = UnparsedBytes(100)
    senders = [Sender(budget) for _ in range(3)]
    for one in senders[:2]:
        one.request.add(50)
        one.request.whole = True
    senders[2].request.add(10)
    assert [one.gone for one in senders] == [False, False, True]
    assert budget.held == 100
    for one in senders:
        one.request.taken()
    assert budget.held == 0


def test_one_request_larger_than_everything_gives_way() -> None:
    budget = UnparsedBytes(100)
    sender = Sender(budget)
    sender.request.add(101)
    assert sender.gone and budget.held == 0
