// Joins controls, address, table, plots and card.
"use strict";
(() => {
  const { data } = PB;
  const element = (id) => document.getElementById(id);
  const TIERS = { reproduced: "run again by others", all: "all that are reported", published: "published by others" };
  const TEXTS = ["q", "method", "source", "arch", "pmin", "pmax"];
  const FILTERS = { method: "method", source: "source", arch: "architecture", pmin: "parameters from", pmax: "parameters to" };

  // --- State and the address: what differs from the first view stands behind the #. ---
  function first() {
    const { setting, shots, px } = data.first;
    return { tier: data.tiers[0], px, protocol: setting, shots, metric: "own", set: "", q: "", method: "", source: "", arch: "", pmin: "", pmax: "", sort: null, cols: {}, fold: new Set(), picked: new Set(), card: "", theme: "" };
  }
  function fromAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const state = first();
    state.tier = data.tiers.find((one) => one === said.get("tier")) ?? state.tier;
    state.px = [0, ...data.sizes].find((one) => String(one) === said.get("px")) ?? state.px;
    PB.choose(state.tier, state.px);
    const protocol = data.settings.findIndex((setting) => setting.id === said.get("protocol"));
    if (protocol >= 0) state.protocol = protocol;
    const shots = PB.allShots(state.protocol);
    state.shots = shots.find((one) => String(one) === said.get("shots")) ?? fitting(shots);
    if (data.metrics.some((metric) => metric.id === said.get("metric"))) state.metric = said.get("metric");
    const set = data.datasets.findIndex((one) => one.name === said.get("set"));
    if (set >= 0) state.set = set;
    for (const name of TEXTS) state[name] = said.get(name) ?? "";
    for (const name of ["pmin", "pmax"]) if (!Number.isFinite(Number(state[name]))) state[name] = "";
    const [, field, dir] = /^([a-zA-Z_]+\d*):(asc|desc)$/.exec(said.get("sort") ?? "") ?? [];
    if (field) state.sort = { field, dir };
    for (const [, name, on] of (said.get("cols") ?? "").matchAll(/([a-zA-Z_]+\d*):([01])/g)) state.cols[name] = on === "1";
    state.fold = new Set(said.getAll("fold"));
    const keys = new Set(data.entrants.map((entrant) => entrant.key));
    state.picked = new Set(said.getAll("compare").filter((key) => keys.has(key)).slice(0, PB.compare.MOST));
    state.card = said.get("card") ?? "";
    if (["light", "dark"].includes(said.get("theme"))) state.theme = said.get("theme");
    return state;
  }
  const held = () => data.settings.map((_, place) => place).filter((place) => PB.allShots(place).length);
  /** Moves to what there is: other results may be of other sizes, protocols and shots. */
  function settle() {
    if (!held().length) { state.px = 0; PB.choose(state.tier, state.px); }
    if (!held().includes(state.protocol)) state.protocol = held()[0] ?? state.protocol;
    const shots = PB.allShots(state.protocol);
    if (!shots.includes(state.shots)) state.shots = fitting(shots);
  }
  /** The number of shots to begin with in a setting: the page's own where it has it, else its most. */
  const fitting = (shots) => (shots.includes(data.first.shots) ? data.first.shots : shots.at(-1));
  function toAddress() {
    const said = new URLSearchParams();
    const base = first();
    if (state.tier !== base.tier) said.set("tier", state.tier);
    if (state.px !== base.px) said.set("px", state.px);
    if (state.protocol !== base.protocol) said.set("protocol", data.settings[state.protocol].id);
    if (state.shots !== fitting(PB.allShots(state.protocol))) said.set("shots", state.shots);
    if (state.metric !== base.metric) said.set("metric", state.metric);
    if (state.set !== "") said.set("set", data.datasets[state.set].name);
    for (const name of [...TEXTS, "card", "theme"]) if (state[name] !== "") said.set(name, state[name]);
    if (state.sort) said.set("sort", `${state.sort.field}:${state.sort.dir}`);
    const cols = Object.entries(state.cols).map(([name, on]) => `${name}:${on ? 1 : 0}`);
    if (cols.length) said.set("cols", cols.join(","));
    for (const name of state.fold) said.append("fold", name);
    for (const key of state.picked) said.append("compare", key);
    const text = said.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  let state = fromAddress();
  settle();
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
    options(element("protocol"), held().map((place) => [place, data.settings[place].name]), state.protocol);
    options(element("shots"), PB.allShots(state.protocol).map((one) => [one, PB.shotsLabel(one)]), state.shots);
    options(element("tier"), data.tiers.map((tier) => [tier, TIERS[tier]]), state.tier);
    options(element("px"), [...data.sizes.map((px) => [px, `${px} px`]), [0, "all sizes"]], state.px);
    for (const [name, many] of [["tier", data.tiers.length > 1], ["px", data.sizes.length > 0], ["metric", data.metrics.length > 1], ["set", data.datasets.length > 1]]) element(name).parentElement.hidden = !many;
    options(element("metric"), data.metrics.map((metric) => [metric.id, metric.name]), state.metric);
    options(element("set"), [["", "all, averaged"], ...data.datasets.map((set, place) => [place, set.name])], state.set);
    options(element("method"), [["", "all"], ...unique(data.entrants.map((one) => one.method))], state.method);
    options(element("source"), [["", "all"], ...unique(data.entrants.flatMap((one) => one.sources))], state.source);
    options(element("arch"), [["", "all"], ...unique(data.entrants.map((one) => one.arch))], state.arch);
    for (const name of ["q", "pmin", "pmax"]) element(name).value = state[name];
    element("theme").value = state.theme;
    paint();
    chips();
  }
  /** What is set, each with a button that takes it away. */
  function chips() {
    const set = Object.entries(FILTERS).filter(([name]) => state[name] !== "");
    element("chips").replaceChildren(...set.map(([name, word]) => {
      const chip = PB.table.make("button", { type: "button", class: "chip", "aria-label": `Remove the filter ${word} ${state[name]}` }, `${word}: `, PB.table.make("bdi", {}, state[name]), " ×");
      chip.addEventListener("click", () => { state[name] = ""; fill(); filtered(); element("q").focus(); });
      return chip;
    }));
    const often = set.length ? ` (${set.length})` : "";
    element("more").querySelector("summary").textContent = `Filters${often}`;
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
      `Scores in percent; bars are 95% intervals, over draws and test images together (over test images only where there is one draw). ${sets.length > 1 ? "The mean is taken" : "Ranked"} over ${names(sets) || "nothing that can be ranked"}. A shade from the column's least to its largest; the first is bold.`,
      "≈ cannot be told apart from the first: paired comparison on the same draws and images, Holm-corrected at 5%. ? was not compared with it.",
      data.first.why,
      data.tiers.length < 2 ? "Nobody but the authors has run these results again, so they are ranked as reported." : "Ranked: checkpoints whose results somebody else has made again from public weights. Grey: what authors report. A checkpoint's card says who ran how many scores again, and when.",
      `A checkpoint is ranked if it has a score on each of these data sets: a missing score is not a zero.${apart.length ? ` Left out, since fewer than half have them: ${names(apart)}.` : ""}`,
    ].filter(Boolean);
    element("legend").replaceChildren(...parts.map((text) => PB.table.make("p", {}, text)));
  }
  function count() {
    const left = PB.table.shown();
    const ranked = left.filter((row) => row.rank !== null).length;
    element("count").textContent = `${left.length} of ${rows.length} checkpoints, ${ranked} ranked`;
    if (element("cards").hidden === false) PB.cards.draw(state, left);
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
    PB.cards.reset();
    PB.table.filter(state);
    chips();
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
    const number = (value) => (value === null || value === undefined ? null : value / 1e4);
    return PB.table.shown().map((row) => {
      const entrant = data.entrants[row.number];
      const record = { rank: row.rank, note: row.line?.[PB.NOTE] ?? "not run", key: entrant.key, id: entrant.id, title: row.title,
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
  const view = () => ({ results: state.tier, input_px: state.px || "all", protocol: data.settings[state.protocol].name, shots: state.shots, metric: state.metric, data_set: state.set === "" ? "mean" : data.datasets[state.set].name });
  element("csv").addEventListener("click", () => save("leaderboard.csv", "text/csv", d3.csvFormat(records().map((record) => Object.fromEntries(Object.entries(record).map(([name, value]) => [harmless(name), harmless(value)]))))));
  element("json").addEventListener("click", () => save("leaderboard.json", "application/json", JSON.stringify({ view: view(), rows: records() }, null, 1)));

  // --- Events ---
  for (const name of ["tier", "px", "protocol", "shots", "metric", "set"])
    element(name).addEventListener("change", (event) => {
      const value = event.target.value;
      if (name === "shots") state.shots = PB.allShots(state.protocol).find((one) => String(one) === value);
      else state[name] = ["protocol", "px"].includes(name) || (name === "set" && value !== "") ? Number(value) : value;
      PB.choose(state.tier, state.px);
      settle();
      state.sort = null;
      fill();
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
    PB.choose(data.tiers[0], data.first.px);
    state = { ...first(), theme: state.theme, cols: state.cols, fold: state.fold, picked: state.picked };
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

  // --- Comparing ---
  function picked() {
    const count = state.picked.size;
    element("compare-now").hidden = count === 0;
    element("compare-now").disabled = count < 2;
    element("compare-now").textContent = count < 2 ? "Tick another to compare" : `Compare ${count}`;
    for (const box of document.querySelectorAll("#table .pick")) {
      box.checked = state.picked.has(box.dataset.key);
      box.disabled = !box.checked && count >= PB.compare.MOST;
    }
    toAddress();
  }
  PB.table.onPick(() => state.picked, (key, on) => { if (on && state.picked.size < PB.compare.MOST) state.picked.add(key); else state.picked.delete(key); picked(); });
  element("compare-now").addEventListener("click", () => PB.compare.open([...state.picked], state));
  PB.compare.dialog.addEventListener("click", (event) => { if (event.target === PB.compare.dialog) PB.compare.dialog.close(); });
  PB.compare.dialog.addEventListener("close", () => element("compare-now").focus());

  // --- Groups of columns fold ---
  element("table").addEventListener("click", (event) => {
    const fold = event.target.closest(".fold");
    if (!fold) return;
    const { group } = fold.dataset;
    if (!state.fold.delete(group)) state.fold.add(group);
    settled = false;
    PB.table.replace(state, rows).then(() => {
      settled = true;
      toAddress();
      [...document.querySelectorAll("#table .fold")].find((one) => one.dataset.group === group)?.focus();
    });
  });

  // --- Small screens: a list of cards, and the table on demand ---
  const small = matchMedia("(max-width: 700px)");
  let asked = false;
  function arrange() {
    const list = small.matches && !asked;
    element("cards").hidden = !list;
    element("results").classList.toggle("away", list);
    element("as-table").hidden = !small.matches;
    element("choose-columns").hidden = list;
    element("as-table").textContent = list ? "Show as a table" : "Show as a list";
    if (list) PB.cards.draw(state, PB.table.shown());
  }
  small.addEventListener("change", () => { arrange(); columnMenu(); PB.table.replace(state, rows); });
  element("as-table").addEventListener("click", () => { asked = !asked; arrange(); if (asked) PB.table.redraw(); });
  PB.cards.holder.addEventListener("click", (event) => {
    const found = event.target.closest("li")?.querySelector(".open");
    if (found) { opener = found.dataset.key; card(found.dataset.key); }
  });

  let opener = "";
  function card(key) {
    if (!PB.card.open(key, state)) return;
    state.card = key;
    toAddress();
  }
  element("table").addEventListener("click", (event) => {
    if (event.target.closest(".pick")) return;
    const button = event.target.closest(".open");
    const row = event.target.closest(".tabulator-row");
    const found = button ?? (window.getSelection().isCollapsed ? row?.querySelector(".open") : null);
    if (!found) return;
    opener = found.dataset.key;
    card(found.dataset.key);
  });
  PB.card.dialog.addEventListener("another", (event) => card(event.detail));
  PB.card.dialog.addEventListener("close", () => {
    state.card = "";
    toAddress();
    [...document.querySelectorAll(element("cards").hidden ? "#table .open" : "#cards .open")].find((one) => one.dataset.key === opener)?.focus();
  });
  PB.card.dialog.addEventListener("click", (event) => { if (event.target === PB.card.dialog) PB.card.dialog.close(); });
  window.addEventListener("hashchange", () => {
    state = fromAddress();
    settle();
    fill();
    changed().then(picked);
    if (state.card) card(state.card);
    else if (PB.card.dialog.open) PB.card.dialog.close();
  });

  // --- Start ---
  fill();
  columnMenu();
  legend();
  PB.table.build(state, rows, () => {
    settled = true;
    arrange();
    count();
    picked();
    seen.observe(element("plots-title"));
    if (state.card) card(state.card);
    document.body.dataset.ready = "yes";
    performance.mark("ready");
  });
  PB.answer.draw(state, data.entrants.map((_, number) => number));
  PB.table.on("dataSorted", (sorters) => {
    if (!settled) return;
    if (!element("cards").hidden) PB.cards.draw(state, PB.table.shown());
    state.sort = sorters.length ? { field: sorters[0].field, dir: sorters[0].dir } : null;
    toAddress();
  });
})();
