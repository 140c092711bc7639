// The list that small screens show in the place of the table: a card for each checkpoint.
"use strict";
PB.cards = (() => {
  const { data } = PB;
  const { make } = PB.table;
  const FIRST = 50;
  const holder = document.getElementById("cards");
  let shown = FIRST;

  function card(row, range) {
    const entrant = data.entrants[row.number];
    const button = make("button", { type: "button", class: "open", "data-key": row.key }, make("bdi", {}, entrant.name));
    const told = [entrant.id, PB.table.how(entrant)].filter(Boolean).join(" · ");
    const note = row.line && row.line[PB.RANK] === null ? PB.NOTES[row.line[PB.NOTE]] : "";
    return make("li", {},
      make("span", { class: "rank" }, row.rank === null ? "–" : String(row.rank)),
      make("span", { class: "names" }, button, make("bdi", { class: "id" }, told), make("span", { class: "id" }, make("bdi", {}, `${entrant.method}, ${entrant.source}`), note ? make("em", {}, ` · ${note}`) : "")),
      PB.table.score(row.line, range));
  }

  /** Draws the first rows that the filters leave; a button brings more. */
  function draw(state, rows) {
    const range = PB.table.scale(PB.lines(PB.find(state.protocol, state.shots, state.metric), state.set));
    const more = make("button", { type: "button", class: "further" }, `Show ${Math.min(FIRST, rows.length - shown)} more`);
    more.addEventListener("click", () => { shown += FIRST; draw(state, rows); });
    holder.replaceChildren(make("ol", {}, ...rows.slice(0, shown).map((row) => card(row, range))), ...(rows.length > shown ? [more] : []), ...(rows.length ? [] : [make("p", {}, "No checkpoint passes the filters.")]));
  }
  return { draw, reset: () => { shown = FIRST; }, holder };
})();
