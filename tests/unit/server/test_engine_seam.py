"""Above `server/engine/` the engine is known by its contract alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import server

ROOM = Path(server.__file__).parent
# They list what clients may send, by the names that vLLM documents.
LISTS = {
    *(ROOM / "api" / "field_rules").iterdir(),
    ROOM / "api/request_parts/engine_extras.py",
}
FILES = [path for path in ROOM.rglob("*.py") if path.parent.name != "engine" and path not in LISTS]
# Of vLLM's own requests and replies; what clients may send by these names is not among them.
PRIVATE = {
    "return_token_ids", "stream_interval", "prompt_token_ids", "token_ids_only", "priority",
    "prompt_logprobs", "lora_name", "lora_path", "load_inplace",
}  # fmt: skip


def said(tree: ast.Module) -> Iterator[str]:
    """Every name, import and text of a module but its docstrings."""
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documented:
                yield text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names):
                yield module or ""
                yield from (alias.name for alias in names)
            case _:
                pass


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOM)))
def test_no_file_knows_vllm(file: Path) -> None:
    words = list(said(ast.parse(file.read_text())))
    assert [word for word in words if "vllm" in word.lower()] == []
    assert PRIVATE.intersection(words) == set()


def test_the_room_itself_is_found_out() -> None:
    texts = [path.read_text() for path in (ROOM / "engine").glob("vllm*.py")]
    words = {word for text in texts for word in said(ast.parse(text))}
    assert {"VllmEngine", "return_token_ids", "lora_name"} <= words
