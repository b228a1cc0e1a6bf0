/* Question 1: one chart for each measure, all against the same axis, with linked hover. */

function drawCost(id) {
  const chart = DATA.cost.charts[id];
  const axis = DATA.cost.axes[state.axis];
  const height = (value) => (chart.log ? Math.log10(Math.max(value, chart.floor)) : value);
  const traces = [];
  const ends = [];
  for (const m of lookedLast(METHODS.map((_, m) => m))) {
    const points = costPoints(chart, axis, m);
    traces.push(methodBand(points, m, height, state.axis !== "speed"), methodLine(points, m, height, axis.lines));
    if (axis.lines && !upright(axis, m)) ends.push(endOf(points.at(-1), m, height));
  }
  const here = { x: axis.points[state.method][state.candidate], y: height(chart.points[state.method][state.candidate].value) };
  traces.push({
    x: [here.x],
    y: [here.y],
    mode: "markers",
    hoverinfo: "skip",
    cliponaxis: false,
    marker: { size: 17, color: "rgba(0,0,0,0)", line: { width: 2.4, color: color("ink") } },
  });
  ends.push({ x: axis.range[1], y: height(chart.dense.value), text: "dense", color: "dense", method: -1 });
  const room = axis.lines ? labelRoom(ends) : 12;
  const left = tickRoom(chart.ticks);
  const width = document.getElementById(id).clientWidth - room - left;
  const { shapes, annotations } = costFrame(chart, axis, height, width);
  const top = 6 + ROW * (axis.lines ? 1 + METHODS.some((_, m) => upright(axis, m)) : 0);
  if (axis.lines) {
    const named = endLabels(id, ends, { x: axis.range, y: chart.range, top });
    annotations.push(...named.annotations);
    shapes.push(...named.shapes);
  }
  const layout = chartLayout(id, {
    margin: { l: left, r: room, t: top },
    xaxis: { title: axis.title, range: axis.range, showgrid: false, tickvals: axis.ticks.map((t) => t[0]), ticktext: thinned(axis.ticks, axis.range, width) },
    yaxis: { range: chart.range, tickvals: chart.ticks.map((t) => t[0]), ticktext: chart.ticks.map((t) => t[1]) },
    shapes,
    annotations,
  });
  draw(id, traces, layout).then(() => listenToCost(id));
}

/* Values of a method; lines start at the dense network where the axis has a place for it. */
function costPoints(chart, axis, m) {
  const own = chart.points[m].map((point, i) => ({ ...point, x: axis.points[m][i], i }));
  return axis.lines ? [{ ...chart.dense, x: 0, i: -1 }, ...own] : own;
}

/* Whether nothing was saved by a method, so that its whole line stands upright. */
const upright = (axis, m) => axis.lines && Math.max(...axis.points[m].map(Math.abs)) < 0.03;

/* The dense line, the region that is certified for the method looked at, and above the plot what they are called. */
function costFrame(chart, axis, height, width) {
  const [left, right] = axis.range;
  const dense = height(chart.dense.value);
  const shapes = [lineShape(left, dense, right, dense, { color: color("dense"), width: 1.6, dash: "1.5px,3px" })];
  const annotations = [];
  const passed = looked().passed;
  if (passed !== null && axis.lines && !upright(axis, state.method)) {
    const x = axis.points[state.method][passed];
    shapes.unshift(areaShape(left, chart.range[0], x, chart.range[1], color("good-tint")));
    shapes.push(lineShape(x, chart.range[0], x, chart.range[1], { color: color("good"), width: 1.6 }));
    const text = looked().declared ? "certified" : "passes by itself";
    annotations.push({ ...above(0), ...within(text, ((x - left) / (right - left)) * width), text, font: { color: color("good") } });
  }
  const idle = METHODS.filter((_, m) => upright(axis, m)).map((m) => m.label);
  if (idle.length) {
    const named = `${idle.join(", ")}: nothing saved`;
    const text = textWidth(named) < width ? named : `${idle.length} methods: nothing saved`;
    annotations.push({ ...above(1), x: 0, xref: "paper", xanchor: "left", text: escaped(text) });
  }
  return { shapes, annotations };
}

/* Rows of text above a plot, where no line is: from the plot upwards. */
const ROW = 17;
const above = (row) => ({ y: 1, yref: "paper", yanchor: "bottom", yshift: row * ROW - 3 });

/* A text centred at a place of the plot, but not beyond its ends. */
function within(text, at) {
  const half = textWidth(text) / 2 + 2;
  return { x: 0, xref: "paper", xanchor: "center", xshift: Math.max(half, at) };
}

/* Pointing at a network shows it in every chart; choosing it turns the page to it. */
function listenToCost(id) {
  const node = document.getElementById(id);
  if (node.dataset.listening) return;
  node.dataset.listening = "1";
  const others = () => Object.keys(DATA.cost.charts).filter((o) => o !== id && document.getElementById(o).dataset.listening);
  node.on("plotly_hover", (event) => {
    const { curveNumber, pointNumber } = event.points[0];
    for (const other of others()) Plotly.Fx.hover(other, [{ curveNumber, pointNumber }]);
  });
  node.on("plotly_unhover", () => {
    for (const other of others()) Plotly.Fx.unhover(other);
  });
  node.on("plotly_click", lookAtPoint);
}

for (const id of Object.keys(DATA.cost.charts)) CHARTS[id] = drawCost;
