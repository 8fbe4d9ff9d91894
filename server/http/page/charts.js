"use strict";
// Charts over time with uPlot. Colours come from the style sheet, so that they follow light and dark.

const STYLE = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const REDRAWN = [];
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => REDRAWN.forEach((draw) => draw()));

/** The time of day of seconds since 1970. */
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

/** What the legend says: the value under the cursor, or the last one where there is no cursor. */
function shown(plot, value, index, format) {
  const latest = plot.cursor.idx === null || plot.cursor.idx === undefined ? plot.data[index].at(-1) : value;
  return latest === null || latest === undefined ? "–" : format(latest);
}

/** Dashed lines where `column` of the data changes, named v1, v2, … while there is room. */
function versionMarks(column) {
  return (plot) => {
    const [times, versions] = [plot.data[0], column()];
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = STYLE("soft");
    ctx.globalAlpha = 0.75;
    ctx.setLineDash([3, 4]);
    ctx.font = `${11 * devicePixelRatio}px system-ui`;
    let free = bbox.left;
    for (let i = 1; i < times.length; i += 1) {
      if (versions[i] === versions[i - 1]) continue;
      const x = Math.round(plot.valToPos(times[i], "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (x < free) continue;
      const name = versions[i] ? `v${versions[i]}` : "base";
      ctx.fillText(name, x + 3, bbox.top + 11 * devicePixelRatio);
      free = x + ctx.measureText(name).width + 10 * devicePixelRatio;
    }
    ctx.restore();
  };
}

/** A chart in `element`: `series` are {name, colour, dash, show}; returns a function that shows new data. */
function chart(element, series, { format, range, marks }) {
  let plot = null;
  let data = [[], ...series.map(() => [])];
  const size = () => ({ width: element.clientWidth, height: element.clientHeight - legendHeight() });
  const legendHeight = () => (plot ? plot.root.querySelector(".u-legend").offsetHeight : 28);
  const axis = (more) => ({ stroke: STYLE("soft"), grid: { stroke: STYLE("line"), width: 1 }, ticks: { stroke: STYLE("line") }, ...more });
  const draw = () => {
    if (plot) plot.destroy();
    plot = new uPlot({
      ...size(),
      cursor: { points: { size: 6 } },
      scales: { y: { range } },
      axes: [axis({ space: 80, values: (_, ticks) => ticks.map(clock) }), axis({ size: 56, values: (_, ticks) => ticks.map(format) })],
      series: [{ label: "at", value: (plot, at) => shown(plot, at, 0, clock) }, ...series.map((one) => ({
        label: one.name, stroke: STYLE(one.colour), width: 2, dash: one.dash, spanGaps: false, points: { show: false },
        value: (plot, value, index) => shown(plot, value, index, format),
      }))],
      hooks: marks ? { drawClear: [marks] } : {},
    }, data, element);
    plot.setSize(size());
  };
  new ResizeObserver(() => plot && plot.setSize(size())).observe(element);
  REDRAWN.push(draw);
  draw();
  return (columns) => {
    data = columns;
    plot.setData(data);
  };
}
