/* Which units the methods keep: the share that another method keeps too, beside chance. */

function drawAlike(id) {
  const { lines: every, range, ticks, chance } = DATA.alike;
  const height = (share) => share;
  const traces = [];
  const ends = [];
  for (const m of lookedLast(every.map((line) => line.method))) {
    const own = every.find((line) => line.method === m).points;
    const points = [{ x: 0, value: 1, lo: 1, hi: 1, i: -1 }, ...own]; // nothing removed: everything is shared
    traces.push(methodBand(points, m, height), methodLine(points, m, height));
    ends.push(endOf(points.at(-1), m, height));
  }
  traces.unshift({
    x: chance.map((p) => p[0]),
    y: chance.map((p) => p[1]),
    mode: "lines",
    hoverinfo: "skip",
    line: { color: color("dense"), width: 1.6, dash: "1.5px,3px" },
  });
  ends.push({ x: range[1], y: chance.at(-1)[1], text: "chance", color: "dense", method: -1 });
  const [room, left] = [labelRoom(ends), 40];
  const width = document.getElementById(id).clientWidth - room - left;
  const reach = [-0.04, 1.04];
  const layout = chartLayout(id, {
    margin: { l: left, r: room, t: 6 },
    xaxis: { title: "removed, %", range, showgrid: false, tickvals: ticks.map((t) => t[0]), ticktext: thinned(ticks, range, width) },
    yaxis: { range: reach, tickvals: SHARES, ticktext: SHARES.map((share) => `${Math.round(100 * share)}`) },
    ...endLabels(id, ends, { x: range, y: reach, top: 6 }),
  });
  draw(id, traces, layout).then(() => {
    const node = document.getElementById(id);
    if (!node.dataset.listening) node.on("plotly_click", lookAtPoint);
    node.dataset.listening = "1";
  });
}

if (DATA.alike) CHARTS["c-alike"] = drawAlike;
