"""`ratchet serve | adapt | up`: the commands that run until they are stopped.

Heavy imports stay inside the command that needs them, so that the server never loads torch.
"""

import argparse
import asyncio
import re

from adapter.settings import AdapterSettings
from ratchet.errors import ConfigurationError, as_configuration_error
from ratchet.local.programs import require_engine_rank, usable_port
from ratchet.settings import StackSettings, flags_of, read
from ratchet.signals import until_signalled
from server.settings import ServerSettings


def serve(arguments: argparse.Namespace) -> int:
    """The server process."""
    import uvloop

    from server.api.tenants import KeysInvalid
    from server.http.listeners import serve
    from server.promotion.decision.power import GateCannotDecide
    from server.promotion.labels.labelled_queries import LabelledQueriesInvalid

    settings = read(ServerSettings, flags_of(arguments))
    if settings.admin_port and settings.admin_key is None:
        raise ConfigurationError("admin_port wants a key: set admin_key")
    usable_port(settings.host, settings.port, "port")
    if settings.admin_port:
        usable_port(settings.host, settings.admin_port, "admin_port")
    with as_configuration_error(LabelledQueriesInvalid, GateCannotDecide, KeysInvalid):
        return uvloop.run(serve(settings))


def adapt(arguments: argparse.Namespace) -> int:
    """The learner process."""
    settings = read(AdapterSettings, flags_of(arguments))
    require_engine_rank(settings.lora_rank)
    from ratchet.commands.learner import learn

    return learn(settings)


def up(arguments: argparse.Namespace) -> int:
    """The whole local stack, until Ctrl-C."""
    from ratchet.local.stack import Stack
    from ratchet.recipe import with_recipe

    stack = Stack(with_recipe(read(StackSettings, flags_of(arguments))))

    async def run() -> None:
        if "engine" in stack.children:
            print("starting; the engine takes half a minute, more for a model to fetch", flush=True)
        async with stack.running():
            settings = stack.settings
            print(f"OpenAI API   {stack.url}   (model {settings.model_name!r})")
            if settings.page:
                print(f"live page    http://{settings.host}:{settings.port}/")
            print(f"metrics      http://{settings.host}:{settings.port}/metrics")
            print(f"Redis        {re.sub(r':[^:@/]+@', ':***@', settings.redis_url)}")
            print(f"engine       {settings.engine_url}")
            print(f"logs         {settings.state_dir / 'logs'}")
            print("Ctrl-C drains and stops", flush=True)
            await asyncio.Event().wait()

    asyncio.run(until_signalled(run()))
    return 0
