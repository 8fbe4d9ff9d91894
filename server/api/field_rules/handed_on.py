"""Rules of the fields of routes that are handed to the engine as they are."""

from server.api.field_rules.rule import FieldTable, fields
from server.api.field_rules.sampling import OPENAI_PASSED, OPENAI_READ, VLLM_HINT, VLLM_PASSED

_MODEL = fields(OPENAI_READ, "model")

EMBEDDINGS: FieldTable = {
    **_MODEL,
    **fields(OPENAI_PASSED, "input encoding_format dimensions"),
    **fields(OPENAI_READ, "user"),
    **fields(
        VLLM_PASSED,
        "messages truncate_prompt_tokens truncation_side padding add_special_tokens cache_salt "
        "use_activation embed_dtype endianness add_generation_prompt continue_final_message "
        "chat_template chat_template_kwargs",
    ),
    **fields(VLLM_HINT, "priority", "the server orders the engine's work"),
    **fields(VLLM_HINT, "request_id", "ids are the server's own"),
    **fields(VLLM_HINT, "media_io_kwargs mm_processor_kwargs", "of media, which are refused"),
}

TOKENIZE: FieldTable = {
    **_MODEL,
    **fields(
        VLLM_PASSED,
        "prompt messages add_special_tokens return_token_strs add_generation_prompt "
        "continue_final_message chat_template chat_template_kwargs tools",
    ),
    **fields(VLLM_HINT, "media_io_kwargs mm_processor_kwargs", "of media, which are refused"),
}

DETOKENIZE: FieldTable = {**_MODEL, **fields(VLLM_PASSED, "tokens")}
