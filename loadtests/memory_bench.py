"""The memory plan against a real update: `python -m loadtests.memory_bench [--json FILE]`.

A model of random weights is trained on random tokens in a process of its own. Two numbers stand
beside the plan's: the tensors that autograd saves (bytes of distinct storages), and by how much the
process grew at its peak over what it had after an update of a few tokens (VmHWM; Linux only).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

LIMIT = 0.15
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # more would wait for each other on a busy machine
    # glibc gives freed blocks back from so many bytes on; else what it keeps doubles the peak.
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model, and the update that it is measured with: `rollouts` of `length` tokens each."""

    name: str
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    rank: int = 16
    rollouts: int = 8
    length: int = 128
    checkpointing: bool = False


def _config(kind: str, sizes: tuple[int, int, int, int, int, int]) -> dict[str, Any]:
    hidden, intermediate, layers, heads, key_values, vocabulary = sizes
    return {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": intermediate,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_values, "vocab_size": vocabulary, "tie_word_embeddings": True,
        "max_position_embeddings": 4096,
    }  # fmt: skip


SHAPES = (
    Shape(name="smollm2-135m", config=_config("llama", (576, 1536, 30, 9, 3, 49_152))),
    Shape(name="wide and shallow", rank=64,
        config=_config("qwen2", (1024, 4096, 4, 16, 2, 32_000))),
    Shape(name="narrow and deep", rank=8, rollouts=16,
        config=_config("llama", (256, 688, 24, 4, 4, 4_096))),
    Shape(name="narrow and deep, checkpointing", rank=8, rollouts=16, checkpointing=True,
        config=_config("llama", (256, 688, 24, 4, 4, 4_096))),
    Shape(name="large vocabulary", rank=32, rollouts=16,
        config=_config("qwen2", (384, 1024, 8, 6, 2, 151_936))),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Bytes: planned, and met."""

    name: str
    saved_planned: int
    saved: int
    update_planned: int
    grown: int

    def worst(self) -> float:
        """The larger of both deviations, as a share of what was met."""
        pairs = ((self.saved_planned, self.saved), (self.update_planned, self.grown))
        return max(abs(planned / met - 1) for planned, met in pairs)


def measure(shape: Shape) -> Measured:
    """Measure one shape in a child process."""
    child = [sys.executable, "-m", "loadtests.memory_bench", "--child", json.dumps(asdict(shape))]
    done = subprocess.run(
        child, check=True, capture_output=True, text=True, env={**os.environ, **_ENVIRONMENT}
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _measure_here(shape: Shape) -> Measured:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from adapter.settings import AdapterSettings
    from adapter.trainer import TrainingGroup
    from adapter.training.lora_trainer import LoraTrainer
    from adapter.training.memory.plan import LearnerMemory
    from adapter.training.memory.shape import ModelShape
    from rewards.rollouts import Rollout, RolloutGroup, Sampling

    def batch(rollouts: int, length: int) -> list[TrainingGroup]:
        made = [
            Rollout(
                "",
                cast("list[int]", torch.randint(0, 4_096, (length - 1,)).tolist()),
                [-8.0] * (length - 1),
                "",
            )
            for _ in range(rollouts)
        ]
        groups = [
            RolloutGroup(str(index), "", [index], [rollout], 0, Sampling(), "", 0.0)
            for index, rollout in enumerate(made)
        ]
        return [TrainingGroup(group, [1.0]) for group in groups]

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {key: value for key, value in shape.config.items() if key != "model_type"}
        config: Any = AutoConfig.for_model(shape.config["model_type"], **sizes)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        settings = AdapterSettings(
            model=folder, lora_rank=shape.rank, threads=1, micro_batch_tokens=1 << 20, device="cpu",
            gradient_checkpointing="on" if shape.checkpointing else "off",
        )  # fmt: skip
        unplanned = settings.model_copy(update={"micro_batch_tokens": 512})
        trainer = LoraTrainer(unplanned)
        trainer.shrink(settings.micro_batch_tokens)
    trainer.update(batch(1, 4))  # moments, and what torch and its kernels keep
    tokens = shape.rollouts * shape.length
    before = _status("VmRSS")
    _RESET.write_text("5")
    trainer.update(batch(shape.rollouts, shape.length))
    grown = _status("VmHWM") - before
    memory = LearnerMemory(shape=ModelShape.of(shape.config), rank=shape.rank, width=4)
    layers = shape.config["num_hidden_layers"]
    kept = 4 * memory.shape.hidden if shape.checkpointing else memory.saved_by_layer
    return Measured(
        name=shape.name,
        saved_planned=tokens * layers * kept,
        saved=_saved(trainer, shape),
        update_planned=memory.update(tokens, shape.checkpointing),
        grown=grown,
    )


def _saved(trainer: Any, shape: Shape) -> int:
    """Bytes of distinct storages that a forward pass saves, parameters left out."""
    import torch

    known = {p.untyped_storage().data_ptr() for p in trainer.model.parameters()}
    sizes: dict[int, int] = {}
    kept: list[torch.Tensor] = []  # alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    ids = torch.randint(0, 4_096, (shape.rollouts, shape.length))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        trainer.model.get_decoder()(input_ids=ids, use_cache=False)
    return sum(sizes.values())


def _status(key: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) << 10


def main() -> int:
    """Measure all shapes; 1 if one deviates by more than LIMIT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(asdict(_measure_here(Shape(**json.loads(given.child))))))
        return 0
    found = [measure(shape) for shape in SHAPES]
    print(
        "| shape | saved, MiB | planned | peak, MiB | planned | off by |\n|---|---|---|---|---|---|"
    )
    for one in found:
        sizes = (one.saved, one.saved_planned, one.grown, one.update_planned)
        print(f"| {one.name} | {' | '.join(f'{s >> 20}' for s in sizes)} | {one.worst():.0%} |")
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1))
    return int(max(one.worst() for one in found) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
