"""The `ratchet` command: its subcommands, their flags, and what exit status a failure has."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence

from adapter.settings import AdapterSettings, ChannelSettings
from adapter.store.buffer import BufferUnavailable
from adapter.store.releases import UnknownRelease
from adapter.trainer import TrainerLost
from ratchet.commands import dispatch as commands
from ratchet.errors import ConfigurationError, StackFailed
from ratchet.settings import StackSettings, add_flags
from rewards.advantages import ADVANTAGES
from rewards.estimators.registry import ESTIMATORS
from rewards.token_signals import QWEN_VOCABULARY
from server.settings import ServerSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. 2 means that something was set wrong."""
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("ratchet").setLevel(logging.INFO)
    try:
        return int(parsed.run(parsed) or 0)
    except ConfigurationError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    except (StackFailed, UnknownRelease, BufferUnavailable, TrainerLost) as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ratchet", description=__doc__, allow_abbrev=False)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        kind: type[ChannelSettings],
        text: str,
    ) -> argparse.ArgumentParser:
        command = parsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        add_flags(command, kind)
        return command

    add("up", commands.up, StackSettings, "Start the whole local stack; Ctrl-C drains and stops.")
    demo = add("demo", commands.demo, StackSettings, "Watch a small model get better, measured.")
    demo.add_argument("--out", default="runs/demo", help="folder for results [runs/demo]")
    demo.add_argument("--updates", type=int, default=24, help="promoted versions to reach [24]")
    demo.add_argument("--minutes", type=float, default=4.0, help="longest adaptation [4]")
    demo.add_argument(
        "--ignorant", action="store_true", help="use a base that knows nothing: nothing may improve"
    )
    add("serve", commands.serve, ServerSettings, "Run the server.")
    keys = add(
        "keys", commands.keys, ServerSettings, "API keys: make one, or list whose there are."
    )
    keys.add_argument("action", choices=["add", "list"])
    keys.add_argument("name", nargs="?", metavar="NAME", help="of add: who gets the key")
    keys.add_argument("--requests-per-minute", type=float, help="quota of the new key")
    keys.add_argument("--tokens-per-minute", type=float, help="quota of the new key")
    add("adapt", commands.adapt, AdapterSettings, "Run the learner.")
    releases = add(
        "releases", commands.releases, ChannelSettings, "Look at adapter versions, or go back."
    )
    releases.add_argument(
        "action",
        choices=["list", "show", "verify", "promote", "rollback", "pause", "resume"],
        help="verify checks ledger, records and folders; pause stops judging candidates",
    )
    releases.add_argument("version", nargs="?", type=int, help="of show, promote and rollback")
    forget = add(
        "forget", commands.forget, ChannelSettings,
        "Remove a client's groups and every version that learnt from them; record it no more.",
    )  # fmt: skip
    forget.add_argument("client", metavar="CLIENT", help="what its requests have in `user`")
    forget.add_argument("--undo", action="store_true", help="only: record its requests again")
    evaluation = parsers.add_parser("eval", help=_EVAL, description=_EVAL, allow_abbrev=False)
    evaluation.set_defaults(run=commands.evaluate)
    _define_endpoint(evaluation)
    _define_dataset(evaluation, "runs/eval/DATASET-MODEL", "of a rollout [3072; arithmetic 64]")
    _define_ask(parsers.add_parser("ask", help=_ASK, description=_ASK, allow_abbrev=False))
    comparison = parsers.add_parser("compare", help=_COMPARE, description=_COMPARE)
    comparison.set_defaults(run=commands.compare)
    comparison.add_argument("runs", nargs=2, metavar="FOLDER", help="before and after")
    comparison.add_argument("--json", action="store_true", help="numbers in place of a page")
    adapt_on = add(
        "adapt-on", commands.adapt_on, StackSettings,
        "Adapt to a data set without its labels, in epochs, on a stack of its own; measured.",
    )  # fmt: skip
    _define_dataset(adapt_on, "runs/adapt-on/DATASET", "of a rollout [half of max_model_len]")
    adapt_on.add_argument(
        "--epochs", type=int, default=0, help="times through the data set [80, 30 or 10 by size]"
    )
    adapt_on.add_argument("--every", type=int, default=6, help="versions between quick looks [6]")
    adapt_on.add_argument("--minutes", type=float, help="longest adaptation [none]")
    _define_score(parsers.add_parser("score", help=_SCORE, description=_SCORE, allow_abbrev=False))
    add("doctor", commands.doctor, StackSettings, "Say what is missing and how to get it.")
    return parser


