"""The table of fields in docs/api.md."""

from deploy.field_page import PAGE, api_page, fields_table
from server.api.field_rules.rule import FieldRule, Reach, Use, fields
from server.api.field_rules.tables import TABLES


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text() == api_page()


def test_every_field_and_route_is_in_it() -> None:
    page = PAGE.read_text()
    for route, table in TABLES.items():
        assert f"`{route}`" in page
        for name in table:
            assert f"| `{name}` |" in page


def test_rows_say_what_each_surface_does() -> None:
    one = fields(FieldRule(Use.PASSED_ON, "OpenAI", reach=Reach.SINGLE), "seed")
    two = {
        **fields(
            FieldRule(Use.REFUSED, "OpenAI", "replies are text", harmless=(["text"],)), "form"
        ),
        **fields(FieldRule(Use.IGNORED, "vLLM", "ours", alters=False), "seed"),
    }
    assert fields_table({"/a": one, "/b": two}).splitlines() == [
        "| field | `/a` | `/b` | notes |",
        "|---|---|---|---|",
        '| `form` |  | refused | replies are text; `["text"]` may be said |',
        "| `seed` | passed on ¹ | ignored | ours |",
    ]
