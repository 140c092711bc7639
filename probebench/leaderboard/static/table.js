// The table: columns of a view, cells made of text nodes only, sorting by pointer and by keyboard.
"use strict";
PB.table = (() => {
  const { data, points, interval } = PB;
  const MANY = 4;
  let grid = null;
  let wanted = null;

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

  function score(line) {
    const cell = make("span", { class: "score" });
    if (!line) cell.append(make("span", { class: "gone" }, "not run"));
    else if (line[PB.MEAN] === null) cell.append(make("span", { class: "gone" }, line[PB.NOTE] === "failed" ? "failed" : `${line[PB.COUNT]} set${line[PB.COUNT] === 1 ? "" : "s"} only`));
    else {
      cell.append(points(line[PB.MEAN]));
      if (line[PB.LOW] !== null) cell.append(make("span", { class: "interval" }, interval(line[PB.LOW], line[PB.HIGH])));
    }
    return cell;
  }

  function rank(cell) {
    const { line } = cell.getData();
    const value = make("span", { class: "rank" });
    if (!line || line[PB.RANK] === null) value.append("–");
    else value.append(String(line[PB.RANK]));
    const note = line ? PB.NOTES[line[PB.NOTE]] : "not run in this view";
    const sign = { tied: "≈", "not compared": "?" }[line?.[PB.NOTE]];
    if (sign) value.append(make("span", { class: "tie", "aria-hidden": "true" }, ` ${sign}`));
    if (note) value.append(make("span", { class: "hidden" }, `, ${note}`));
    value.title = note || "";
    return value;
  }

  function checkpoint(cell) {
    const row = cell.getData();
    const name = make("button", { type: "button", class: "open", title: row.title, "data-key": row.key }, make("bdi", {}, row.title));
    const note = row.line && row.line[PB.RANK] === null ? PB.NOTES[row.line[PB.NOTE]] : row.reported ? "self-reported" : "";
    const px = data.entrants[row.number].px;
    return make("span", { class: "who" }, name, make("span", { class: "id", title: row.key },
      note ? make("em", {}, note) : "", note ? " · " : "", make("bdi", {}, row.key), px ? ` · ${px} px` : ""));
  }

  const narrow = () => matchMedia("(max-width: 700px)").matches;

  function columns(state) {
    const word = (field, title, width) => ({ field, title, width, formatter: (cell) => said(cell.getValue() ?? "unknown") });
    const number = (field, title, width, formatter) => ({ field, title, width, hozAlign: "right", headerHozAlign: "right", cssClass: "number", headerSortStartingDir: "desc", formatter });
    const fact = ({ field, name, title = name, width, number: text, tip }) => ({ ...(text ? number(field, title, width, (cell) => text(cell.getValue())) : word(field, title, width)), ...(tip && { headerTooltip: tip }) });
    const curve = PB.curve(state.protocol, state.metric);
    const view = PB.find(state.protocol, state.shots, state.metric);
    const sets = view ? Object.keys(view.single).map(Number) : [];
    const several = sets.length > 1;
    const frozen = !narrow();
    return [
      { ...number("rank", "Rank", frozen ? 74 : 66, rank), headerSortStartingDir: "asc", frozen },
      { field: "title", title: "Checkpoint", width: frozen ? 285 : 190, formatter: checkpoint, cssClass: "name", frozen },
      ...PB.COLUMNS.map(fact),
      { ...number("mean", `${state.set === "" && (view?.sets.length ?? 0) > 1 ? `Mean of ${view.sets.length}` : "Score"}, ${PB.shotsLabel(state.shots)}`, 98, (cell) => score(cell.getData().line)), cssClass: "number main" },
      number("meanRank", "Mean rank", 76, (cell) => cell.getValue() === null ? "–" : cell.getValue().toFixed(1)),
      ...curve.map((one, place) => number(`c${place}`, curveTitle(one, state), 97, (cell) => score(cell.getData().along[place].get(cell.getData().number)))),
      ...(several ? sets.map((set) => number(`d${set}`, data.datasets[set].name, 112, (cell) => score(cell.getData().sets[set].get(cell.getData().number)))) : []),
      { ...word("overlap", "Seen before", 108), headerTooltip: "Whether pre-training used images of the data sets: yes, no or unknown" },
    ].map((column) => ({ sorter: order, headerSortTristate: false, resizable: "header", headerWordWrap: true,
      // Tabulator takes a plain title for markup, and a data set's name is a submitter's text.
      titleFormatter: () => make("bdi", { title: column.title.length > 24 ? column.title : null }, cut(column.title)), ...column }));
  }

  function curveTitle(one, state) {
    const setting = data.settings[one.setting];
    if (setting.kind === "zeroshot") return "Zero-shot";
    const shots = PB.shotsLabel(one.shots);
    const text = one.setting === state.protocol ? shots : `${setting.short}, ${shots}`;
    return text[0].toUpperCase() + text.slice(1);
  }

  // Columns that a reader has to ask for: what the chosen score says already, what few need, and many data sets.
  function hiddenFirst(field, state) {
    if (/^d\d+$/.test(field)) return data.datasets.length > MANY || narrow();
    const chosen = PB.curve(state.protocol, state.metric).findIndex((one) => one.setting === state.protocol && one.shots === state.shots);
    const fact = PB.COLUMNS.find((one) => one.field === field);
    return fact?.hidden || field === "overlap" || field === `c${chosen}` || (narrow() && (fact !== undefined || field === "meanRank"));
  }
  // A hidden column is none at all: its cells would cost as much as those that are seen.
  const visibleColumns = (state) => columns(state).filter((column) => visible(column.field, state));
  const visible = (field, state) => field === "title" || (state.cols[field] ?? !hiddenFirst(field, state));

  /** Says to screen readers what the parts of the grid are. */
  function roles(root, count) {
    root.removeAttribute("aria-owns");
    root.setAttribute("aria-rowcount", count + 1);
    root.querySelector(".tabulator-tableholder").setAttribute("role", "rowgroup");
    root.querySelector(".tabulator-table").setAttribute("role", "presentation");
  }

  function headers() {
    for (const header of document.querySelectorAll("#table .tabulator-col.tabulator-sortable")) {
      header.tabIndex = 0;
      header.removeAttribute("aria-title");
    }
  }

  function build(state, rows, done) {
    const sort = state.sort && { column: state.sort.field, dir: state.sort.dir };
    const shown = visibleColumns(state);
    grid = new Tabulator("#table", {
      data: rows, index: "number", columns: shown, maxHeight: "78vh", rowHeight: 46, renderVerticalBuffer: 230, layout: "fitData", columnHeaderVertAlign: "middle", headerSortClickElement: "header",
      initialSort: sort && shown.some((one) => one.field === sort.column) ? [sort] : [],
      placeholder: () => make("p", {}, "No checkpoint passes the filters."),
      rowFormatter: (row) => row.getElement().classList.toggle("unranked", row.getData().rank === null || row.getData().reported),
    });
    const root = document.getElementById("table");
    grid.on("tableBuilt", () => {
      grid.setFilter(PB.passes(state));
      headers();
      roles(root, rows.length);
      done();
    });
    root.onkeydown = (event) => {
      const header = event.target.closest(".tabulator-col");
      if (header && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        header.click();
        return;
      }
      if ((wanted || event.target.matches(".open")) && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        step(wanted ?? event.target.dataset.key, event.key === "ArrowDown" ? 1 : -1);
      }
    };
  }

  /** Moves the focus to the neighbouring row. Until that is drawn the table holds it, and further keys count from there. */
  function step(from, by) {
    const active = grid.getRows("active");
    const place = active.findIndex((one) => one.getData().key === from) + by;
    if (!active[place]) return;
    wanted = active[place].getData().key;
    const holder = document.querySelector("#table .tabulator-tableholder");
    holder.focus({ preventScroll: true });
    // All rows are of one height. Tabulator's own scrollToRow draws everything anew, and the focus would be lost.
    const height = holder.querySelector(".tabulator-row").offsetHeight;
    holder.scrollTop = Math.min(place * height, Math.max(holder.scrollTop, (place + 1) * height - holder.clientHeight));
    arrive(active[place], 60);
  }
  function arrive(row, frames) {
    if (row.getData().key !== wanted) return;
    const button = row.getElement().isConnected && row.getElement().querySelector(".open");
    if (!button && frames > 0) return void requestAnimationFrame(() => arrive(row, frames - 1));
    wanted = null;
    if (button) button.focus({ preventScroll: true });
  }

  function replace(state, rows) {
    const shown = visibleColumns(state);
    const sort = state.sort && shown.some((one) => one.field === state.sort.field) ? [{ column: state.sort.field, dir: state.sort.dir }] : [];
    grid.clearSort();
    return grid.setData([]).then(() => { grid.setColumns(shown); return grid.setData(rows); }).then(() => {
      grid.setFilter(PB.passes(state));
      grid.setSort(sort);
      headers();
      roles(document.getElementById("table"), rows.length);
    });
  }

  return {
    make, said, score, columns, visible, build, replace,
    on: (event, act) => grid.on(event, act),
    filter: (state) => grid.setFilter(PB.passes(state)),
    shown: () => grid.getRows("active").map((row) => row.getData()),
  };
})();
