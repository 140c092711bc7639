// Two to six checkpoints side by side: curves, paired differences, facts, and the command that makes the comparison.
"use strict";
PB.compare = (() => {
  const { data, points, percent } = PB;
  const { make, said, how } = PB.table;
  const MOST = 6;
  const dialog = document.getElementById("compare");

  const numberOf = (key) => data.entrants.findIndex((entrant) => entrant.key === key);
  const shell = (text) => (/^[A-Za-z0-9_.:/=@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

  /** The difference of two on a data set: first less second, or null where the page does not hold it. */
  function difference(one, other, set) {
    for (const [a, b, value, low, high] of data.pairs[set] ?? []) {
      if (a === one && b === other) return [value, low, high];
      if (a === other && b === one) return [-value, -high, -low];
    }
    return null;
  }

  function differences(numbers) {
    const [first, ...others] = numbers;
    const sets = Object.keys(data.pairs).map(Number);
    const rows = others.map((other) => ({ other, cells: sets.map((set) => difference(first, other, set)) }));
    if (!rows.some((row) => row.cells.some(Boolean))) return make("p", { class: "note" }, "The page holds paired differences of the first thirty lines of the view that it opens on. The commands below make any other.");
    const head = make("tr", {}, make("th", { scope: "col" }, "The first minus"), ...sets.map((set) => make("th", { scope: "col", class: "score" }, said(data.datasets[set].name))));
    const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, data.entrants[row.other].title)), ...row.cells.map(cell))));
    const { setting, shots } = data.first;
    return make("div", {}, make("p", { class: "note" }, `Points, paired over draws and test images, with 95% intervals, at ${PB.shotsLabel(shots)} under `, make("bdi", {}, data.settings[setting].name), ". In colour where the interval excludes zero."),
      make("div", { class: "scroll", role: "region", "aria-label": "Paired differences", tabindex: "0" }, make("table", {}, make("thead", {}, head), body)));
  }
  function cell(found) {
    if (!found) return make("td", { class: "score" }, make("span", { class: "gone" }, "–"));
    const [value, low, high] = found;
    const sign = (one) => `${one > 0 ? "+" : ""}${percent(one).toFixed(1)}`;
    return make("td", { class: `score ${low > 0 ? "ahead" : high < 0 ? "behind" : ""}` }, sign(value), make("span", { class: "interval" }, `${sign(low)} to ${sign(high)}`));
  }

  function curves(numbers, state) {
    const held = make("div", { class: "curves" });
    const found = numbers.map((number, place) => ({ number, look: PB.plots.look(place), scores: PB.card.scores(number, state.metric).filter((one) => one.setting === state.protocol) }));
    for (const set of new Set(found.flatMap((one) => one.scores.map((score) => score.set))))
      held.append(PB.plots.curves(data.datasets[set].name, found.map((one, place) => ({ name: `${place + 1}. ${data.entrants[one.number].title}`, look: one.look, found: one.scores.filter((score) => score.set === set) })).filter((one) => one.found.length)));
    return held;
  }

  function sideBySide(numbers) {
    const shown = PB.FACTS.filter((fact) => fact.name && fact.field !== "digest");
    const value = (fact, entrant) => { const own = entrant[fact.field]; const text = fact.card ? fact.card(entrant) : fact.number ? fact.number(own) : own; return text === undefined || text === null ? "" : String(text); };
    const rows = shown.map((fact) => ({ fact, texts: numbers.map((number) => value(fact, data.entrants[number])) })).filter((row) => row.texts.some(Boolean));
    const head = make("tr", {}, make("th", { scope: "col" }, "Fact"), ...numbers.map((number, place) => make("th", { scope: "col" }, `${place + 1}. `, make("bdi", {}, data.entrants[number].title))));
    const body = make("tbody", {}, ...rows.map(({ fact, texts }) => make("tr", { class: new Set(texts).size > 1 ? "differs" : "" }, make("th", { scope: "row" }, fact.name), ...texts.map((text) => make("td", {}, make("bdi", {}, text))))));
    return make("div", { class: "scroll wrap", role: "region", "aria-label": "Facts side by side", tabindex: "0" }, make("table", {}, make("thead", {}, head), body));
  }

  function open(keys, state) {
    const numbers = keys.map(numberOf).filter((number) => number >= 0).slice(0, MOST);
    if (numbers.length < 2) return false;
    const close = make("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const [first, ...others] = numbers.map((number) => data.entrants[number]);
    const commands = others.map((other) => PB.card.command(`probebench results compare ${shell(first.id)} ${shell(other.id)}`));
    const list = make("ol", { class: "chosen" }, ...numbers.map((number) => make("li", {}, make("bdi", {}, data.entrants[number].title), " ", make("span", { class: "note" }, make("bdi", {}, [data.entrants[number].id, how(data.entrants[number])].filter(Boolean).join(" · "))))));
    dialog.replaceChildren(make("div", { class: "top" }, make("h2", { id: "compare-title", tabindex: "-1" }, `${numbers.length} checkpoints side by side`), close), list,
      make("h3", {}, "Differences"), differences(numbers), make("h3", {}, "Curves"));
    if (!dialog.open) dialog.showModal();
    dialog.append(curves(numbers, state), make("h3", {}, "Facts"), sideBySide(numbers), make("h3", {}, "The same comparison in a terminal"), ...commands);
    dialog.scrollTop = 0;
    dialog.querySelector("#compare-title").focus();
    return true;
  }
  return { open, dialog, MOST };
})();
