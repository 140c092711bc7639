// The plots, drawn with Observable Plot in the colours of the page: one for each source, the same in all of them.
"use strict";
PB.plots = (() => {
  const { data, percent, colours } = PB;
  const { make } = PB.table;
  const NAMED = 8;
  const FAINT = 150;
  const source = (number) => colours(data.entrants[number].source);
  const cut = (text, longest = 80) => (text.length > longest ? `${text.slice(0, longest - 1)}…` : text);

  // --- A figure: a title, one picture, a key, a caption, and the picture as a file. ---
  function figure(id, title, caption, plot, keyed = null) {
    const holder = typeof id === "string" ? document.getElementById(id) : id;
    holder.hidden = !plot;
    if (!plot) return void holder.replaceChildren();
    // One picture with one name; its parts have none of their own.
    for (const part of plot.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `${title}. ${caption}`);
    const save = ["SVG", "PNG"].map((form) => {
      const button = make("button", { type: "button", class: "save", "aria-label": `Download “${title}” as ${form}` }, form);
      button.addEventListener("click", () => (form === "SVG" ? svgFile(plot, title) : pngFile(plot, title)));
      return button;
    });
    holder.replaceChildren(make("h3", {}, title), plot, ...(keyed ? [keyed] : []), make("figcaption", { class: "note" }, caption, " ", make("span", { class: "saves" }, ...save)));
    return holder;
  }
  function mark({ colour, shape }) {
    const symbol = d3.symbol({ circle: d3.symbolCircle, square: d3.symbolSquare, triangle: d3.symbolTriangle, diamond: d3.symbolDiamond, star: d3.symbolStar, wye: d3.symbolWye, cross: d3.symbolCross, times: d3.symbolTimes }[shape], 60);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "swatch");
    svg.setAttribute("viewBox", "-8 -8 16 16");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", symbol());
    path.setAttribute(shape === "times" ? "stroke" : "fill", colour);
    svg.append(path);
    return svg;
  }
  const key = (entries) => make("ul", { class: "key" }, ...entries.map(([name, look]) => make("li", {}, mark(look), make("bdi", {}, name))));
  const sourceKey = (numbers) => key([...new Map(numbers.map((number) => [source(number).name, source(number)]))]);
  const base = (options) => Plot.plot({ width: 560, height: 320, marginTop: 26, marginLeft: 46, marginRight: 24, marginBottom: 40, color: { type: "identity" }, symbol: { type: "identity" }, style: { background: "none", fontSize: "13px" }, ...options });
  const y = { label: "score (%)", grid: true, nice: true };
  /** Dots in the colour and the shape of their source. */
  const dots = (some, of, options) => Plot.dot(some, { stroke: (one) => (source(of(one)).shape === "times" ? source(of(one)).colour : "none"), fill: (one) => source(of(one)).colour, symbol: (one) => source(of(one)).shape, ...options });

  // --- Pictures as files, with the colours that they are seen in ---
  function painted(plot) {
    const copy = plot.cloneNode(true);
    const seen = [plot, ...plot.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((part, place) => {
      const style = getComputedStyle(seen[place]);
      for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor"]) {
        part.removeAttribute(name);
        if (style.getPropertyValue(name)) part.style.setProperty(name, style.getPropertyValue(name));
      }
    });
    for (const style of copy.querySelectorAll("style")) style.remove();
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.style.background = getComputedStyle(document.body).backgroundColor;
    return new XMLSerializer().serializeToString(copy);
  }
  function offer(address, title, ending) {
    const name = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
    make("a", { href: address, download: `${name}.${ending}` }).click();
  }
  const svgAddress = (plot) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(painted(plot))}`;
  const svgFile = (plot, title) => offer(svgAddress(plot), title, "svg");
  function pngFile(plot, title) {
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas", { width: 2 * plot.viewBox.baseVal.width, height: 2 * plot.viewBox.baseVal.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      offer(canvas.toDataURL("image/png"), title, "png");
    };
    image.src = svgAddress(plot);
  }

  /** Scores at the common numbers of shots over the data sets that all of them have. */
  function matched(state, numbers) {
    const shots = PB.commonShots(state.protocol, state.metric).filter((one) => one !== 0);
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
  const alongShots = (shots) => ({ type: "point", domain: shots.map(String), label: "labelled images a class" });

  function againstShots(found, best) {
    const named = new Map(best.slice(0, NAMED).map((number, place) => [number, place + 1]));
    const faint = new Set(best.slice(NAMED, NAMED + FAINT));
    const inked = found.points.filter((one) => named.has(one.number));
    if (!inked.length) return figure("plot-shots");
    const last = [...d3.rollup(inked, (own) => own.at(-1), (one) => one.number).values()];
    const plot = base({ x: alongShots(found.shots), y, marks: [
      Plot.line(found.points.filter((one) => faint.has(one.number)), { x: "label", y: "mean", z: "number", stroke: "currentColor", strokeOpacity: faint.size > 40 ? 0.06 : 0.15 }),
      Plot.areaY(inked, { x: "label", y1: "low", y2: "high", z: "number", fill: (one) => source(one.number).colour, fillOpacity: 0.1 }),
      Plot.line(inked, { x: "label", y: "mean", z: "number", stroke: (one) => source(one.number).colour, strokeWidth: 2 }),
      dots(inked, (one) => one.number, { x: "label", y: "mean", r: 3 }),
      Plot.text(apart(last, inked), { x: "label", y: "y", text: (one) => String(named.get(one.number)), dx: 14, fill: (one) => source(one.number).colour, fontWeight: 700 }),
    ] });
    const list = make("ol", { class: "key" }, ...[...named].map(([number]) => make("li", {}, mark(source(number)), make("bdi", {}, data.entrants[number].title))));
    figure("plot-shots", "Accuracy against shots", `${over(found.sets)} Bands: 95% intervals. Numbered: the first ${named.size}, in the colours of their sources.`, plot, list);
  }
  /** Moves labels that would lie on one another apart: by a line of text, of so many that stand on the height of the points. */
  function apart(points, all, stand = 18) {
    const [low, high] = d3.extent(all, (one) => one.mean);
    const step = (high - low) / (stand - 1);
    let before = -Infinity;
    return points.map((one) => ({ ...one, y: one.mean })).sort((a, b) => a.y - b.y).map((one) => { before = Math.max(one.y, before + step); return { ...one, y: before }; });
  }

  function fewAgainstFull(found, state) {
    const few = state.shots !== "full" && state.shots !== 0 ? state.shots : found.shots.filter((one) => one !== "full").at(-1);
    const at = (shots) => new Map(found.points.filter((one) => one.shots === shots).map((one) => [one.number, one]));
    const [one, two] = [at(few), at("full")];
    const pairs = [...one.keys()].filter((number) => two.has(number)).map((number) => ({ number, few: one.get(number), full: two.get(number) }));
    if (pairs.length < 2) return figure("plot-full");
    const colour = (pair) => source(pair.number).colour;
    const bars = pairs.length > 80 ? [] : [
      Plot.ruleX(pairs, { x: (pair) => pair.few.mean, y1: (pair) => pair.full.low, y2: (pair) => pair.full.high, stroke: colour, strokeOpacity: 0.5 }),
      Plot.ruleY(pairs, { y: (pair) => pair.full.mean, x1: (pair) => pair.few.low, x2: (pair) => pair.few.high, stroke: colour, strokeOpacity: 0.5 }),
    ];
    const plot = base({ x: { label: `score at ${PB.shotsLabel(few)} (%)`, grid: true, nice: true }, y: { label: "score at full data (%)", grid: true, nice: true }, marks: [
      ...bars,
      dots(pairs, (pair) => pair.number, { x: (pair) => pair.few.mean, y: (pair) => pair.full.mean, fillOpacity: 0.85, r: pairs.length > 200 ? 2.5 : 4, title: (pair) => cut(data.entrants[pair.number].title) }),
    ] });
    figure("plot-full", "Few labels against full data", `${over(found.sets)}${bars.length ? " Bars: 95% intervals." : ""}`, plot, sourceKey(pairs.map((pair) => pair.number)));
  }

  /** Scores against the size of the pre-training data; a line joins the sizes of one source under one method. */
  function againstSize(rows) {
    const known = rows.filter((row) => row.samples && row.line && row.line[PB.RANK] !== null);
    if (new Set(known.map((row) => row.samples)).size < 2) return figure("plot-size");
    const bars = known.length > 150 ? [] : [Plot.ruleX(known.filter((row) => row.line[PB.LOW] !== null), { x: "samples", y1: (row) => percent(row.line[PB.LOW]), y2: (row) => percent(row.line[PB.HIGH]), stroke: (row) => source(row.number).colour, strokeOpacity: 0.5 })];
    const ladders = d3.groups(known.filter((row) => !data.entrants[row.number].noise), (row) => `${row.method}|${row.arch}|${source(row.number).name}`).flatMap(([name, own]) => {
      const means = d3.rollups(own, (same) => d3.mean(same, (row) => percent(row.mean)), (row) => row.samples).sort((a, b) => a[0] - b[0]);
      return means.length < 3 ? [] : means.map(([samples, mean]) => ({ name, samples, mean, number: own[0].number }));
    });
    const [low, high] = d3.extent(known, (row) => row.samples);
    const plot = base({ x: { type: "log", domain: [low / 1.5, high * 1.5], label: "pre-training images (log)", grid: true, tickFormat: (value) => (/^[125]/.test(value.toExponential()) ? PB.short(value) : "") }, y, marks: [
      ...bars,
      Plot.line(ladders, { x: "samples", y: "mean", z: "name", stroke: (one) => source(one.number).colour, strokeWidth: 2, strokeOpacity: 0.8 }),
      dots(known, (row) => row.number, { x: "samples", y: (row) => percent(row.mean), fillOpacity: 0.85, r: known.length > 200 ? 2.5 : 4, title: (row) => cut(row.title) }),
    ] });
    const gone = rows.filter((row) => row.line && row.line[PB.RANK] !== null).length - known.length;
    const lines = ladders.length ? " Lines join the sizes of one source under one method." : "";
    figure("plot-size", "Accuracy against pre-training size", `The chosen view.${lines}${gone ? ` Left out: ${gone} checkpoint${gone === 1 ? "" : "s"} without pre-training, or of unknown size.` : ""}`, plot, sourceKey(known.map((row) => row.number)));
  }

  /** Standard deviation between sources with noise taken off, within one method, architecture and size. */
  function spreads(found) {
    const group = ({ number }) => { const one = data.entrants[number]; return `${one.method}, ${one.arch}, ${PB.short(one.samples)} images`; };
    const plain = found.points.filter(({ number }) => data.entrants[number].method !== "none" && data.entrants[number].samples && !data.entrants[number].noise);
    return d3.groups(plain, group, (one) => one.label).flatMap(([name, byShots]) => byShots.flatMap(([label, points]) => {
      const sources = d3.groups(points, (one) => data.entrants[one.number].sources.join(" + ")).map(([, own]) => ({ mean: d3.mean(own, (one) => one.mean), noise: d3.mean(own, (one) => ((one.high - one.low) / 3.92) ** 2) / own.length }));
      if (sources.length < 3) return [];
      const spread = Math.sqrt(Math.max(0, d3.variance(sources, (one) => one.mean) - d3.mean(sources, (one) => one.noise)));
      return [{ name, label, count: sources.length, spread }];
    }));
  }
  function spread(found) {
    const all = spreads(found);
    if (!all.length) return figure("plot-spread");
    const groups = [...d3.rollup(all, (own) => d3.max(own, (one) => one.count), (one) => one.name)].sort((a, b) => b[1] - a[1]).slice(0, 6).map(([name]) => name);
    // These lines are of methods, not of sources, so they have the page's ink and differ by their dashes.
    const dashes = new Map(groups.map((name, place) => [name, ["none", "7 3", "2 3", "10 3 2 3", "4 4", "1 2"][place]]));
    const shown = all.filter((one) => dashes.has(one.name));
    const ends = [...d3.rollup(shown, (own) => own[0], (one) => one.name).values()];
    const plot = base({ marginLeft: 46, x: alongShots(found.shots), y: { label: "SD between sources (points)", grid: true, zero: true }, marks: [
      ...groups.map((name) => Plot.line(shown.filter((one) => one.name === name), { x: "label", y: "spread", stroke: "currentColor", strokeWidth: 2, strokeDasharray: dashes.get(name) })),
      Plot.dot(shown, { x: "label", y: "spread", fill: "currentColor", r: 3 }),
      Plot.text(ends, { x: "label", y: "spread", text: (one) => one.name.split(",")[0], dx: 8, dy: -9, textAnchor: "start", fontSize: 12, fill: "currentColor" }),
    ] });
    figure("plot-spread", "How far sources lie apart", `${over(found.sets)} Compared within one method, architecture and pre-training size; the noise of draws and test images is subtracted. ${groups.join("; ")}.`, plot);
  }

  /** Accuracy at the depth of a network, where its blocks were measured. */
  function depth(rows) {
    const deep = rows.flatMap((row) => { const block = /^block:(\d+)$/.exec(data.entrants[row.number].layer); return block && row.mean !== null ? [{ number: row.number, id: data.entrants[row.number].id, block: Number(block[1]), mean: percent(row.mean) }] : []; });
    const nets = d3.groups(deep, (one) => one.id).filter(([, own]) => own.length > 2).slice(0, NAMED);
    if (!nets.length) return figure("plot-depth");
    const shown = nets.flatMap(([, own]) => own.sort((a, b) => a.block - b.block));
    const plot = base({ x: { label: "block of the network", grid: true }, y, marks: [
      Plot.line(shown, { x: "block", y: "mean", z: "id", stroke: (one) => source(one.number).colour, strokeWidth: 2 }),
      dots(shown, (one) => one.number, { x: "block", y: "mean", r: 3 }),
      Plot.text(nets.map(([, own]) => own.at(-1)), { x: "block", y: "mean", text: "id", textAnchor: "end", dy: -10, fontSize: 12, fill: "currentColor" }),
    ] });
    figure("plot-depth", "Accuracy against depth", "The chosen view, by block of the network.", plot, sourceKey(shown.map((one) => one.number)));
  }

  function draw(state, rows) {
    const best = rows.filter((row) => row.rank !== null).map((row) => row.number);
    const found = matched(state, rows.map((row) => row.number));
    againstShots(found, best);
    fewAgainstFull(found, state);
    againstSize(rows);
    spread(found);
    depth(rows);
    const none = document.querySelectorAll(".plots figure:not([hidden])").length === 0;
    document.getElementById("plots-none").hidden = !none;
  }

  /** Scores on one data set along the shots, a line each: [{ name, look, found: [{ shots, line }] }]. */
  function curves(title, held, width = 340, height = 220) {
    const shots = [...new Set(held.flatMap((one) => one.found.map(({ shots }) => shots)))].sort((a, b) => (a === "full") - (b === "full") || a - b);
    const points = held.flatMap(({ name, look, found }) => found.map(({ shots, line }) => ({ name, look, label: String(shots), mean: percent(line[PB.MEAN]), low: percent(line[PB.LOW] ?? line[PB.MEAN]), high: percent(line[PB.HIGH] ?? line[PB.MEAN]) })));
    const colour = (one) => one.look.colour;
    const plot = base({ width, height, x: { type: "point", domain: shots.map(String), label: "labelled images a class" }, y, marks: [
      Plot.areaY(points, { x: "label", y1: "low", y2: "high", z: "name", fill: colour, fillOpacity: 0.13 }),
      Plot.ruleX(points, { x: "label", y1: "low", y2: "high", stroke: colour, strokeOpacity: 0.5 }),
      Plot.line(points, { x: "label", y: "mean", z: "name", stroke: colour, strokeWidth: 2 }),
      Plot.dot(points, { x: "label", y: "mean", fill: colour, symbol: (one) => one.look.shape, r: 3.5 }),
    ] });
    return figure(make("figure"), cut(title, 60), "Bands: 95% intervals.", plot, key(held.map(({ name, look }) => [name, look])));
  }
  /** Looks for lines that are no sources: of settings, or of checkpoints that are compared. */
  const look = (place) => ({ colour: `var(--colour-${place % 6})`, shape: ["circle", "square", "triangle", "diamond", "star", "wye"][place % 6] });

  return { draw, curves, look, figure, key, base, mark, alongShots, matched, over, apart };
})();
