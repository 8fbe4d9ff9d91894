"""Bursts of voted questions: `locust -f loadtests/burst.py --headless`.

Two users, then thirty for five seconds, every fifteen seconds for a minute. It ends by itself;
point it at loopback only.
"""

from locust import HttpUser, LoadTestShape, constant, task

from loadtests.asking import HOST, ask

_CALM, _CROWD = 2, 30
_PERIOD, _BURST, _END = 15.0, 5.0, 60.0


class VotedQuestions(HttpUser):
    """Asks one voted question after the other."""

    host = HOST
    wait_time = constant(0)

    @task
    def voted(self) -> None:
        """A question; the reply must carry a vote."""
        ask(self, "voted")


class Bursts(LoadTestShape):
    """How many users there are at what time."""

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many to start a second."""
        now = self.get_run_time()
        if now > _END:
            return None
        return (_CROWD, 100.0) if now % _PERIOD > _PERIOD - _BURST else (_CALM, 100.0)
