"""What a card does with Ratchet's work: `python gpu.py`, this one file, with torch alone.

Measures a bf16 GRPO step with fp32 LoRA at the shape of Qwen2.5-1.5B (weights are random, which
changes neither time nor memory), memory against the plan, what exact entropies cost, and where
transformers, PEFT and this project are there, the product's own trainer; where vLLM is there too:
load an adapter, prove that the engine applies it, swap to another. No section begins after
`--minutes`; `--tiny` takes seconds on a CPU, for a test.

Output: one JSON object a line, then a table of the same (its lines begin with `|`). Every object
has `schema` 1, `section` (`machine`, `memory`, `step`, `entropy`, `trainer`, `engine`), `name` and
`value`; `unit` where it is a number; `planned` and `ratio` (value / planned) where there is a plan.
A section that could not run has the name `skipped` and says why. Names may be added, never changed.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

RANK, ALPHA = 16, 32
_HEAD_ROWS = 1 << 23  # logits at once, as the product's head does
PLAN_15B = 3.9e6  # bytes that autograd saves for a token at 1.5B, as PEFT and transformers do it


@dataclass(frozen=True)
class Shape:
    """A Qwen2-like model: grouped attention, gated MLP, embeddings tied to the head."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocab: int

    def saved_bytes(self) -> float:
        """Bytes that autograd saves for a token without checkpointing.

        A layer keeps an fp32 copy of the input of each of its seven LoRA pairs (PEFT casts it) and
        what A makes of it; for attention q, k, v and the output; for the MLP gate, its silu, and
        up; for each norm its fp32 input and the inverse root."""
        d, kv = self.hidden, self.hidden * self.kv_heads // self.heads
        pairs = 4 * (6 * d + self.mlp + 7 * RANK)
        attention = 2 * (2 * d + 2 * kv)
        return self.layers * (pairs + attention + 2 * 3 * self.mlp + 2 * 4 * d)


SHAPES = {
    "1.5b": Shape("1.5b", 1536, 28, 12, 2, 8960, 151_936),
    "tiny": Shape("tiny", 64, 2, 4, 2, 256, 512),
}


class Lora(nn.Module):
    """A frozen linear layer with an fp32 LoRA pair."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into).bfloat16() * into**-0.5, False)
        self.a = nn.Parameter(torch.randn(RANK, into) * into**-0.5)
        self.b = nn.Parameter(torch.zeros(out, RANK))

    def forward(self, x: Tensor) -> Tensor:
        pair = F.linear(F.linear(x.float(), self.a), self.b) * (ALPHA / RANK)
        return F.linear(x, self.weight) + pair.to(x.dtype)


def norm(x: Tensor) -> Tensor:
    """RMS norm in fp32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Layer(nn.Module):
    """Attention and MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, kv = shape.hidden, shape.hidden * shape.kv_heads // shape.heads
        self.shape = shape
        self.q, self.o = Lora(d, d), Lora(d, d)
        self.k, self.v = Lora(d, kv), Lora(d, kv)
        self.gate, self.up = Lora(d, shape.mlp), Lora(d, shape.mlp)
        self.down = Lora(shape.mlp, d)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        h = norm(x)

        def split(values: Tensor, heads: int) -> Tensor:
            return values.view(rows, length, heads, -1).transpose(1, 2)

        q = split(self.q(h), self.shape.heads)
        k, v = (split(part(h), self.shape.kv_heads) for part in (self.k, self.v))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(seen.transpose(1, 2).reshape(rows, length, -1))
        h = norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    """Token ids to log-probabilities, the head in blocks of rows."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        super().__init__()
        with torch.device(device):
            table = torch.randn(shape.vocab, shape.hidden).bfloat16() * 0.02
            self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.table = nn.Parameter(table, requires_grad=False)
        self.checkpointing = False

    def hidden(self, ids: Tensor) -> Tensor:
        """Last hidden states of all positions but the last, [N, d]."""
        x = F.embedding(ids, self.table).requires_grad_()
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointing else layer(x)
        return norm(x)[:, :-1].reshape(-1, x.shape[-1])

    def blocks(self, states: Tensor) -> list[slice]:
        """Rows whose logits are held at once."""
        rows = max(1, _HEAD_ROWS // self.table.shape[0])
        return [slice(at, at + rows) for at in range(0, len(states), rows)]


def step(model: Model, optimiser: torch.optim.Optimizer, ids: Tensor) -> None:
    """A GRPO step: policy gradient over every token, head and its gradient block by block."""
    states = model.hidden(ids)
    targets = ids[:, 1:].reshape(-1)
    slopes = torch.empty_like(states)
    for part in model.blocks(states):
        block = states[part].detach().requires_grad_()
        logs = torch.log_softmax(F.linear(block, model.table).float(), -1)
        loss = -logs.gather(-1, targets[part, None]).sum() / len(targets)
        (slopes[part],) = torch.autograd.grad(loss, block)
    states.backward(slopes)
    optimiser.step()
    optimiser.zero_grad()


@torch.no_grad()
def entropies(model: Model, ids: Tensor) -> Tensor:
    """Exact entropy of every next token."""
    states = model.hidden(ids)
    parts = (F.linear(states[part], model.table).float() for part in model.blocks(states))
    blocks = (torch.log_softmax(part, -1) for part in parts)
    return torch.cat([-(logs.exp() * logs).sum(-1) for logs in blocks])


def saved_by_autograd(run: Callable[[], object], kept: nn.Module) -> int:
    """Bytes of the tensors that a forward pass saves, each storage once, without parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in kept.parameters()}
    held: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage  # so that no other takes its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storage.nbytes() for storage in held.values())


class Report:
    """Writes each number as it is known, and a table in the end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, path: str, value: Any, unit: str = "", planned: float | None = None) -> None:
        """One object; `path` is section/name."""
        section, _, name = path.partition("/")
        row: dict[str, Any] = {"schema": 1, "section": section, "name": name, "value": value}
        row |= {"unit": unit} if unit else {}
        row |= {"planned": planned, "ratio": round(value / planned, 3)} if planned else {}
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def table(self) -> None:
        """All of them for people."""
        print("| section | name | value | planned | ratio |\n|---|---|---|---|---|")
        for row in self.rows:
            shown = f"{row['value']:,.4g}" if isinstance(row["value"], float) else row["value"]
            more = f"{row['planned']:,.4g} | {row['ratio']}" if "planned" in row else " | "
            print(f"| {row['section']} | {row['name']} | {shown} {row.get('unit', '')} | {more} |")


