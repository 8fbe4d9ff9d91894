"""Requests of Locust's users, and which replies count as failures."""

import itertools
import json
from typing import Any

from locust import HttpUser

from evals.arithmetic.questions import questions

_QUESTIONS = itertools.cycle(questions(seed=11, count=2000))
HOST = "http://127.0.0.1:8000"


def ask(user: HttpUser, name: str, **more: Any) -> None:
    """One question; the reply must have rollouts."""
    messages = [{"role": "user", "content": next(_QUESTIONS).text}]
    body = {"model": "ratchet", "messages": messages, "max_tokens": 48, **more}
    with user.client.post(
        "/v1/chat/completions", json=body, name=name, catch_response=True
    ) as reply:
        if reply.status_code != 200:
            reply.failure(f"status {reply.status_code}")
        elif reply.json()["ratchet"]["rollouts"] < 1:
            reply.failure("no rollouts")


def ask_streaming(user: HttpUser, name: str, **more: Any) -> None:
    """One question, streamed; the last chunk must have the vote, and `[DONE]` must follow."""
    messages = [{"role": "user", "content": next(_QUESTIONS).text}]
    body = {"model": "ratchet", "messages": messages, "max_tokens": 48, "stream": True, **more}
    with user.client.post(
        "/v1/chat/completions", json=body, name=name, catch_response=True, stream=True
    ) as reply:
        events = [line[6:] for line in reply.iter_lines() if line.startswith(b"data: ")]
        if reply.status_code != 200:
            reply.failure(f"status {reply.status_code}")
        elif events[-1] != b"[DONE]" or "ratchet" not in json.loads(events[-2]):
            reply.failure("the stream broke off")
