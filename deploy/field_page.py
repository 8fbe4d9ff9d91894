"""The table of fields in docs/api.md, out of the tables that requests are read by."""

from collections.abc import Mapping

from deploy.references import ROOT
from server.api.field_rules.rule import FieldRule, Reach, Use
from server.api.field_rules.tables import TABLES

PAGE = ROOT / "docs" / "api.md"
_BEGINS, _ENDS = "<!-- fields: made by make references -->\n", "<!-- end of fields -->\n"
_MARKS = {Reach.ALL: "", Reach.SINGLE: " ¹", Reach.MAKES_SINGLE: " ²"}


def api_page() -> str:
    """docs/api.md as it should be: what is written by hand, and the table as the code has it."""
    head, _, rest = PAGE.read_text().partition(_BEGINS)
    _, _, tail = rest.partition(_ENDS)
    return f"{head}{_BEGINS}\n{fields_table(TABLES)}\n{_ENDS}{tail}"


def fields_table(tables: Mapping[str, Mapping[str, FieldRule]]) -> str:
    """Every field that any surface has, and what each surface does with it."""
    titles = " | ".join(f"`{route}`" for route in tables)
    lines = [f"| field | {titles} | notes |", "|---" * (len(tables) + 2) + "|"]
    for name in sorted({name for table in tables.values() for name in table}):
        rules = [table.get(name) for table in tables.values()]
        cells = " | ".join(map(_cell, rules))
        notes = dict.fromkeys(_note(rule) for rule in rules if rule is not None)
        lines.append(f"| `{name}` | {cells} | {'; '.join(note for note in notes if note)} |")
    return "\n".join(lines) + "\n"


def _cell(rule: FieldRule | None) -> str:
    return "" if rule is None else f"{rule.use}{_MARKS[rule.reach]}"


def _note(rule: FieldRule) -> str:
    taken = [f"`{value}`".replace("'", '"') for value in rule.harmless]
    if rule.use is Use.REFUSED and taken:
        return f"{rule.note}; {', '.join(taken)} may be said"
    return "; ".join(filter(None, [rule.note, "not learnt from" if rule.alters else ""]))
