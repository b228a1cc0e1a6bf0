/* What all charts share: plotly unpacked when the page is open, one look for axes and labels, drawing when seen. */

const FONT = getComputedStyle(document.body).fontFamily;
const CHARTS = {}; // id of a chart -> function that draws it
const seen = new Set(); // charts that have come near the window
let ready = false; // whether plotly is there

/* plotly.js travels compressed in the page; the new script carries the page's nonce. */
async function unpackPlotly() {
  const packed = Uint8Array.from(atob(one("#plotly-gz").textContent.trim()), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.nonce = one("script[nonce]").nonce;
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
  ready = true;
}

function axisStyle(own) {
  const style = {
    gridcolor: color("grid"),
    linecolor: color("line"),
    zeroline: false,
    fixedrange: true, // else a phone cannot scroll past a chart
    ticks: "",
    tickangle: 0,
    automargin: false,
    tickfont: { size: 12, color: color("faint") },
  };
  const title = { text: own.title || "", font: { size: 12.5, color: color("faint") }, standoff: 6 };
  return { ...style, ...own, title };
}

function chartLayout(id, { margin, xaxis, yaxis, shapes = [], annotations = [] }) {
  const node = document.getElementById(id);
  const label = { showarrow: false, font: { size: 12.5, color: color("soft"), family: FONT } };
  return {
    width: node.clientWidth,
    height: Number(node.dataset.h),
    margin: { l: 44, r: 12, t: 8, b: 44, ...margin },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    dragmode: false,
    hovermode: "closest",
    hoverdistance: 30,
    font: { family: FONT, size: 12.5, color: color("soft") },
    hoverlabel: {
      bgcolor: color("ink"),
      bordercolor: color("ink"),
      align: "left",
      font: { family: FONT, size: 13, color: color("page") },
    },
    xaxis: axisStyle(xaxis),
    yaxis: axisStyle(yaxis),
    shapes,
    annotations: annotations.map((a) => ({ ...label, ...a, font: { ...label.font, ...a.font } })),
  };
}

function draw(id, traces, layout) {
  // the bar of buttons is not reachable by keyboard
  return Plotly.react(document.getElementById(id), traces, layout, { displayModeBar: false, responsive: false });
}

function drawCharts(ids = seen) {
  if (ready) for (const id of ids) CHARTS[id](id);
}

/* Lines across a chart, and filled regions behind it. */
const lineShape = (x0, y0, x1, y1, style) => ({ type: "line", x0, x1, y0, y1, line: style, layer: "below" });
const areaShape = (x0, y0, x1, y1, fillcolor) => ({
  type: "rect", x0, x1, y0, y1, fillcolor, line: { width: 0 }, layer: "below",
});

/* Width of a text in a chart, to leave room for it. */
const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text) {
  ruler.font = `600 12.5px ${FONT}`;
  return ruler.measureText(text).width;
}

/* Room to the left of a plot for the texts of its ticks. */
const tickRoom = (ticks) => Math.max(40, 14 + Math.ceil(Math.max(...ticks.map(([, text]) => textWidth(text)))));

/* Tick labels that would touch one to their right are left out; the last one stays. */
function thinned(ticks, [low, high], width) {
  let free = Infinity;
  const kept = ticks.map(([at, text]) => {
    const half = textWidth(text) / 2 + 4;
    return { middle: ((at - low) / (high - low)) * width, half, text };
  });
  for (const tick of kept.reverse()) {
    if (tick.middle + tick.half > free) tick.text = "";
    else free = tick.middle - tick.half;
  }
  return kept.reverse().map((tick) => tick.text);
}

/* Draw each chart when it comes near the window, and again when the window changes. */
/* Keeps the page's load event waiting until the charts are there: who photographs or prints the page on load gets them. */
function holdLoading() {
  const frame = element("iframe");
  frame.hidden = true;
  document.body.append(frame);
  frame.contentDocument.open();
  return () => {
    frame.contentDocument.close();
    frame.remove();
  };
}

function watchCharts() {
  const atOnce = Object.keys(CHARTS).filter((id) => document.getElementById(id).getBoundingClientRect().top < innerHeight + 500);
  for (const id of atOnce) seen.add(id);
  drawCharts(atOnce);
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        near.unobserve(entry.target);
        seen.add(entry.target.id);
        drawCharts([entry.target.id]);
      }
    },
    { rootMargin: "500px 0px" },
  );
  for (const id of Object.keys(CHARTS)) if (!seen.has(id)) near.observe(document.getElementById(id));
  let waiting;
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return; // its height changes with every look
    width = entry.contentRect.width;
    clearTimeout(waiting);
    waiting = setTimeout(() => { showControl(); drawCharts(); }, 120);
  }).observe(one("#main"));
}
