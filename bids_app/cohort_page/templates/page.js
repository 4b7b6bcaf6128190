"use strict";
// Draws the figures and the table from the data in the page. Text goes in by textContent only.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const scans = data.scans, n = scans.name.length, columns = data.columns;
const tip = document.getElementById("tip"), plots = [];
const collator = new Intl.Collator("en", { numeric: true });

// ---- small things -------------------------------------------------------------------------

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function draw(parent, name, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
const level = (coded, i) => (coded.codes[i] < 0 ? "" : coded.levels[coded.codes[i]]);
const isNumber = (column) => column.values !== undefined;
const value = (column, i) => (isNumber(column) ? column.values[i] : level(column, i));
function shown(column, x) {
  if (x === null || x === undefined || x === "") return "–";
  if (typeof x !== "number") return x;
  const form = /^\.(\d+)(f|%)$/.exec(column.form || "");
  let text = form ? (form[2] === "%" ? (100 * x).toFixed(form[1]) + "%" : x.toFixed(form[1])) : String(+x.toPrecision(4));
  return text.replace("-", "−") + (column.unit ? " " + column.unit : "");
}
const number = (x, digits) => x.toFixed(digits).replace("-", "−");
function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(+(k * step).toPrecision(12));
  return found;
}
function quantile(sorted, q) {
  const at = q * (sorted.length - 1), k = Math.floor(at);
  return sorted[k] + (at - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
}
// The same for the same number, so that a page looks the same each time.
const noise = (i) => { const x = Math.sin(12.9898 * (i + 1)) * 43758.5453; return x - Math.floor(x); };
const open = (i) => { if (scans.page[i]) window.location.href = scans.page[i]; };

const shapes = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  (x, y, r) => `M${x} ${y - 1.25 * r}l${1.25 * r} ${2.2 * r}h${-2.5 * r}Z`,
  (x, y, r) => `M${x - 0.9 * r} ${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}Z`,
  (x, y, r) => `M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}Z`,
  (x, y, r) => `M${x} ${y + 1.25 * r}l${1.25 * r} ${-2.2 * r}h${-2.5 * r}Z`,
  (x, y, r) => `M${x - 0.4 * r} ${y - 1.2 * r}h${0.8 * r}v${0.8 * r}h${0.8 * r}v${0.8 * r}h${-0.8 * r}v${0.8 * r}h${-0.8 * r}v${-0.8 * r}h${-0.8 * r}v${-0.8 * r}h${0.8 * r}Z`,
];
const round1 = (x) => Math.round(10 * x) / 10;
// One path for all marks of a kind: thousands of marks are one element.
function marks(svg, points, shape, radius, attributes) {
  const d = points.map((p) => shapes[shape](round1(p.x), round1(p.y), radius)).join("");
  if (d) draw(svg, "path", { d, ...attributes });
}

// ---- a figure that can be pointed at -------------------------------------------------------

