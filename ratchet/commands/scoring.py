"""`ratchet score`: rewards and advantages of recorded rollout groups."""

import argparse
import os
import sys
from typing import BinaryIO

from evals.recorded_groups import BadInput
from evals.scores import Scorer
from ratchet.commands.answers import kind_from
from ratchet.errors import ConfigurationError
from rewards.answers.math_judge import MathJudge
from rewards.estimators.registry import build, options_of


def score(arguments: argparse.Namespace) -> int:
    """Score the groups of a file or of standard input, a line each."""
    try:
        estimator = build(arguments.reward, options_of(arguments.set))
    except ValueError as error:
        raise ConfigurationError(f"--set: {error}") from None
    with MathJudge(arguments.deadline) as judge, _opened(arguments.file) as lines:
        scorer = Scorer(
            estimator,
            kind_from(arguments.answer, judge),
            advantage=arguments.advantage,
            std_floor=arguments.std_floor,
            clip=arguments.clip,
            batch=max(1, arguments.batch),
            vocab_size=arguments.vocab_size,
        )
        try:
            for line in scorer.score(lines):
                sys.stdout.buffer.write(line)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of the pipe has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except BadInput as error:
            sys.stdout.flush()
            raise ConfigurationError(f"{arguments.file}: {error}") from None
    return 0


def _opened(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return open(file, "rb")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
