"""Links between pages lead somewhere, and commands that pages name are there."""

import re
from pathlib import Path

import pytest

from deploy.references import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(((?!https?:)[^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_commands_of_make_are_there() -> None:
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert name in made, (page.name, name)


def test_files_that_pages_name_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:server|adapter|ratchet|deploy|tests|evals|rewards|loadtests)"
                               r"/[\w./-]+\.\w+)`", page.read_text()):  # fmt: skip
            assert (ROOT / name).exists(), (page.name, name)
