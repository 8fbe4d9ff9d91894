"""What has come of requests that the server has not read yet: bounded over all connections."""

from collections.abc import Callable


class Unparsed:
    """The bytes of one request that wait in memory. `give_way` breaks the request off."""

    def __init__(self, budget: "UnparsedBytes", give_way: Callable[[], None]) -> None:
        self._budget, self.give_way = budget, give_way
        self.held = 0
        self.whole = False
        """Whether all of it has come: then it is read at once, and does not give way."""

    def add(self, count: int) -> None:
        """Some more have come."""
        self.held += count
        self._budget.add(self, count)

    def taken(self) -> None:
        """None wait any more: they are read, or the request is over."""
        self._budget.remove(self)
        self.held = 0


class UnparsedBytes:
    """Those of all connections of a process, at most `limit`: for more, the request gives way that
    has taken the longest to come. So a whole one is never refused for those that never end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        self._requests: dict[Unparsed, None] = {}

    def add(self, request: Unparsed, count: int) -> None:
        """Count bytes of a request."""
        self._requests[request] = None  # in the order of their first bytes
        self.held += count
        while self.held > self._limit:
            oldest = next((one for one in self._requests if not one.whole), None)
            if oldest is None:
                request.give_way()
                request.taken()
                return
            oldest.give_way()
            oldest.taken()

    def remove(self, request: Unparsed) -> None:
        """Count none of this request any more."""
        if request in self._requests:
            del self._requests[request]
            self.held -= request.held