function canvas(holder, width, height, label) {
  holder.replaceChildren();
  const svg = draw(holder, "svg", { viewBox: `0 0 ${width} ${height}`, class: "plain", role: "application", tabindex: "0", "aria-label": label });
  return svg;
}
function tell(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
}
// points: {x, y, i} in the order in which the arrows walk; describe(point) says what one is.
function pointable(svg, points, describe, width) {
  const ring = draw(svg, "circle", { class: "ring", r: 7, visibility: "hidden" });
  const first = new Map();
  points.forEach((p) => { if (!first.has(p.i)) first.set(p.i, p); });
  const plot = {
    ring(i) {
      const p = first.get(i);
      ring.setAttribute("visibility", p ? "visible" : "hidden");
      if (p) { ring.setAttribute("cx", p.x); ring.setAttribute("cy", p.y); }
    },
  };
  plots.push(plot);
  let active = -1;
  const scale = () => svg.getBoundingClientRect().width / width;
  function choose(k) {
    active = k;
    plots.forEach((other) => other.ring(k < 0 ? -1 : points[k].i));
    svg.classList.toggle("hit", k >= 0 && !!scans.page[points[k].i]);
    if (k < 0) tip.hidden = true;
  }
  function say(x, y) {
    const i = points[active].i;
    tell(`${scans.name[i]}\n${describe(points[active])}${scans.page[i] ? "\nclick or Enter: its page" : "\nno page of its own"}`, x, y);
  }
  function nearest(event) {
    const box = svg.getBoundingClientRect(), s = scale();
    const x = (event.clientX - box.left) / s, y = (event.clientY - box.top) / s;
    let best = -1, least = (14 / s) ** 2;
    points.forEach((p, k) => {
      const d = (p.x - x) ** 2 + (p.y - y) ** 2;
      if (d < least) { least = d; best = k; }
    });
    return best;
  }
  svg.addEventListener("pointermove", (event) => {
    const k = nearest(event);
    if (k !== active) choose(k);
    if (k >= 0) say(event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => choose(-1));
  svg.addEventListener("blur", () => choose(-1));
  svg.addEventListener("click", (event) => { const k = nearest(event); if (k >= 0) open(points[k].i); });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (event.key === "Enter" && active >= 0) open(points[active].i);
    if (event.key === "Escape") choose(-1);
    if (!step || !points.length) return;
    event.preventDefault();
    choose(active < 0 ? (step > 0 ? 0 : points.length - 1) : (active + step + points.length) % points.length);
    const box = svg.getBoundingClientRect(), s = scale();
    say(box.left + points[active].x * s, box.top + points[active].y * s);
  });
}
const widthOf = (holder) => Math.max(260, Math.min(holder.clientWidth || 480, 1120));

// ---- strips of quality numbers -------------------------------------------------------------

const outlying = new Set(data.outliers.map(([place, key]) => `${place} ${key}`));
// As on the participant's page: [name, words].
const judgement = (column, i) => data.judgements[column.judged[i]];
const isFlagged = (column, i) => judgement(column, i)[0] === "flagged";

