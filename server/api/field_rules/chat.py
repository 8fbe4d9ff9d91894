"""Rules of the fields of `POST /v1/chat/completions`."""

from dataclasses import replace

from server.api.field_rules.rule import FieldTable, fields
from server.api.field_rules.sampling import (
    OPENAI_HINT,
    OPENAI_PASSED,
    OPENAI_READ,
    OPENAI_REFUSED,
    OPENAI_SINGLE,
    SAMPLING,
    VLLM_ALONE,
    VLLM_HINT,
    VLLM_PASSED,
)

CHAT: FieldTable = {
    **fields(OPENAI_READ, "messages", "text parts; `cache_control` and the like are dropped"),
    **SAMPLING,
    **fields(OPENAI_PASSED, "max_completion_tokens", "counts before `max_tokens`"),
    **fields(OPENAI_SINGLE, "top_logprobs"),
    **fields(OPENAI_PASSED, "tools tool_choice parallel_tool_calls response_format"),
    **fields(OPENAI_PASSED, "functions function_call", "as `tools`; replies are in the older form"),
    **fields(OPENAI_PASSED, "reasoning_effort"),
    **fields(OPENAI_READ, "store", "`false` keeps the request out of learning"),
    **fields(OPENAI_READ, "metadata", "checked, and nothing else is done with it"),
    **fields(
        OPENAI_HINT,
        "service_tier prompt_cache_key prompt_cache_options prompt_cache_retention "
        "safety_identifier verbosity prediction",
    ),
    **fields(OPENAI_REFUSED, "audio", "replies are text"),
    **fields(replace(OPENAI_REFUSED, harmless=(["text"],)), "modalities", "replies are text"),
    **fields(OPENAI_REFUSED, "moderation", "nothing is moderated here"),
    **fields(OPENAI_REFUSED, "web_search_options", "there is no web search here"),
    **fields(
        VLLM_PASSED,
        "include_reasoning add_generation_prompt continue_final_message documents chat_template "
        "chat_template_kwargs",
    ),
    **fields(VLLM_ALONE, "echo return_prompt_text"),
    **fields(VLLM_HINT, "media_io_kwargs mm_processor_kwargs", "of media, which are refused"),
}  # fmt: skip
