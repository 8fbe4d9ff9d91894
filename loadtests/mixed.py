"""All kinds of requests at once: `locust -f loadtests/mixed.py --headless -u 8 -t 60s`.

Bound it with -u (users) and -t (time), and point it at loopback only.
"""

from locust import HttpUser, between, task

from loadtests.asking import HOST, ask, ask_streaming


class AllKinds(HttpUser):
    """Asks voted, single and streamed questions in turn, with short pauses."""

    host = HOST
    wait_time = between(0.0, 0.2)

    @task(4)
    def voted(self) -> None:
        """A vote."""
        ask(self, "voted")

    @task(2)
    def adaptive(self) -> None:
        """A vote of as few rollouts as will do."""
        ask(self, "adaptive", ratchet={"rollouts_min": 4, "confidence": 0.95})

    @task(2)
    def single(self) -> None:
        """One rollout, passed through."""
        ask(self, "single", ratchet={"rollouts": 1})

    @task(2)
    def streamed_vote(self) -> None:
        """A vote, streamed."""
        ask_streaming(self, "streamed vote")

    @task(1)
    def streamed_first(self) -> None:
        """The first rollout, streamed, and the vote."""
        ask_streaming(self, "streamed first", ratchet={"stream": "first"})

    @task(2)
    def streamed_single(self) -> None:
        """One rollout, streamed."""
        ask_streaming(self, "streamed single", ratchet={"rollouts": 1})
