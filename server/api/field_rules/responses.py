"""Rules of the fields of `POST /v1/responses`."""

from dataclasses import replace

from server.api.field_rules.rule import FieldRule, FieldTable, Use, fields
from server.api.field_rules.sampling import (
    OPENAI_HINT,
    OPENAI_PASSED,
    OPENAI_READ,
    OPENAI_REFUSED,
    OPENAI_SINGLE,
    VLLM_HINT,
    VLLM_PASSED,
    VLLM_REFUSED,
    VLLM_SINGLE,
)

_NOT_STORED = "nothing is stored here: send the whole conversation as `input`"

RESPONSES: FieldTable = {
    **fields(OPENAI_READ, "model stream user"),
    **fields(OPENAI_PASSED, "input", "a text, or items of text, calls and reasoning"),
    **fields(OPENAI_PASSED, "instructions", "as the first message"),
    **fields(OPENAI_PASSED, "tools", "functions; a hosted tool is refused"),
    **fields(OPENAI_PASSED, "tool_choice parallel_tool_calls"),
    **fields(OPENAI_PASSED, "text", "`format`; `verbosity` is ignored"),
    **fields(OPENAI_PASSED, "reasoning", "`effort`; the rest is ignored"),
    **fields(OPENAI_PASSED, "max_output_tokens top_p"),
    **fields(OPENAI_SINGLE, "temperature", "a vote has `RATCHET_ROLLOUT_TEMPERATURE`"),
    **fields(OPENAI_SINGLE, "top_logprobs", "of a vote, those of the rollout returned"),
    **fields(OPENAI_READ, "include", "`message.output_text.logprobs`; the rest is ignored"),
    **fields(OPENAI_READ, "store", "`false` keeps the request out of learning"),
    **fields(OPENAI_READ, "metadata", "checked and repeated in the reply"),
    **fields(FieldRule(Use.ACCEPTED, "Ratchet"), "ratchet"),
    **fields(
        OPENAI_HINT,
        "stream_options service_tier prompt_cache_key prompt_cache_options prompt_cache_retention "
        "safety_identifier truncation max_tool_calls context_management access_programs image "
        "background_options",
    ),
    **fields(OPENAI_REFUSED, "previous_response_id conversation", _NOT_STORED),
    **fields(replace(OPENAI_REFUSED, harmless=(False,)), "background", "replies are not kept"),
    **fields(OPENAI_REFUSED, "prompt", "there are no stored prompts here"),
    **fields(OPENAI_REFUSED, "moderation", "nothing is moderated here"),
    # vLLM's documented extras.
    **fields(
        VLLM_PASSED,
        "stop stop_token_ids top_k chat_template_kwargs include_reasoning structured_outputs "
        "skip_special_tokens include_stop_str_in_output cache_salt",
    ),
    **fields(
        replace(VLLM_PASSED, alters=True),
        "presence_penalty frequency_penalty logit_bias repetition_penalty ignore_eos watermarking "
        "vllm_xargs",
    ),
    **fields(VLLM_SINGLE, "seed min_p"),
    **fields(VLLM_HINT, "priority", "the server orders the engine's work"),
    **fields(VLLM_HINT, "request_id session_id", "ids are the server's own"),
    **fields(VLLM_HINT, "media_io_kwargs mm_processor_kwargs mm_payload return_mm_kwargs"),
    **fields(VLLM_REFUSED, "previous_input_messages", _NOT_STORED),
    **fields(
        replace(VLLM_REFUSED, harmless=(False,)), "enable_response_messages",
        "replies have no raw messages",
    ),
    **fields(
        VLLM_REFUSED, "kv_transfer_params ec_transfer_params",
        "engines do not hand work to one another here",
    ),
}  # fmt: skip
