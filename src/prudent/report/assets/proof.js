/* Question 3: the walk of p-values for each risk, and how many examples it takes. */

function drawWalk(id) {
  const walk = DATA.proof.walks[state.method][id];
  const { scale, delta } = DATA.proof;
  const steps = walk.p.map((_, i) => i);
  const range = [-0.4, steps.length - 0.6];
  const [left, right] = range;
  const stop = walk.states.indexOf("stopped");
  const tested = stop < 0 ? steps.length : stop + 1;
  const own = color(looked().color);
  const others = walk.others.map((other) => ({
    x: steps,
    y: other.p,
    mode: "lines+markers",
    opacity: 0.6,
    line: { color: color("faint"), width: 1.1 },
    marker: { size: 3.5, color: color("faint") },
    text: other.text.map(escaped),
    hoverinfo: "text",
  }));
  const path = { x: steps.slice(0, tested), y: walk.p.slice(0, tested), mode: "lines", hoverinfo: "skip", line: { color: own, width: 2.4 } };
  const layout = chartLayout(id, {
    margin: { l: 74 },
    xaxis: { range, tickvals: steps, ticktext: thinned(walk.labels.map((l, i) => [i, l]), range, document.getElementById(id).clientWidth - 86), title: "removed, %, in the order tested →", showgrid: false },
    yaxis: { range: scale.range, tickvals: scale.ticks.map((t) => t[0]), ticktext: scale.ticks.map((t) => t[1]) },
    shapes: [
      areaShape(left, scale.range[0], right, delta, color("good-tint")),
      areaShape(state.candidate - 0.32, scale.range[0], state.candidate + 0.32, scale.range[1], faded(color("ink"), 0.07)),
      lineShape(left, delta, right, delta, { color: color("good"), width: 1.6 }),
    ],
    annotations: [passesLabel(walk, left)],
  });
  draw(id, [...others, path, ...walkMarks(walk, own)], layout);
}

/* Above the line where the first candidate lies below it, else below: clear of the marks. */
function passesLabel(walk, left) {
  const { delta, passes } = DATA.proof;
  const above = walk.p[0] <= delta;
  const text = escaped(passes) + (above ? " ↓" : "");
  return { x: left, xshift: 3, y: delta, xanchor: "left", yanchor: above ? "bottom" : "top", text, font: { color: color("good") } };
}

function walkMarks(walk, own) {
  const looks = {
    passed: { symbol: looked().marker.replace("-open", ""), size: 11, color: own },
    stopped: { symbol: "x-thin", size: 11, line: { width: 3, color: color("warn") } },
    "not tested": { symbol: "circle-open", size: 9, color: color("faint"), line: { width: 1.6 } },
  };
  return Object.entries(looks).map(([what, marker]) => {
    const at = walk.states.flatMap((s, i) => (s === what ? [i] : []));
    return {
      x: at,
      y: at.map((i) => walk.p[i]),
      mode: "markers",
      marker,
      text: at.map((i) => lines(...walk.text[i])),
      hoverinfo: "text",
    };
  });
}

function drawPlan(id) {
  const plan = DATA.proof.plan;
  const right = plan.alpha * 1.03;
  const left = -0.02 * plan.alpha;
  const line = {
    x: plan.line.map((p) => p[0]),
    y: plan.line.map((p) => p[1]),
    mode: "lines",
    line: { color: color("ink"), width: 2.2 },
    text: plan.line.map((p) => `${escaped(p[2])} examples`),
    hoverinfo: "text",
  };
  const layout = chartLayout(id, {
    margin: { l: 68 },
    xaxis: { range: [left, right], tickvals: plan.x.map((t) => t[0]), ticktext: plan.x.map((t) => t[1]), title: "true rate, %" },
    yaxis: { range: plan.range, tickvals: plan.y.map((t) => t[0]), ticktext: plan.y.map((t) => t[1]) },
    shapes: [
      areaShape(left, plan.range[0], right, plan.have, color("good-tint")),
      lineShape(left, plan.have, right, plan.have, { color: color("good"), width: 1.6 }),
      lineShape(plan.alpha, plan.range[0], plan.alpha, plan.range[1], { color: color("warn"), width: 1.6, dash: "3px,3px" }),
    ],
    annotations: [
      { x: plan.alpha, xshift: -6, y: plan.have, xanchor: "right", yanchor: "top", text: escaped(plan.have_text), font: { color: color("good") } },
    ],
  });
  draw(id, [line, planned(plan.points[state.method].filter(Boolean))], layout);
}

/* Only the candidate looked at and the two where the walk ended are named; the others say their names when pointed at. */
function named(point) {
  const passed = looked().passed ?? -1;
  return [state.candidate, passed, passed + 1].includes(point.i);
}

/* Candidates at their observed rates; those at the same rate share a dot. */
function planned(points) {
  const places = new Map();
  for (const point of points) places.set(point.rate, [...(places.get(point.rate) ?? []), point]);
  const groups = [...places.values()].sort((a, b) => a[0].rate - b[0].rate);
  const shade = (group) => (group.some((p) => p.state === "passed") ? color(looked().color) : color("warn"));
  return {
    x: groups.map((g) => g[0].rate),
    y: groups.map((g) => g[0].y),
    mode: "markers+text",
    text: groups.map((g) => escaped(g.filter(named).map((p) => p.label).join(", "))),
    textposition: groups.map((g) => (g[0].rate > 0.5 * DATA.proof.plan.alpha ? "top left" : "bottom right")),
    textfont: { size: 12.5, color: groups.map(shade) },
    cliponaxis: false,
    marker: {
      size: 9,
      color: groups.map(shade),
      symbol: groups.map((g) => (g.some((p) => p.state === "passed") ? "circle" : "circle-open")),
      line: { width: 2, color: groups.map(shade) },
    },
    hovertext: groups.map((g) => g.map((p) => lines(...p.text)).join("<br>")),
    hoverinfo: "text",
  };
}

for (const id of Object.keys(DATA.proof.walks[0])) CHARTS[id] = drawWalk;
if (DATA.proof.plan) CHARTS["c-plan"] = drawPlan;
