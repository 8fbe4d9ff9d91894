"""The table of each surface: docs/api.md is written from them, and tests go through all."""

from collections.abc import Mapping

from server.api.field_rules.chat import CHAT
from server.api.field_rules.completions import COMPLETIONS
from server.api.field_rules.handed_on import DETOKENIZE, EMBEDDINGS, TOKENIZE
from server.api.field_rules.rule import FieldTable

TABLES: Mapping[str, FieldTable] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/embeddings": EMBEDDINGS,
    "/tokenize": TOKENIZE,
    "/detokenize": DETOKENIZE,
}
"""Route -> what becomes of the fields of its requests."""
