"""The one-shot service `fetch`: loads the base model into the cache volume, before it is needed.

`fetch.py` fetches what RATCHET_MODEL names, goes on where it was broken off, and ends with 0 when
all is there, with 2 where trying again is of no use. `fetch.py health` ends with 0 while something
arrives. It runs in the engine's image, and needs `huggingface_hub` alone.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
_UNWANTED = ["original/*", "consolidated*", "*/*.onnx*"]
"""The same weights once more, in other forms."""
_STALLED_SECONDS = 120.0


class Refused(Exception):
    """Trying again is of no use."""


def fetch(model: str) -> str:
    """Fetch a model, or look at a folder; returns where it is. Raises Refused, and OSError where
    trying again may help."""
    if not model:
        raise Refused("set RATCHET_MODEL in deploy/.env")
    if Path(model).is_dir() or model.startswith(("/", ".")):
        return str(_with_weights(Path(model)))
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        folder = huggingface_hub.snapshot_download(
            model, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except RepositoryNotFoundError as error:  # a gated one is a kind of it
        why = str(error).strip().splitlines()[-1]
        raise Refused(f"RATCHET_MODEL {model} is not there, or wants HF_TOKEN: {why}") from None
    except HFValidationError as error:
        raise Refused(f"RATCHET_MODEL {model}: {error}") from None
    return str(_with_weights(Path(folder)))


def arrives(cache: Path, now: float) -> bool:
    """Whether anything below the cache was written in the last two minutes."""
    files = (Path(root) / name for root, _, names in os.walk(cache) for name in names)
    return any(now - file.lstat().st_mtime < _STALLED_SECONDS for file in files)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if list(arguments) == ["health"]:
        return 0 if arrives(Path(os.environ["HF_HOME"]), time.time()) else 1
    try:
        print("fetch:", fetch(os.environ.get("RATCHET_MODEL", "")), "is complete")
    except Refused as refused:
        print(f"fetch: {refused}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    return 0


def _with_weights(folder: Path) -> Path:
    """The folder, if a model is in it. Raises Refused, and FileNotFoundError for a part that is not
    there yet: with the Hub out of reach, its library takes what was fetched before for all."""
    if not (folder / "config.json").is_file():
        raise Refused(f"RATCHET_MODEL: {folder} has no config.json; is FILES set in deploy/.env?")
    if not list(folder.glob("*.safetensors")):
        raise Refused(f"RATCHET_MODEL: {folder} has no .safetensors; other formats can run code")
    for index in folder.glob("*.safetensors.index.json"):
        for part in sorted(set(json.loads(index.read_text())["weight_map"].values())):
            if not (folder / part).is_file():
                raise FileNotFoundError(f"{folder} lacks {part}")
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
