"""Reference pages generated from the code: every metric, every setting."""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from adapter.learner.metrics import LearnerMetrics
from adapter.settings import AdapterSettings, ChannelSettings
from ratchet.settings import StackSettings, groups_of
from server.metrics import ServerMetrics
from server.settings import ServerSettings

ROOT = Path(__file__).parent.parent

_METRICS = """# Metrics

Made from the code by `make references`: do not edit. Names and units follow
[Prometheus' conventions](https://prometheus.io/docs/practices/naming/); ratios are from 0 to 1.
No label ever holds a request, a client or a text. A series that has nothing to say is absent or
NaN, not zero. Beside these, each process has the usual `process_*` metrics.
"""

_CONFIGURATION = """# Configuration

Made from the settings classes by `make references`: do not edit.

A setting `some_name` is the flag `--some-name`, the environment variable `RATCHET_SOME_NAME` or the
key `some_name` in `ratchet.yaml`; the first of these that is there counts. An unknown key ends a
process with status 2 and its name. `ratchet serve`, `ratchet adapt` and `ratchet up` each list
theirs with `--help`.
"""


def pages() -> Iterator[tuple[str, str]]:
    """File name and content of each page."""
    yield "metrics.md", _metrics()
    yield "configuration.md", _configuration()


def _metrics() -> str:
    server = _table(ServerMetrics().registry, "server/metrics.py")
    learner = _table(LearnerMetrics().registry, "adapter/learner/metrics.py")
    return (
        f"{_METRICS}\n## The server, `/metrics`\n\n{server}\n"
        "## The learner, `adapter_metrics_port`\n\n" + learner
    )


def _table(registry: Any, defined: str) -> str:
    """All metrics of a registry, with the files of the code that set them."""
    places = _places(defined)
    rows: list[str] = []
    for collector in registry._collector_to_names:
        if (name := getattr(collector, "_name", None)) is None:
            continue
        kind = collector._type
        shown = f"{name}_total" if kind == "counter" else name
        labels = ", ".join(f"`{label}`" for label in collector._labelnames) or "none"
        users = places.get(name) or [defined]
        where = ", ".join(f"[{path}](../{path})" for path in users)
        meaning = collector._documentation.replace("|", "\\|")
        rows.append(f"| `{shown}` | {kind} | {labels} | {meaning} | {where} |")
    head = "| name | type | labels | definition | set in |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _places(defined: str) -> Mapping[str, list[str]]:
    """Metric name -> files that set it, by its attribute or by a method that does."""
    tree = ast.parse((ROOT / defined).read_text())
    wing = ROOT / Path(defined).parts[0]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(wing.rglob("*.py"))}

    def users(member: str) -> list[str]:
        used = re.compile(rf"metrics\.{member}\b")
        return [path for path, text in sources.items() if used.search(text)]

    holders = _holders(tree)
    callers: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            for attribute in set(re.findall(r"self\.(\w+)", ast.unparse(node))):
                callers.setdefault(attribute, []).extend(users(node.name))
    return {
        name: sorted({*users(attribute), *callers.get(attribute, [])})
        for name, attribute in holders.items()
    }


def _holders(tree: ast.Module) -> dict[str, str]:
    """Metric name -> the attribute of the class that holds it, directly or through a variable."""
    holders: dict[str, str] = {}
    variables: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        code = ast.unparse(node.value)
        names = re.findall(r"'(ratchet_\w+)'", code)
        if isinstance(target, ast.Name):
            variables[target.id] = names
        elif isinstance(target, ast.Attribute):
            for part in ast.walk(node.value):
                names += variables.get(part.id, []) if isinstance(part, ast.Name) else []
            holders.update((name, target.attr) for name in names)
    return holders


def _configuration() -> str:
    channel = set(ChannelSettings.model_fields)
    parts = (
        ("Both processes", ChannelSettings, set[str]()),
        ("The server, `ratchet serve`", ServerSettings, channel),
        ("The learner, `ratchet adapt`", AdapterSettings, channel),
        (
            "The local stack only, `ratchet up`", StackSettings,
            {*ServerSettings.model_fields, *AdapterSettings.model_fields},
        ),
    )  # fmt: skip
    return f"{_CONFIGURATION}\n" + "\n".join(
        f"## {title}\n\n{settings_tables(kind, others)}" for title, kind, others in parts
    )


def settings_tables(kind: type[BaseModel], others: Collection[str] = ()) -> str:
    """The settings of a class that are not among `others`: a table for each group that has any,
    under a heading if there are several."""
    groups = [
        (title, rows)
        for title, fields in groups_of(kind)
        if (rows := "".join(_row(n, f) for n, f in fields.items() if n not in others))
    ]
    return "\n".join(
        (f"### {title}\n\n" if len(groups) > 1 else "")
        + f"| setting | default | meaning |\n|---|---|---|\n{rows}"
        for title, rows in groups
    )


def _row(name: str, field: FieldInfo) -> str:
    default = field.get_default()
    shown = "none" if default in (None, "") or isinstance(default, SecretStr) else f"`{default}`"
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{name}` | {shown} | {meaning} |\n"
