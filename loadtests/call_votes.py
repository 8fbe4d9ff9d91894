"""Are voted function calls right more often than single ones?

The server votes over rollouts that a model has drawn before (`--model FOLDER`, asked in words), or
that a planted caller makes: each is right with the chance `--skill` of its question, else it slips
in one of the ways that models do. `python -m loadtests.call_votes FILE`, which has the layout of
BFCL's simple category.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.items import DatasetInvalid
from evals.statistics import paired_gain
from loadtests.function_calls import CallQuestion, call_in, read_questions
from rewards.rollouts import ToolCall
from server.api.requests import ChatRequest
from server.engine.scripted import Script, ScriptedEngine, Spoken
from server.parts import Parts
from server.settings import ServerSettings
from server.vote.completions import Stopwatch
from server.vote.session import Caller

_TOKENS, _TEMPERATURE = 96, 0.7
_SPREAD = 0.25
"""How far the planted skill of a question lies from the mean, at most."""


def planted(question: CallQuestion, n: int, skill: float, rng: random.Random) -> list[Spoken]:
    """Rollouts of a caller that knows some questions better than others."""
    chance = min(1.0, max(0.0, skill + rng.uniform(-_SPREAD, _SPREAD)))
    right = {k: v[0] for k, v in question.right.items() if v and v[0] != ""}
    return [
        Spoken(calls=[ToolCall(question.name, json.dumps(right))])
        if rng.random() < chance
        else _slip(question, right, rng)
        for _ in range(n)
    ]


def _slip(question: CallQuestion, right: dict[str, Any], rng: random.Random) -> Spoken:
    """A value that is off, one left out, another function, or no call at all."""
    if not right or rng.random() < 0.15:
        return Spoken("I cannot do that.")
    name = rng.choice(sorted(right))
    wrong = dict(right)
    kind = rng.random()
    if kind < 0.25 and "" not in question.right[name]:
        del wrong[name]
    elif isinstance(value := wrong[name], int | float) and not isinstance(value, bool):
        wrong[name] = value + rng.choice([1, -1, 10])
    else:
        wrong[name] = f"{value} {rng.choice(['city', 'units', 'x'])}"
    called = f"{question.name}_2" if kind > 0.95 else question.name
    return Spoken(calls=[ToolCall(called, json.dumps(wrong))])


def sampled(questions: Sequence[CallQuestion], n: int, folder: Path) -> list[list[Spoken]]:
    """Rollouts of a model in that folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evals.arithmetic.questions import Question
    from evals.arithmetic.sampler import Decoding
    from evals.smollm2.chat_sampler import ChatSampler
    from rewards.answer_choice import AnswerChoice

    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    sampler = ChatSampler(
        model, AutoTokenizer.from_pretrained(folder), 0,
        choice=AnswerChoice("tool_calls"), max_tokens=_TOKENS,
    )  # fmt: skip
    asked = [Question(one.id, one.prompt, "", 0, "") for one in questions]
    found: list[list[Spoken]] = []
    for group in sampler.groups(asked, Decoding(n, _TEMPERATURE)):
        calls = [(rollout.text, call_in(rollout.text)) for rollout in group.rollouts]
        found.append([Spoken(calls=[call]) if call else Spoken(text) for text, call in calls])
    return found


async def voted(questions: Sequence[CallQuestion], drawn: Sequence[Sequence[Spoken]]) -> list[bool]:
    """Whether the call that the server serves is right, by question."""
    engine = ScriptedEngine(lambda _model, _prompt, _n: [])
    n = len(drawn[0])
    settings = ServerSettings(
        redis_url="memory://", rollouts=n, train_rollouts=0, vote_confidence=1.0
    )
    parts, right = Parts(settings, engine=engine), list[bool]()
    async with parts.running():
        for question, spoken in zip(questions, drawn, strict=True):
            engine.script = _saying(spoken)
            body = {"model": "ratchet", "messages": [{"role": "user", "content": question.text}],
                    "tools": [question.tool]}  # fmt: skip
            reply = await parts.completions.reply(
                ChatRequest.model_validate(body), Caller(), Stopwatch()
            )
            calls: list[Any] = reply["choices"][0]["message"].get("tool_calls") or []
            made = [call["function"] for call in calls]
            found = [ToolCall(call["name"], call["arguments"]) for call in made]
            right.append(len(found) == 1 and question.answered_by(found[0]))
    return right


def _saying(spoken: Sequence[Spoken]) -> Script:
    return lambda _model, _prompt, n: spoken[:n]


def singles(questions: Sequence[CallQuestion], drawn: Sequence[Sequence[Spoken]]) -> list[float]:
    """The share of a question's rollouts that are right."""
    return [
        sum(len(one.calls) == 1 and question.answered_by(one.calls[0]) for one in spoken)
        / len(spoken)
        for question, spoken in zip(questions, drawn, strict=True)
    ]


def main() -> int:
    """Prints a row; 1 if votes are worse by an interval that excludes 0."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.call_votes", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", type=Path, help="folder of a model that is asked in words")
    parser.add_argument("--skill", type=float, default=0.5, help="of the planted caller")
    parser.add_argument("--rollouts", type=int, default=8)
    parser.add_argument("--questions", type=int, default=400, help="the first so many")
    chosen = parser.parse_args()
    try:
        questions = read_questions(chosen.file)[: chosen.questions]
    except (DatasetInvalid, OSError) as error:
        parser.error(str(error))
    rng = random.Random(0)
    if chosen.model:
        drawn = sampled(questions, chosen.rollouts, chosen.model)
    else:
        drawn = [planted(one, chosen.rollouts, chosen.skill, rng) for one in questions]
    single = singles(questions, drawn)
    served = [float(right) for right in asyncio.run(voted(questions, drawn))]
    gain, (low, high) = paired_gain(single, served)
    caller = chosen.model.name if chosen.model else f"planted, {chosen.skill:g}"
    print("| caller | questions | rollouts | a rollout right | the voted call | gain, 95% |")
    print("|---|---|---|---|---|---|")
    shares = [100 * sum(rows) / len(rows) for rows in (single, served)]
    print(
        f"| {caller} | {len(questions)} | {chosen.rollouts} | {shares[0]:.1f}% | {shares[1]:.1f}% "
        f"| {100 * gain:+.1f} ({100 * low:+.1f} … {100 * high:+.1f}) |"
    )
    return int(high < 0)


if __name__ == "__main__":
    sys.exit(main())
