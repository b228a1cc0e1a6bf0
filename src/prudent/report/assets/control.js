/* The one control: method and sparsity for every view, kept in the address. */

function setLook(change) {
  Object.assign(state, change);
  const view = [encodeURIComponent(looked().name), state.candidate, state.axis].join(":");
  try {
    history.replaceState(null, "", "#look=" + view);
  } catch {
    // some readers of local files forbid it; the page works without
  }
  showLook();
}

/* The candidate of another method that keeps most nearly the same share. */
function nearest(method, kept) {
  const distance = (candidate) => Math.abs(Math.log(candidate.kept) - Math.log(kept));
  let best = 0;
  METHODS[method].candidates.forEach((candidate, i, every) => {
    if (distance(candidate) < distance(every[best])) best = i;
  });
  return best;
}

function readAddress() {
  const found = /^#look=([^:]+):(\d+):(\w+)$/.exec(location.hash);
  if (!found) return false;
  let name;
  try {
    name = decodeURIComponent(found[1]);
  } catch {
    return false;
  }
  const method = METHODS.findIndex((m) => m.name === name);
  const candidate = Number(found[2]);
  if (method < 0 || candidate >= METHODS[method].candidates.length || !(found[3] in DATA.cost.axes)) return false;
  Object.assign(state, { method, candidate, axis: found[3] });
  return true;
}

/* Show the parts rendered for this look, hide the others, and redraw what is drawn. */
function showLook() {
  const here = [`${state.method}`, `${state.method}:${state.candidate}`];
  for (const part of all("[data-look]")) part.hidden = !here.includes(part.dataset.look);
  for (const row of all("[data-row]")) row.classList.toggle("sel", Number(row.dataset.row) === state.candidate);
  for (const button of all("[data-candidate]")) {
    button.setAttribute("aria-pressed", Number(button.dataset.candidate) === state.candidate);
  }
  document.documentElement.style.setProperty("--own", `var(--${looked().color})`);
  for (const name of all(".lk-name")) name.textContent = `${looked().short}, ${lookedCandidate().label} removed`;
  one(`#xaxis [value="${state.axis}"]`).checked = true;
  showControl();
  drawCharts();
}

function showControl() {
  const { candidates } = looked();
  const candidate = lookedCandidate();
  const slider = one("#look-i");
  one("#look-m").value = state.method;
  slider.max = candidates.length - 1;
  slider.value = state.candidate;
  slider.setAttribute("aria-valuetext", `${candidate.label} removed, ${candidate.word}`);
  const value = element("b", "", candidate.label, element("span", "rm", " removed"));
  one("#look-o").replaceChildren(value, element("span", `pill ${candidate.tone}`, candidate.word));
  const room = one("#look-ticks").clientWidth / candidates.length;
  const every = Math.max(1, Math.ceil(38 / Math.max(room, 1)));
  const ticks = candidates.map((c, i) => {
    const shown = i === state.candidate || (candidates.length - 1 - i) % every === 0;
    const classes = `${c.tone === "good" ? "c" : ""} ${i === state.candidate ? "h" : ""}`;
    const tick = element("i", classes, shown && !crowded(i, every) ? c.number : "");
    tick.addEventListener("click", () => setLook({ candidate: i }));
    return tick;
  });
  one("#look-ticks").replaceChildren(...ticks);
}

/* Beside the chosen tick there is no room for another one where ticks are left out. */
function crowded(i, every) {
  return every > 1 && i !== state.candidate && Math.abs(i - state.candidate) < every;
}

function listenToControl() {
  one("#look-i").addEventListener("input", (event) => setLook({ candidate: Number(event.target.value) }));
  one("#look-m").addEventListener("change", (event) => {
    const method = Number(event.target.value);
    setLook({ method, candidate: nearest(method, lookedCandidate().kept) });
  });
  one("#xaxis").addEventListener("change", (event) => setLook({ axis: event.target.value }));
  for (const button of all("[data-candidate]")) {
    button.addEventListener("click", () => setLook({ candidate: Number(button.dataset.candidate) }));
  }
  addEventListener("hashchange", () => {
    if (readAddress()) showLook();
  });
}
