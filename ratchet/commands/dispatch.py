"""What each command of `ratchet` does, once parsed: read settings, wire, run.

Heavy imports stay inside the command that needs them, so that the server never loads torch.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import BinaryIO

from adapter.settings import AdapterSettings, ChannelSettings
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.audit import faults
from adapter.store.channels import open_releases
from adapter.store.releases import BASE, AdapterRelease, promote_by_hand, rollback
from ratchet.errors import ConfigurationError
from ratchet.local.programs import claim
from ratchet.settings import StackSettings, flags_of, read
from ratchet.signals import until_signalled
from server.settings import ServerSettings


def serve(arguments: argparse.Namespace) -> int:
    """The server process."""
    import uvloop

    from server.api.tenants import KeysInvalid
    from server.http.listeners import serve as listen
    from server.promotion.labelled_queries import LabelledQueriesInvalid

    settings = read(ServerSettings, flags_of(arguments))
    if settings.admin_port and settings.admin_key is None:
        raise ConfigurationError("admin_port wants a key: set admin_key")
    if settings.port:
        claim(settings.host, settings.port, "port")
    if settings.admin_port:
        claim(settings.host, settings.admin_port, "admin_port")
    try:
        return uvloop.run(listen(settings))
    except (LabelledQueriesInvalid, KeysInvalid) as error:
        raise ConfigurationError(str(error)) from None


def keys(arguments: argparse.Namespace) -> int:
    """Make a key, or list whose keys there are."""
    from server.api.tenants import KeysInvalid, add_key, read_keys

    settings = read(ServerSettings, flags_of(arguments))
    if settings.keys_file is None:
        raise ConfigurationError("which file? set keys_file")
    limits = {
        "requests_per_minute": arguments.requests_per_minute,
        "tokens_per_minute": arguments.tokens_per_minute,
    }
    try:
        if arguments.action == "add":
            if arguments.name is None:
                raise ConfigurationError("whose key? `ratchet keys add NAME`")
            given = {name: value for name, value in limits.items() if value is not None}
            print(add_key(settings.keys_file, arguments.name, **given))
            print("shown this once; only its hash is kept", file=sys.stderr)
        else:
            for line in read_keys(settings.keys_file):
                print(line.model_dump_json(exclude_defaults=True, exclude={"sha256"}))
    except (KeysInvalid, OSError) as error:
        raise ConfigurationError(str(error)) from None
    return 0


def adapt(arguments: argparse.Namespace) -> int:
    """The learner process."""
    settings = read(AdapterSettings, flags_of(arguments))
    from ratchet.commands.learner import learn

    return learn(settings)


def up(arguments: argparse.Namespace) -> int:
    """The whole local stack, until Ctrl-C."""
    from ratchet.local.stack import Stack
    from ratchet.recipe import fitted

    stack = Stack(fitted(read(StackSettings, flags_of(arguments))))

    async def run() -> None:
        print("starting; the engine takes about half a minute", flush=True)
        async with stack.running():
            settings = stack.settings
            print(f"OpenAI API   {stack.url}   (model {settings.model_name!r})")
            if settings.page:
                print(f"live page    http://{settings.host}:{settings.port}/")
            print(f"metrics      http://{settings.host}:{settings.port}/metrics")
            print(f"Redis        {_without_password(settings.redis_url)}")
            print(f"logs         {settings.state_dir / 'logs'}")
            print("Ctrl-C drains and stops", flush=True)
            await asyncio.Event().wait()

    asyncio.run(until_signalled(run()))
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Start a stack, adapt to unlabelled questions, measure before and after."""
    from ratchet.commands.demonstration import demonstrate

    return asyncio.run(until_signalled(demonstrate(arguments))) or 0


def ask(arguments: argparse.Namespace) -> int:
    """Questions to a running server."""
    from ratchet.commands.asking import ask

    return asyncio.run(until_signalled(ask(arguments))) or 0


