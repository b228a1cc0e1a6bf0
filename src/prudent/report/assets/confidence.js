/* Question 2: said against true, and how often it says so. */

const SHARES = [0, 0.2, 0.4, 0.6, 0.8, 1];
const shareText = (share) => `${Math.round(100 * share)}\u202f%`;

function drawReliability(id) {
  const { dense, points } = DATA.confidence;
  const pruned = points[state.method][state.candidate];
  const name = `${looked().label}, ${lookedCandidate().label}`;
  const least = Math.min(...[...dense, ...pruned].map((bin) => bin.said));
  const left = Math.max(-0.02, Math.floor(least * 10) / 10 - 0.05);
  const faint = color("faint");
  const layout = chartLayout(id, {
    margin: { l: 52 },
    xaxis: { range: [left, 1.04], title: "how sure it said it was", tickvals: SHARES, ticktext: SHARES.map(shareText) },
    yaxis: { range: [-0.05, 1.16], title: "how often it was right", tickvals: SHARES, ticktext: SHARES.map(shareText) },
    shapes: [lineShape(Math.max(left, 0), Math.max(left, 0), 1.04, 1.04, { color: faint, width: 1.4 })],
    annotations: [
      { x: 0.01, y: 1, xref: "paper", yref: "paper", xanchor: "left", yanchor: "top", text: "too modest ↖", font: { color: faint } },
      { x: 0.99, y: 0.01, xref: "paper", yref: "paper", xanchor: "right", yanchor: "bottom", text: "too sure ↘", font: { color: faint } },
    ],
  });
  draw(id, [bubbles(dense, "dense", "dense", true), bubbles(pruned, name, looked().color, false)], layout);
}

/* A dot for each bin, its area the share of predictions; faint where there are few. */
function bubbles(bins, name, role, hollow) {
  const own = color(role);
  const tint = (bin) => faded(own, bin.few ? 0.4 : 1);
  return {
    x: bins.map((bin) => bin.said),
    y: bins.map((bin) => bin.right),
    mode: "markers",
    marker: {
      opacity: 1,
      size: bins.map((bin) => 8 + 18 * Math.sqrt(bin.share)),
      color: bins.map((bin) => (hollow ? "rgba(0,0,0,0)" : tint(bin))),
      line: { width: hollow ? 1.8 : 0, color: bins.map(tint) },
    },
    error_y: hollow
      ? undefined
      : {
          type: "data",
          symmetric: false,
          array: bins.map((bin) => bin.hi - bin.right),
          arrayminus: bins.map((bin) => bin.right - bin.lo),
          color: faded(own, 0.3),
          thickness: 1.5,
          width: 0,
        },
    text: bins.map((bin) => lines(name, ...bin.text)),
    hoverinfo: "text",
  };
}

function drawHistogram(id) {
  const { dense, points, count } = DATA.confidence;
  const pruned = points[state.method][state.candidate];
  const share = (bins, k) => bins.find((bin) => bin.bin === k)?.share ?? 0;
  const every = Array.from({ length: count }, (_, k) => k);
  const least = Math.min(...[...dense, ...pruned].map((bin) => bin.bin)) / count;
  const bars = {
    type: "bar",
    x: every.map((k) => (k + 0.5) / count),
    y: every.map((k) => share(pruned, k)),
    width: 0.8 / count,
    marker: { color: color(looked().color) },
    text: every.map((k) => `${shareText(share(pruned, k))} of predictions, dense ${shareText(share(dense, k))}`),
    textposition: "none",
    hoverinfo: "text",
  };
  const steps = {
    x: every.flatMap((k) => [k / count, (k + 1) / count]),
    y: every.flatMap((k) => [share(dense, k), share(dense, k)]),
    mode: "lines",
    line: { color: color("dense"), width: 1.6, dash: "2px,2px" },
    hoverinfo: "skip",
  };
  const layout = chartLayout(id, {
    margin: { l: 52, t: 4, b: 22 },
    xaxis: { range: [Math.max(0, least - 0.03), 1.02], tickvals: SHARES, ticktext: SHARES.map(shareText), showgrid: false },
    yaxis: { range: [0, 1.02], tickvals: [0, 0.5, 1], ticktext: ["0", shareText(0.5), shareText(1)] },
  });
  draw(id, [bars, steps], layout);
}

if (DATA.confidence) Object.assign(CHARTS, { "c-rel": drawReliability, "c-hist": drawHistogram });
