"""Pages that explain the code hold all of what they explain."""

import re

import pytest

from adapter.store.judgement import Cause, Step
from deploy.references import ROOT
from server.policy.reasons import Unrecorded

DOCS = ROOT / "docs"
WINGS = (*(ROOT / "server").iterdir(), *(ROOT / "adapter").iterdir())


def part(page: str, title: str) -> str:
    text = (DOCS / page).read_text()
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_of_a_rejection_has_a_remedy(cause: Cause) -> None:
    assert len(part("rejections.md", cause.value).strip()) > 60


def test_no_cause_is_explained_that_there_is_not() -> None:
    titles = re.findall(r"^## (.+)$", (DOCS / "rejections.md").read_text(), re.MULTILINE)
    assert titles == [cause.value for cause in Cause]


def test_every_step_of_a_promotion_is_told() -> None:
    told = part("architecture.md", "One promotion")
    assert all(step.value in told for step in Step)


def test_every_reason_not_to_record_is_told() -> None:
    told = (DOCS / "api.md").read_text()
    seen_by_clients = set(Unrecorded) - {Unrecorded.UNUSABLE}
    assert all(f"`{reason.value}`" in told for reason in seen_by_clients)


@pytest.mark.parametrize("title", ["The walk of a voted request", "The walk of a judged candidate"])
def test_a_walk_enters_each_wing_once(title: str) -> None:
    steps = re.findall(r"^\d+\. `([\w/]+)/`", part("architecture.md", title), re.MULTILINE)
    assert len(steps) == len(set(steps)) >= 7


def test_the_walks_and_the_table_miss_no_wing() -> None:
    wings = {
        f"{folder.parent.name}/{folder.name}"
        for folder in WINGS
        if folder.is_dir() and (folder / "__init__.py").is_file()
    }
    both = part("architecture.md", "The walk of a voted request")
    both += part("architecture.md", "The walk of a judged candidate")
    table = part("architecture.md", "Wings")
    for wing in wings:
        assert f"`{wing}/`" in both, wing
        assert f"| `{wing}/` |" in table, wing


def test_every_page_is_on_a_road() -> None:
    roads = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in roads, page.name
