/* Question 1: one chart for each measure, all against the same axis, with linked hover. */

function drawCost(id) {
  const chart = DATA.cost.charts[id];
  const axis = DATA.cost.axes[state.axis];
  const height = (value) => (chart.log ? Math.log10(Math.max(value, chart.floor)) : value);
  const traces = [];
  const ends = [];
  // the method looked at comes last, on top of the others
  const order = METHODS.map((_, m) => m).sort((a, b) => (a === state.method) - (b === state.method));
  for (const m of order) {
    const points = costPoints(chart, axis, m);
    traces.push(costBand(points, m, height), costLine(points, m, height, axis));
    const last = points.at(-1);
    ends.push({ x: last.x, y: height(last.value), text: METHODS[m].label, color: METHODS[m].color, method: m });
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
  const labels = axis.lines && !stacked(axis);
  const room = labels ? Math.min(118, 16 + Math.max(textWidth("dense"), ...ends.map((e) => textWidth(e.text)))) : 12;
  const width = document.getElementById(id).clientWidth - room - 40;
  const { shapes, annotations } = costFrame(chart, axis, height, width);
  if (labels) annotations.push(...endLabels(id, ends, chart, axis, height));
  const layout = chartLayout(id, {
    margin: { l: 40, r: room, t: 6 },
    xaxis: { title: axis.title, range: axis.range, showgrid: false, tickvals: axis.ticks.map((t) => t[0]), ticktext: thinned(axis.ticks, width, 40) },
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

function costBand(points, m, height) {
  const there = points.filter((p) => p.lo !== null);
  const back = [...there].reverse();
  return {
    x: [...there, ...back].map((p) => p.x),
    y: [...there.map((p) => height(p.hi)), ...back.map((p) => height(p.lo))],
    mode: "lines",
    line: { width: 0 },
    fill: "toself",
    fillcolor: faded(color(METHODS[m].color), m === state.method ? 0.2 : 0.06),
    hoverinfo: "skip",
    visible: state.axis !== "speed",
  };
}

function costLine(points, m, height, axis) {
  const { color: role, marker, dash } = METHODS[m];
  const on = m === state.method;
  return {
    x: points.map((p) => p.x),
    y: points.map((p) => height(p.value)),
    mode: axis.lines ? "lines+markers" : "markers",
    meta: m,
    customdata: points.map((p) => p.i),
    line: { color: color(role), width: on ? 2.6 : 1.7, dash },
    opacity: on ? 1 : 0.85,
    marker: {
      color: color(role),
      symbol: marker,
      size: points.map((p) => (p.i < 0 ? 0.1 : on ? 8 : 6.5)),
      line: { width: marker.endsWith("open") ? 1.8 : 0, color: color(role) },
    },
    text: points.map((p) => (p.i < 0 ? "" : lines(p.who, ...p.text))),
    hoverinfo: points.map((p) => (p.i < 0 ? "skip" : "text")),
  };
}

/* Whether nothing was saved by a method, so that its whole line stands upright. */
const upright = (axis, m) => axis.lines && Math.max(...axis.points[m].map(Math.abs)) < 0.03;
const stacked = (axis) => METHODS.some((_, m) => upright(axis, m));

/* The dense line, and the region that is certified for the method looked at. */
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
    const room = ((x - left) / (right - left)) * width;
    annotations.push({
      x,
      y: chart.up ? 0 : 1,
      yref: "paper",
      xanchor: room > textWidth(text) ? "right" : "left",
      xshift: room > textWidth(text) ? -1 : 3,
      yanchor: chart.up ? "bottom" : "top",
      text,
      font: { color: color("good") },
    });
  }
  const idle = METHODS.filter((_, m) => upright(axis, m)).map((m) => m.label);
  if (idle.length) {
    const text = `${idle.map(escaped).join(",<br>")}:<br>nothing saved`;
    annotations.push({ x: 0, y: chart.up ? 0.1 : 0.9, yref: "paper", xanchor: "left", xshift: 12, align: "left", yanchor: chart.up ? "bottom" : "top", text });
  }
  return { shapes, annotations };
}

/* Names at the ends of the lines, pushed apart where they would overlap. */
function endLabels(id, ends, chart, axis, height) {
  const [low, high] = chart.range;
  const gap = ((high - low) * 15) / (document.getElementById(id).dataset.h - 52);
  const every = [...ends, { x: axis.range[1], y: height(chart.dense.value), text: "dense", color: "dense", method: -1 }];
  const edge = Math.max(...every.map((e) => e.x));
  // a line that ends well before the others has its name right there
  const inside = every.filter((e) => e.x < edge - 0.1 * (axis.range[1] - axis.range[0]));
  const outside = every.filter((e) => !inside.includes(e)).sort((a, b) => a.y - b.y);
  for (let k = 1; k < outside.length; k++) outside[k].y = Math.max(outside[k].y, outside[k - 1].y + gap);
  const over = outside.at(-1).y - (high - gap / 2);
  if (over > 0) {
    outside.at(-1).y -= over;
    for (let k = outside.length - 2; k >= 0; k--) outside[k].y = Math.min(outside[k].y, outside[k + 1].y - gap);
  }
  return [...outside, ...inside].map((end) => ({
    x: inside.includes(end) ? end.x : edge,
    y: end.y,
    // above the end of a rising line, below that of a falling one, clear of the lines that go on
    ...(inside.includes(end) ? { xanchor: "center", yshift: chart.up ? -13 : 13 } : { xanchor: "left", xshift: 8 }),
    text: end.method === state.method ? `<b>${escaped(end.text)}</b>` : escaped(end.text),
    font: { color: color(end.color) },
  }));
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
  node.on("plotly_click", (event) => {
    const { data, customdata } = event.points[0];
    if (customdata >= 0) setLook({ method: data.meta, candidate: customdata });
  });
}

for (const id of Object.keys(DATA.cost.charts)) CHARTS[id] = drawCost;
