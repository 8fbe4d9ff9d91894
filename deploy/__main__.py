"""Write generated files: dashboards, manifests, reference pages. `--check` only compares them."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.dashboards import dashboards
from deploy.field_page import PAGE, api_page
from deploy.manifests import manifests
from deploy.references import ROOT, pages


def generated() -> Iterator[tuple[Path, str]]:
    """Every generated file and its content."""
    for name, content in dashboards():
        yield ROOT / "deploy" / "grafana" / "dashboards" / name, content
    for name, content in manifests():
        yield ROOT / "deploy" / "kubernetes" / name, content
    for name, content in pages():
        yield ROOT / "docs" / name, content
    yield PAGE, api_page()


def main() -> int:
    """Returns 1 if only checking and a file is out of date."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    old = [(file, text) for file, text in generated() if not _same(file, text)]
    for file, text in old:
        print(f"{'out of date' if check else 'written'}: {file.relative_to(ROOT)}")
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return int(check and bool(old))


def _same(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
