"""`ratchet up | demo | serve | adapt | releases | keys | forget | score | doctor`."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Sequence

from adapter.buffer import BufferUnavailable
from adapter.releases import UnknownRelease
from adapter.settings import AdapterSettings, ChannelSettings
from adapter.trainer import TrainerLost
from ratchet import commands
from ratchet.settings import ConfigurationError, StackSettings, add_flags
from ratchet.stack import StackFailed
from rewards.advantages import ADVANTAGES
from rewards.estimators import ESTIMATORS
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
    _define_score(parsers.add_parser("score", help=_SCORE, description=_SCORE, allow_abbrev=False))
    add("doctor", commands.doctor, StackSettings, "Say what is missing and how to get it.")
    return parser


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
        "--vocab-size",
        type=int,
        default=151_936,
        help="tokens that top_logprobs leave out [151936]",
    )
    score.add_argument(
        "--deadline", type=float, default=1.0, help="seconds for one comparison of answers [1]"
    )


if __name__ == "__main__":
    sys.exit(main())
