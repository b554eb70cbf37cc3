// Line charts: thin, few rules, the values under the pointer in the legend.

const WIDTH = 600;
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export const short = (value) => (value === null || value === undefined ? "–" : value === 0 ? "0" : Number.isInteger(value) && value < 100 ? String(value) : Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(Math.abs(value) < 0.1 ? 3 : 2));

// lines: [[label, values]]; low and high: fixed ends of the scale, if any.
export function chart(title, x, lines, { height = 150, low = null, high = null } = {}) {
  const box = document.createElement("div");
  box.className = "chart";
  box.innerHTML = "<h3></h3>";
  box.firstChild.append(title);
  const values = lines.flatMap(([, numbers]) => numbers).filter((value) => value !== null).sort((a, b) => a - b);
  // A few early spikes would flatten all that follows: the scale ends at the 99.5th percentile.
  const top = high ?? (values[Math.min(values.length - 1, Math.floor(values.length * 0.995))] ?? 1) * 1.06;
  const bottom = low ?? Math.min(0, values[0] ?? 0);
  const last = x.at(-1) || 1;
  const left = (value) => value / last * WIDTH;
  const up = (value) => height - 18 - (Math.min(top, value) - bottom) / (top - bottom || 1) * (height - 26);
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img" });
  for (const rule of [bottom, (bottom + top) / 2, top]) svg.append(element("line", { class: "rule", x1: 0, x2: WIDTH, y1: up(rule), y2: up(rule), "vector-effect": "non-scaling-stroke" }));
  const legends = lines.map(([label, numbers], i) => {
    let path = "", pen = "M";
    numbers.forEach((value, at) => { if (value === null) { pen = "M"; return; } path += `${pen}${left(x[at]).toFixed(1)} ${up(value).toFixed(1)}`; pen = "L"; });
    svg.append(element("path", { d: path, class: `tint-${i + 1}` }));
    const key = document.createElement("span");
    key.className = `key tint-${i + 1}`;
    key.append(label ? `${label} ` : "", document.createElement("b"));
    box.firstChild.append(key);
    return key.lastChild;
  });
  svg.setAttribute("aria-label", `${title}: ${lines.map(([label, numbers]) => `${label} ${short(numbers.at(-1))}`).join(", ")} at ${short(last)} kimg`);
  const cursor = element("line", { class: "cursor", y1: 0, y2: height - 18, visibility: "hidden", "vector-effect": "non-scaling-stroke" });
  svg.append(cursor);
  const foot = document.createElement("div");
  foot.className = "foot";
  foot.innerHTML = "<span></span><span></span><span></span>";
  const tell = (at) => {
    lines.forEach(([, numbers], i) => { legends[i].textContent = short(numbers[at ?? numbers.length - 1]); });
    foot.children[1].textContent = at === null ? "" : `${short(x[at])} kimg`;
  };
  foot.children[0].textContent = short(bottom);
  const ceiling = document.createElement("span");
  ceiling.className = "high";
  ceiling.textContent = short(top);
  foot.children[2].textContent = `${short(last)} kimg`;
  svg.addEventListener("pointermove", (event) => {
    const place = svg.getBoundingClientRect();
    const wanted = (event.clientX - place.x) / place.width * last;
    let at = x.findIndex((value) => value >= wanted);
    if (at < 0) at = x.length - 1;
    cursor.setAttribute("x1", left(x[at])); cursor.setAttribute("x2", left(x[at]));
    cursor.setAttribute("visibility", "visible");
    tell(at);
  });
  svg.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); tell(null); });
  tell(null);
  box.append(ceiling, svg, foot);
  return box;
}
