// The plots, drawn with Observable Plot in the colours of the page.
"use strict";
PB.plots = (() => {
  const { data } = PB;
  const { make } = PB.table;
  const NAMED = 8;
  const FAINT = 150;
  // Okabe and Ito (2008), told apart by the colour-blind, lightened in the dark: board.css has them.
  const COLOURS = d3.range(8).map((place) => `var(--colour-${place})`);
  const percent = (value) => value / 100;
  const cut = (text, longest = 34) => (text.length > longest ? `${text.slice(0, longest - 1)}…` : text);

  function figure(id, title, caption, plot) {
    const holder = typeof id === "string" ? document.getElementById(id) : id;
    const parts = [make("h3", {}, title)];
    if (plot) {
      // One picture with one name; its parts have none of their own.
      for (const part of plot.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `${title}. ${caption}`);
      parts.push(plot);
    }
    holder.replaceChildren(...parts, make("figcaption", { class: plot ? "note" : "note limit" }, caption));
    return holder;
  }
  function key(entries) {
    return make("ul", { class: "key" }, ...entries.map(([name, colour]) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colour;
      return make("li", {}, swatch, make("bdi", { title: name }, cut(name)));
    }));
  }
  const base = (options) => Plot.plot({ width: 560, height: 320, marginTop: 30, marginLeft: 46, marginBottom: 40, color: { type: "identity" }, style: { background: "none", fontSize: "13px" }, ...options });
  const y = { label: "score (%)", grid: true, nice: true };

  /** Scores at every number of shots over the data sets that all of them have. */
  function matched(state, numbers) {
    const shots = PB.allShots(state.protocol).filter((one) => one !== 0);
    const views = shots.map((one) => PB.find(state.protocol, one, state.metric));
    const sets = state.set !== "" ? [state.set] : views.map((view) => view.sets).reduce((a, b) => a.filter((set) => b.includes(set)), views[0]?.sets ?? []);
    const points = [];
    views.forEach((view, place) => {
      const bySet = sets.map((set) => PB.lines(view, set));
      for (const number of numbers) {
        const lines = bySet.map((one) => one.get(number));
        if (!lines.length || lines.some((line) => !line || line[PB.RANK] === null)) continue;
        const count = lines.length;
        const mean = d3.mean(lines, (line) => line[PB.MEAN]);
        const side = (limit) => lines.some((line) => line[limit] === null) ? mean : mean + Math.sign(limit - PB.LOW - 0.5) * Math.sqrt(d3.sum(lines, (line) => (line[limit] - line[PB.MEAN]) ** 2)) / count;
        points.push({ number, shots: shots[place], label: String(shots[place]), mean: percent(mean), low: percent(side(PB.LOW)), high: percent(side(PB.HIGH)) });
      }
    });
    return { shots, sets, points };
  }
  const over = (sets) => sets.length === 1 ? `On ${data.datasets[sets[0]].name}.` : `Mean over ${sets.length} data sets.`;

  function againstShots(found, best) {
    const named = new Map(best.slice(0, NAMED).map((number, place) => [number, COLOURS[place]]));
    const faint = new Set(best.slice(NAMED, NAMED + FAINT));
    const inked = found.points.filter((one) => named.has(one.number));
    const x = { type: "point", domain: found.shots.map(String), label: "labelled images a class" };
    const plot = base({ x, y, marks: [
      Plot.line(found.points.filter((one) => faint.has(one.number)), { x: "label", y: "mean", z: "number", stroke: "currentColor", strokeOpacity: faint.size > 40 ? 0.06 : 0.15 }),
      Plot.areaY(inked, { x: "label", y1: "low", y2: "high", z: "number", fill: (one) => named.get(one.number), fillOpacity: 0.15 }),
      Plot.line(inked, { x: "label", y: "mean", z: "number", stroke: (one) => named.get(one.number), strokeWidth: 2 }),
      Plot.dot(inked, { x: "label", y: "mean", fill: (one) => named.get(one.number), r: 3 }),
    ] });
    const holder = figure("plot-shots", "Accuracy against shots", `${over(found.sets)} Bands: 95% intervals. In colour the first ${Math.min(NAMED, best.length)}.`, plot);
    holder.insertBefore(key([...named].map(([number, colour]) => [data.entrants[number].title, colour])), holder.lastChild);
  }

  function groupColours(numbers) {
    const methods = [...new Set(numbers.map((number) => data.entrants[number].method))].sort();
    return new Map(methods.map((method, place) => [method, COLOURS[place % COLOURS.length]]));
  }

  function fewAgainstFull(found, state) {
    const few = state.shots !== "full" && state.shots !== 0 ? state.shots : found.shots.filter((one) => one !== "full").at(-1);
    const at = (shots) => new Map(found.points.filter((one) => one.shots === shots).map((one) => [one.number, one]));
    const [one, two] = [at(few), at("full")];
    const pairs = [...one.keys()].filter((number) => two.has(number)).map((number) => ({ number, few: one.get(number), full: two.get(number) }));
    const title = "Few-shot against full";
    if (!pairs.length) return figure("plot-full", title, "No checkpoint here has both a few-shot score and one at full data under this protocol.");
    const colours = groupColours(pairs.map((pair) => pair.number));
    const colour = (pair) => colours.get(data.entrants[pair.number].method);
    const bars = pairs.length > 80 ? [] : [
      Plot.ruleX(pairs, { x: (pair) => pair.few.mean, y1: (pair) => pair.full.low, y2: (pair) => pair.full.high, stroke: colour, strokeOpacity: 0.6 }),
      Plot.ruleY(pairs, { y: (pair) => pair.full.mean, x1: (pair) => pair.few.low, x2: (pair) => pair.few.high, stroke: colour, strokeOpacity: 0.6 }),
    ];
    const plot = base({ x: { label: `score at ${PB.shotsLabel(few)} (%)`, grid: true, nice: true }, y: { label: "score at full data (%)", grid: true, nice: true }, marks: [
      ...bars,
      Plot.dot(pairs, { x: (pair) => pair.few.mean, y: (pair) => pair.full.mean, fill: colour, fillOpacity: 0.85, r: pairs.length > 200 ? 2.5 : 4, title: (pair) => cut(data.entrants[pair.number].title, 80) }),
    ] });
    const holder = figure("plot-full", title, `${over(found.sets)}${bars.length ? " Bars: 95% intervals." : ""}`, plot);
    holder.insertBefore(key([...colours]), holder.lastChild);
  }

  function againstSize(rows) {
    const title = "Accuracy against pre-training size";
    const known = rows.filter((row) => row.samples && row.line && row.line[PB.RANK] !== null);
    if (!known.length) return figure("plot-size", title, "No ranked checkpoint here states the size of its pre-training data.");
    const colours = groupColours(known.map((row) => row.number));
    const colour = (row) => colours.get(row.method);
    const bars = known.length > 150 ? [] : [Plot.ruleX(known.filter((row) => row.line[PB.LOW] !== null), { x: "samples", y1: (row) => percent(row.line[PB.LOW]), y2: (row) => percent(row.line[PB.HIGH]), stroke: colour, strokeOpacity: 0.6 })];
    const [low, high] = d3.extent(known, (row) => row.samples);
    const plot = base({ x: { type: "log", domain: [low / 2, high * 2], label: "pre-training images (log)", grid: true, tickFormat: (value) => (/^1/.test(value.toExponential()) ? PB.short(value) : "") }, y, marks: [
      ...bars,
      Plot.dot(known, { x: "samples", y: (row) => percent(row.mean), fill: colour, fillOpacity: 0.85, r: known.length > 200 ? 2.5 : 4, title: (row) => cut(row.title, 80) }),
    ] });
    const gone = rows.filter((row) => row.line && row.line[PB.RANK] !== null).length - known.length;
    const holder = figure("plot-size", title, `The chosen view.${gone ? ` ${gone} ranked checkpoint${gone === 1 ? " is" : "s are"} left out: no pre-training, or of unknown size.` : ""}`, plot);
    holder.insertBefore(key([...colours]), holder.lastChild);
  }

  /** Range and noise-corrected standard deviation of the means of sources, within one method and architecture. */
  function spreads(found) {
    const groups = d3.groups(found.points.filter((one) => data.entrants[one.number].method !== "none"), (one) => `${data.entrants[one.number].method}, ${data.entrants[one.number].arch}`, (one) => one.label);
    return groups.flatMap(([group, byShots]) => byShots.flatMap(([label, points]) => {
      const sources = d3.groups(points, (one) => data.entrants[one.number].sources.join(" + ")).map(([, own]) => ({ mean: d3.mean(own, (one) => one.mean), noise: d3.mean(own, (one) => ((one.high - one.low) / 3.92) ** 2) / own.length }));
      if (sources.length < 2) return [];
      const [low, high] = d3.extent(sources, (one) => one.mean);
      const corrected = Math.sqrt(Math.max(0, d3.variance(sources, (one) => one.mean) - d3.mean(sources, (one) => one.noise)));
      return [{ group, label, count: sources.length, range: high - low, corrected }];
    }));
  }

  function spread(found) {
    const title = "Spread between sources against shots";
    const all = spreads(found);
    if (!all.length) return figure("plot-spread", title, "Not enough matched pairs: no two checkpoints here share method and architecture and differ in their source.");
    const groups = [...d3.rollup(all, (own) => d3.max(own, (one) => one.count), (one) => one.group)].sort((a, b) => b[1] - a[1]).slice(0, NAMED).map(([group]) => group);
    const colours = new Map(groups.map((group, place) => [group, COLOURS[place]]));
    const shown = all.filter((one) => colours.has(one.group));
    const x = { type: "point", domain: found.shots.map(String), label: "labelled images a class" };
    const colour = (one) => colours.get(one.group);
    const plot = base({ x, y: { label: "spread (points)", grid: true, zero: true }, marks: [
      Plot.line(shown, { x: "label", y: "range", z: "group", stroke: colour, strokeDasharray: "4 3", strokeOpacity: 0.7 }),
      Plot.line(shown, { x: "label", y: "corrected", z: "group", stroke: colour, strokeWidth: 2 }),
      Plot.dot(shown, { x: "label", y: "corrected", fill: colour, r: 3 }),
    ] });
    const holder = figure("plot-spread", title, `${over(found.sets)} Within one method and architecture. Solid: standard deviation between sources with the noise of draws and test images taken out; dashed: largest less smallest, which grows with noise and with the number of sources.`, plot);
    holder.insertBefore(key([...colours]), holder.lastChild);
  }

  function draw(state, rows) {
    const best = rows.filter((row) => row.rank !== null).map((row) => row.number);
    const found = matched(state, rows.map((row) => row.number));
    if (found.points.length) againstShots(found, best);
    else figure("plot-shots", "Accuracy against shots", "Nothing that the filters leave is ranked at a number of shots here.");
    fewAgainstFull(found, state);
    againstSize(rows);
    spread(found);
  }

  /** One data set's scores of one checkpoint, a line a setting. */
  function curve(number, set, found) {
    const settings = [...new Set(found.map((one) => one.setting))];
    const colours = new Map(settings.map((setting, place) => [setting, COLOURS[place % COLOURS.length]]));
    const shots = [...new Set(found.map((one) => one.shots))].sort((a, b) => (a === "full") - (b === "full") || a - b);
    const points = found.map((one) => ({ setting: one.setting, label: String(one.shots), mean: percent(one.line[PB.MEAN]), low: percent(one.line[PB.LOW] ?? one.line[PB.MEAN]), high: percent(one.line[PB.HIGH] ?? one.line[PB.MEAN]) }));
    const colour = (one) => colours.get(one.setting);
    const plot = base({ width: 340, height: 220, x: { type: "point", domain: shots.map(String), label: "shots" }, y, marks: [
      Plot.areaY(points, { x: "label", y1: "low", y2: "high", z: "setting", fill: colour, fillOpacity: 0.18 }),
      Plot.ruleX(points, { x: "label", y1: "low", y2: "high", stroke: colour, strokeOpacity: 0.5 }),
      Plot.line(points, { x: "label", y: "mean", z: "setting", stroke: colour, strokeWidth: 2 }),
      Plot.dot(points, { x: "label", y: "mean", fill: colour, r: 3 }),
    ] });
    const holder = figure(make("figure"), cut(data.datasets[set].name, 40), "Band: 95% interval.", plot);
    holder.insertBefore(key([...colours].map(([setting, one]) => [data.settings[setting].name, one])), holder.lastChild);
    return holder;
  }

  return { draw, curve };
})();
