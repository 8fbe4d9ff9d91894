"""A steady load of voted questions: `locust -f loadtests/steady.py --headless -u 8 -t 60s`.

Bound it with -u (users) and -t (time), and point it at loopback only.
"""

from locust import HttpUser, constant, task

from loadtests.asking import HOST, ask


class VotedQuestions(HttpUser):
    """Asks one voted question after the other, as one client would."""

    host = HOST
    wait_time = constant(0)

    @task
    def voted(self) -> None:
        """A question; the reply must carry a vote."""
        ask(self, "voted")
