"""Model card and manifest beside an adapter's weights, so that others can use and judge it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from adapter.store.adapter_folders import WEIGHTS
from adapter.store.releases import AdapterRelease

MANIFEST = "manifest.json"
_SECRET = frozenset({"redis_url"})
# Not known yet, or private, as the folder may be copied anywhere.
_LEFT_OUT = frozenset({"folder", "sha256", "state", "clients"})


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 of the learner's settings, in order of their names."""
    return hashlib.sha256(orjson.dumps(public(config), option=orjson.OPT_SORT_KEYS)).hexdigest()


def write_card(folder: Path, draft: AdapterRelease, config: Mapping[str, Any]) -> None:
    """Write README.md and manifest.json; `draft` has no folder name yet."""
    record = {name: value for name, value in asdict(draft).items() if name not in _LEFT_OUT}
    with (folder / WEIGHTS).open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    manifest = {**record, "weights_sha256": digest, "settings": public(config)}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=options))
    (folder / "README.md").write_text(_card(draft, config))


def public(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that hold a password."""
    return {name: value for name, value in config.items() if name not in _SECRET}


def _card(draft: AdapterRelease, config: Mapping[str, Any]) -> str:
    base = config.get("model", "")
    metrics = "\n".join(
        f"| {name} | {value:.6g} |" for name, value in sorted(draft.metrics.items())
    )
    return f"""---
base_model: {base}
library_name: peft
tags: [lora, test-time-reinforcement-learning, label-free]
---

# Version {draft.version}

A LoRA adapter for `{base}`, learnt by Ratchet from unlabelled questions: one update after version
{draft.parent or "0, the base model"}, on {len(draft.sample_ids)} groups of rollouts, with the
reward `{config.get("reward", "")}` and the advantage `{config.get("advantage", "")}`.
No label was used, so nothing here is an accuracy.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "PATH/TO/THIS/FOLDER")
```

```sh
vllm serve {base} --enable-lora --max-lora-rank {config.get("lora_rank", 16)} \\
  --lora-modules v{draft.version}=PATH/TO/THIS/FOLDER
```

| of this update | |
|---|---|
{metrics}

`manifest.json` has the parent, the groups' ids and the learner's settings; `probe.json` tokens of a
few prompts and answers with the log-probabilities an engine must give them. `lineage.bin` and
`learner.sha256` are the learner's: it goes on from the folder beside this one, named as this one
with `.learner` after it, which nobody else needs.
"""
