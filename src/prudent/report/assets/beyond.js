/* Beyond accuracy: how far each task can be pruned, and errors and distances as images get worse. */

const SHIFT = 0.18; // a method stands above the line of its task, its control below

function drawPotential(id) {
  const { tasks, potentials, controls, styles } = DATA.beyond;
  const control = controls[state.method];
  const rows = tasks.map((_, i) => tasks.length - 1 - i); // the first task on top
  const traces = METHODS.map((_, m) => m)
    .filter((m) => m !== state.method && m !== control)
    .map((m) => potentialDots(potentials[m], m, styles[m], rows, { size: 6, opacity: 0.28 }));
  if (control !== null) traces.push(...potentialBars(potentials[control], control, styles[control], rows.map((y) => y - SHIFT)));
  traces.push(...potentialBars(potentials[state.method], state.method, styles[state.method], rows.map((y) => y + (control === null ? 0 : SHIFT))));
  const left = 14 + Math.ceil(Math.max(...tasks.map(textWidth)));
  const plain = potentials[state.method][0].value;
  const layout = chartLayout(id, {
    margin: { l: left, r: 14, t: 6 },
    xaxis: { title: "removed, %", range: [-0.03, 1.03], tickvals: [0, 0.25, 0.5, 0.75, 1], ticktext: ["0", "25", "50", "75", "100"] },
    yaxis: { range: [-0.7, tasks.length - 0.3], tickvals: rows, ticktext: tasks.map(escaped), showgrid: true },
    shapes: [lineShape(plain, -0.7, plain, tasks.length - 0.3, { color: color("dense"), width: 1.4, dash: "1.5px,3px" })],
  });
  draw(id, traces, layout);
}

function potentialDots(points, m, symbol, y, { size, opacity = 1 }) {
  const line = { width: symbol.endsWith("open") ? 1.8 : 0, color: color(METHODS[m].color) };
  return {
    x: points.map((p) => p.value),
    y,
    mode: "markers",
    opacity,
    cliponaxis: false,
    marker: { color: color(METHODS[m].color), symbol, size, line },
    text: points.map((p, i) => lines(DATA.beyond.tasks[i], METHODS[m].label, p.text)),
    hoverinfo: "text",
  };
}

function potentialBars(points, m, symbol, y) {
  const bars = points.map((p, i) => [p, y[i]]).filter(([p]) => p.lo !== null && p.hi > p.lo);
  const bar = {
    x: bars.flatMap(([p]) => [Math.max(0, p.lo), Math.min(1, p.hi), null]),
    y: bars.flatMap(([, at]) => [at, at, null]),
    mode: "lines",
    hoverinfo: "skip",
    line: { color: faded(color(METHODS[m].color), 0.5), width: 4 },
  };
  return [bar, potentialDots(points, m, symbol, y, { size: 9 })];
}

/* Dense, the network looked at and its control, as images get worse. */
function drawShift(id) {
  const chart = DATA.beyond.lines[id];
  const percents = id === "c-severity";
  const height = (value) => value;
  const control = DATA.beyond.controls[state.method];
  const traces = [];
  const ends = [];
  if (chart.dense.length === chart.steps.length) {
    traces.push(denseLine(chart.dense));
    ends.push({ x: chart.across[1], y: chart.dense.at(-1).value, text: "dense", color: "dense", method: -1 });
  }
  const shown = control === null ? [state.method] : [control, state.method];
  for (const m of shown) {
    const points = chart.methods[m][state.candidate].map((p) => ({ ...p, i: state.candidate, who: METHODS[m].label, text: [p.text] }));
    traces.push(methodBand(points, m, height), methodLine(points, m, height));
    ends.push(endOf(points.at(-1), m, height));
  }
  const [room, left] = [labelRoom(ends), 44];
  const layout = chartLayout(id, {
    margin: { l: left, r: room, t: 6 },
    xaxis: { title: percents ? "severity" : "noise", range: chart.across, showgrid: false, tickvals: chart.steps.map((s) => s[0]), ticktext: chart.steps.map((s) => s[1]) },
    yaxis: { range: chart.range, tickvals: chart.ticks.map((t) => t[0]), ticktext: chart.ticks.map((t) => (percents ? `${Math.round(100 * t[0])}` : t[1])) },
    ...endLabels(id, ends, { x: chart.across, y: chart.range, top: 6 }),
  });
  draw(id, traces, layout);
}

function denseLine(points) {
  return {
    x: points.map((p) => p.x),
    y: points.map((p) => p.value),
    mode: "lines",
    text: points.map((p) => lines("dense", p.text)),
    hoverinfo: "text",
    line: { color: color("dense"), width: 1.8, dash: "1.5px,3px" },
  };
}

if (DATA.beyond) {
  if (DATA.beyond.potentials.length) CHARTS["c-potential"] = drawPotential;
  for (const [id, chart] of Object.entries(DATA.beyond.lines)) if (chart) CHARTS[id] = drawShift;
}
