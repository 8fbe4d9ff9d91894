"""Rules of the fields of `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from dataclasses import replace

from server.api.field_rules.rule import FieldRule, FieldTable, Reach, Use, fields
from server.api.field_rules.sampling import VLLM_HINT, VLLM_PASSED, VLLM_REFUSED

_READ = FieldRule(Use.ACCEPTED, "Anthropic")
_PASSED = FieldRule(Use.PASSED_ON, "Anthropic")
_SINGLE = replace(_PASSED, reach=Reach.SINGLE)
_HINT = FieldRule(Use.IGNORED, "Anthropic")
_REFUSED = FieldRule(Use.REFUSED, "Anthropic")

COUNT_TOKENS: FieldTable = {
    **fields(_READ, "model"),
    **fields(_PASSED, "messages", "blocks of text, thinking, tool uses and their results"),
    **fields(_PASSED, "system", "as the first message, with system messages further down"),
    **fields(_PASSED, "tools", "those with an `input_schema`; Anthropic's own are refused"),
    **fields(_PASSED, "tool_choice"),
    **fields(_PASSED, "thinking", "on or off; `budget_tokens` is ignored"),
    **fields(_PASSED, "output_config", "`effort` and `format`"),
    **fields(_PASSED, "output_format", "the older place of `output_config.format`"),
    **fields(VLLM_PASSED, "chat_template_kwargs"),
    **fields(
        _HINT,
        "cache_control context_management compaction diagnostics inference_geo service_tier speed "
        "fallbacks fallback_credit_token billing_policy betas user_profile_id workspace_id",
    ),
    **fields(_REFUSED, "container thread", "nothing is stored here"),
    **fields(replace(_REFUSED, harmless=([],)), "mcp_servers", "tools are called by the client"),
}

MESSAGES: FieldTable = {
    **COUNT_TOKENS,
    **fields(_PASSED, "max_tokens stop_sequences top_p top_k"),
    **fields(_SINGLE, "temperature", "a vote has `RATCHET_ROLLOUT_TEMPERATURE`"),
    **fields(_READ, "stream"),
    **fields(_READ, "metadata", "`user_id`"),
    **fields(FieldRule(Use.ACCEPTED, "Ratchet"), "ratchet"),
    # vLLM's documented extras.
    **fields(VLLM_PASSED, "cache_salt"),
    **fields(replace(VLLM_PASSED, alters=True), "watermarking vllm_xargs"),
    **fields(VLLM_HINT, "mm_payload return_mm_kwargs", "of media, which are refused"),
    **fields(
        VLLM_REFUSED,
        "kv_transfer_params ec_transfer_params",
        "engines do not hand work to one another here",
    ),
}