_ASK = (
    "Put a data set's questions to a running server, as its users would: something to learn from. "
    "OPENAI_API_KEY is used if it is set."
)
_EVAL = (
    "avg@n, maj@n and pass@k of any OpenAI-compatible endpoint, by the papers' protocol. "
    "OPENAI_API_KEY is used if it is set."
)
_COMPARE = "What one evaluation gained over another, paired question by question."


def _define_endpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", default="http://127.0.0.1:8000/v1", help="the endpoint, with /v1 [%(default)s]"
    )
    command.add_argument("--model", default="ratchet", help="its name there [%(default)s]")


def _define_ask(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=commands.ask)
    _define_endpoint(command)
    _define_questions(command)
    command.add_argument("--epochs", type=int, default=1, help="times through the data set [1]")
    command.add_argument("--minutes", type=float, help="stop after so many [none]")
    command.add_argument("--rate", type=float, default=1.5, help="questions a second at most [1.5]")
    command.add_argument("--max-tokens", type=int, default=64, help="of a rollout [64]")
    command.add_argument(
        "--feedback", action="store_true",
        help="send right answers as feedback: accuracies can be watched; nothing learns from them",
    )  # fmt: skip


def _define_questions(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "dataset",
        metavar="DATASET",
        help="aime2024, amc, math500, gpqa, mmlu-pro, arithmetic, a .jsonl file, or a name on the "
        "Hugging Face Hub",
    )
    command.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN",
        help="the column that holds id, prompt, answer or level",
    )  # fmt: skip
    command.add_argument("--split", default="test", help="of a name on the Hub [test]")
    command.add_argument("--config", help="of a name on the Hub [none]")
    command.add_argument("--source", help="folder or other name to load a preset's data from")
    command.add_argument("--limit", type=int, help="only the first so many questions [all]")


def _define_dataset(command: argparse.ArgumentParser, out: str, max_tokens: str) -> None:
    _define_questions(command)
    command.add_argument("--n", type=int, default=16, help="rollouts a question [16]")
    command.add_argument("--temperature", type=float, default=0.6, help="[0.6]")
    command.add_argument("--top-p", type=float, default=0.95, help="[0.95]")
    command.add_argument("--max-tokens", type=int, help=max_tokens)
    command.add_argument("--concurrency", type=int, default=32, help="questions at a time [32]")
    command.add_argument(
        "--per-request", type=int, default=0, help="rollouts a request asks for; 0 is all [0]"
    )
    command.add_argument("--seconds", type=float, default=600.0, help="wait for a reply [600]")
    command.add_argument("--deadline", type=float, default=1.0, help=_DEADLINE)
    command.add_argument("--out", help=f"folder for results [{out}]")


_DEADLINE = "seconds for one comparison of answers [1]"
_SCORE = "Rewards and advantages of recorded rollout groups; see docs/rewards.md."


def _define_score(score: argparse.ArgumentParser) -> None:
    score.set_defaults(run=commands.score)
    score.add_argument("file", metavar="FILE.jsonl", help="a group a line; - is standard input")
    score.add_argument("--reward", default="majority", choices=ESTIMATORS, help="[majority]")
    score.add_argument("--advantage", default="grpo", choices=ADVANTAGES, help="[grpo]")
    score.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the reward"
    )
    score.add_argument(
        "--std-floor", type=float, default=0.0, help="least std to divide rewards by [0]"
    )
    score.add_argument("--clip", type=float, default=None, help="largest absolute advantage [none]")
    score.add_argument(
        "--batch", type=int, default=8, help="groups that reinforce_pp whitens over [8]"
    )
    score.add_argument(
        "--vocab-size", type=int, default=QWEN_VOCABULARY,
        help="tokens that top_logprobs leave out [%(default)s]",
    )  # fmt: skip
    score.add_argument("--deadline", type=float, default=1.0, help=_DEADLINE)


if __name__ == "__main__":
    sys.exit(main())