function strip(figure) {
  const column = columns.find((c) => c.key === figure.dataset.key && c.about === "quality");
  const holder = figure.querySelector(".plot"), width = widthOf(holder), height = 96, pad = 14;
  const known = [];
  for (let i = 0; i < n; i++) if (column.values[i] !== null) known.push(i);
  const sorted = known.map((i) => column.values[i]).sort((a, b) => a - b);
  const past = known.filter((i) => isFlagged(column, i)).length;
  let low = sorted[0], high = sorted.at(-1);
  if (low === high) {
    const all = known.length === 1 ? "the one scan" : `all ${known.length.toLocaleString("en")} scans`;
    const said = judgement(column, known.find((i) => isFlagged(column, i)) ?? known[0])[1];
    holder.replaceChildren(make("p", {}, `${shown(column, low)} in ${all}${said && ": "}${said}`));
    return;
  }
  // A limit far away would press the marks together: it is drawn where near. Good scans always
  // are, or a narrow cohort would look scattered.
  const limits = [column.above, column.below].filter((x) => x !== null);
  const wide = Math.max(high - low, Math.abs(high) * 0.02, 1e-9);
  for (const x of (column.usual || []).slice(0, 2)) { low = Math.min(low, x); high = Math.max(high, x); }
  for (const x of limits) {
    if (x > high && x - high < 1.2 * wide) high = x;
    if (x < low && low - x < 1.2 * wide) low = x;
  }
  const margin = 0.04 * Math.max(high - low, Math.abs(high) * 0.02, 1e-9);
  low -= margin; high += margin;
  const at = (x) => pad + ((x - low) / (high - low)) * (width - 2 * pad);
  const inside = (x) => x >= low && x <= high;
  const half = [quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)];
  const said = `${column.name} of ${known.length} scans: median ${shown(column, half[1])}, middle half ${shown(column, half[0])} to ${shown(column, half[2])}, ` +
    `from ${shown(column, sorted[0])} to ${shown(column, sorted.at(-1))}` + (column.limit ? `; beyond the limit (${column.limit}): ${past}` : "");
  const svg = canvas(holder, width, height, `${said}. Arrow keys go from scan to scan.`);
  const top = 14, bottom = height - 24, middle = (top + bottom) / 2;
  if (column.usual) {
    const a = at(Math.max(column.usual[0], low)), b = at(Math.min(column.usual[1], high));
    if (b >= a) draw(svg, "rect", { class: "range", x: a - 1, y: top, width: b - a + 2, height: bottom - top });
  }
  draw(svg, "path", { class: "axis", d: `M${pad} ${bottom}H${width - pad}` });
  const places = ticks(low, high, Math.max(3, Math.floor(width / 90)));
  // As many digits of a percentage as tell neighbouring ticks apart.
  const percent = Math.max(0, Math.ceil(-2 - Math.log10((places[1] - places[0]) || 1) - 1e-9));
  const plain = { form: (column.form || "").endsWith("%") ? `.${percent}%` : "", unit: "" };
  for (const x of places) {
    draw(svg, "path", { class: "axis", d: `M${round1(at(x))} ${bottom}v4` });
    draw(svg, "text", { x: round1(at(x)), y: bottom + 16, "text-anchor": "middle" }, shown(plain, x));
  }
  for (const x of limits) {
    if (inside(x)) {
      const right = at(x) > width - 110;
      draw(svg, "path", { class: "limit", d: `M${round1(at(x))} ${top - 6}V${bottom}` });
      draw(svg, "text", { class: "limitname", x: round1(at(x)) + (right ? -4 : 4), y: top - 4, "text-anchor": right ? "end" : "start" }, `limit: ${column.limit}`);
    } else {
      const right = x > high;
      draw(svg, "text", { class: "limitname", x: right ? width - pad : pad, y: top - 4, "text-anchor": right ? "end" : "start" }, right ? `limit: ${column.limit} →` : `← limit: ${column.limit}`);
    }
  }
  const points = known.map((i) => ({ i, x: at(column.values[i]), y: middle + (noise(i) - 0.5) * (bottom - top - 12), v: column.values[i] })).sort((a, b) => a.v - b.v);
  const radius = n > 800 ? 2.2 : n > 150 ? 3 : 4;
  const isOdd = (p) => outlying.has(`${p.i} ${column.key}`);
  const looks = { flagged: [1, 4], odd: [3, 4], unusual: [0, radius], usual: [0, radius] };
  const look = (p) => { const name = judgement(column, p.i)[0]; return name === "flagged" ? name : isOdd(p) ? "odd" : name === "unusual" ? name : "usual"; };
  for (const name of Object.keys(looks).reverse()) marks(svg, points.filter((p) => look(p) === name), ...looks[name], { class: name });
  if (sorted.length >= 4) {
    draw(svg, "rect", { class: "boxed", x: at(half[0]), y: top + 3, width: Math.max(at(half[2]) - at(half[0]), 0.5), height: bottom - top - 6 });
    draw(svg, "path", { class: "median", d: `M${at(half[1])} ${top + 3}V${bottom - 3}` });
  }
  const words = (p) => [judgement(column, p.i)[1], isOdd(p) ? "an outlier of this cohort" : ""].filter(Boolean);
  pointable(svg, points, (p) => [`${column.name}: ${shown(column, p.v)}`, ...words(p)].join(", "), width);
}

// ---- identity ------------------------------------------------------------------------------

