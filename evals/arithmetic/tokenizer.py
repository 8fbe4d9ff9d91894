"""The small model's tokenizer: bytes, single digits, a few whole words, and ChatML's markers."""

from __future__ import annotations

from typing import Any, cast

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from evals.arithmetic.corpus import MARKS

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# Qwen's ChatML without its default system prompt.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# The pattern of Qwen2's own tokenizer: transformers puts it in place of any other when it loads
# the tokenizer of a Qwen2 model.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ROLES = ["system", "user", "assistant"]
# Whole pieces of text with their spaces, found before anything else: a step is two tokens, its
# digit and what follows.
_PHRASES = ["What is ", " \\boxed{", *(f" {mark} " for mark in MARKS.values())]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of some 280 tokens; any text encodes, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[PAD, START, END],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_ROLES, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in _PHRASES])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START, END],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def prompt_text(text: str) -> str:
    """One user message by the chat template, spelt out for speed."""
    return f"{START}user\n{text}{END}\n{START}assistant\n"


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of one user message, as the model reads it."""
    return cast("list[int]", tokenizer(prompt_text(text))["input_ids"])