def evaluate(arguments: argparse.Namespace) -> int:
    """The papers' protocol on an endpoint."""
    from ratchet.commands.evaluation import evaluate

    return asyncio.run(until_signalled(evaluate(arguments))) or 0


def compare(arguments: argparse.Namespace) -> int:
    """Two evaluations, paired."""
    from ratchet.commands.evaluation import compare_runs

    return compare_runs(arguments)


def adapt_on(arguments: argparse.Namespace) -> int:
    """The papers' offline setting on a stack of its own."""
    from ratchet.commands.adapt_on import adapt_on

    return asyncio.run(until_signalled(adapt_on(arguments))) or 0


def releases(arguments: argparse.Namespace) -> int:
    """Look at releases, check them, or move the live pointer by hand."""
    settings = read(ChannelSettings, flags_of(arguments))
    return asyncio.run(_releases(settings, arguments.action, arguments.version))


def forget(arguments: argparse.Namespace) -> int:
    """Forget a client, or only record it again."""
    settings = read(ChannelSettings, flags_of(arguments))
    from ratchet.commands.forgetting import forget_client

    return asyncio.run(forget_client(settings, arguments.client, arguments.undo))


def score(arguments: argparse.Namespace) -> int:
    """Score recorded groups from a file or standard input."""
    from evals.recorded_groups import BadInput
    from evals.scores import Scorer
    from rewards.answers.math_answers import MathAnswers
    from rewards.answers.math_judge import MathJudge
    from rewards.estimators.registry import build, options_of

    try:
        estimator = build(arguments.reward, options_of(arguments.set))
    except ValueError as error:
        raise ConfigurationError(f"--set: {error}") from None
    with MathJudge(arguments.deadline) as judge, _opened(arguments.file) as lines:
        scorer = Scorer(
            estimator,
            MathAnswers(judge),
            arguments.advantage,
            arguments.std_floor,
            arguments.clip,
            max(1, arguments.batch),
            arguments.vocab_size,
        )
        try:
            for line in scorer.score(lines):
                sys.stdout.buffer.write(line)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has seen enough
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


def doctor(arguments: argparse.Namespace) -> int:
    """Findings, one a line; exit 1 if something is missing."""
    from ratchet.doctor import examine

    findings = list(examine(read(StackSettings, flags_of(arguments))))
    print("\n".join(map(str, findings)))
    return 0 if all(finding.fine for finding in findings) else 1


def _without_password(url: str) -> str:
    return re.sub(r":[^:@/]+@", ":***@", url)


async def _releases(settings: ChannelSettings, action: str, version: int | None) -> int:
    store = open_releases(settings)
    try:
        match action:
            case "rollback":
                print(_moved(*await rollback(store, version)))
            case "promote":
                if version is None:
                    raise ConfigurationError("promote which version? `releases promote N`")
                print(_moved(await promote_by_hand(store, version), version))
            case "pause" | "resume":
                await store.pause("paused by hand" if action == "pause" else None)
                print("candidates wait" if action == "pause" else "candidates are judged again")
            case "verify":
                found = [
                    fault async for fault in faults(store, AdapterFolders(settings.adapters_dir))
                ]
                print("\n".join(found) or "ledger, records and folders agree")
                return int(bool(found))
            case "show":
                shown = version if version is not None else await store.live()
                print(json.dumps((await store.get(shown)).shown(), indent=2))
            case _:
                for release in await store.all():
                    print(_line(release))
                live = await store.live()
                print(f"live: {_name(live)}")
                if why := await store.paused():
                    print(f"candidates wait: {why}")
    finally:
        await store.close()
    return 0


def _moved(old: int, new: int) -> str:
    return f"live: {_name(old)} -> {_name(new)}"


def _name(version: int) -> str:
    return "base" if version == BASE else f"v{version}"


def _line(release: AdapterRelease) -> str:
    when = datetime.fromtimestamp(release.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    samples = len(release.sample_ids)
    return (
        f"v{release.version:<5} {release.state.value:<10} parent v{release.parent:<5} {when}"
        f"  {samples:>3} groups  {release.folder}  {release.reason}"
    )
