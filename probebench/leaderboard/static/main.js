// Joins controls, address, table, plots and card.
"use strict";
(() => {
  const { data } = PB;
  const element = (id) => document.getElementById(id);
  const TIERS = { reproduced: "run again by others", all: "all that are reported" };
  const TEXTS = ["q", "method", "source", "arch", "pmin", "pmax"];

  // --- State and the address: what differs from the first view stands behind the #. ---
  function first() {
    const protocol = PB.opening();
    const shots = PB.allShots(protocol).at(-1);
    return { tier: data.tiers[0], protocol, shots, metric: "own", set: "", q: "", method: "", source: "", arch: "", pmin: "", pmax: "", sort: null, cols: {}, card: "", theme: "" };
  }
  function fromAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const tier = data.tiers.find((one) => one === said.get("tier")) ?? data.tiers[0];
    PB.choose(data.tiers[0]);
    const state = { ...first(), tier };
    PB.choose(tier);
    const protocol = data.settings.findIndex((setting) => setting.id === said.get("protocol"));
    if (protocol >= 0) state.protocol = protocol;
    const shots = PB.allShots(state.protocol);
    state.shots = shots.find((one) => String(one) === said.get("shots")) ?? shots.at(-1);
    if (data.metrics.some((metric) => metric.id === said.get("metric"))) state.metric = said.get("metric");
    const set = data.datasets.findIndex((one) => one.name === said.get("set"));
    if (set >= 0) state.set = set;
    for (const name of TEXTS) state[name] = said.get(name) ?? "";
    for (const name of ["pmin", "pmax"]) if (!Number.isFinite(Number(state[name]))) state[name] = "";
    const [, field, dir] = /^([a-zA-Z_]+\d*):(asc|desc)$/.exec(said.get("sort") ?? "") ?? [];
    if (field) state.sort = { field, dir };
    for (const [, name, on] of (said.get("cols") ?? "").matchAll(/([a-zA-Z_]+\d*):([01])/g)) state.cols[name] = on === "1";
    state.card = said.get("card") ?? "";
    if (["light", "dark"].includes(said.get("theme"))) state.theme = said.get("theme");
    return state;
  }
  function toAddress() {
    const said = new URLSearchParams();
    PB.choose(data.tiers[0]);
    const base = first();
    PB.choose(state.tier);
    if (state.tier !== base.tier) said.set("tier", state.tier);
    if (state.protocol !== base.protocol) said.set("protocol", data.settings[state.protocol].id);
    if (state.shots !== PB.allShots(state.protocol).at(-1)) said.set("shots", state.shots);
    if (state.metric !== base.metric) said.set("metric", state.metric);
    if (state.set !== "") said.set("set", data.datasets[state.set].name);
    for (const name of [...TEXTS, "card", "theme"]) if (state[name] !== "") said.set(name, state[name]);
    if (state.sort) said.set("sort", `${state.sort.field}:${state.sort.dir}`);
    const cols = Object.entries(state.cols).map(([name, on]) => `${name}:${on ? 1 : 0}`);
    if (cols.length) said.set("cols", cols.join(","));
    const text = said.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  let state = fromAddress();
  let rows = PB.rows(state);
  let settled = false;

  // --- Controls ---
  function options(select, entries, chosen) {
    select.replaceChildren(...entries.map(([value, text]) => {
      const option = new Option(text.length > 60 ? `${text.slice(0, 59)}…` : text, value);
      option.selected = String(value) === String(chosen);
      return option;
    }));
    select.disabled = entries.length < 2;
  }
  function fill() {
    const unique = (values) => [...new Set(values)].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1)).map((one) => [one, one]);
    options(element("protocol"), data.settings.map((setting, place) => [place, setting.name]), state.protocol);
    options(element("shots"), PB.allShots(state.protocol).map((one) => [one, PB.shotsLabel(one)]), state.shots);
    options(element("tier"), data.tiers.map((tier) => [tier, TIERS[tier]]), state.tier);
    element("tier").parentElement.hidden = data.tiers.length < 2;
    options(element("metric"), data.metrics.map((metric) => [metric.id, metric.name]), state.metric);
    options(element("set"), [["", "all, averaged"], ...data.datasets.map((set, place) => [place, set.name])], state.set);
    options(element("method"), [["", "all"], ...unique(data.entrants.map((one) => one.method))], state.method);
    options(element("source"), [["", "all"], ...unique(data.entrants.flatMap((one) => one.sources))], state.source);
    options(element("arch"), [["", "all"], ...unique(data.entrants.map((one) => one.arch))], state.arch);
    for (const name of ["q", "pmin", "pmax"]) element(name).value = state[name];
    element("theme").value = state.theme;
    paint();
  }
  function paint() {
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
  }
  function columnMenu() {
    element("columns").replaceChildren(...PB.table.columns(state).filter((column) => column.field !== "title").map((column) => {
      const box = PB.table.make("input", { type: "checkbox", value: column.field });
      box.checked = PB.table.visible(column.field, state);
      return PB.table.make("label", {}, box, PB.table.make("bdi", {}, column.title));
    }));
  }

  function legend() {
    const view = PB.find(state.protocol, state.shots, state.metric);
    const sets = state.set === "" ? view?.sets ?? [] : [state.set];
    const apart = view && state.set === "" ? Object.keys(view.single).map(Number).filter((set) => !sets.includes(set)) : [];
    const names = (some) => some.map((set) => data.datasets[set].name).join(", ");
    const parts = [
      `Scores in percent with their 95% interval, over draws and test images together (over test images only where there is one draw). ${sets.length > 1 ? "The mean is" : "Ranked"} over: ${names(sets) || "nothing that can be ranked"}.`,
      "≈ not told apart from the first: paired comparison on the same draws and images, Holm-corrected at 5%. ? not compared with it.",
      data.tiers.length < 2 ? "Nobody else has run these results again: they are ranked as reported." : "What is run again by others, from public weights, is ranked; grey is what authors report. A checkpoint's card says who ran how many cells again, and when.",
      `Only who has a score on each of these data sets is ranked; a missing one is no 0.${apart.length ? ` Left out, since fewer than half have them: ${names(apart)}.` : ""}`,
    ];
    element("legend").replaceChildren(...parts.map((text) => PB.table.make("p", {}, text)));
  }
  function count() {
    const left = PB.table.shown();
    const ranked = left.filter((row) => row.rank !== null).length;
    element("count").textContent = `${left.length} of ${rows.length} checkpoints, ${ranked} ranked`;
  }

  // --- What follows a change ---
  let waiting = 0;
  function plots() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      PB.plots.draw(state, rows.filter(PB.passes(state)));
      document.body.dataset.plots = "drawn";
    }, 60);
  }
  const seen = new IntersectionObserver((found) => {
    if (found.some((one) => one.isIntersecting)) { seen.disconnect(); plotting = true; plots(); }
  }, { rootMargin: "200px" });
  let plotting = false;

  function filtered() {
    PB.table.filter(state);
    count();
    toAddress();
    if (plotting) plots();
  }
  async function changed() {
    settled = false;
    rows = PB.rows(state);
    columnMenu();
    legend();
    await PB.table.replace(state, rows);
    settled = true;
    count();
    toAddress();
    if (plotting) plots();
  }

  // --- Downloads: what the table shows, in its order ---
  function save(name, kind, text) {
    const link = PB.table.make("a", { href: URL.createObjectURL(new Blob([text], { type: kind })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  function records() {
    const curve = PB.curve(state.protocol, state.metric);
    const number = (value) => (value === null || value === undefined ? null : value / 100);
    return PB.table.shown().map((row) => {
      const entrant = data.entrants[row.number];
      const record = { rank: row.rank, note: row.line?.[PB.NOTE] ?? "not run", id: entrant.key, title: row.title,
        ...Object.fromEntries(PB.COLUMNS.map((fact) => [fact.saved ?? fact.field, row[fact.field]])), input_px: entrant.px, seen_before: row.overlap,
        mean: number(row.mean), low: number(row.line?.[PB.LOW]), high: number(row.line?.[PB.HIGH]), mean_rank: row.meanRank };
      const add = (name, line) => { record[name] = number(line?.[PB.MEAN]); record[`${name} low`] = number(line?.[PB.LOW]); record[`${name} high`] = number(line?.[PB.HIGH]); };
      curve.forEach((one, place) => add(`${data.settings[one.setting].name}, ${PB.shotsLabel(one.shots)}`, row.along[place].get(row.number)));
      row.sets.forEach((lines, set) => { if (lines.size) add(data.datasets[set].name, lines.get(row.number)); });
      return record;
    });
  }
  // A spreadsheet takes a text that starts so for a formula.
  const harmless = (value) => (typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value);
  const view = () => ({ results: state.tier, protocol: data.settings[state.protocol].name, shots: state.shots, metric: state.metric, data_set: state.set === "" ? "mean" : data.datasets[state.set].name });
  element("csv").addEventListener("click", () => save("leaderboard.csv", "text/csv", d3.csvFormat(records().map((record) => Object.fromEntries(Object.entries(record).map(([name, value]) => [harmless(name), harmless(value)]))))));
  element("json").addEventListener("click", () => save("leaderboard.json", "application/json", JSON.stringify({ view: view(), rows: records() }, null, 1)));

  // --- Events ---
  for (const name of ["tier", "protocol", "shots", "metric", "set"])
    element(name).addEventListener("change", (event) => {
      const value = event.target.value;
      if (name === "protocol") {
        state.protocol = Number(value);
        const shots = PB.allShots(state.protocol);
        if (!shots.includes(state.shots)) state.shots = shots.at(-1);
        options(element("shots"), shots.map((one) => [one, PB.shotsLabel(one)]), state.shots);
      } else if (name === "shots") state.shots = PB.allShots(state.protocol).find((one) => String(one) === value);
      else state[name] = name === "set" && value !== "" ? Number(value) : value;
      PB.choose(state.tier);
      state.sort = null;
      changed();
    });
  let typing = 0;
  for (const name of TEXTS)
    element(name).addEventListener("input", (event) => {
      state[name] = event.target.value;
      clearTimeout(typing);
      typing = setTimeout(filtered, ["q", "pmin", "pmax"].includes(name) ? 80 : 0);
    });
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("controls").addEventListener("reset", (event) => {
    event.preventDefault();
    PB.choose(data.tiers[0]);
    state = { ...first(), theme: state.theme, cols: state.cols };
    fill();
    changed();
  });
  element("columns").addEventListener("change", (event) => {
    state.cols[event.target.value] = event.target.checked;
    settled = false;
    PB.table.replace(state, rows).then(() => { settled = true; toAddress(); });
  });
  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector(".menu[open]");
    if (menu && event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
  });
  document.addEventListener("click", (event) => {
    const menu = document.querySelector(".menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
  });
  element("theme").addEventListener("change", (event) => { state.theme = event.target.value; paint(); toAddress(); });
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); element("results").focus(); });

  let opener = "";
  function card(key) {
    if (!PB.card.open(key, state)) return;
    state.card = key;
    toAddress();
  }
  element("table").addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    const row = event.target.closest(".tabulator-row");
    const found = button ?? (window.getSelection().isCollapsed ? row?.querySelector(".open") : null);
    if (!found) return;
    opener = found.dataset.key;
    card(found.dataset.key);
  });
  PB.card.dialog.addEventListener("close", () => {
    state.card = "";
    toAddress();
    [...document.querySelectorAll("#table .open")].find((one) => one.dataset.key === opener)?.focus();
  });
  PB.card.dialog.addEventListener("click", (event) => { if (event.target === PB.card.dialog) PB.card.dialog.close(); });
  window.addEventListener("hashchange", () => {
    state = fromAddress();
    fill();
    changed();
    if (state.card) card(state.card);
    else if (PB.card.dialog.open) PB.card.dialog.close();
  });

  // --- Start ---
  fill();
  columnMenu();
  legend();
  PB.table.build(state, rows, () => {
    settled = true;
    count();
    seen.observe(element("plot-shots"));
    if (state.card) card(state.card);
    document.body.dataset.ready = "yes";
    performance.mark("ready");
  });
  PB.table.on("dataSorted", (sorters) => {
    if (!settled) return;
    state.sort = sorters.length ? { field: sorters[0].field, dir: sorters[0].dir } : null;
    toAddress();
  });
})();
