/* Lines of methods over what was removed: one look, one order and one way to name them in every chart. */

const LABEL = 16; // pixels from one name to the next
const BELOW = 44; // pixels of a chart's height below the plot

/* The method looked at comes last, on top of the others. */
const lookedLast = (methods) => [...methods].sort((a, b) => (a === state.method) - (b === state.method));

function methodBand(points, m, height, visible = true) {
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
    visible,
  };
}

/* Points of a method; those of i < 0 are no network of its own and get no marker. */
function methodLine(points, m, height, joined = true) {
  const { color: role, marker, dash } = METHODS[m];
  const on = m === state.method;
  return {
    x: points.map((p) => p.x),
    y: points.map((p) => height(p.value)),
    mode: joined ? "lines+markers" : "markers",
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

/* Choosing a network turns the page to it. */
function lookAtPoint(event) {
  const { data, customdata } = event.points[0];
  if (customdata >= 0) setLook({ method: data.meta, candidate: customdata });
}

const endOf = (last, m, height) => ({ x: last.x, y: height(last.value), text: METHODS[m].label, color: METHODS[m].color, method: m });

/* Room to the right of a plot for the names of its lines. */
const labelRoom = (ends) => Math.min(118, 16 + Math.max(...ends.map((end) => textWidth(end.text))));

/* Places as near to those wanted as their order allows: `gap` apart, between low and high. */
function spread(wanted, gap, low, high) {
  const at = [];
  for (const place of wanted) at.push(Math.max(place, at.length ? at.at(-1) + gap : low));
  for (let k = at.length - 1; k >= 0; k--) at[k] = Math.min(at[k], k === at.length - 1 ? high : at[k + 1] - gap);
  return at;
}

/* Names of lines beside the plot, at the height where each line ends; a thin line leads to those that end before the edge
   or were pushed away. Where there is no room for all, only the method looked at and what it is compared with are named:
   the key above names them all. */
function endLabels(id, ends, { x: [left, right], y: [low, high], top }) {
  const pixel = (high - low) / (document.getElementById(id).dataset.h - BELOW - top);
  const fits = Math.floor((high - low) / (LABEL * pixel));
  const shown = ends.length <= fits ? ends : ends.filter((end) => end.method < 0 || end.method === state.method);
  const every = [...shown].sort((a, b) => a.y - b.y);
  const margin = (LABEL / 2) * pixel;
  const at = spread(every.map((end) => end.y), LABEL * pixel, low + margin, high - margin);
  const led = (end, k) => right - end.x > 0.06 * (right - left) || Math.abs(at[k] - end.y) > 0.75 * LABEL * pixel;
  const leads = every.flatMap((end, k) => (end.method >= 0 && led(end, k) ? [[end, at[k]]] : []));
  return {
    annotations: every.map((end, k) => ({
      x: 1,
      xref: "paper",
      xanchor: "left",
      xshift: 3,
      y: at[k],
      text: end.method === state.method ? `<b>${escaped(end.text)}</b>` : escaped(end.text),
      font: { color: color(end.color) },
    })),
    shapes: leads.map(([end, y]) => lineShape(end.x, end.y, right, y, { color: color(end.color), width: 1, dash: "1px,3px" })),
  };
}
