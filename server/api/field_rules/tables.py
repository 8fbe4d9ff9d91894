"""The table of each surface: docs/api.md is written from them, and tests go through all."""

from collections.abc import Mapping

from server.api.field_rules.chat import CHAT
from server.api.field_rules.completions import COMPLETIONS
from server.api.field_rules.handed_on import DETOKENIZE, EMBEDDINGS, TOKENIZE
from server.api.field_rules.messages import COUNT_TOKENS, MESSAGES
from server.api.field_rules.responses import RESPONSES
from server.api.field_rules.rule import FieldTable

TABLES: Mapping[str, FieldTable] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": COUNT_TOKENS,
    "/v1/embeddings": EMBEDDINGS,
    "/tokenize": TOKENIZE,
    "/detokenize": DETOKENIZE,
}
"""Route -> what becomes of the fields of its requests."""
