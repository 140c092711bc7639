// The data of the page and what is asked of it: nothing here touches the document.
"use strict";
const PB = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NOTES = {
    "": "",
    leader: "first",
    tied: "not told apart from the first (paired comparison, Holm)",
    apart: "",
    "not compared": "not compared with the first: other draws or images, or no predictions",
    incomplete: "not ranked: data sets are missing",
    "test-selected": "not ranked: selected on test labels",
    published: "not ranked: published elsewhere, not measured here",
    "too few images": "not ranked: fewer than half of the classes have so many images",
    "trial run": "not ranked: a trial run on some of the images",
    "older version": "not ranked: an older version of the protocol",
    "unknown version": "not ranked: a version of the protocol that is not known here",
    "not verifiable": "not ranked: its data set's digests are not published, so nobody can check it",
    "self-reported": "not ranked: reported by its authors, run again by nobody else",
    failed: "not ranked: a run failed",
  };
  const [ENTRANT, RANK, MEAN, LOW, HIGH, MEAN_RANK, NOTE, COUNT] = [0, 1, 2, 3, 4, 5, 6, 7];

  function shotsLabel(shots) {
    if (shots === 0) return "zero-shot";
    return shots === "full" ? "full" : `${shots} shot${shots === 1 ? "" : "s"}`;
  }
  // Scores are whole ten-thousandths of a percent.
  const percent = (value) => value / 1e4;
  const points = (value) => (value === null || value === undefined ? "" : percent(value).toFixed(1));
  const interval = (low, high) => (low === null ? "" : `${points(low)}–${points(high)}`);
  function short(count) {
    if (count === null || count === undefined) return "unknown";
    for (const [size, letter] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (count >= size) return `${+(count / size).toPrecision(3)}${letter}`;
    return String(count);
  }

  // What is said of a checkpoint, a line each: the entrant's own `field`, under `name` on its card, in this order. One
  // with a `width` is a column too, of the table and of the downloads (there under `saved`), headed `title` where it is
  // not `name`; a `number` is written by that function; `hidden` until a reader asks for it.
  const FACTS = [
    { field: "id", name: "Id" },
    { field: "method", name: "Method", card: (one) => `${one.method} (${one.objective})`, width: 118 },
    { field: "source", name: "Pre-training source", title: "Source", width: 145 },
    { field: "seen", name: "Samples seen", number: short },
    { field: "labels", name: "Labels" },
    { field: "curation", name: "Curation" },
    { field: "arch", name: "Architecture", width: 150, saved: "architecture" },
    { field: "parameters", name: "Parameters", title: "Params", number: short, width: 94 },
    { field: "samples", title: "Images", number: short, width: 94, hidden: true, tip: "Size of the pre-training data", saved: "pretraining_images" },
    { field: "features", name: "Features", card: (one) => `${one.features}, ${one.layer}` },
    { field: "px", name: "Input", card: (one) => [one.px ? `${one.px} px` : "unknown size", one.dtype].filter(Boolean).join(", ") },
    { field: "paper", name: "Paper", link: (one) => one.links?.paper },
    { field: "links", name: "Page", card: (one) => one.links?.url, link: (one) => one.links?.url },
    { field: "licence", name: "Licence" },
    { field: "weights", name: "Weights" },
    { field: "digest", name: "Weights digest", card: (one) => one.digest ?? "none" },
    { field: "provenance", name: "Provenance" },
    { field: "again", name: "Run again" },
  ];
  const COLUMNS = FACTS.filter((fact) => fact.width);

  // Lines name their note by its number.
  for (const view of data.views)
    for (const lines of [view.rows, ...Object.values(view.single)]) for (const line of lines) line[NOTE] = data.notes[line[NOTE]];

  const views = new Map(data.views.map((view) => [`${view.setting}|${view.shots}|${view.metric}|${view.tier}|${view.px}`, view]));
  const indexed = new Map();
  // Which results are ranked, all over the page: those that were run again, or all.
  let tier = data.tiers[0];
  // The input size that is compared; 0 is all of them together.
  let px = data.first.px;
  const choose = (chosen, size) => { tier = chosen; px = size; };
  /** A view of one size is not written down where the one of all sizes holds no other. */
  function sized(key, size) {
    const whole = views.get(`${key}|0`);
    if (!size) return whole;
    return views.get(`${key}|${size}`) ?? (whole?.rows.every((line) => data.entrants[line[ENTRANT]].px === size) ? whole : undefined);
  }
  function find(setting, shots, metric, of = tier, size = px) {
    return sized(`${setting}|${shots}|${metric}|${of}`, size) ?? (metric === "own" ? null : sized(`${setting}|${shots}|own|${of}`, size) ?? null);
  }
  /** Whether an entrant's line in a view is what its authors report. */
  const reported = (state, number) => lines(find(state.protocol, state.shots, state.metric, "reproduced"), state.set).get(number)?.[NOTE] === "self-reported";
  /** The lines of a view by entrant: over its data sets, or on one of them. */
  function lines(view, set) {
    if (!view) return new Map();
    const key = set === "" ? view.rows : view.single[set] || null;
    if (!key) return new Map();
    if (!indexed.has(key)) indexed.set(key, new Map(key.map((line) => [line[ENTRANT], line])));
    return indexed.get(key);
  }
  /** The numbers of shots of a setting, in order. */
  const allShots = (setting, size = px) => [...new Set(data.views.filter((view) => view.setting === setting && find(setting, view.shots, "own", tier, size)).map((view) => view.shots))];
  /** Of these, what at least half as many have as have the commonest: one run at 1,000 shots bends no axis. */
  function commonShots(setting, metric) {
    const counts = allShots(setting).map((shots) => [shots, find(setting, shots, metric)?.rows.filter((line) => line[RANK] !== null).length ?? 0]);
    const most = Math.max(...counts.map(([, count]) => count), 0);
    const common = counts.filter(([, count]) => count && 2 * count >= most).map(([shots]) => shots);
    return common.length ? common : counts.map(([shots]) => shots);
  }

  const GROUPS = [["few", "Few labels"], ["full", "Full data"], ["zero", "Zero-shot"], ["tuned", "Fine-tuned"], ["beside", "Other probes"]];
  /** The columns of scores: the chosen setting at its common shots, and the best-supplied view of each other kind. */
  function curve(setting, metric) {
    const column = (one, shots, group) => ({ setting: one, shots, group, view: find(one, shots, metric) });
    const others = data.settings.map((_, one) => one).filter((one) => one !== setting && allShots(one).length);
    const kind = (one) => data.settings[one].kind;
    const group = (one, shots) => (kind(one) === "zeroshot" ? "zero" : kind(one) === "finetune" ? "tuned" : one !== setting ? "beside" : shots === "full" ? "full" : "few");
    const found = [
      ...commonShots(setting, metric).map((shots) => column(setting, shots, group(setting, shots))),
      ...others.flatMap((one) => commonShots(one, metric).map((shots) => column(one, shots, group(one, shots)))),
    ].filter((one) => one.view);
    return GROUPS.flatMap(([name]) => found.filter((one) => one.group === name));
  }

  function rows(state) {
    const view = find(state.protocol, state.shots, state.metric);
    const own = lines(view, state.set);
    const along = curve(state.protocol, state.metric).map((one) => lines(one.view, state.set));
    const sets = data.datasets.map((_, set) => lines(view, set));
    const found = [];
    data.entrants.forEach((entrant, number) => {
      const line = own.get(number);
      if (!line && !along.some((one) => one.has(number))) return;
      const row = {
        number, key: entrant.key, line, title: entrant.title, reported: reported(state, number),
        ...Object.fromEntries(COLUMNS.map(({ field }) => [field, entrant[field] ?? null])),
        rank: line ? line[RANK] : null, mean: line ? line[MEAN] : null, meanRank: line ? line[MEAN_RANK] : null,
        overlap: overlap(entrant, view, state.set),
        text: [entrant.id, entrant.title, entrant.method, entrant.source, entrant.arch].join("\n").toLowerCase(),
      };
      along.forEach((one, place) => { row[`c${place}`] = one.get(number)?.[MEAN] ?? null; });
      sets.forEach((one, set) => { row[`d${set}`] = one.get(number)?.[MEAN] ?? null; });
      row.along = along; row.sets = sets;
      found.push(row);
    });
    // Ranked first, then what is shown without a rank by its mean, then the rest.
    const last = Number.MAX_SAFE_INTEGER;
    return found.sort((a, b) => (a.rank ?? last) - (b.rank ?? last) || (b.mean ?? -1) - (a.mean ?? -1) || (a.key < b.key ? -1 : 1));
  }

  function overlap(entrant, view, set) {
    const sets = set === "" ? view?.sets ?? [] : [set];
    const said = sets.map((one) => entrant.overlap[one]);
    if (said.includes("yes")) return "yes";
    return said.length && said.every((one) => one === "no") ? "no" : "unknown";
  }

  /** One colour, and beyond six of them another shape, for each source on the whole page, the commonest first. */
  const colours = (() => {
    const often = d3.rollup(data.entrants, (own) => own.length, (one) => one.source);
    const alone = (source) => source.replace(/ \([^)]*\)$/, "");
    const names = [...d3.rollup([...often], (own) => d3.sum(own, ([, count]) => count), ([source]) => alone(source))].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
    const place = new Map(names.filter((name) => name !== "none").map((name, at) => [name, at]));
    const shapes = ["circle", "square", "triangle", "diamond", "star", "wye", "cross"];
    const dashes = ["none", "6 3", "2 3", "8 3 2 3"];
    return (source) => {
      const name = alone(source);
      const at = place.get(name) ?? 0;
      if (name === "none") return { name: "untrained", colour: "var(--soft)", shape: "times", dash: "1 3" };
      return { name, colour: `var(--colour-${at % 6})`, shape: shapes[Math.floor(at / 6) % shapes.length], dash: dashes[Math.floor(at / 6) % dashes.length] };
    };
  })();

  /** What the filters leave. */
  function passes(state) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const low = state.pmin === "" ? null : Number(state.pmin) * 1e6;
    const high = state.pmax === "" ? null : Number(state.pmax) * 1e6;
    return (row) =>
      words.every((word) => row.text.includes(word)) &&
      (!state.method || row.method === state.method) &&
      (!state.source || data.entrants[row.number].sources.includes(state.source)) &&
      (!state.arch || row.arch === state.arch) &&
      (low === null || (row.parameters !== null && row.parameters >= low)) &&
      (high === null || (row.parameters !== null && row.parameters <= high));
  }

  return { data, NOTES, ENTRANT, RANK, MEAN, LOW, HIGH, MEAN_RANK, NOTE, COUNT, FACTS, COLUMNS, GROUPS, shotsLabel, percent, points, interval, short, colours,
    find, choose, reported, lines, allShots, commonShots, curve, rows, passes };
})();
