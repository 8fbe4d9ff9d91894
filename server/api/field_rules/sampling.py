"""Rules of the fields that chat and text completions have in common, OpenAI's and vLLM's."""

from dataclasses import replace

from server.api.field_rules.rule import FieldRule, Reach, Use, fields

OPENAI_READ = FieldRule(Use.ACCEPTED, "OpenAI")
OPENAI_PASSED = FieldRule(Use.PASSED_ON, "OpenAI")
OPENAI_SINGLE = FieldRule(Use.PASSED_ON, "OpenAI", reach=Reach.SINGLE)
OPENAI_HINT = FieldRule(Use.IGNORED, "OpenAI")
OPENAI_REFUSED = FieldRule(Use.REFUSED, "OpenAI")
VLLM_PASSED = FieldRule(Use.PASSED_ON, "vLLM")
VLLM_SINGLE = FieldRule(Use.PASSED_ON, "vLLM", reach=Reach.SINGLE)
VLLM_ALONE = FieldRule(Use.PASSED_ON, "vLLM", reach=Reach.MAKES_SINGLE)
VLLM_HINT = FieldRule(Use.IGNORED, "vLLM")
VLLM_REFUSED = FieldRule(Use.REFUSED, "vLLM")
_ALTERS = FieldRule(Use.PASSED_ON, "OpenAI", alters=True, harmless=(0.0, {}))
_VLLM_ALTERS = FieldRule(Use.PASSED_ON, "vLLM", alters=True, harmless=(False, 0, [], {}))

SAMPLING = {
    **fields(OPENAI_READ, "model"),
    **fields(OPENAI_READ, "stream user"),
    **fields(
        OPENAI_SINGLE, "stream_options",
        "in a vote the server writes the stream, `include_usage` included",
    ),
    **fields(OPENAI_SINGLE, "n", "in a vote, the choices returned, best-voted first"),
    **fields(OPENAI_SINGLE, "temperature", "a vote has `RATCHET_ROLLOUT_TEMPERATURE`"),
    **fields(OPENAI_PASSED, "top_p"),
    **fields(OPENAI_SINGLE, "seed", "in a vote, a seed made from it and the prompt"),
    **fields(OPENAI_SINGLE, "logprobs", "of a vote, those of the choices returned"),
    **fields(OPENAI_PASSED, "max_tokens stop"),
    **fields(_ALTERS, "presence_penalty frequency_penalty logit_bias"),
    **fields(FieldRule(Use.ACCEPTED, "Ratchet"), "ratchet"),
    # vLLM's documented extras.
    **fields(
        VLLM_PASSED,
        "response_format structured_outputs top_k stop_token_ids include_stop_str_in_output "
        "skip_special_tokens spaces_between_special_tokens add_special_tokens "
        "truncate_prompt_tokens truncation_side cache_salt",
    ),
    **fields(
        _VLLM_ALTERS,
        "ignore_eos min_tokens allowed_token_ids bad_words repetition_detection watermarking "
        "vllm_xargs",
    ),
    **fields(replace(_VLLM_ALTERS, harmless=(1.0,)), "repetition_penalty"),
    **fields(replace(_VLLM_ALTERS, harmless=(-1,)), "thinking_token_budget"),
    **fields(VLLM_SINGLE, "min_p stream_interval length_penalty"),
    **fields(
        VLLM_ALONE,
        "use_beam_search prompt_logprobs logprob_token_ids return_token_ids "
        "return_tokens_as_token_ids",
    ),
    **fields(VLLM_HINT, "priority", "the server orders the engine's work"),
    **fields(VLLM_HINT, "request_id session_id", "ids are the server's own"),
    **fields(
        VLLM_HINT, "return_token_offsets mm_payload return_mm_kwargs routed_experts_prompt_start",
        "of routes that are not offered",
    ),
    **fields(
        VLLM_REFUSED, "kv_transfer_params ec_transfer_params",
        "engines do not hand work to one another here",
    ),
}  # fmt: skip
