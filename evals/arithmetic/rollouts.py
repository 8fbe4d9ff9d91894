"""Rollout groups of the arithmetic model with every signal an estimator can ask for, as a file for
`ratchet score`: `python -m evals.arithmetic.rollouts --out FILE.jsonl`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import orjson
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapter.training.exact_signals import exact_signals
from adapter.training.token_scores import PromptBatch, TokenSequence, predicting_states
from evals.arithmetic.questions import Question, paraphrase, questions
from evals.arithmetic.references import reference_logprobs
from evals.arithmetic.sampler import Decoding, Reply, sample
from evals.arithmetic.tokenizer import prompt_ids
from rewards.answers.math_answers import MathAnswers
from rewards.votes import take_vote

MODEL = Path(__file__).parent / "model"
TOP_LOGPROBS = 20


class Recorder:
    """Samples groups from one model at temperature 1 and measures them."""

    def __init__(self, folder: Path, rollouts: int, seed: int) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._decoding = Decoding(rollouts)
        self._generator = torch.Generator().manual_seed(seed)

    def record(self, asked: Sequence[Question]) -> list[dict[str, Any]]:
        """One group a question, with the rollouts to its paraphrase."""
        groups = self._sample(asked)
        others = self._sample([paraphrase(question) for question in asked])
        return [
            {
                "id": question.id,
                "prompt": question.text,
                "label": question.answer,
                "rollouts": self._measured(question, replies),
                "paraphrase": [self._plain(reply) for reply in other],
            }
            for question, replies, other in zip(asked, groups, others, strict=True)
        ]

    def _sample(self, asked: Sequence[Question]) -> list[list[Reply]]:
        return sample(
            self._model, self._tokenizer, asked, self._decoding, generator=self._generator
        )

    @staticmethod
    def _plain(reply: Reply) -> dict[str, Any]:
        return {"text": reply.text, "finish_reason": "stop" if reply.ended else "length"}

    @torch.no_grad()
    def _measured(self, question: Question, replies: Sequence[Reply]) -> list[dict[str, Any]]:
        prompt = prompt_ids(self._tokenizer, question.text)
        sequences = [TokenSequence(prompt, reply.token_ids) for reply in replies]
        batch = PromptBatch.of(sequences, torch.device("cpu"))
        hidden = predicting_states(self._model, batch)
        head = self._model.get_output_embeddings().weight
        lengths = [len(reply.token_ids) for reply in replies]
        entropies = exact_signals(hidden, head, frozenset({"entropies"}))["entropies"]
        logs = torch.log_softmax(hidden @ head.T, dim=-1)
        chosen = _split(logs.gather(-1, batch.targets[:, None]).squeeze(-1), lengths)
        best = _split(logs.topk(TOP_LOGPROBS, dim=-1).values, lengths)
        reference = take_vote(MathAnswers().tally([reply.answer for reply in replies])).answer
        ids = [reply.token_ids for reply in replies]
        references = reference_logprobs(
            self._model, self._tokenizer, prompt_ids=prompt, rollouts=ids, answer=reference or ""
        )
        return [
            self._plain(reply)
            | {
                "entropy": round(float(entropy.mean()), 6),
                "token_ids": reply.token_ids,
                "logprobs": _rounded(logprobs),
                "top_logprobs": [_rounded(row) for row in top],
                "reference_logprobs": _rounded(probable),
            }
            for reply, entropy, logprobs, top, probable in zip(
                replies, _split(entropies, lengths), chosen, best, references, strict=True
            )
        ]


def _split(values: torch.Tensor, lengths: Sequence[int]) -> Sequence[torch.Tensor]:
    return cast("Sequence[torch.Tensor]", values.split(list(lengths)))


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(min(float(value), 0.0), 6) for value in values]


def main() -> None:
    """Records groups and writes them, a JSON object a line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.arithmetic.rollouts", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--rollouts", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    recorder = Recorder(chosen.model, chosen.rollouts, chosen.seed)
    groups = recorder.record(questions(chosen.seed, chosen.questions))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(b"".join(orjson.dumps(group) + b"\n" for group in groups))
    print(f"{len(groups)} groups of {chosen.rollouts} rollouts in {chosen.out}")


if __name__ == "__main__":
    main()
