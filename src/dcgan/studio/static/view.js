// What is being looked at: one object, changed through `change`, told to all who listen, kept in the link.

import { calmed, mixed, withEdits, withLabels } from "./recipe.js";

export const COUNT = 30;
const DEFAULT = Array.from({ length: COUNT }, (_, i) => String(i));

export const view = {
  tab: "wall", faces: [...DEFAULT], locked: new Set(), picks: [], share: 0.5, labels: {}, edits: {}, calm: null,
  x: null, y: null, sample: null,
};
const listeners = [];
let model = null;
let timer = 0;

export const listen = (listener) => listeners.push(listener);

export function change(values, except = null) {
  Object.assign(view, values);
  const keys = new Set(Object.keys(values));
  for (const listener of listeners) if (listener !== except) listener(keys);
  clearTimeout(timer);
  timer = setTimeout(() => history.replaceState(null, "", write()), 150);
}

// Recipes as the server is asked for them.
export const resolve = (recipe) => calmed(recipe, view.calm);
export const keys = () => view.picks.map(resolve);

export function base() {
  const chosen = keys();
  if (!chosen.length) return resolve(view.faces[0]);
  return chosen.length === 1 ? chosen[0] : mixed(chosen, view.share);
}

// What the sliders make of a face: first it is told its labels, then moved along directions.
export const steered = (recipe, edits = view.edits) => withEdits(withLabels(recipe, view.labels), edits);
export const current = (edits = view.edits) => steered(base(), edits);

export function write() {
  const parts = [`tab=${view.tab}`];
  if (view.faces.join() !== DEFAULT.join()) parts.push(`f=${view.faces.join()}`);
  if (view.locked.size) parts.push(`lock=${[...view.locked].sort((a, b) => a - b).join()}`);
  if (view.picks.length) parts.push(`pick=${view.picks.join()}`);
  if (view.picks.length > 1) parts.push(`at=${Math.round(view.share * 10000) / 10000}`);
  const labels = withLabels("", view.labels).slice(1);
  if (labels) parts.push(`label=${labels}`);
  const edits = withEdits("", view.edits).slice(1);
  if (edits) parts.push(`edit=${edits}`);
  if (view.calm !== null) parts.push(`calm=${view.calm}`);
  if (view.tab === "map") parts.push(`x=${encodeURIComponent(view.x)}`, `y=${encodeURIComponent(view.y)}`);
  if (view.tab === "run" && view.sample !== null) parts.push(`sample=${view.sample}`);
  parts.push(`m=${model.digest.slice(0, 12)}`);
  return `#${parts.join("&")}`;
}

const list = (text, most) => (text ? text.split(",").filter((part) => /^[\w().~@+!:%-]{1,16384}$/.test(part)).slice(0, most) : []);
const within = (text, low, high, otherwise) => {
  const value = Number(text);
  return text !== undefined && text !== "" && Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
};

// The values a link holds; what makes no sense is left out. Returns whether it was made with another model.
export function read(hash, described) {
  model = described;
  const parts = Object.fromEntries(hash.replace(/^#/, "").split("&").map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), part.slice(at + 1)];
  }));
  const directions = new Set(model.directions.map((direction) => direction.name));
  const faces = list(parts.f, COUNT);
  const edits = {};
  for (const edit of (parts.edit || "").split("+")) {
    const [encoded, amount] = edit.split(":");
    const direction = decode(encoded);
    if (directions.has(direction)) edits[direction] = within(amount, -3, 3, 0);
  }
  const labels = {};
  for (const label of (parts.label || "").split("!")) {
    const [encoded, value] = label.split(":");
    Object.assign(labels, told(decode(encoded), value));
  }
  const [first, second] = [...directions];
  Object.assign(view, {
    tab: ["wall", "map", "photo", "run"].includes(parts.tab) ? parts.tab : "wall",
    faces: [...faces, ...DEFAULT.slice(faces.length)],
    locked: new Set(list(parts.lock, COUNT).map(Number).filter((i) => i >= 0 && i < COUNT)),
    picks: list(parts.pick, model.most_keys),
    share: within(parts.at, 0, 1, 0.5),
    calm: within(parts.calm, 0.1, 5, null),
    labels,
    edits,
    x: directions.has(decode(parts.x)) ? decode(parts.x) : first,
    y: directions.has(decode(parts.y)) ? decode(parts.y) : second ?? first,
    sample: /^[\d.]+$/.test(parts.sample || "") ? parts.sample : null,
  });
  return Boolean(parts.m) && !model.digest.startsWith(parts.m);
}

// A label of a link and its place, where the model knows both: a class is 1, an attribute 0 or 1, a number in its range.
function told(name, value) {
  const place = model.labels.findIndex((label) => label.name === name || label.classes?.includes(name));
  const label = model.labels[place], number = within(value, label?.low ?? 0, label?.high ?? 1, null);
  if (!label || number === null || (label.classes && !label.classes.includes(name))) return {};
  return { [place]: [name, label.classes ? 1 : number.toFixed(Math.max(0, label.digits ?? 0))] };
}

function decode(text) {
  try { return decodeURIComponent(text ?? ""); } catch { return ""; }
}