@dataclass
class Bench:
    """What all sections share."""

    report: Report
    shape: Shape
    device: torch.device
    ends: float

    def timed(self, run: Callable[[], object]) -> float:
        """Seconds at best of three, the device's work included."""
        times: list[float] = []
        wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        for _ in range(3):
            wait()
            started = time.perf_counter()
            run()
            wait()
            times.append(time.perf_counter() - started)
        return min(times)

    def peak(self, run: Callable[[], object]) -> int:
        """Bytes on the card above those held before; 0 on a CPU, which does not count them."""
        if self.device.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before


def machine(bench: Bench) -> None:
    """Which card, which software."""
    card: Any = torch.cuda.get_device_properties(0) if bench.device.type == "cuda" else None
    for name, value in (
        ("device", card.name if card else "cpu"), ("torch", torch.__version__),
        ("cuda", str(torch.version.cuda)), ("shape", bench.shape.name),
    ):  # fmt: skip
        bench.report.add(f"machine/{name}", value)
    if card:
        bench.report.add("machine/memory", card.total_memory, "bytes")


def own_model(bench: Bench) -> None:
    """Sections `memory`, `step` and `entropy`, on this file's own model."""
    add, shape = bench.report.add, bench.shape
    model = Model(shape, bench.device)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    size = (4, 32 if shape.name == "tiny" else 512)
    ids = torch.randint(0, shape.vocab, size, device=bench.device)
    add("memory/weights", sum(p.nbytes for p in model.parameters()), "bytes")
    saved = saved_by_autograd(lambda: model.hidden(ids), model) / ids.numel()
    add("memory/saved_per_token", saved, "bytes", shape.saved_bytes())
    if shape.name == "1.5b":
        add("memory/saved_per_token_of_the_plan", saved, "bytes", PLAN_15B)
    step(model, optimiser, ids)  # allocates what stays
    for name, on, times in (("checkpointed", True, 4), ("plain", False, 1)):
        model.checkpointing = on
        if peak := bench.peak(lambda: step(model, optimiser, ids)) / ids.numel():
            add(f"memory/{name}_peak_per_token", peak, "bytes", None if on else PLAN_15B)
        many = ids.repeat(times, 1)
        seconds = bench.timed(partial(step, model, optimiser, many))
        add(f"step/{name}_tokens_per_second", many.numel() / seconds, "tokens/s")
    exact = bench.timed(lambda: entropies(model, ids))
    add("entropy/share_of_a_step", exact / seconds, "ratio")
    add("entropy/tokens_per_second", ids.numel() / exact, "tokens/s")
    add("entropy/mean", float(entropies(model, ids).mean()), "nats")


def product(bench: Bench) -> None:
    """Sections `trainer` and `engine`: the project's own, where it is there."""
    names = ["transformers", "peft", "adapter", "loadtests"]
    if lacking := [name for name in names if importlib.util.find_spec(name) is None]:
        for section in ("trainer", "engine"):
            bench.report.add(f"{section}/skipped", f"not installed: {', '.join(lacking)}")
    else:
        importlib.import_module("loadtests.gpu_product").sections(bench)


def main() -> None:
    """All sections."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, on a CPU")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin nothing after this")
    chosen = parser.parse_args()
    if not chosen.tiny and not torch.cuda.is_available():
        sys.exit("torch sees no GPU: --tiny runs the same on a CPU")
    torch.manual_seed(0)
    shape, device = ("tiny", "cpu") if chosen.tiny else ("1.5b", "cuda")
    ends = time.monotonic() + 60 * chosen.minutes
    bench = Bench(Report(), SHAPES[shape], torch.device(device), ends)
    for section in (machine, own_model, product):
        section(bench)
    bench.report.table()


if __name__ == "__main__":
    main()
