"""Grafana dashboards, built with Grafana's own library."""

import json
from collections.abc import Iterator

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
)

from deploy.panels import BOARDS, RATIO, Board, Panel

_SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
_DEFINITIONS = "Definitions: docs/metrics.md."
# The live version's number as a label, only where it has changed since the query's step before: a
# fixed range would miss changes as soon as a longer time is shown.
CHANGES = (
    'count_values("version", ratchet_live_version '
    "and (changes(ratchet_live_version[$__rate_interval]) > 0))"
)


def dashboards() -> Iterator[tuple[str, str]]:
    """File name and content of each."""
    for board in BOARDS:
        shown = json.loads(JSONEncoder().encode(_board(board).build()))
        for number, panel in enumerate(shown["panels"], 1):
            panel["id"] = number
            for place, target in enumerate(panel.get("targets", ())):
                target["refId"] = chr(ord("A") + place)
        # Not in the library: the title of annotations.
        shown["annotations"]["list"][0]["titleFormat"] = "v{{version}}"
        yield f"{board.name}.json", json.dumps(shown, indent=1, sort_keys=True) + "\n"


def _board(board: Board) -> dashboard.Dashboard:
    shown = (
        dashboard.Dashboard(board.title)
        .uid(f"ratchet-{board.name}")
        .tags(["ratchet"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Ratchet")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["ratchet"])
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("versions")
            .datasource(_SOURCE)
            .icon_color("purple")
            .expr(CHANGES)
        )
    )
    for title, panels in board.rows:
        shown.with_row(dashboard.Row(title))
        for panel in panels:
            shown.with_panel(_panel(panel))
    return shown


def _panel(panel: Panel) -> timeseries.Panel:
    shown = (
        timeseries.Panel()
        .title(panel.title)
        .description(" ".join(filter(None, (panel.note, _DEFINITIONS))))
        .datasource(_SOURCE)
        .unit(panel.unit)
        .span(24 if panel.wide else 8)
        .height(10 if panel.wide else 8)
        .axis_soft_min(0)
        .fill_opacity(0)
        .line_width(2)
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .calcs(["lastNotNull"])
        )
    )
    if panel.unit == RATIO:
        shown.axis_soft_max(1)
    for query, legend in panel.queries:
        shown.with_target(prometheus.Dataquery().expr(query).legend_format(legend))
    return shown
