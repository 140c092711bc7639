// A checkpoint's card: facts, its curve on each data set, and the commands that make its results again.
"use strict";
PB.card = (() => {
  const { data } = PB;
  const { make, said } = PB.table;
  const dialog = document.getElementById("card");

  function facts(entrant) {
    const list = make("dl", { class: "facts" });
    for (const fact of PB.FACTS.filter((one) => one.name)) {
      const own = entrant[fact.field];
      const value = fact.card ? fact.card(entrant) : fact.number ? fact.number(own) : own;
      if (value === undefined || value === null || value === "") continue;
      const address = fact.link?.(entrant);
      const text = said(String(value));
      list.append(make("div", {}, make("dt", {}, fact.name),
        make("dd", {}, address ? make("a", { href: address, rel: "noopener noreferrer nofollow" }, text) : text)));
    }
    return list;
  }

  /** All of an entrant's scores on one data set under one setting, by shots. */
  function curve(number, set, setting, metric) {
    return PB.allShots(setting, 0).flatMap((shots) => {
      const line = PB.lines(PB.find(setting, shots, metric, undefined, 0), set).get(number);
      return line && line[PB.MEAN] !== null ? [{ setting, shots, line }] : [];
    });
  }

  function scores(number, metric) {
    const found = [];
    data.datasets.forEach((_, set) => data.settings.forEach((_, setting) => found.push(...curve(number, set, setting, metric).map((one) => ({ set, ...one })))));
    return found;
  }

  function table(number, found) {
    const zero = (one) => (data.settings[one.setting].kind === "zeroshot" ? 0 : 1);
    const kinds = [...new Map(found.map((one) => [`${one.setting}|${one.shots}`, one])).values()].sort((a, b) => zero(a) - zero(b));
    const head = make("tr", {}, make("th", { scope: "col" }, "Data set"), make("th", { scope: "col" }, "Seen before"));
    for (const one of kinds) head.append(make("th", { scope: "col", class: "score" }, zero(one) ? `${data.settings[one.setting].short}, ${PB.shotsLabel(one.shots)}` : data.settings[one.setting].short));
    const body = make("tbody");
    for (const set of new Set(found.map((one) => one.set))) {
      const row = make("tr", {}, make("th", { scope: "row" }, said(data.datasets[set].name)), make("td", {}, data.entrants[number].overlap[set]));
      for (const kind of kinds) {
        const one = found.find((other) => other.set === set && other.setting === kind.setting && other.shots === kind.shots);
        const cell = make("td", { class: "score" }, PB.table.score(one?.line));
        if (one) cell.title = `${one.line[PB.COUNT]} draw${one.line[PB.COUNT] === 1 ? "" : "s"}`;
        row.append(cell);
      }
      body.append(row);
    }
    const scroll = make("div", { class: "scroll", role: "region", "aria-label": "Scores by data set", tabindex: "0" });
    scroll.append(make("table", {}, make("thead", {}, head), body));
    return scroll;
  }

  /** What there is beside the results that count: failed runs, results of other backends. */
  function beside(lines) {
    return lines.map((line) => make("p", { class: "note" }, said(line)));
  }

  /** A command line with a button that copies it. */
  function command(text) {
    const copy = make("button", { type: "button", "aria-label": `Copy ${text.slice(0, 80)}` }, "Copy");
    copy.addEventListener("click", () => navigator.clipboard?.writeText(text).then(() => { copy.textContent = "Copied"; }, () => {}));
    return make("div", { class: "command" }, make("pre", { tabindex: "0", "aria-label": "Command" }, make("code", {}, text)), copy);
  }

  function commands(lines) {
    if (!lines.length) return make("p", { class: "note" }, "Published figures: there is nothing to run.");
    return make("div", { class: "all-commands" }, ...lines.map((line) => command(line)));
  }

  /** A line for each setting that has several numbers of shots, and a dot for the others. */
  function settingsOf(found) {
    return [...new Set(found.map((one) => one.setting))].map((setting, place) => ({ name: data.settings[setting].name, look: PB.plots.look(place), found: found.filter((one) => one.setting === setting) }));
  }

  /** Other lines of the same checkpoint: at other input sizes, on other layers. */
  function siblings(number) {
    const entrant = data.entrants[number];
    const others = data.entrants.filter((one) => one.id === entrant.id && one.key !== entrant.key);
    if (!others.length) return [];
    const buttons = others.map((one) => { const button = make("button", { type: "button", class: "sibling", "data-key": one.key }, make("bdi", {}, PB.table.how(one) || one.key)); return button; });
    return [make("p", { class: "siblings" }, "The same checkpoint, measured otherwise: ", ...buttons)];
  }

  /** Who vouches for what stands on the card. */
  function status(entrant) {
    const again = entrant.again ? (entrant.again.startsWith("by nobody") ? "Nobody but its authors has run it again." : `Run again: ${entrant.again}.`) : "";
    return make("p", { class: "note" }, make("bdi", {}, again), again ? " " : "", "Facts about its pre-training are what its entry declares; scores are computed again from its predictions.");
  }

  function open(key, state) {
    const number = data.entrants.findIndex((entrant) => entrant.key === key);
    if (number < 0) return false;
    const entrant = data.entrants[number];
    const found = scores(number, state.metric);
    const curves = make("div", { class: "curves" });
    const close = make("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(
      make("div", { class: "top" }, make("h2", { id: "card-title", tabindex: "-1" }, said(entrant.title)), close),
      status(entrant), ...siblings(number), facts(entrant), make("h3", {}, "Scores"), table(number, found), ...beside(entrant.beside), curves,
      make("h3", {}, "Make these results again"), commands(entrant.commands),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    dialog.querySelector("#card-title").focus();
    for (const set of new Set(found.map((one) => one.set))) curves.append(PB.plots.curves(data.datasets[set].name, settingsOf(found.filter((one) => one.set === set))));
    return true;
  }

  dialog.addEventListener("click", (event) => {
    const other = event.target.closest(".sibling");
    if (other) dialog.dispatchEvent(new CustomEvent("another", { detail: other.dataset.key }));
  });
  return { open, dialog, facts, scores, command };
})();
