// The table: columns of a view in groups that fold, cells made of text nodes only, sorting by pointer and by keyboard.
"use strict";
PB.table = (() => {
  const { data, points, interval } = PB;
  const MANY = 4;
  const FONT = '600 13.5px system-ui, sans-serif', SMALL = "12px system-ui, sans-serif";
  const NAME = 345, INSIDE = NAME - 48;
  let grid = null;
  let at = null; // The key of the row that the arrow keys last went to, while the focus is theirs.
  let picks = () => new Set();
  let picked = () => {};

  /** Makes an element; children are text or elements, never markup. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const said = (text, kind = "said") => make("bdi", { class: kind, title: text.length > 24 ? text : null }, text);
  const cut = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

  // Cells without a value come last in either direction: a missing score never leads.
  function order(a, b, one, two, column, direction) {
    const gone = (value) => value === null || value === undefined || value === "";
    if (gone(a) || gone(b)) {
      if (gone(a) && gone(b)) return 0;
      return gone(a) === (direction === "asc") ? 1 : -1;
    }
    return typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
  }

  /** What a column's scores are seen against: its least and largest, their intervals' ends, and what leads. */
  function scale(lines) {
    const ranked = [...lines.values()].filter((line) => line[PB.RANK] !== null && line[PB.MEAN] !== null);
    const [low, high] = d3.extent(ranked, (line) => line[PB.MEAN]);
    return { low, high, from: d3.min(ranked, (line) => line[PB.LOW] ?? line[PB.MEAN]), to: d3.max(ranked, (line) => line[PB.HIGH] ?? line[PB.MEAN]) };
  }

  /** A number with its interval as a bar; in a column also shaded by its place between the least and the largest. */
  function score(line, range = null) {
    const cell = make("span", { class: "score" });
    if (!line) cell.append(make("span", { class: "gone", title: "not run", "aria-label": "not run" }, "–"));
    else if (line[PB.MEAN] === null) cell.append(make("span", { class: "gone" }, line[PB.NOTE] === "failed" ? "failed" : `${line[PB.COUNT]} set${line[PB.COUNT] === 1 ? "" : "s"} only`));
    else {
      const ranked = line[PB.RANK] !== null;
      const sign = { tied: "≈", "not compared": "?" }[line[PB.NOTE]];
      const value = make("span", { class: ranked && line[PB.NOTE] === "leader" ? "value best" : "value" }, points(line[PB.MEAN]));
      if (sign) value.prepend(make("span", { class: "tie", title: PB.NOTES[line[PB.NOTE]] }, sign), make("span", { class: "hidden" }, ` ${PB.NOTES[line[PB.NOTE]]}, `));
      cell.append(value);
      if (line[PB.LOW] !== null) cell.append(bar(line, range), make("span", { class: "hidden" }, `, 95% interval ${interval(line[PB.LOW], line[PB.HIGH])}`));
      if (range && ranked && range.high > range.low) {
        cell.classList.add("heat");
        cell.style.setProperty("--warm", `${Math.round((60 * (line[PB.MEAN] - range.low)) / (range.high - range.low)) / 2}%`);
      }
    }
    return cell;
  }
  function bar(line, range) {
    const seen = make("span", { class: "ends", "aria-hidden": "true", title: `95% interval ${interval(line[PB.LOW], line[PB.HIGH])}` });
    const from = range?.from ?? 0, to = range?.to ?? 1e6;
    const place = (value) => `${Math.min(100, Math.max(0, (100 * (value - from)) / (to - from || 1))).toFixed(1)}%`;
    const inner = make("span", {});
    for (const [name, value] of [["--low", PB.LOW], ["--high", PB.HIGH], ["--at", PB.MEAN]]) inner.style.setProperty(name, place(line[value]));
    seen.append(inner);
    return seen;
  }

  function rank(cell) {
    const { line } = cell.getData();
    const value = make("span", { class: "rank" });
    value.append(!line || line[PB.RANK] === null ? "–" : String(line[PB.RANK]));
    const note = line ? PB.NOTES[line[PB.NOTE]] : "not run in this view";
    if (note) value.append(make("span", { class: "hidden" }, `, ${note}`));
    value.title = note || "";
    return value;
  }

  /** What tells lines of one id apart, in words. */
  function how(entrant) {
    const several = data.entrants.filter((one) => one.id === entrant.id);
    const differ = (field) => several.some((one) => one[field] !== entrant[field]);
    return [
      entrant.px ? `${entrant.px} px` : "",
      !["pooled", "unknown"].includes(entrant.layer) || differ("layer") ? `layer ${entrant.layer}` : "",
      differ("dtype") && entrant.dtype ? entrant.dtype : "",
      differ("digest") && entrant.digest ? `weights ${entrant.digest.slice(0, 8)}` : "",
    ].filter(Boolean).join(" · ");
  }

  function checkpoint(cell) {
    const row = cell.getData();
    const entrant = data.entrants[row.number];
    const box = make("input", { type: "checkbox", class: "pick", "aria-label": `Compare ${row.title}`, "data-key": row.key });
    box.checked = picks().has(row.key);
    const name = make("button", { type: "button", class: "open", "data-key": row.key }, make("bdi", {}, entrant.name));
    const note = row.line && row.line[PB.RANK] === null ? PB.NOTES[row.line[PB.NOTE]] : row.reported ? "self-reported" : "";
    const told = how(entrant);
    return make("span", { class: "who" }, box, make("span", { class: "names" }, name, make("bdi", { class: "id" }, entrant.id),
      make("span", { class: "id" }, note ? make("em", {}, note) : "", note && told ? " · " : "", make("bdi", {}, told))));
  }

  /** Rows are as high as the longest name needs, so that none is cut; only what is meant to fill the screen is. */
  function rowHeight(rows) {
    const pen = document.createElement("canvas").getContext("2d");
    // Lines break at spaces and hyphens, as the browser's do, and within a word that is longer than a line.
    const lines = (text, font) => {
      pen.font = font;
      let count = 1, used = 0;
      for (const word of text.match(/[^\s-]*[\s-]?/g)) {
        const width = 1.02 * pen.measureText(word.trimEnd()).width;
        if (used && used + width > INSIDE) { count += 1; used = 0; }
        count += Math.floor(width / INSIDE);
        used = (used + 1.02 * pen.measureText(word).width) % INSIDE;
      }
      return count;
    };
    const most = (texts, font, limit) => Math.min(limit, Math.max(1, ...texts.map((text) => lines(text, font))));
    const longest = (texts) => [...new Set(texts)].sort((a, b) => b.length - a.length).slice(0, 200);
    return 17 * most(longest(rows.map((row) => data.entrants[row.number].name)), FONT, 3) + 15 * most(longest(rows.map((row) => data.entrants[row.number].id)), SMALL, 2) + 15 + 14;
  }

  const narrow = () => matchMedia("(max-width: 700px)").matches;

  function columns(state) {
    const word = (field, title, width) => ({ field, title, width, formatter: (cell) => said(cell.getValue() ?? "unknown") });
    const number = (field, title, width, formatter) => ({ field, title, width, hozAlign: "right", headerHozAlign: "right", cssClass: "number", headerSortStartingDir: "desc", formatter });
    const fact = ({ field, name, title = name, width, number: text, tip }) => ({ ...(text ? number(field, title, width, (cell) => text(cell.getValue())) : word(field, title, width)), group: "Checkpoint", ...(tip && { headerTooltip: tip }) });
    const curve = PB.curve(state.protocol, state.metric);
    const view = PB.find(state.protocol, state.shots, state.metric);
    const sets = view ? Object.keys(view.single).map(Number) : [];
    const several = sets.length > 1;
    const frozen = !narrow();
    const shaded = (lines, held) => { const range = scale(lines); return (cell) => score(held(cell.getData()), range); };
    const groups = new Map(PB.GROUPS);
    return [
      { ...number("rank", "Rank", 76, rank), headerSortStartingDir: "asc", frozen },
      { field: "title", title: "Checkpoint", width: NAME, formatter: checkpoint, cssClass: "name", frozen },
      { ...number("mean", `${state.set === "" && (view?.sets.length ?? 0) > 1 ? `Mean of ${view.sets.length}` : "Score"}, ${PB.shotsLabel(state.shots)}`, 104, shaded(PB.lines(view, state.set), (row) => row.line)), cssClass: "number main" },
      ...curve.map((one, place) => ({ ...number(`c${place}`, curveTitle(one, curve), one.group === "beside" ? 126 : 100, shaded(PB.lines(one.view, state.set), (row) => row.along[place].get(row.number))), group: groups.get(one.group) })),
      ...(several ? sets.map((set) => ({ ...number(`d${set}`, data.datasets[set].name, 116, shaded(PB.lines(view, set), (row) => row.sets[set].get(row.number))), group: `By data set, ${PB.shotsLabel(state.shots)}` })) : []),
      { ...number("meanRank", "Mean rank", 76, (cell) => cell.getValue() === null ? "–" : cell.getValue().toFixed(1)), group: "Checkpoint" },
      ...PB.COLUMNS.map(fact),
      { ...word("overlap", "Seen before", 108), group: "Checkpoint", headerTooltip: "Whether pre-training used images of the data sets: yes, no or unknown" },
    ].map((column) => ({ sorter: order, headerSortTristate: false, resizable: "header", headerWordWrap: true,
      // Tabulator takes a plain title for markup, and a data set's name is a submitter's text.
      titleFormatter: () => make("bdi", { title: column.title.length > 24 ? column.title : null }, cut(column.title)), ...column }));
  }

  /** The shots, and the setting where its group has several. */
  function curveTitle(one, curve) {
    const alone = curve.every((other) => other.group !== one.group || other.setting === one.setting);
    const shots = one.shots === "full" ? "full data" : PB.shotsLabel(one.shots);
    const text = alone && one.group !== "beside" ? shots : one.shots === 0 ? data.settings[one.setting].name : `${/\((.+)\)$/.exec(data.settings[one.setting].short)?.[1] ?? data.settings[one.setting].short}, ${shots}`;
    return text[0].toUpperCase() + text.slice(1);
  }

  // Columns that a reader has to ask for: what the chosen score says already, what few need, and many data sets.
  function hiddenFirst(field, state) {
    if (/^d\d+$/.test(field)) return data.datasets.length > MANY || narrow();
    const chosen = PB.curve(state.protocol, state.metric).findIndex((one) => one.setting === state.protocol && one.shots === state.shots);
    const fact = PB.COLUMNS.find((one) => one.field === field);
    return fact?.hidden || field === "overlap" || field === `c${chosen}` || field === "meanRank" || (narrow() && fact !== undefined);
  }
  const visible = (field, state) => field === "title" || (state.cols[field] ?? !hiddenFirst(field, state));
  // A hidden column is none at all: its cells would cost as much as those that are seen. A folded group keeps its first.
  function visibleColumns(state) {
    const shown = columns(state).filter((column) => visible(column.field, state));
    const first = new Map();
    for (const { group, field } of shown) if (group && !first.has(group)) first.set(group, field);
    return shown.filter(({ group, field }) => !group || !state.fold.has(group) || first.get(group) === field);
  }

  /** Columns of one group stand under its name, which folds it. */
  function grouped(shown, state) {
    const found = [];
    for (const { group, ...column } of shown) {
      const last = found.at(-1);
      if (!group) found.push(column);
      else if (last?.named === group) last.columns.push(column);
      else found.push({ named: group, title: group, titleFormatter: () => heading(group, state), columns: [column] });
    }
    return found.map(({ named, ...column }) => column);
  }
  function heading(group, state) {
    const alone = columns(state).filter((column) => column.group === group && visible(column.field, state)).length < 2;
    if (alone) return make("bdi", {}, group);
    const folded = state.fold.has(group);
    return make("button", { type: "button", class: "fold", "data-group": group, "aria-expanded": String(!folded), title: folded ? "Show all of it" : "Show its first column only" }, make("bdi", {}, group));
  }

  /** Says to screen readers what the parts of the grid are. */
  function roles(root, count) {
    root.removeAttribute("aria-owns");
    root.setAttribute("aria-rowcount", count + 1);
    root.querySelector(".tabulator-tableholder").setAttribute("role", "rowgroup");
    root.querySelector(".tabulator-table").setAttribute("role", "presentation");
    cue();
  }
  /** Says at the right edge that there is more to the right. */
  function cue() {
    const root = document.getElementById("table");
    const holder = root.querySelector(".tabulator-tableholder");
    root.parentElement.classList.toggle("more", holder.scrollWidth - holder.clientWidth - holder.scrollLeft > 4);
  }
  function moved() {
    cue();
    follow();
  }

  function headers() {
    for (const header of document.querySelectorAll("#table .tabulator-col.tabulator-sortable")) {
      header.tabIndex = 0;
      header.removeAttribute("aria-title");
    }
    for (const group of document.querySelectorAll("#table .tabulator-col.tabulator-col-group")) for (const name of ["aria-title", "aria-sort"]) group.removeAttribute(name);
    // A group's name is a heading like others; the box around it and its columns says nothing.
    for (const group of document.querySelectorAll("#table .tabulator-col.tabulator-col-group")) {
      group.setAttribute("role", "presentation");
      group.querySelector(".tabulator-col-content").setAttribute("role", "columnheader");
      group.querySelector(".tabulator-col-group-cols").setAttribute("role", "presentation");
    }
  }

  function build(state, rows, done) {
    const sort = state.sort && { column: state.sort.field, dir: state.sort.dir };
    const shown = visibleColumns(state);
    grid = new Tabulator("#table", {
      data: rows, index: "number", columns: grouped(shown, state), maxHeight: "78vh", rowHeight: rowHeight(rows), renderVerticalBuffer: 80, layout: "fitData", autoResize: false, columnHeaderVertAlign: "middle", headerSortClickElement: "header",
      initialSort: sort && shown.some((one) => one.field === sort.column) ? [sort] : [],
      placeholder: () => make("p", {}, "No checkpoint passes the filters."),
      rowFormatter: (row) => row.getElement().classList.toggle("unranked", row.getData().rank === null || row.getData().reported),
    });
    const root = document.getElementById("table");
    grid.on("tableBuilt", () => {
      // Tabulator draws 20 rows at least, which of tall ones is twice what is seen: a sort would take twice as long.
      grid.rowManager.renderer.vDomWindowMinTotalRows = 11;
      grid.setFilter(PB.passes(state));
      headers();
      roles(root, rows.length);
      root.querySelector(".tabulator-tableholder").addEventListener("scroll", moved, { passive: true });
      root.addEventListener("pointerdown", () => { at = null; });
      // Tabulator's own autoResize also draws all rows anew when the table first comes into view: a press or the focus would be lost.
      // A phone's address bar that slides resizes the window too, and leaves the table as it is.
      const room = () => `${root.clientWidth} ${getComputedStyle(root).maxHeight}`;
      let last = room();
      window.addEventListener("resize", () => {
        if (root.clientWidth && room() !== last) grid.redraw();
        last = room();
      });
      done();
    });
    grid.on("renderComplete", moved);
    root.addEventListener("change", (event) => { if (event.target.matches(".pick")) picked(event.target.dataset.key, event.target.checked); });
    root.onkeydown = (event) => {
      const header = event.target.closest(".tabulator-col.tabulator-sortable");
      if (header && event.target === header && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        header.click();
        return;
      }
      if ((at !== null || event.target.matches(".open")) && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        step(at ?? event.target.dataset.key, event.key === "ArrowDown" ? 1 : -1);
      }
    };
  }

  /** Moves the focus to the neighbouring row. Until that is drawn the table holds it, and further keys count from there. */
  function step(from, by) {
    const active = grid.getRows("active");
    const place = active.findIndex((one) => one.getData().key === from) + by;
    if (!active[place]) return;
    at = active[place].getData().key;
    const holder = document.querySelector("#table .tabulator-tableholder");
    holder.focus({ preventScroll: true });
    // All rows are of one height. Tabulator's own scrollToRow draws everything anew, and the focus would be lost.
    const height = holder.querySelector(".tabulator-row").offsetHeight;
    holder.scrollTop = Math.min(place * height, Math.max(holder.scrollTop, (place + 1) * height - holder.clientHeight));
    follow();
  }
  /** Gives the focus to that row: once it is drawn, and again where drawing others took its button away, which leaves the focus with the document. */
  function follow() {
    const holder = document.querySelector("#table .tabulator-tableholder");
    if (at === null || document.activeElement.dataset.key === at) return;
    if (document.activeElement !== holder && document.activeElement !== document.body) return void (at = null);
    const button = holder.querySelector(`.open[data-key="${CSS.escape(at)}"]`);
    if (button) button.focus({ preventScroll: true });
  }

  function replace(state, rows) {
    const shown = visibleColumns(state);
    const sort = state.sort && shown.some((one) => one.field === state.sort.field) ? [{ column: state.sort.field, dir: state.sort.dir }] : [];
    grid.clearSort();
    return grid.setData([]).then(() => { grid.setColumns(grouped(shown, state)); return grid.setData(rows); }).then(() => {
      grid.setFilter(PB.passes(state));
      grid.setSort(sort);
      headers();
      roles(document.getElementById("table"), rows.length);
    });
  }

  return {
    make, said, score, scale, how, columns, visible, build, replace,
    on: (event, act) => grid.on(event, act),
    onPick: (chosen, act) => { picks = chosen; picked = act; },
    filter: (state) => grid.setFilter(PB.passes(state)),
    shown: () => grid.getRows("active").map((row) => row.getData()),
    redraw: () => grid.redraw(true),
  };
})();
