// The pictures of the first screen: accuracy against shots by source, and the claims with their intervals.
"use strict";
PB.answer = (() => {
  const { data, colours } = PB;
  const { figure, base, alongShots, matched, over, apart } = PB.plots;

  /** The checkpoints of the method, architecture and size under which most sources were measured. */
  function group(numbers) {
    const named = numbers.filter((number) => { const one = data.entrants[number]; return one.method !== "none" && one.sources.length === 1 && !one.noise; });
    const groups = d3.groups(named, (number) => { const one = data.entrants[number]; return `${one.method}, ${one.arch}, ${PB.short(one.samples)} images`; });
    const count = (own) => new Set(own.map((number) => data.entrants[number].sources[0])).size;
    return groups.sort((a, b) => count(b[1]) - count(a[1]) || b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1))[0] ?? ["", []];
  }

  function bySource(state, numbers) {
    const [name, own] = group(numbers);
    const found = matched(state, own);
    const lines = d3.groups(found.points, (one) => colours(data.entrants[one.number].source).name).map(([source, points]) => ({
      source, look: colours(data.entrants[points[0].number].source),
      points: d3.groups(points, (one) => one.label).map(([label, same]) => ({ source, label, mean: d3.mean(same, (one) => one.mean), low: d3.min(same, (one) => one.mean), high: d3.max(same, (one) => one.mean), count: same.length })),
    }));
    if (lines.length < 2) return figure("plot-first");
    const points = lines.flatMap((line) => line.points.map((one) => ({ ...one, look: line.look })));
    const ends = apart(lines.map((line) => ({ ...line.points.at(-1), look: line.look })), points, 12);
    const colour = (one) => one.look.colour;
    const runs = d3.max(points, (one) => one.count);
    const plot = base({ width: 600, height: 300, marginRight: 120, x: alongShots(found.shots), y: { label: "score (%)", grid: true, nice: true }, marks: [
      Plot.areaY(points, { x: "label", y1: "low", y2: "high", z: "source", fill: colour, fillOpacity: 0.12 }),
      ...lines.map((line) => Plot.line(line.points, { x: "label", y: "mean", stroke: line.look.colour, strokeWidth: 2, strokeDasharray: line.look.dash })),
      Plot.dot(points, { x: "label", y: "mean", fill: colour, symbol: (one) => one.look.shape, r: 3.5 }),
      Plot.text(ends, { x: "label", y: "y", text: "source", dx: 10, textAnchor: "start", fill: colour, fontWeight: 600, fontSize: 12 }),
    ] });
    figure("plot-first", "Accuracy against labels, by pre-training source", `${name[0].toUpperCase()}${name.slice(1)}. ${over(found.sets)}${runs > 1 ? ` Bands: from the least to the largest of ${runs} runs.` : ""}${found.sets.length > 1 && data.order ? ` ${data.order}` : ""}`, plot);
  }

  function forest() {
    const claims = data.claims;
    if (!claims.length) return figure("plot-claims");
    const WORDS = { confirmed: "var(--yes)", contradicted: "var(--no)", "no effect": "var(--link)", "not answerable": "var(--soft)" };
    const rows = claims.map((one, place) => ({ ...one, place, colour: WORDS[one.verdict] }));
    const plot = base({ width: 600, height: Math.max(120, 44 + 30 * rows.length), marginTop: 8, marginLeft: 230, marginRight: 16, x: { label: "points", grid: true, nice: true }, y: { axis: null, domain: rows.map((one) => one.place), type: "band" }, marks: [
      Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
      Plot.link(rows, { x1: "low", x2: "high", y1: "place", y2: "place", stroke: "colour", strokeWidth: 2 }),
      Plot.dot(rows, { x: "value", y: "place", fill: "colour", r: 4 }),
      Plot.text(rows, { frameAnchor: "left", y: "place", text: "label", textAnchor: "end", dx: -12, dy: -6, fontSize: 12, fill: "currentColor" }),
      Plot.text(rows, { frameAnchor: "left", y: "place", text: "verdict", textAnchor: "end", dx: -12, dy: 7, fontSize: 11, fill: "colour" }),
    ] });
    figure("plot-claims", "What the results say", "Size of each answer in points, with its 95% interval over sources, runs and data sets. An answer to the right of the line means yes.", plot);
  }

  function draw(state, numbers) {
    bySource(state, numbers);
    forest();
    document.getElementById("pictures").hidden = [...document.querySelectorAll("#pictures figure")].every((one) => one.hidden);
  }
  return { draw };
})();
