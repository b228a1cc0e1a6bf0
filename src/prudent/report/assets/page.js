/* Around the views: colours, print, saved numbers, definitions, where the reader is. */

const THEME = "prudent-theme";

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawCharts();
}

function listenToTheme() {
  try {
    const kept = localStorage.getItem(THEME);
    if (["auto", "light", "dark"].includes(kept)) {
      document.documentElement.dataset.theme = kept;
      one(`#theme [value="${kept}"]`).checked = true;
    }
  } catch {
    // no storage: the system's choice holds
  }
  one("#theme").addEventListener("change", (event) => {
    try {
      localStorage.setItem(THEME, event.target.value);
    } catch {
      // the choice holds until the page is closed
    }
    setTheme(event.target.value);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts());
}

/* On paper: light colours, the width of A4, every chart, the promise unfolded. */
function listenToPrint() {
  const root = document.documentElement;
  let before = null;
  addEventListener("beforeprint", () => {
    before = { theme: root.dataset.theme, open: one(".means").open };
    root.classList.add("printing");
    root.dataset.theme = "light";
    one(".means").open = true;
    for (const id of Object.keys(CHARTS)) seen.add(id);
    drawCharts();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    one(".means").open = before.open;
    setTheme(before.theme);
  });
  one("#print").addEventListener("click", () => window.print());
}

/* One row for each network and measure, unrounded. */
function asCsv({ columns, rows }) {
  const cell = (value) => {
    if (typeof value === "number") return String(value);
    const text = value === null ? "" : String(value);
    const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet would run it
    return `"${harmless.replaceAll('"', '""')}"`;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function listenToSave() {
  one("#save-csv").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([asCsv(DATA.cost.saved)], { type: "text/csv" }));
    const link = element("a");
    link.href = address;
    link.download = `${DATA.id}.csv`;
    link.click();
    URL.revokeObjectURL(address);
  });
}

/* A definition opens beside its word, and closes when the word moves away. */
function placeDefinitions() {
  let open = null;
  addEventListener("scroll", () => open?.hidePopover(), { passive: true });
  for (const pop of all(".pop")) {
    pop.addEventListener("toggle", (event) => {
      if (event.newState !== "open") {
        if (open === pop) open = null;
        return;
      }
      open = pop;
      const words = all(`[popovertarget="${pop.id}"]`);
      const word = words.find((w) => w.matches(":focus, :hover, :active")) ?? words[0];
      const at = word.getBoundingClientRect();
      const left = Math.min(at.left, innerWidth - pop.offsetWidth - 12);
      const below = at.bottom + pop.offsetHeight + 12 < innerHeight;
      pop.style.left = `${Math.max(12, left)}px`;
      pop.style.top = `${below ? at.bottom + 8 : Math.max(12, at.top - pop.offsetHeight - 8)}px`;
    });
  }
}

function followReader() {
  const links = all(".rail a");
  const passing = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        for (const link of links) {
          const here = link.hash === "#" + entry.target.id;
          link.classList.toggle("here", here);
          if (here) link.setAttribute("aria-current", "true");
          else link.removeAttribute("aria-current");
        }
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  for (const section of all("#verdict, .sec")) passing.observe(section);
}
