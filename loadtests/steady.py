"""A steady load of voted questions: `locust -f loadtests/steady.py --headless -u 8 -t 60s`.

Bound it with -u (users) and -t (time), and point it at loopback only.
"""

import itertools

from locust import HttpUser, constant, task

from evals.arithmetic.questions import questions

_QUESTIONS = itertools.cycle(questions(seed=11, count=2000))


class VotedQuestions(HttpUser):
    """Asks one voted question after the other, as one client would."""

    host = "http://127.0.0.1:8000"
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """A question; the reply must carry a vote."""
        body = {
            "model": "ratchet",
            "messages": [{"role": "user", "content": next(_QUESTIONS).text}],
            "max_tokens": 48,
        }
        with self.client.post("/v1/chat/completions", json=body, catch_response=True) as reply:
            if reply.status_code == 200 and reply.json()["ratchet"]["rollouts"] < 1:
                reply.failure("no vote")
