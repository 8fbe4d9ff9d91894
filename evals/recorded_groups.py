"""Rollout groups recorded in a file, one JSON object a line, as evidence for an estimator."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import orjson

from rewards.answers.kind import AnswerKind
from rewards.answers.reading.reasoning import said_by
from rewards.answers.reading.statements import usable
from rewards.answers.tally import Tally
from rewards.estimators.evidence import Chosen, Evidence, Label, Need, Signal, label_of
from rewards.looks import Look, QuestionHistory, noise
from rewards.rollouts import ENDED, FINISHED, Rollout, ToolCall
from rewards.token_signals import (
    QWEN_VOCABULARY,
    confidence,
    entropy_estimate,
    mean_over_tokens,
    self_certainty,
)
from rewards.votes import take_vote

Json = Mapping[str, Any]

_NUMBERS: frozenset[Signal] = frozenset(
    {"entropies", "topk_entropies", "confidences", "self_certainties", "reference_probabilities"}
)


class BadInput(ValueError):
    """A line that cannot be scored; the message names the field."""


@dataclass(frozen=True, slots=True)
class RecordedGroup:
    """One line. `tokens` [M] counts each rollout's tokens, 1 where they were not recorded;
    `token_ids` is there if every rollout has them."""

    id: Any
    evidence: Evidence
    tokens: Sequence[int]
    token_ids: Sequence[Sequence[int]] | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads lines, with the signals in `needs`."""

    kind: AnswerKind
    needs: frozenset[Need]
    vocab_size: int = QWEN_VOCABULARY
    history: QuestionHistory = field(default_factory=QuestionHistory)
    numbers: Iterator[int] = field(default_factory=count)

    def read(self, line: bytes) -> RecordedGroup:
        """One group; one with the id of an earlier one is another look at its question. Raises
        BadInput."""
        group = _parsed(line)
        if "id" not in group:
            raise BadInput("id: is missing")
        rollouts = _rollouts(group, "rollouts")
        answers = self._answers(rollouts, "rollouts")
        tally = self.kind.tally(answers)
        signals: dict[Signal, Sequence[float]] = {
            name: self._signal(name, rollouts, tally) for name in _NUMBERS & self.needs
        }
        if "noise" in self.needs:
            signals["noise"] = noise(line, len(tally))
        evidence = Evidence(
            tally,
            signals,
            paraphrase=self._paraphrase(group, tally),
            truth=label_of(self.kind, tally, _text(group.get("label"), "label")),
            texts=self._texts(rollouts, tally),
            looks=self._looks(group, tally),
            reflection=self._reflection(group, tally),
        )
        ids = [_token_ids(rollout, f"rollouts[{i}]") for i, rollout in enumerate(rollouts)]
        known = [each for each in ids if each is not None]
        return RecordedGroup(
            group["id"],
            evidence,
            [1 if each is None else len(each) for each in ids],
            known if len(known) == len(ids) else None,
        )

    def _signal(self, name: Signal, rollouts: Sequence[Json], tally: Tally) -> list[float]:
        """A number for each rollout with a vote, 0 for the others."""
        return [
            0.0 if cluster is None else self._measure(name, rollout, f"rollouts[{index}]")
            for index, (rollout, cluster) in enumerate(zip(rollouts, tally.clusters, strict=True))
        ]

    def _measure(self, name: Signal, rollout: Json, where: str) -> float:
        if name == "entropies":
            return _number(rollout.get("entropy"), f"{where}.entropy")
        if name == "reference_probabilities":
            logprobs = _vector(rollout.get("reference_logprobs"), f"{where}.reference_logprobs")
            return math.fsum(map(math.exp, logprobs)) / len(logprobs)
        field = f"{where}.top_logprobs"
        rows = [_vector(row, f"{field}[{i}]") for i, row in _listed(rollout, field)]
        try:
            if name == "confidences":
                return mean_over_tokens(confidence, rows)
            measure = entropy_estimate if name == "topk_entropies" else self_certainty
            return mean_over_tokens(lambda row: measure(row, self.vocab_size), rows)
        except ValueError as error:
            raise BadInput(f"{field}: {error}") from None

    def _answers(self, rollouts: Sequence[Json], field: str) -> list[str | None]:
        return [_answer(self.kind, each, f"{field}[{i}]") for i, each in enumerate(rollouts)]

    def _texts(self, rollouts: Sequence[Json], tally: Tally) -> list[str] | None:
        """What each rollout with a vote says."""
        if "texts" not in self.needs:
            return None
        found: list[str] = []
        for index, (rollout, cluster) in enumerate(zip(rollouts, tally.clusters, strict=True)):
            calls = _calls(rollout, f"rollouts[{index}].tool_calls")
            text = rollout.get("text", "" if calls or cluster is None else None)
            if not isinstance(text, str):
                raise BadInput(f"rollouts[{index}].text: is missing or no text")
            found.append(said_by(Rollout(text, (), (), FINISHED, calls=calls)))
        return found

    def _looks(self, group: Json, tally: Tally) -> Sequence[Look] | None:
        if "looks" not in self.needs:
            return None
        question = json.dumps(group["id"])
        return self.history.look(question, str(next(self.numbers)), self.kind, tally)

    def _reflection(self, group: Json, tally: Tally) -> Chosen | None:
        if "reflection" not in group:
            return None
        answer = usable(_text(group["reflection"], "reflection"))
        return Chosen(label_of(self.kind, tally, answer))

    def _paraphrase(self, group: Json, tally: Tally) -> Label | None:
        if "paraphrase" not in group:
            return None
        rollouts = _rollouts(group, "paraphrase")
        answers = self._answers(rollouts, "paraphrase")
        return label_of(self.kind, tally, take_vote(self.kind.tally(answers)).answer)


