/* Certificates on examples drawn anew: how far they reach, how often they are wrong, how many examples they take. */

const CERTIFICATE_CHARTS = { "c-reach": reachTraces, "c-wrong": wrongTraces, "c-examples": exampleTraces };

function drawResplits(id) {
  const { x } = DATA.resplits;
  const own = DATA.resplits.methods[state.method];
  const { traces, yaxis, shapes = [], annotations = [], left = 48, right = 16 } = CERTIFICATE_CHARTS[id](own, id);
  const width = document.getElementById(id).clientWidth - left - right;
  const xaxis = { title: "tolerated rate α, %", range: x.range, showgrid: false, tickvals: x.ticks.map((t) => t[0]), ticktext: thinned(x.ticks, x.range, width) };
  draw(id, traces, chartLayout(id, { margin: { l: left, r: right }, xaxis, yaxis, shapes, annotations }));
}

const boundMarks = (line) => ({ color: color(line.color), symbol: line.marker, size: 7 });

function reachBand({ points, color: role }) {
  const back = [...points].reverse();
  return {
    x: [...points, ...back].map((p) => p.x),
    y: [...points.map((p) => p.high), ...back.map((p) => p.low)],
    mode: "lines",
    line: { width: 0 },
    fill: "toself",
    fillcolor: faded(color(role), 0.12),
    hoverinfo: "skip",
  };
}

function reachTraces({ lines: every, reachable, reach }) {
  const known = {
    x: reachable.map((p) => p[0]),
    y: reachable.map((p) => p[1]),
    mode: "lines",
    hoverinfo: "skip",
    line: { color: color("dense"), width: 1.6, dash: "1.5px,3px" },
  };
  const means = every.map((line) => ({
    x: line.points.map((p) => p.x),
    y: line.points.map((p) => p.mean),
    mode: "lines+markers",
    line: { color: color(line.color), width: 1.8 },
    marker: boundMarks(line),
    text: line.points.map((p) => lines(...p.reach)),
    hoverinfo: "text",
  }));
  const { range, ticks } = reach;
  const yaxis = { range, tickvals: ticks.map((t) => t[0]), ticktext: ticks.map((t) => t[1]) };
  return { traces: [...every.filter((line) => line.banded).map(reachBand), known, ...means], yaxis };
}

function wrongTraces({ lines: every, wrong }) {
  const { delta, x } = DATA.resplits;
  const traces = every.map((line) => ({
    x: line.points.map((p) => p.beside),
    y: line.points.map((p) => p.share),
    mode: "markers",
    marker: boundMarks(line),
    error_y: {
      type: "data",
      symmetric: false,
      array: line.points.map((p) => p.hi - p.share),
      arrayminus: line.points.map((p) => p.share - p.lo),
      color: faded(color(line.color), 0.55),
      thickness: 1.3,
      width: 0,
    },
    text: line.points.map((p) => lines(...p.wrong)),
    hoverinfo: "text",
  }));
  const step = wrong.range[1] > 0.15 ? 0.05 : wrong.range[1] > 0.06 ? 0.02 : 0.01;
  const ticks = Array.from({ length: Math.floor(wrong.range[1] / step) + 1 }, (_, k) => k * step);
  return {
    traces,
    yaxis: { range: wrong.range, tickvals: ticks, ticktext: ticks.map((t) => `${Math.round(100 * t)}`) },
    shapes: [lineShape(x.range[0], delta, x.range[1], delta, { color: color("warn"), width: 1.6, dash: "3px,3px" })],
    annotations: [
      { x: x.range[0], xshift: 3, y: delta, xanchor: "left", yanchor: "bottom", text: "δ, allowed", font: { color: color("warn") } },
    ],
  };
}

function exampleTraces({ examples }, id) {
  const { range, ticks, ways } = examples;
  const traces = ways.map((way) => ({
    x: way.points.map((p) => p.x),
    y: way.points.map((p) => p.y),
    mode: "lines+markers",
    line: { color: color(way.color), width: 2 },
    marker: { size: 6.5, color: color(way.color) },
    text: way.points.map((p) => lines(...p.text)),
    hoverinfo: "text",
  }));
  const ends = ways.map((way) => ({ ...way.points.at(-1), text: way.name, color: way.color, method: -1 }));
  const yaxis = { range, tickvals: ticks.map((t) => t[0]), ticktext: ticks.map((t) => t[1]) };
  return { traces, yaxis, left: tickRoom(ticks), right: labelRoom(ends), ...endLabels(id, ends, { x: DATA.resplits.x.range, y: range, top: 8 }) };
}

if (DATA.resplits) {
  for (const id of Object.keys(CERTIFICATE_CHARTS)) if (id !== "c-examples" || DATA.resplits.frugal) CHARTS[id] = drawResplits;
}
