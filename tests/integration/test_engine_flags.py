"""The engine's command lines on Kubernetes, read by vLLM's own parser."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from deploy.manifests import settings_of
from deploy.references import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.needs("libnuma")]
READ = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
shown = []
for words in json.load(sys.stdin):
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
    validate_parsed_serve_args(args)
    names = ("model", "max_lora_rank", "max_loras", "max_model_len", "shutdown_timeout",
             "disable_log_stats", "gpu_memory_utilization", "scheduling_policy", "port")
    shown.append({name: getattr(args, name) for name in names})
print("\\n" + json.dumps(shown))
"""


def command(overlay: str) -> list[str]:
    """The flags as Kubernetes completes them from the ConfigMap."""
    file = ROOT / "deploy/kubernetes" / overlay / "engine-flags.yaml"
    [engine] = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["containers"]
    values: dict[str, Any] = settings_of(overlay).model_dump(mode="json")

    def value(name: re.Match[str]) -> str:
        found = values[name[1].lower()]
        return f"{found:g}" if isinstance(found, float) else str(found)

    return [re.sub(r"\$\(RATCHET_(\w+)\)", value, word) for word in engine["args"]]


def test_they_are_understood_as_they_are_meant() -> None:
    overlays = ("base", "gpu")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ], capture_output=True, text=True,
        input=json.dumps([command(overlay) for overlay in overlays]),
        env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for overlay, told in zip(overlays, json.loads(done.stdout.splitlines()[-1]), strict=True):
        settings = settings_of(overlay)
        assert told == {
            "model": settings.model, "max_lora_rank": settings.lora_rank,
            "max_loras": settings.keep_loaded + 2, "max_model_len": settings.max_model_len,
            "shutdown_timeout": settings.engine_timeout, "disable_log_stats": False,
            "gpu_memory_utilization": 0.9 if overlay == "gpu" else told["gpu_memory_utilization"],
            "scheduling_policy": "priority", "port": 8100,
        }  # fmt: skip
