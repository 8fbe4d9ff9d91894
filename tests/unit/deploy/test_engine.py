"""The containers' start of vLLM against `ratchet up`'s, and both against vLLM's own parser."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy import engine
from deploy.references import ROOT
from ratchet.errors import ConfigurationError
from ratchet.local.programs import (
    LORA_RANKS,
    engine_command,
    engine_environment,
    engine_flags,
)
from ratchet.settings import StackSettings, read

TEMPLATE = ROOT / "evals/arithmetic/model/chat_template.jinja"
NOWHERE = Path("no.yaml")
VALUES = {
    "MODEL": st.sampled_from(["org/name", str(ROOT / "evals/arithmetic/model")]),
    "LORA_RANK": st.sampled_from(LORA_RANKS),
    "KEEP_LOADED": st.integers(1, 9),
    "MAX_ROLLOUTS": st.integers(16, 300),
    "TRAIN_ROLLOUTS": st.integers(0, 300),
    "GATE_ROLLOUTS": st.integers(2, 300),
    "MAX_MODEL_LEN": st.integers(1, 40_000),
    "MAX_NUM_SEQS": st.integers(0, 300),
    "TENSOR_PARALLEL_SIZE": st.integers(1, 8),
    "GPU_MEMORY_UTILIZATION": st.sampled_from([0.3, 0.5, 0.95]),
    "ENGINE_TIMEOUT": st.sampled_from([1, 0.5, 300.0, 1200.25]),
    "CHAT_TEMPLATE": st.sampled_from(["", str(TEMPLATE)]),
    "TOOL_CALL_PARSER": st.sampled_from(["", "hermes"]),
    "REASONING_PARSER": st.sampled_from(["", "qwen3"]),
    "KV_CACHE_GIB": st.integers(1, 9),
    "ENGINE_THREADS": st.integers(1, 9),
}


@given(st.fixed_dictionaries({}, optional=VALUES), st.booleans())
def test_the_engine_is_started_as_by_us(some: dict[str, object], cpu: bool) -> None:
    length = some.get("MAX_MODEL_LEN", 4096)
    threads = some.get("ENGINE_THREADS", 3)
    whole = {"MODEL": "org/name", **some, "MAX_MODEL_LEN": length, "ENGINE_THREADS": threads}
    given_settings = {f"RATCHET_{name}": str(value) for name, value in whole.items()}
    settings = read(StackSettings, {}, given_settings, NOWHERE)
    started = engine.command(given_settings, cpu=cpu)
    assert started[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert started[3:7] == ["--host", "0.0.0.0", "--port", "8100"]
    assert started[7:] == engine_flags(settings, cpu=cpu)
    here = engine_environment(settings, cpu=cpu)
    assert engine.environment(given_settings, cpu=cpu) == {**here, "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"RATCHET_LORA_RANK": "24"}, "RATCHET_LORA_RANK is 24: .*; set 16"),
        ({"RATCHET_LORA_RANK": "many"}, "RATCHET_LORA_RANK is 'many'"),
        ({"RATCHET_MODEL": ""}, "set RATCHET_MODEL"),
        ({"RATCHET_MODEL": "/files/none"}, "RATCHET_MODEL: .*/files/none.* FILES"),
        ({"RATCHET_CHAT_TEMPLATE": "/files/none"}, "RATCHET_CHAT_TEMPLATE: .*/files/none"),
    ],
)
def test_what_cannot_work_ends_it_at_once(wrong: dict[str, str], named: str) -> None:
    settings = {"RATCHET_MODEL": "org/name", **wrong}
    with pytest.raises(engine.Refused, match=named):
        engine.command(settings, cpu=False)
    done = subprocess.run(
        [sys.executable, engine.__file__], env={**os.environ, **settings},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(named, done.stderr)


@pytest.mark.parametrize(("rank", "nearest"), [(2, 1), (24, 16), (48, 32), (100, 128), (999, 512)])
def test_a_rank_that_vllm_refuses_is_refused_with_the_nearest(rank: int, nearest: int) -> None:
    told = rf"lora_rank {rank}: vLLM takes 1, 8, 16, .*; set {nearest}$"
    with pytest.raises(ConfigurationError, match=told):
        engine_flags(StackSettings(lora_rank=rank), cpu=True)


def test_a_missing_chat_template_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"chat_template: there is no file none\.jinja"):
        engine_flags(StackSettings(chat_template=Path("none.jinja")), cpu=True)


def test_vllm_is_watched_and_finishes_what_it_was_asked() -> None:
    flags = engine_flags(StackSettings(engine_timeout=12.5), cpu=False)
    assert "--disable-log-stats" not in flags, "without them it has no metrics"
    assert flags[flags.index("--shutdown-timeout") + 1] == "13"


PARSE = """
import contextlib, io, json, sys
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMValidationError
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.launchers.launcher import validate_api_server_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser, told = make_arg_parser(FlexibleArgumentParser()), {}
for name, arguments in json.load(sys.stdin).items():
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = parser.parse_args(arguments)
            validate_parsed_serve_args(parsed)
            validate_api_server_args(parsed)
        told[name] = ""
    except (SystemExit, KeyError, VLLMValidationError) as refused:
        told[name] = complaint.getvalue() or str(refused)
