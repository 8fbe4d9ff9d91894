"""A server without a port, and OpenAI's client of it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from openai import AsyncOpenAI

from server.http.app import create_app
from tests.serving import Api, serving


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as made:
        yield made


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncOpenAI]:
    transport = httpx.ASGITransport(create_app(api.parts))  # type: ignore[arg-type]
    http = httpx.AsyncClient(transport=transport)
    async with AsyncOpenAI(base_url="http://t/v1", api_key="x", http_client=http) as made:
        yield made
