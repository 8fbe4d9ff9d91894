"""The tables of fields against what OpenAI's SDK and vLLM document, and against our own models."""

import ast
import importlib.util
import typing
from pathlib import Path

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from server.api.field_rules.rule import Reach, Use
from server.api.field_rules.tables import TABLES
from server.api.handed_on import DetokenizeRequest, EmbeddingsRequest, HandedOn, TokenizeRequest
from server.api.requests import ChatRequest, SamplingRequest, TextRequest

DOCUMENTED = {
    "/v1/chat/completions": chat_create_params.CompletionCreateParamsStreaming,
    "/v1/completions": completion_create_params.CompletionCreateParamsStreaming,
    "/v1/embeddings": embedding_create_params.EmbeddingCreateParams,
}
MODELS: dict[str, type[SamplingRequest | HandedOn]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": TextRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
VLLM = {
    "/v1/chat/completions": ("openai/chat_completion", "ChatCompletionRequest"),
    "/v1/completions": ("openai/completion", "CompletionRequest"),
    "/tokenize": ("serve/tokenize", "TokenizeChatRequest"),
    "/detokenize": ("serve/tokenize", "DetokenizeRequest"),
}


def vllm_fields(folder: str, name: str) -> set[str]:
    """Fields of a request class of the installed vLLM, read from its source: it takes long to
    import."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).parent / "entrypoints" / folder / "protocol.py"
    [kind] = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    targets = [node.target for node in kind.body if isinstance(node, ast.AnnAssign)]
    return {one.id for one in targets if isinstance(one, ast.Name) and one.id.islower()} - {
        "model_config"
    }


@pytest.mark.parametrize("route", DOCUMENTED)
def test_every_field_of_openai_s_has_a_rule(route: str) -> None:
    documented = set(typing.get_type_hints(DOCUMENTED[route]))
    assert documented - TABLES[route].keys() == set()
    ours = {name for name, rule in TABLES[route].items() if rule.origin == "OpenAI"}
    assert ours - documented == set()


@pytest.mark.parametrize("route", VLLM)
def test_every_field_of_vllm_s_has_a_rule(route: str) -> None:
    documented = {name for name in vllm_fields(*VLLM[route]) if not name.startswith("_")}
    assert len(documented) > 1
    assert documented - TABLES[route].keys() == set()


@pytest.mark.parametrize("route", MODELS)
def test_a_field_is_read_by_a_model_if_its_rule_says_so(route: str) -> None:
    read = {n for n, r in TABLES[route].items() if r.use in (Use.ACCEPTED, Use.PASSED_ON)}
    assert set(MODELS[route].model_fields) == read


@pytest.mark.parametrize("route", MODELS)
def test_rules_hold_together(route: str) -> None:
    for name, rule in TABLES[route].items():
        if rule.use is Use.REFUSED:
            assert rule.note, name
        if rule.reach is not Reach.ALL or rule.alters:
            assert rule.use is Use.PASSED_ON, name
