"""A stand-in for vLLM where timing, form and failures matter: `python -m tests.fake_vllm PORT`.

What every rollout says is in `canned_answers`: `\\boxed{4}` by itself, one character a token. The
prompt may hold `pace=SECONDS`, the pause before each token, and `tokens=N`, filler before the
answer; a stream ends with an error after `error=1`. `GET /stats` counts what is under way, served
and broken off by the client.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Any

from aiohttp import web

from tests.canned_answers import answer_to

STATS: Counter[str] = Counter()


def told(prompt: str, name: str, default: float) -> float:
    found = re.search(rf"{name}=([\d.]+)", prompt)
    return float(found[1]) if found else default


def choice(
    index: int, text: str, finish: str | None, *, chat: bool, whole: bool,
    calls: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    spelt = text + (json.dumps(calls) if calls else "")
    ids = list(spelt.encode())
    tokens = [{"token": c, "logprob": -0.1, "bytes": [0], "top_logprobs": []} for c in spelt]
    said = {"role": "assistant", "content": text} if whole else {"content": text}
    message = {**said, **(calls or {})}
    written: dict[str, Any] = {"message" if whole else "delta": message} if chat else {"text": text}
    logprobs = {"content": tokens} if chat else {"token_logprobs": [-0.1] * len(ids)}
    return {"index": index, **written, "logprobs": logprobs, "finish_reason": finish,
            "stop_reason": None, "token_ids": ids}  # fmt: skip


async def complete(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    chat = "messages" in body
    if body["model"] != "base":
        error = {"message": "The model does not exist.", "param": "model", "code": 404}
        return web.json_response({"error": error}, status=404)
    prompt = json.dumps(body["messages"] if chat else body["prompt"])
    pace, filler = told(prompt, "pace", 0.0), int(told(prompt, "tokens", 0))
    answer = answer_to(body)
    text, calls, finish = "-" * filler + answer.text, answer.calls, answer.finish_reason
    count = int(body.get("n") or 1)
    if not chat and isinstance(body["prompt"], list) and not isinstance(body["prompt"][0], int):
        count *= len(body["prompt"])
    written = count * len(text)
    usage = {"prompt_tokens": 1, "completion_tokens": written, "total_tokens": 1 + written}
    kind = "chat.completion" if chat else "text_completion"
    head = {"id": "theirs", "object": kind, "created": 1, "model": body["model"]}
    reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
    STATS["under_way"] += 1
    try:
        if not body.get("stream"):
            await asyncio.sleep(pace * len(text))
            choices = [
                choice(i, text, finish, chat=chat, whole=True, calls=calls) for i in range(count)
            ]
            STATS["served"] += 1
            return web.json_response(
                {**head, "choices": choices, "usage": usage, "prompt_token_ids": [1]}
            )
        await reply.prepare(request)

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            event = json.dumps({**head, **more, "choices": choices}).encode()
            await reply.write(b"data: " + event + b"\n\n")

        await send([choice(i, "", None, chat=chat, whole=False) for i in range(count)],
                   prompt_token_ids=[1])  # fmt: skip
        if told(prompt, "error", 0.0):
            error = {"message": "EngineCore encountered an issue", "code": 500}
            await reply.write(b"data: " + json.dumps({"error": error}).encode() + b"\n\n")
            await reply.write(b"data: [DONE]\n\n")
            return reply
        if body.get("stream_interval", 1) > 1:
            await asyncio.sleep(pace * len(text))
            for index in range(count):
                await send([choice(index, text, finish, chat=chat, whole=False, calls=calls)])
        else:
            for token in text:
                await asyncio.sleep(pace)
                await send(
                    [choice(index, token, None, chat=chat, whole=False) for index in range(count)]
                )
            await send(
                [choice(i, "", finish, chat=chat, whole=False, calls=calls) for i in range(count)]
            )
        if (body.get("stream_options") or {}).get("include_usage"):
            await send([], usage=usage)
        await reply.write(b"data: [DONE]\n\n")
        STATS["served"] += 1
        return reply
    except asyncio.CancelledError:
        STATS["aborted"] += 1
        raise
    except ConnectionError:
        STATS["aborted"] += 1
        return reply
    finally:
        STATS["under_way"] -= 1


async def tokenize(request: web.Request) -> web.Response:
    body = await request.json()
    tokens = list(str(body.get("prompt") or body.get("messages")).encode())
    return web.json_response({"count": len(tokens), "max_model_len": 1_000, "tokens": tokens})


async def detokenize(request: web.Request) -> web.Response:
    return web.json_response({"prompt": "x" * len((await request.json())["tokens"])})


async def embeddings(request: web.Request) -> web.Response:
    body = await request.json()
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return web.json_response(
        {"object": "list", "data": data, "model": body["model"], "usage": usage}
    )


async def models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "base"}]})


async def stats(_: web.Request) -> web.Response:
    return web.json_response(STATS)


def main() -> None:
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(
        [
            web.post("/v1/chat/completions", complete),
            web.post("/v1/completions", complete),
            web.post("/v1/embeddings", embeddings),
            web.post("/tokenize", tokenize),
            web.post("/detokenize", detokenize),
            web.get("/v1/models", models),
            web.get("/stats", stats),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
