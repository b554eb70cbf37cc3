// The page: a wall of faces, and a walk between two of them.
import { Generator } from "./generator.js";
import { Latents } from "./latents.js";

const ON_WALL = 36;
const BATCH = 6; // faces computed together: small enough that the wall fills as one watches
const SECONDS_A_WALK = 3;
const element = (id) => document.getElementById(id);

let latents, generator;
let first = 0; // seed of the wall's first face; null while it shows draws of the browser's own
let ends = ["0", "1"];
let next = 0; // which end the next chosen face becomes
let playing = null; // when the walk started, in milliseconds
let drawn = 0; // counts walls, so that faces of an older one are dropped

async function main() {
  const [about, table] = await Promise.all([load("model.json"), load("latents.f32")]);
  latents = new Latents(table, about.model.latent_size, about.model.latent, about.model.labels?.length);
  generator = new Generator(about.file, about.model.latent_size);
  describe(about);
  readLink();
  connect();
  await generator.ready;
  element("status").textContent = "";
  drawStage();
  for (const end of [0, 1]) drawEnd(end);
  showWall(seedsFrom(first));
}

async function load(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} is not there (${response.status})`);
  return file.endsWith(".json") ? response.json() : new Float32Array(await response.arrayBuffer());
}

function describe({ model, about, runtime }) {
  const data = about.dataset?.name ?? about.imported?.data;
  const training = about.training?.kimg ? `, after ${Math.round(about.training.kimg)} thousand images` : "";
  element("model").textContent =
    `A DCGAN of ${model.size}×${model.size} images${data ? ` that learned from ${data}` : ""}${training}.`;
  element("about").textContent =
    `Nobody here exists. Computed in your browser by ${runtime}; nothing is sent anywhere. ` +
    `Model ${about.digest.slice(0, 12)}. ${about.terms ? `Terms: ${about.terms}` : ""}`;
}

function connect() {
  element("place").addEventListener("input", () => (stop(), drawStage()));
  element("play").addEventListener("click", () => (playing === null ? play() : stop()));
  element("save").addEventListener("click", save);
  element("link").addEventListener("click", copyLink);
  element("fresh").addEventListener("click", () => {
    first = null;
    showWall(Array.from(crypto.getRandomValues(new Uint32Array(ON_WALL)), (seed) => `r${seed}`));
  });
  element("earlier").addEventListener("click", () => turn(-ON_WALL));
  element("later").addEventListener("click", () => turn(ON_WALL));
}

const seedsFrom = (seed) =>
  Array.from({ length: Math.min(ON_WALL, latents.seeds - seed) }, (_, i) => String(seed + i));

function turn(step) {
  first = first === null ? 0 : first + step;
  showWall(seedsFrom(first));
}

async function showWall(names) {
  const wall = (drawn += 1);
  element("range").textContent = first === null ? "drawn just now" : `seeds ${names[0]}–${names.at(-1)}`;
  element("earlier").disabled = first !== null && first === 0;
  element("later").disabled = first !== null && first + ON_WALL >= latents.seeds;
  const buttons = names.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.face = name;
    button.ariaLabel = nameOf(name);
    button.title = nameOf(name);
    button.append(document.createElement("canvas"));
    button.addEventListener("click", () => choose(name));
    return button;
  });
  element("wall").replaceChildren(...buttons);
  markEnds();
  for (let at = 0; at < names.length && wall === drawn; at += BATCH) {
    const images = await generator.images(names.slice(at, at + BATCH).map((name) => latents.named(name)));
    images.forEach((image, i) => paint(buttons[at + i].firstChild, image));
  }
  if (wall === drawn) element("wall").dataset.done = wall;
}

function choose(name) {
  stop();
  ends[next] = name;
  element("place").value = next;
  drawEnd(next);
  next = 1 - next;
  markEnds();
  drawStage();
}

function markEnds() {
  for (const button of element("wall").children) {
    const end = ends.indexOf(button.dataset.face);
    if (end < 0) delete button.dataset.end;
    else button.dataset.end = end + 1;
  }
}

const nameOf = (name) => (name.startsWith("r") ? `draw ${name.slice(1)}` : `seed ${name}`);

async function drawEnd(end) {
  const id = ["start", "end"][end];
  element(`${id}-name`).textContent = nameOf(ends[end]);
  const [image] = await generator.images([latents.named(ends[end])]);
  paint(element(id), image);
}

// The stage follows the slider: while a frame is computed, only the latest wish is kept.
let busy = false;
let wished = false;

async function drawStage() {
  wished = true;
  if (busy) return;
  busy = true;
  while (wished) {
    wished = false;
    const place = Number(element("place").value);
    const [a, b] = ends.map((name) => latents.named(name));
    const [image] = await generator.images([latents.between(a, b, place)]);
    paint(element("face"), image);
    element("face").dataset.place = place;
  }
  busy = false;
}

function play() {
  playing = performance.now() - Number(element("place").value) * SECONDS_A_WALK * 1000;
  element("play").textContent = "Pause";
  element("play").ariaPressed = "true";
  requestAnimationFrame(step);
}

function step(now) {
  if (playing === null) return;
  const walked = ((now - playing) / (SECONDS_A_WALK * 1000)) % 2;
  element("place").value = walked < 1 ? walked : 2 - walked; // there and back
  drawStage();
  requestAnimationFrame(step);
}

function stop() {
  playing = null;
  element("play").textContent = "Play";
  element("play").ariaPressed = "false";
}

function paint(canvas, image) {
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function save() {
  const link = document.createElement("a");
  link.href = element("face").toDataURL("image/png");
  link.download = `face-${ends[0]}-${ends[1]}-${element("place").value}.png`;
  link.click();
}

async function copyLink() {
  const view = new URLSearchParams({ a: ends[0], b: ends[1], t: element("place").value, first: first ?? 0 });
  history.replaceState(null, "", `#${view}`);
  try {
    await navigator.clipboard.writeText(location.href);
    element("status").textContent = "Copied: the link shows this very face.";
  } catch {
    element("status").textContent = "The address now shows this very face: copy it from there."; // no clipboard here
  }
}

function readLink() {
  const view = new URLSearchParams(location.hash.slice(1));
  ends = [view.get("a") ?? "0", view.get("b") ?? "1"].map((name, end) =>
    latents.knows(name) ? name : String(Math.min(end, latents.seeds - 1)),
  );
  const place = Number(view.get("t"));
  element("place").value = place >= 0 && place <= 1 ? place : 0;
  const seed = Number(view.get("first"));
  first = Number.isInteger(seed) && seed > 0 && seed < latents.seeds ? seed : 0;
}

main().catch((error) => {
  element("status").textContent = `It cannot be shown: ${error.message}`;
});
