"""A small engine on transformers that speaks as vLLM 0.32 does, for hosts that have no core to
spare: `python -m loadtests.hosts.engine --port 8100`.

It samples from the arithmetic model and its adapters, one request after the other: right about
weights and tokens, and no measure of speed. It knows what votes, probes and parity ask.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
import torch
from aiohttp import web
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.arithmetic.questions import Question
from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.sampler import Decoding, Reply, sample
from evals.arithmetic.tokenizer import prompt_ids
from loadtests.serving_replies import CannedRollout, Wanted, streamed

T = TypeVar("T")
_BASE = "base"
_MOST_TOKENS = 64


class Model:
    """The arithmetic model with adapters by name; for one thread."""

    def __init__(self) -> None:
        self._base: Any = AutoModelForCausalLM.from_pretrained(MODEL).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
        self._adapted: Any = None
        self._generator = torch.Generator().manual_seed(0)
        self.adapters: list[str] = []
        self.tokens = 0
        """Generated and scored since the start."""

    def load(self, name: str, path: str) -> None:
        """Load an adapter; one that is loaded already stays."""
        if name in self.adapters:
            return
        if self._adapted is None:
            self._adapted = PeftModel.from_pretrained(self._base, path, adapter_name=name).eval()
        else:
            self._adapted.load_adapter(path, adapter_name=name)
        self.adapters.append(name)

    def unload(self, name: str) -> None:
        """Forget an adapter. Raises KeyError if it is not there."""
        if name not in self.adapters:
            raise KeyError(name)
        self.adapters.remove(name)
        if self.adapters:  # PEFT wants one at least
            self._adapted.delete_adapter(name)

    def draw(self, name: str, text: str, wanted: Wanted, options: Mapping[str, Any]) -> bytes:
        """The events of a streamed reply to a question."""
        decoding = Decoding(wanted.n, float(options.get("temperature") or 1.0))
        most = int(options.get("max_tokens") or _MOST_TOKENS)
        with self._named(name) as model:
            [replies] = sample(
                model, self._tokenizer, [Question("", text, "", 0, "")], decoding,
                generator=self._generator, max_new_tokens=min(most, _MOST_TOKENS),
            )  # fmt: skip
        self.tokens += sum(len(reply.token_ids) for reply in replies)
        rollouts = [self._canned(reply) for reply in replies]
        steps = streamed(rollouts, wanted, prompt_ids(self._tokenizer, text))
        return b"".join(step.data for step in steps)

    @torch.inference_mode()
    def score(self, name: str, tokens: list[int]) -> list[float]:
        """Log-probability of each token but the first, given those before it."""
        self.tokens += len(tokens)
        with self._named(name) as model:
            rows = model(input_ids=torch.tensor([tokens])).logits[0, :-1].float()
        wanted = torch.tensor(tokens[1:], dtype=torch.long)[:, None]
        return rows.log_softmax(dim=-1).gather(1, wanted)[:, 0].tolist()

    def _canned(self, reply: Reply) -> CannedRollout:
        tokens = [self._tokenizer.decode([token]) for token in reply.token_ids]
        reason = "stop" if reply.ended else "length"
        return CannedRollout(tokens, reply.token_ids, reply.logprobs, reason)

    @contextmanager
    def _named(self, name: str) -> Generator[Any]:
        """The model under a name. Raises KeyError if there is none."""
        if name == _BASE and self._adapted is None:
            yield self._base
        elif name == _BASE:
            with self._adapted.disable_adapter():
                yield self._adapted
        elif name not in self.adapters:
            raise KeyError(name)
        else:
            self._adapted.set_adapter(name)
            yield self._adapted


class Routes:
    """The HTTP routes."""

    def __init__(self, model: Model) -> None:
        self._model, self._thread = model, ThreadPoolExecutor(1)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([
            web.get("/v1/models", self._models),
            web.get("/metrics", self._metrics),
            web.post("/v1/load_lora_adapter", self._load),
            web.post("/v1/unload_lora_adapter", self._unload),
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._score),
        ])  # fmt: skip
        return app

    async def _models(self, _: web.Request) -> web.Response:
        names = [_BASE, *self._model.adapters]
        cards = [{"id": name, "root": name, "parent": name != _BASE and _BASE} for name in names]
        return _json({"object": "list", "data": cards})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=f"vllm:generation_tokens_total {self._model.tokens}\n")

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self._work(lambda: self._model.load(body["lora_name"], body["lora_path"]))
        return web.Response(text="loaded")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        return await self._answered(lambda: web.Response(text=str(self._model.unload(name))))

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = str(body["messages"][-1]["content"])
        wanted = Wanted.of(body)
        return await self._answered(
            lambda: web.Response(
                body=_events(self._model.draw(body["model"], text, wanted, body)),
                content_type="text/event-stream",
            )
        )

    async def _score(self, request: web.Request) -> web.Response:
        body = await request.json()
        tokens: list[int] = body["prompt"]

        def scored() -> web.Response:
            scores = self._model.score(body["model"], tokens)
            rows = [{str(t): {"logprob": s}} for t, s in zip(tokens[1:], scores, strict=True)]
            choice = {"index": 0, "text": " ", "logprobs": None, "finish_reason": "length",
                      "prompt_logprobs": [None, *rows]}  # fmt: skip
            return _json({"object": "text_completion", "choices": [choice]})

        return await self._answered(scored)

    async def _answered(self, work: Callable[[], web.Response]) -> web.Response:
        try:
            return await self._work(work)
        except KeyError as error:
            message = f"The model {error} does not exist."
            return _json({"error": {"message": message, "code": 404}}, 404)

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _events(response: bytes) -> bytes:
    """The body of a canned HTTP response in chunks."""
    _, _, rest = response.partition(b"\r\n\r\n")
    parts: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(parts)


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def main() -> None:
    """Answer until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--port", type=int, required=True)
    torch.set_num_threads(1)
    web.run_app(Routes(Model()).app(), port=parser.parse_args().port, print=None)


if __name__ == "__main__":
    main()
