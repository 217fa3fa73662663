// Lines over time, drawn into an SVG element.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 46;
const RIGHT = 6;
const TOP = 6;
const BOTTOM = 18;

export const linear = (highest) => {
  const top = nice(highest);
  return { ticks: [0, top / 2, top], share: (value) => Math.min(value / top, 1), area: true };
};

// Decades, for what spans several of them.
export const logarithmic = (lowest, highest) => {
  const from = Math.floor(Math.log10(lowest));
  const to = Math.max(Math.ceil(Math.log10(highest)), from + 1);
  const ticks = [];
  for (let decade = from; decade <= to; decade += 1) ticks.push(10 ** decade);
  const share = (value) => Math.min(Math.max((Math.log10(value) - from) / (to - from), 0), 1);
  return { ticks, share };
};

// `lines` is a list of {name, points}; points are [seconds ago (negative), value].
export function draw(svg, lines, { seconds, scale, label }) {
  const width = Math.max(svg.clientWidth, 120);
  const height = Math.max(svg.clientHeight, 60);
  const x = (ago) => LEFT + (width - LEFT - RIGHT) * (1 + Math.max(ago, -seconds) / seconds);
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - scale.share(value));
  const drawn = scale.ticks.flatMap((tick) => [
    element("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
    element("text", { class: "scale", x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, label(tick)),
  ]);
  const minutes = Math.round(seconds / 60);
  drawn.push(element("text", { class: "scale", x: LEFT, y: height - 3 }, `${minutes} min ago`));
  drawn.push(element("text", { class: "scale", x: width - RIGHT, y: height - 3, "text-anchor": "end" }, "now"));
  for (const { name, points } of scale.area ? lines : []) {
    const edge = points.map(([ago, value]) => `${x(ago).toFixed(1)},${y(value).toFixed(1)}`);
    const ends = [points.at(-1), points[0]].filter(Boolean).map(([ago]) => `${x(ago).toFixed(1)},${y(0).toFixed(1)}`);
    drawn.push(element("polygon", { class: `area of-${name}`, points: [...edge, ...ends].join(" ") }));
  }
  for (const { name, points } of lines) {
    const path = points.map(([ago, value], i) => `${i ? "L" : "M"}${x(ago).toFixed(1)} ${y(value).toFixed(1)}`);
    if (path.length) drawn.push(element("path", { class: `trace of-${name}`, d: path.join("") }));
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...drawn);
}

export function key(list, names) {
  if (list.dataset.names === names.join()) return;
  list.dataset.names = names.join();
  list.replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.className = `of-${name}`;
    item.textContent = name;
    return item;
  }));
}

function element(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function nice(highest) {
  if (highest <= 0) return 1;
  const decade = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((step) => step * decade).find((top) => top >= highest);
}
