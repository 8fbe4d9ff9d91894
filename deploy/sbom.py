"""What an image is made of, as a CycloneDX document, from the locks alone: `make sbom`.

`python -m deploy.sbom server|adapter|cpu [cpu|cuda]` writes it to standard output: each package
with the hashes of which one is installed, and the base image by its digest. Nothing is looked up:
the same locks give the same document.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGETS: Mapping[str, Sequence[str]] = {"server": (), "adapter": ("torch",), "cpu": ("torch",)}
"""Images, and what they install besides their lock."""
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^ ;\\]+)(?: ; ([^\\]+?))? ?\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_BASE = re.compile(r"^FROM ([\w./-]+):([\w.-]+)@sha256:([0-9a-f]{64}) AS base$", re.MULTILINE)
_NAMESPACE = uuid.UUID("5e5b5c2e-2f0c-5d5b-9d43-6c1c2a0b7a51")


def sbom(target: str, build: str = "cpu") -> dict[str, Any]:
    """The document of an image. Raises KeyError for one that is not built."""
    locks = [target, *(f"{lock}-{build}" for lock in TARGETS[target])]
    components = [_base_image(), *(one for lock in locks for one in _packages(lock))]
    version = re.search(r'^version = "(.+)"$', _text("pyproject.toml"), re.MULTILINE)
    whole = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(_NAMESPACE, whole).urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": f"ratchet-{target}",
                "name": f"ratchet-{target}",
                "version": version[1] if version else "0",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
    }


def _packages(lock: str) -> Iterator[dict[str, Any]]:
    """The packages of one lock, in its order."""
    entries = re.split(r"\n(?=\S)", _text(f"deploy/lock/{lock}.txt"))
    for entry in entries:
        found = _PIN.match(entry.partition("\n")[0])
        if found is None:
            continue
        name, version, marker = found.groups()
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
        hashes = [{"alg": "SHA-256", "content": digest} for digest in _HASH.findall(entry)]
        source = {"type": "distribution", "url": f"https://pypi.org/project/{name}/"}
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"{purl}#{marker}" if marker else purl,
            "name": name,
            "version": version,
            "purl": purl,
            "externalReferences": [{**source, "hashes": hashes}],
        }
        if marker:
            component["properties"] = [{"name": "ratchet:marker", "value": marker}]
        yield component


def _base_image() -> dict[str, Any]:
    found = _BASE.search(_text("Dockerfile"))
    if found is None:
        raise ValueError("Dockerfile: the base image is not pinned by digest")
    name, tag, digest = found.groups()
    return {
        "type": "container",
        "bom-ref": f"{name}@sha256:{digest}",
        "name": name,
        "version": tag,
        "purl": f"pkg:oci/{name.rpartition('/')[2]}@sha256%3A{digest}?tag={tag}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def main() -> int:
    """Returns 2 for an image that is not built."""
    given = sys.argv[1:]
    if not 1 <= len(given) <= 2 or given[0] not in TARGETS or not {*given[1:]} <= {"cpu", "cuda"}:
        print(f"usage: python -m deploy.sbom {'|'.join(TARGETS)} [cpu|cuda]", file=sys.stderr)
        return 2
    print(json.dumps(sbom(*given), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