function axes(svg, box, x, y, names) {
  const { left, right, top, bottom } = box;
  draw(svg, "path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  for (const t of ticks(x.low, x.high, 6)) {
    draw(svg, "path", { class: "axis", d: `M${round1(x.at(t))} ${bottom}v4` });
    draw(svg, "text", { x: round1(x.at(t)), y: bottom + 16, "text-anchor": "middle" }, shown({}, t));
  }
  for (const t of ticks(y.low, y.high, 6)) {
    draw(svg, "path", { class: "axis", d: `M${left} ${round1(y.at(t))}h-4` });
    draw(svg, "text", { x: left - 7, y: round1(y.at(t)) + 4, "text-anchor": "end" }, shown({}, t));
  }
  draw(svg, "text", { class: "strong", x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, names[0]);
  draw(svg, "text", { class: "strong", transform: `translate(${left - 46} ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, names[1]);
}
function scaled(values, from, to) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  const margin = 0.06 * (high - low || 1);
  low -= margin; high += margin;
  return { low, high, at: (v) => from + ((v - low) / (high - low)) * (to - from) };
}
function identity(figure) {
  const units = data.spaces[+figure.dataset.space].units, word = figure.dataset.word;
  const holder = figure.querySelector(".plot"), width = Math.min(widthOf(holder), 736), height = Math.round(Math.min(0.72 * width, 460));
  const box = { left: 62, right: width - 12, top: 10, bottom: height - 42 };
  const all = units.flatMap((u) => [u[1], u[2]]);
  const x = scaled(all, box.left, box.right), y = scaled(all, box.bottom, box.top);
  const above = units.filter((u) => u[2] > u[1]).length;
  const svg = canvas(holder, width, height, `Of ${units.length} ${word}s, similarity to the same person against similarity to the closest other: ${above} above the line, closer to somebody else. Arrow keys go from one to the next, the most doubtful first.`);
  axes(svg, box, x, y, [`similarity to the closest of the same person`, `similarity to the closest of others`]);
  draw(svg, "path", { class: "limit", d: `M${x.at(x.low)} ${y.at(x.low)}L${x.at(x.high)} ${y.at(x.high)}` });
  draw(svg, "text", { class: "limitname", x: box.left + 8, y: box.top + 12 }, "above: closer to somebody else");
  const points = units.map((u) => ({ i: u[0], u, x: x.at(u[1]), y: y.at(u[2]) })).sort((a, b) => b.u[2] - b.u[1] - a.u[2] + a.u[1]);
  const radius = units.length > 800 ? 2.4 : 4;
  ["usual", "odd", "flagged"].forEach((name, k) => marks(svg, points.filter((p) => p.u[4] === k), [0, 3, 1][k], k ? 4 : radius, { class: name }));
  const words = ["closer to its own person", "closer to somebody else, as happens by chance", "label in doubt"];
  pointable(svg, points, (p) => `to its own person ${number(p.u[1], 3)}, to ${scans.name[p.u[3]]} ${number(p.u[2], 3)}\n${words[p.u[4]]}`, width);
}

// ---- map -----------------------------------------------------------------------------------

const colours = data.colours, STEPS = colours.steps, SHADES = colours.categories;
function colouring(choice, places) {
  if (choice === "flags" || choice === "status" || choice === "remarks") return labelled({ ...scans[choice], name: choice }, places, "none");
  const column = columns[+choice];
  if (!column) return { groups: [{ places: places.map((_, k) => k), colour: "var(--mark)", shape: 0, name: "" }] };
  if (!isNumber(column)) return labelled(column, places, "not known");
  const known = places.map((i) => column.values[i]).filter((v) => v !== null);
  const different = [...new Set(known)].sort((a, b) => a - b);
  if (different.length <= 6) {
    const levels = different.map((v) => shown(column, v));
    return labelled({ levels, codes: column.values.map((v) => (v === null ? -1 : different.indexOf(v))) }, places, "not known");
  }
  // Seven steps with as many scans in each: one extreme value does not make all others alike.
  const sorted = known.sort((a, b) => a - b), whole = sorted.every(Number.isInteger), edges = STEPS.map((_, k) => (whole ? Math.round : (v) => v)(quantile(sorted, k / STEPS.length)));
  const groups = STEPS.map((colour, k) => ({ places: [], colour, shape: 0, name: `${shown({ ...column, unit: "" }, edges[k])} to ${shown(column, k + 1 < STEPS.length ? edges[k + 1] : sorted.at(-1))}` }));
  const missing = { places: [], colour: "none", shape: 2, name: "not known" };
  places.forEach((i, k) => {
    const v = column.values[i];
    if (v === null) missing.places.push(k);
    else { let step = STEPS.length - 1; while (step > 0 && v < edges[step]) step--; groups[step].places.push(k); }
  });
  return { groups: [...groups, missing].filter((g) => g.places.length) };
}
function labelled(coded, places, none) {
  const by = new Map();
  places.forEach((i, k) => { const c = coded.codes[i]; if (!by.has(c)) by.set(c, []); by.get(c).push(k); });
  const ranked = [...by.keys()].filter((c) => c >= 0).sort((a, b) => by.get(b).length - by.get(a).length);
  const own = ranked.slice(0, ranked.length > SHADES.length ? SHADES.length - 1 : SHADES.length);
  own.sort((a, b) => collator.compare(coded.levels[a], coded.levels[b]));
  const groups = own.map((c, k) => ({ places: by.get(c), colour: SHADES[k], shape: k % shapes.length, name: coded.levels[c] }));
  const rest = ranked.filter((c) => !own.includes(c));
  if (rest.length) groups.push({ places: rest.flatMap((c) => by.get(c)), colour: "var(--quiet)", shape: 0, name: `${rest.length} others` });
  if (by.has(-1)) groups.unshift({ places: by.get(-1), colour: "none", shape: 2, name: none });
  return { groups };
}
function choice(parent, name, options) {
  const select = make("select", { "aria-label": name });
  for (const [value, text, group] of options) {
    let into = select;
    if (group) {
      into = [...select.children].find((c) => c.label === group);
      if (!into) { into = make("optgroup"); into.label = group; select.append(into); }
    }
    into.append(make("option", { value }, text));
  }
  parent.append(make("label", {}, name, select));
  return select;
}
function tick(parent, name, checked) {
  const box = make("input", { type: "checkbox" });
  box.checked = checked;
  parent.append(make("label", {}, box, " " + name));
  return box;
}
function mapped(figure) {
  const space = data.spaces[+figure.dataset.space], holder = figure.querySelector(".plot");
  if (!figure.controls) {
    const controls = figure.querySelector(".controls"), kinds = [];
    if (space.umap) kinds.push(["umap 0 1", "UMAP"]);
    for (let k = 0; k + 1 < space.pca.axes.length; k += 2) kinds.push([`pca ${k} ${k + 1}`, `PCA ${k + 1} and ${k + 2}`]);
    const groups = { scan: "scan", known: "participants.tsv", quality: "quality" };
    const offered = columns.map((c, k) => [String(k), c.name, groups[c.about]]).filter(([k]) => isNumber(columns[k]) ? new Set(columns[k].values).size > 1 : columns[k].colours && columns[k].levels.length > 1);
    const order = ["scan", "participants.tsv", "quality"];
    offered.sort((a, b) => order.indexOf(a[2]) - order.indexOf(b[2]));
    const said = [["remarks", "remarks (label in doubt, outlier)"], ["flags", "flags"]].filter(([k]) => scans[k].levels.length);
    figure.controls = {
      kind: choice(controls, "map", kinds),
      colour: choice(controls, "colour by", [["", "nothing"], ...said.map((s) => [...s, "judgement"]), ...offered]),
      joined: tick(controls, "join the scans of one person", false),
    };
    const site = offered.find(([k]) => /^site|scanner|center|centre/i.test(columns[k].key)) || offered.find(([k]) => columns[k].key === "session_id") || offered.find((o) => o[2] !== "quality");
    if (site) figure.controls.colour.value = site[0];
    Object.values(figure.controls).forEach((control) => control.addEventListener("change", () => mapped(figure)));
  }
  const { kind, colour, joined } = figure.controls, [name, a, b] = kind.value.split(" ");
  const map = space[name], xs = map.axes[+a], ys = map.axes[+b];
  const width = Math.min(widthOf(holder), 736), height = Math.round(Math.min(0.75 * width, 520));
  const box = { left: 62, right: width - 12, top: 10, bottom: height - 42 };
  const x = scaled(xs, box.left, box.right), y = scaled(ys, box.bottom, box.top);
  const { groups } = colouring(colour.value, space.places);
  const by = colour.value ? `, coloured by ${colour.selectedOptions[0].textContent}` : "";
  const svg = canvas(holder, width, height, `Map of ${space.places.length} embeddings, ${kind.selectedOptions[0].textContent}${by}. Arrow keys go from scan to scan.`);
  const share = (k) => (map.shares.length ? ` (${(100 * map.shares[k]).toFixed(1)}% of the variance)` : "");
  const axis = name === "pca" ? "component" : "UMAP";
  axes(svg, box, x, y, [`${axis} ${+a + 1}${share(+a)}`, `${axis} ${+b + 1}${share(+b)}`]);
  const points = space.places.map((i, k) => ({ i, k, x: x.at(xs[k]), y: y.at(ys[k]) }));
  if (joined.checked) {
    const last = new Map();
    let d = "";
    points.forEach((p) => {
      const who = scans.name[p.i].split("_")[0], q = last.get(who);
      if (q) d += `M${round1(q.x)} ${round1(q.y)}L${round1(p.x)} ${round1(p.y)}`;
      last.set(who, p);
    });
    draw(svg, "path", { class: "joins", d });
  }
  const radius = points.length > 800 ? 2.6 : points.length > 150 ? 3.4 : 4.5, legend = figure.querySelector(".legend"), of = new Map();
  legend.replaceChildren(...(colour.value ? [`${colour.selectedOptions[0].textContent}:`] : []));
  for (const group of groups) {
    const look = { fill: group.colour, stroke: group.colour[0] === "#" && !STEPS.includes(group.colour) ? "var(--page)" : "var(--quiet)", "stroke-width": group.colour === "none" ? 1 : 0.5 };
    marks(svg, group.places.map((k) => points[k]), group.shape, radius, look);
    group.places.forEach((k) => of.set(k, group.name));
    if (!group.name) continue;
    const swatch = make("span", { class: "key" });
    const mark = draw(swatch, "svg", { class: "mark", viewBox: "-6 -6 12 12", "aria-hidden": "true" });
    draw(mark, "path", { d: shapes[group.shape](0, 0, 4.5), ...look });
    swatch.append(`${group.name} (${group.places.length})`);
    legend.append(swatch);
  }
  points.sort((p, q) => p.x - q.x);
  const label = colour.value ? colour.selectedOptions[0].textContent : "";
  pointable(svg, points, (p) => {
    const column = columns[+colour.value];
    return !label ? "" : `${label}: ${colour.value && column && colour.value !== "" && isNumber(column) ? shown(column, column.values[p.i]) : of.get(p.k) || "–"}`;
  }, width);
}

// ---- similarity ----------------------------------------------------------------------------

const KINDS = { people: ["different people", "var(--quiet)", "6 3"], sessions: ["sessions of one person", "var(--mark)", ""], repeats: ["scans of one session", "var(--odd)", "2 2"] };
function spread(figure) {
  const { edges, kinds } = data.spaces[+figure.dataset.space].spread;
  const holder = figure.querySelector(".plot"), width = widthOf(holder), height = 230;
  const box = { left: 62, right: width - 12, top: 24, bottom: height - 42 };
  const most = Math.max(...Object.values(kinds).flatMap((k) => k.shares));
  const x = { low: edges[0], high: edges.at(-1), at: (v) => box.left + ((v - edges[0]) / (edges.at(-1) - edges[0])) * (box.right - box.left) };
  const y = { low: 0, high: most, at: (v) => box.bottom - (v / most) * (box.bottom - box.top) };
  const said = Object.entries(kinds).map(([k, v]) => `${KINDS[k][0]} ${number(v.quartiles[1], 3)}`).join(", ");
  holder.replaceChildren();
  const svg = draw(holder, "svg", { viewBox: `0 0 ${width} ${height}`, class: "plain", role: "img", "aria-label": `Similarity of pairs of scans, medians: ${said}. The table below has the numbers.` });
  axes(svg, box, x, y, ["similarity", "share of pairs"]);
  let at = box.left + 8;
  for (const [name, [words, colour, dash]] of Object.entries(KINDS)) {
    if (!kinds[name]) continue;
    let d = `M${box.left} ${box.bottom}`;
    kinds[name].shares.forEach((share, k) => { d += `V${round1(y.at(share))}H${round1(x.at(edges[k + 1]))}`; });
    draw(svg, "path", { d: d + `V${box.bottom}`, fill: colour, "fill-opacity": 0.12, stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash });
    draw(svg, "path", { d: `M${at} 10h22`, stroke: colour, "stroke-width": 2.2, "stroke-dasharray": dash });
    const text = draw(svg, "text", { class: "strong", x: at + 27, y: 14 }, words);
    at += 45 + text.getComputedTextLength();
  }
}

// ---- table ---------------------------------------------------------------------------------

const MAIN = ["session_id", "task_id", "run", "mean_fd", "interpolated_fraction", "usable_seconds", "n_missing_parcels", "tsnr"];
function table() {
  const holder = document.getElementById("table"), PAGE = 100;
  const cells = [
    { name: "scan", text: (i) => scans.name[i] },
    { name: "status", text: (i) => level(scans.status, i) },
    { name: "remarks", text: (i) => level(scans.remarks, i) },
    { name: "flags", text: (i) => level(scans.flags, i) },
    { name: "reason", text: (i) => level(scans.reason, i) },
    ...columns.filter((c) => c.key !== "flags").map((c) => ({ column: c, name: c.name, number: isNumber(c), key: (i) => value(c, i), text: (i) => shown(c, value(c, i)) })),
  ];
  cells.forEach((c) => { c.key = c.key || c.text; c.on = !c.column ? c.name !== "reason" || scans.reason.levels.length > 0 : MAIN.includes(c.column.key) || c.column.about === "known"; });
  let sorted = 0, descending = false, limit = PAGE;
  const filters = make("div", { class: "filters" });
  const search = make("input", { type: "search", placeholder: "name, reason, any text" });
  filters.append(make("label", {}, "find ", search));
  const status = choice(filters, "status", [["", "all"], ...scans.status.levels.map((s) => [s, s])]);
  const words = [...new Set(scans.flags.levels.flatMap((s) => s.split(", ")))].sort();
  const remarks = [...new Set(scans.remarks.levels.flatMap((s) => s.split(", ")))].sort();
  const marked = choice(filters, "stands out by", [["", "anything or nothing"], ["?", "anything"], ...remarks.map((w) => ["r" + w, w, "remark"]), ...words.map((w) => ["f" + w, w, "flag"])]);
  const count = make("span", { role: "status", "aria-live": "polite" });
  filters.append(count);
  const chooser = make("details", { class: "filters-columns" }, make("summary", {}, "columns"));
  const boxes = make("div", { class: "columns" });
  cells.slice(1).forEach((c) => { const box = tick(boxes, c.name, c.on); box.addEventListener("change", () => { c.on = box.checked; head(); fill(); }); });
  chooser.append(boxes);
  const header = make("tr"), body = make("tbody"), more = make("p", { class: "more" });
  const grid = make("table", {}, make("caption", { class: "quiet" }), make("thead", {}, header), body);
  holder.append(filters, chooser, make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "All scans" }, grid), more);

  function head() {
    header.replaceChildren(...cells.filter((c) => c.on).map((c) => {
      const k = cells.indexOf(c), button = make("button", { type: "button" }, c.name);
      button.addEventListener("click", () => {
        descending = sorted === k ? !descending : false;
        sorted = k;
        head(); fill();
        header.children[cells.filter((o) => o.on).indexOf(c)].firstChild.focus();
      });
      return make("th", { scope: "col", class: c.number ? "number" : "", "aria-sort": sorted !== k ? "none" : descending ? "descending" : "ascending" }, button);
    }));
  }
  function chosen() {
    const text = search.value.trim().toLowerCase(), mark = marked.value, word = mark.slice(1);
    const found = [];
    for (let i = 0; i < n; i++) {
      if (status.value && level(scans.status, i) !== status.value) continue;
      if (mark === "?" && !level(scans.remarks, i) && !level(scans.flags, i)) continue;
      if (mark[0] === "r" && !level(scans.remarks, i).split(", ").includes(word)) continue;
      if (mark[0] === "f" && !level(scans.flags, i).split(", ").includes(word)) continue;
      if (text && !cells.some((c) => c.text(i).toLowerCase().includes(text))) continue;
      found.push(i);
    }
    const key = cells[sorted].key, sign = descending ? -1 : 1, nothing = (v) => v === null || v === "" || v === "–";
    return found.sort((a, b) => {
      const x = key(a), y = key(b);
      if (nothing(x) || nothing(y)) return nothing(x) - nothing(y) || a - b;  // what is missing comes last
      return sign * (typeof x === "number" ? x - y : collator.compare(x, y)) || a - b;
    });
  }
  const broken = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr", {})]);  // where a line may end
  function fill() {
    const found = chosen(), on = cells.filter((c) => c.on);
    count.textContent = `${found.length.toLocaleString("en")} of ${n.toLocaleString("en")} scans`;
    body.replaceChildren(...found.slice(0, limit).map((i) => make("tr", {}, ...on.map((c, k) => {
      const text = c.text(i), cell = make("td", c.number ? { class: "number" } : {});
      if (k === 0) cell.append(scans.page[i] ? make("a", { href: scans.page[i] }, ...broken(text)) : make("span", {}, ...broken(text)));
      else if (c.name === "status" && !c.column) cell.append(make("span", { class: `badge ${data.badges[text]}` }, text));
      else cell.append(text);
      const [name, words] = c.column?.judged ? judgement(c.column, i) : [];
      if (name === "flagged" || name === "unusual") cell.append(" ", make("span", { class: `word ${name}` }, words));
      return cell;
    }))));
    more.replaceChildren();
    if (found.length > limit) {
      const button = make("button", { type: "button" }, `show all ${found.length.toLocaleString("en")}`);
      button.addEventListener("click", () => { limit = Infinity; fill(); });
      more.append(button);
    }
  }
  search.addEventListener("input", () => { limit = PAGE; fill(); });
  for (const control of [status, marked]) control.addEventListener("change", () => { limit = PAGE; fill(); });
  head(); fill();
}

// ---- all -----------------------------------------------------------------------------------

const figures = [[".strip", strip], [".identity", identity], [".map", mapped], [".spread", spread]];
function all() {
  plots.length = 0;
  for (const [selector, drawn] of figures) document.querySelectorAll(selector).forEach(drawn);
}
all();
table();
let waiting = 0, width = document.documentElement.clientWidth;
addEventListener("resize", () => {
  if (width === document.documentElement.clientWidth) return;
  width = document.documentElement.clientWidth;
  clearTimeout(waiting);
  waiting = setTimeout(all, 150);
});
document.documentElement.dataset.drawn = "yes";
})();