def _parsed(line: bytes) -> Json:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:  # Python's own writer emits NaN and Infinity, which JSON does not have
            data = json.loads(line)
            orjson.dumps(data)  # but half a surrogate pair could not be written back
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput(f"not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadInput('must be an object with "id" and "rollouts"')
    return cast(Json, data)


def _rollouts(group: Json, field: str) -> list[Json]:
    rollouts = group.get(field)
    if not isinstance(rollouts, list):
        raise BadInput(f"{field}: must be a list of objects")
    for index, rollout in enumerate(cast("list[Any]", rollouts)):
        if not isinstance(rollout, dict):
            raise BadInput(f"{field}[{index}]: must be an object")
    return cast("list[Json]", rollouts)


def _answer(kind: AnswerKind, rollout: Json, where: str) -> str | None:
    """The recorded answer, or that of the text; None if truncated or looping."""
    finish_reason = rollout.get("finish_reason", FINISHED)
    if finish_reason not in ENDED:
        return None
    if "answer" in rollout:
        return usable(_text(rollout["answer"], f"{where}.answer"))
    calls = _calls(rollout, f"{where}.tool_calls")
    text = rollout.get("text", "" if calls else None)
    if not isinstance(text, str):
        raise BadInput(f'{where}: needs "text", "tool_calls" or "answer"')
    return kind.read(Rollout(text, (), (), FINISHED, calls=calls))


def _calls(rollout: Json, where: str) -> tuple[ToolCall, ...]:
    """Its `tool_calls`, each with the name and arguments of a function, as OpenAI has them."""
    listed = rollout.get("tool_calls") or ()
    if not isinstance(listed, list | tuple):
        raise BadInput(f"{where}: must be a list")
    calls: list[ToolCall] = []
    for at, call in enumerate(cast("Sequence[Any]", listed)):
        function: Any = cast("Json", call).get("function", call) if isinstance(call, dict) else {}
        if not isinstance(function, dict):
            function = {}
        name, arguments = (cast("Json", function).get(each) for each in ("name", "arguments"))
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise BadInput(f"{where}[{at}]: needs the texts name and arguments")
        calls.append(ToolCall(name, arguments))
    return tuple(calls)


def _text(value: Any, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{where}: must be text, a number or null")
    return str(value)


def _token_ids(rollout: Json, where: str) -> Sequence[int] | None:
    ids = rollout.get("token_ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(each) is int for each in cast("list[Any]", ids)):
        raise BadInput(f"{where}.token_ids: must be a list of integers")
    return cast("list[int]", ids)


def _listed(rollout: Json, field: str) -> enumerate[Any]:
    positions = rollout.get("top_logprobs")
    if not isinstance(positions, list) or not positions:
        raise BadInput(f"{field}: must be a list of positions, each a list of log-probabilities")
    return enumerate(cast("list[Any]", positions))


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{where}: must be a finite number, not {json.dumps(value)[:40]}")
    return float(value)


def _vector(value: Any, where: str) -> list[float]:
    if not isinstance(value, list) or not value:
        raise BadInput(f"{where}: must be a list of numbers")
    return [_number(each, f"{where}[{i}]") for i, each in enumerate(cast("list[Any]", value))]
