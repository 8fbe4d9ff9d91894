"""Rules of the fields of `POST /v1/completions`."""

from dataclasses import replace

from server.api.field_rules.rule import FieldTable, Reach, fields
from server.api.field_rules.sampling import (
    OPENAI_PASSED,
    OPENAI_READ,
    OPENAI_REFUSED,
    SAMPLING,
    VLLM_REFUSED,
)

_ALONE = replace(OPENAI_PASSED, reach=Reach.MAKES_SINGLE)

COMPLETIONS: FieldTable = {
    **fields(OPENAI_READ, "prompt", "a text, token ids, or several of either"),
    **SAMPLING,
    **fields(_ALONE, "echo suffix"),
    **fields(
        replace(OPENAI_REFUSED, harmless=(1,)), "best_of", "votes have ratchet.rollouts instead"
    ),
    **fields(VLLM_REFUSED, "prompt_embeds", "the prompt must be text or token ids"),
}