json.dump(told, open(sys.argv[1], "w"))
"""
"""vLLM logs to stdout, so the answer goes into a file."""


def parsed_by_vllm(lines: dict[str, list[str]], folder: Path) -> dict[str, str]:
    """What vLLM's parser complains of, by line; nothing where it takes it."""
    answer = folder / "answer.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(answer)],
        input=json.dumps(lines), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())


def manifests() -> dict[str, list[str]]:
    """The arguments of every container in deploy/kubernetes that starts vLLM, its variables
    replaced by what the kustomizations set."""
    folder = ROOT / "deploy" / "kubernetes"
    values: dict[str, str] = {}
    for overlay in ("base", "gpu"):
        made = yaml.safe_load((folder / overlay / "kustomization.yaml").read_text())
        for generator in made.get("configMapGenerator", ()):
            values |= dict(line.split("=", 1) for line in generator.get("literals", ()))
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            spec = (document or {}).get("spec", {})
            pod = spec.get("template", {}).get("spec", {}) if isinstance(spec, dict) else {}
            for container in pod.get("containers", ()):
                arguments = [str(one) for one in container.get("args", ())]
                if any(one.startswith("--served-model-name") for one in arguments):
                    found[str(file.relative_to(folder))] = [
                        re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], one)
                        for one in arguments
                    ]
    return found


@pytest.mark.needs("libnuma")
def test_every_command_line_passes_vllm_s_own_parser(tmp_path: Path) -> None:
    everything = {
        "RATCHET_MODEL": "org/name", "RATCHET_LORA_RANK": "64", "RATCHET_MAX_NUM_SEQS": "32",
        "RATCHET_TENSOR_PARALLEL_SIZE": "2", "RATCHET_CHAT_TEMPLATE": str(TEMPLATE),
        "RATCHET_TOOL_CALL_PARSER": "hermes", "RATCHET_REASONING_PARSER": "qwen3",
    }  # fmt: skip
    from_manifests = manifests()
    assert len(from_manifests) >= 2
    right = {
        **from_manifests,
        "compose": engine.command({"RATCHET_MODEL": "org/name"}, cpu=False)[3:],
        "compose, all settings": engine.command(everything, cpu=False)[3:],
        "compose, no GPU": engine.command(everything, cpu=True)[3:],
        "ratchet up": engine_command(StackSettings(), 8100)[3:],
        "ratchet up, with parsers": engine_command(
            StackSettings(tool_call_parser="llama3_json", reasoning_parser="deepseek_r1"), 8100
        )[3:],
    }
    for rank in LORA_RANKS:
        right[f"rank {rank}"] = engine_flags(StackSettings(lora_rank=rank), cpu=False)
    wrong = {
        "an unknown flag": [*right["compose"], "--no-such-flag"],
        "a rank it refuses": [*right["compose"], "--max-lora-rank=24"],
        "a parser it has not": [
            *right["compose"],
            "--enable-auto-tool-choice",
            "--tool-call-parser=telepathy",
        ],
        "a template that is none": [*right["compose"], "--chat-template=/no/such/file"],
    }
    told = parsed_by_vllm({**right, **wrong}, tmp_path)
    assert {name: told[name] for name in right} == dict.fromkeys(right, "")
    assert "--no-such-flag" in told["an unknown flag"]
    assert "24" in told["a rank it refuses"]
    assert "telepathy" in told["a parser it has not"]
    assert "/no/such/file" in told["a template that is none"]
