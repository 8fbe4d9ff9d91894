"""Bursts of voted questions: `locust -f loadtests/burst.py --headless`.

Two users, and four times thirty for a while. Ends after -t or a minute; point it at loopback only.
"""

from locust import HttpUser, LoadTestShape, constant, task

from loadtests.asking import HOST, ask

_CALM, _CROWD = 2, 30
_BURSTS, _SECONDS = 4, 60


class VotedQuestions(HttpUser):
    """Asks one voted question after the other."""

    host = HOST
    wait_time = constant(0)

    @task
    def voted(self) -> None:
        """A question; the reply must carry a vote."""
        ask(self, "voted")


class Bursts(LoadTestShape):
    """Number of users over time."""

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many start per second."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        seconds = (options and options.run_time) or _SECONDS
        now, period = self.get_run_time(), seconds / _BURSTS
        if now > seconds:
            return None
        return (_CROWD, 100.0) if now % period > period * 2 / 3 else (_CALM, 100.0)
