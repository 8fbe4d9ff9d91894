"""Starts vLLM in a container with the settings of deploy/.env, as `ratchet up` does elsewhere.

vLLM's own image has no Ratchet in it, so this file is mounted there and needs Python alone; a test
holds it against `ratchet/local/programs.py` for many settings. Further arguments go to vLLM.
"""

import importlib.metadata
import math
import os
import sys
from collections.abc import Mapping, Sequence

PORT = 8100
_TARGETS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,qkv_proj,gate_up_proj"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class Refused(Exception):
    """A setting under which vLLM would not start."""


def command(settings: Mapping[str, str], *, cpu: bool) -> list[str]:
    """vLLM's command line by environment variables `RATCHET_…`. Raises Refused naming one."""
    model, rank = settings.get("RATCHET_MODEL", ""), _number(settings, "LORA_RANK", 16)
    if not model:
        raise Refused("set RATCHET_MODEL")
    if model.startswith(("/", ".")) and not os.path.isdir(model):
        raise Refused(f"RATCHET_MODEL: there is no folder {model}; is FILES set in deploy/.env?")
    if rank not in _RANKS:
        nearest = min(_RANKS, key=lambda one: abs(one - rank))
        told = ", ".join(map(str, _RANKS))
        raise Refused(f"RATCHET_LORA_RANK is {rank}: vLLM takes {told}; set {nearest}")
    slots = _number(settings, "KEEP_LOADED", 2) + 2
    flags = [
        "--host", "0.0.0.0", "--port", str(PORT),
        "--model", model, "--served-model-name", settings.get("RATCHET_ENGINE_MODEL") or "base",
        "--enable-lora", "--max-lora-rank", str(rank),
        "--lora-target-modules", *_text(settings, "LORA_TARGETS", _TARGETS).split(","),
        "--max-loras", str(slots), "--max-cpu-loras", str(2 * slots),
        "--max-model-len", str(_number(settings, "MAX_MODEL_LEN", 4096)),
        "--logprobs-mode", "processed_logprobs", "--max-logprobs", "20",
        "--scheduling-policy", "priority", "--generation-config", "vllm",
        "--shutdown-timeout", str(math.ceil(float(_text(settings, "ENGINE_TIMEOUT", "300")))),
    ]  # fmt: skip
    if sequences := _number(settings, "MAX_NUM_SEQS", 0):
        flags += ["--max-num-seqs", str(sequences)]
    if template := settings.get("RATCHET_CHAT_TEMPLATE"):
        if not os.path.isfile(template):
            raise Refused(f"RATCHET_CHAT_TEMPLATE: there is no file {template}")
        flags += ["--chat-template", template]
    if parser := settings.get("RATCHET_TOOL_CALL_PARSER"):
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", parser]
    if parser := settings.get("RATCHET_REASONING_PARSER"):
        flags += ["--reasoning-parser", parser]
    dtype = _text(settings, "DTYPE", "auto")
    if dtype == "auto":
        dtype = "float32" if cpu and not _has_bfloat16() else "bfloat16"
    flags += ["--dtype", dtype]
    if dtype != "float32":
        flags += ["--hf-overrides", '{"head_dtype": "float32"}']
    if cpu:
        flags += ["--enforce-eager"]
        flags += ["--distributed-executor-backend", "uni", "--block-size", "32"]
        flags += ["--no-enable-chunked-prefill"]
    else:
        flags += ["--gpu-memory-utilization", _text(settings, "GPU_MEMORY_UTILIZATION", "0.5")]
        flags += ["--tensor-parallel-size", str(_number(settings, "TENSOR_PARALLEL_SIZE", 1))]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]


def environment(settings: Mapping[str, str], *, cpu: bool) -> dict[str, str]:
    """The environment that vLLM needs, by environment variables `RATCHET_…`."""
    wanted = (("MAX_ROLLOUTS", 64), ("TRAIN_ROLLOUTS", 32), ("GATE_ROLLOUTS", 8))
    found = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MAX_N_SEQUENCES": str(max(_number(settings, *one) for one in wanted)),
        "HF_HUB_OFFLINE": "1",  # `fetch` has fetched the model
    }
    if cpu:
        found |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(_number(settings, "KV_CACHE_GIB", 1)),
            "TORCH_COMPILE_DISABLE": "1",
        }
        found |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
        if threads := _number(settings, "ENGINE_THREADS", 0):
            found["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
            found["OMP_NUM_THREADS"] = str(threads)
    return found


def main(further: Sequence[str]) -> int:
    """Become vLLM. Returns 2 for a setting that it would refuse."""
    cpu = bool(list(importlib.metadata.distributions(name="vllm-cpu")))
    try:
        argv = [*command(os.environ, cpu=cpu), *further]
        os.environ.update(environment(os.environ, cpu=cpu))
    except Refused as refused:
        print(f"engine: {refused}", file=sys.stderr)
        return 2
    os.execv(argv[0], argv)


def _has_bfloat16() -> bool:
    """As adapter/processor.py has it."""
    try:
        with open("/proc/cpuinfo") as file:
            return any("amx_bf16" in line.split() for line in file)
    except OSError:
        return False


def _text(settings: Mapping[str, str], name: str, default: str) -> str:
    return settings.get(f"RATCHET_{name}") or default


def _number(settings: Mapping[str, str], name: str, default: int) -> int:
    text = _text(settings, name, str(default))
    try:
        return int(text)
    except ValueError:
        raise Refused(f"RATCHET_{name} is {text!r}, not a whole number") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
