// From an address to a page.

import { askJson, query, useModel } from "./api.js";
import { Map2D } from "./map.js";
import { Photo } from "./photo.js";
import { isSeed } from "./recipe.js";
import { Run } from "./run.js";
import { Stage } from "./stage.js";
import { change, listen, read, resolve, view } from "./view.js";
import { Wall } from "./wall.js";

const get = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];
let toast = 0;

function say(message, action = null) {
  const box = get("toast");
  box.textContent = message;
  if (action) {
    const button = document.createElement("button");
    button.textContent = action[0];
    button.addEventListener("click", () => { action[1](); box.classList.remove("on"); });
    box.append(button);
  }
  box.classList.add("on");
  clearTimeout(toast);
  toast = setTimeout(() => box.classList.remove("on"), action ? 8000 : 4500);
}

function showTab(tab) {
  for (const button of tabs) {
    const on = button.dataset.tab === tab;
    button.setAttribute("aria-selected", on);
    button.tabIndex = on ? 0 : -1;
    get(button.dataset.tab).hidden = !on;
  }
  document.querySelector("main").classList.toggle("wide", tab === "run" || tab === "photo");
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

function facts(model) {
  const { about, settings } = model;
  const rows = {
    Name: model.name,
    Images: `${settings.size} × ${settings.size}, ${settings.channels === 1 ? "grey" : "colour"}`,
    Latent: `${settings.latent_size} numbers, ${settings.latent}`,
    Generator: `${(model.parameters / 1e6).toFixed(1)} million parameters`,
    "Trained on": about.dataset && `${about.dataset.name}, ${about.dataset.count} images`,
    "Shown to it": about.training && `${Math.round(about.training.kimg)} thousand images`,
    Figures: Object.entries(about.metrics || {}).map(([name, value]) => `${name} ${value}`).join(", "),
    Labels: model.labels.map((label) => label.classes?.join(", ") ?? label.name).join(", "),
    Terms: about.terms,
    Digest: model.digest.slice(0, 16),
    dcgan: model.version,
  };
  get("facts").replaceChildren(...Object.entries(rows).filter(([, value]) => value).flatMap(([name, value]) => {
    const term = document.createElement("dt"), fact = document.createElement("dd");
    term.textContent = name;
    fact.textContent = value;
    return [term, fact];
  }));
}

function key(event, wall, stage) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input:not([type=range]), select, textarea, dialog")) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "escape") {
    if (get("downloads").open) { get("downloads").open = false; get("downloads").querySelector("summary").focus(); } else if (view.picks.length) change({ picks: [] });
  } else if (pressed === "r" && view.tab === "wall") wall.refresh();
  else if (pressed === "p") get("play").offsetParent ? get("play").click() : null;
  else if (pressed === "?") get("about").showModal();
}

// Leave out of the view what the server cannot read: a link may have been cut short.
async function sound() {
  const doubtful = [...new Set([...view.faces, ...view.picks])].filter((recipe) => !isSeed(recipe));
  const answers = await Promise.allSettled(doubtful.map((recipe) => askJson(query("/api/latents", [resolve(recipe)]))));
  const bad = new Set(doubtful.filter((_, i) => answers[i].status === "rejected"));
  view.picks = view.picks.filter((recipe) => !bad.has(recipe));
  view.faces = view.faces.map((recipe, i) => (bad.has(recipe) ? String(i) : recipe));
  if (bad.size) say("Part of this link cannot be read and is left out.");
}

async function start() {
  if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
  get("theme").addEventListener("click", theme);
  get("help").addEventListener("click", () => get("about").showModal());
  const model = await askJson("/api/model");
  useModel(model);
  const another = read(location.hash, model);
  await sound();
  document.title = `${model.name} · dcgan studio`;
  get("model-name").textContent = model.name;
  facts(model);
  get("tab-run").hidden = !model.run;
  if (!model.directions.length) get("tab-map").hidden = true;
  if (get(`tab-${view.tab}`).hidden) view.tab = "wall";

  const wall = new Wall(get("sheet"), model, say);
  const keep = (recipe) => { if (wall.keep(recipe) >= 0) say("Kept on the wall."); };
  const stage = new Stage(model, say, keep);
  new Map2D(model, stage, say);
  new Photo(model, say, (latent) => {
    if (wall.keep(latent) >= 0) change({ picks: [latent], edits: {}, tab: "wall" });
  });
  if (model.run) new Run(get("run"), say);

  get("refresh").addEventListener("click", () => wall.refresh());
  const variety = get("variety");
  variety.addEventListener("input", () => change({ calm: Number(variety.value) >= Number(variety.max) ? null : Number(variety.value) }));
  listen((keys) => { if (keys.has("tab")) showTab(view.tab); variety.value = view.calm ?? variety.max; });
  for (const button of tabs) button.addEventListener("click", () => change({ tab: button.dataset.tab }));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const shown = tabs.filter((button) => !button.hidden), at = shown.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    const next = shown[(to + shown.length) % shown.length];
    next.focus();
    next.click();
  });
  addEventListener("keydown", (event) => key(event, wall, stage));
  addEventListener("hashchange", async () => { notice(read(location.hash, model)); await sound(); change({ ...view }); });
  notice(another);
  change({ ...view });
  document.documentElement.dataset.ready = "true";
}

function notice(another) {
  get("notice").hidden = !another;
  get("notice").textContent = "This link was made with another model: its seeds and latents give other faces here.";
}

start().catch((error) => say(error.message));
