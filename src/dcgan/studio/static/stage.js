// The chosen face: its print, the morph and the loop, the directions, and what can be taken along.

import { Follower, ask, faces, query, walkPart } from "./api.js";
import { labelDial } from "./labels.js";
import { paint, repaint, still } from "./picture.js";
import { directionLabel, inWords, label } from "./recipe.js";
import { change, current, keys, listen, steered, view, write } from "./view.js";

const FPS = 30;
const REACH = 3;
const get = (id) => document.getElementById(id);

export class Stage {
  constructor(model, say, keep) {
    Object.assign(this, { model, say, keep, playing: null, watchers: [] });
    this.print = get("print");
    this.follower = new Follower((face, recipe, exact) => this.show(face, recipe, exact), (error) => say(error.message));
    this.dials();
    get("share").addEventListener("input", (event) => { this.pause(); change({ share: Number(event.target.value) }); });
    get("play").addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    get("keep").addEventListener("click", () => this.keep(view.picks.length === 1 ? steered(view.picks[0]) : current()));
    get("link").addEventListener("click", () => this.copyLink());
    get("level").addEventListener("click", (event) => { event.preventDefault(); change({ edits: {}, labels: {} }); });
    get("png-size").textContent = `${model.settings.size} px`;
    get("downloads").addEventListener("click", (event) => { const button = event.target.closest("[data-kind]"); if (button) this.download(button); });
    document.addEventListener("click", (event) => { if (!get("downloads").contains(event.target)) get("downloads").open = false; });
    new ResizeObserver(() => repaint(this.print)).observe(this.print);
    listen((changed) => this.update(changed));
  }

  update(changed) {
    if (["picks", "edits", "labels", "calm"].some((key) => changed.has(key)) && this.playing) {
      this.pause();
      if (changed.has("picks") && keys().length > 2 && !still()) this.play();
    } else if (changed.has("picks") && keys().length > 2 && !still() && view.tab === "wall") this.play();
    if (changed.has("picks") || changed.has("calm")) this.tray();
    if (changed.has("edits") || changed.has("labels")) this.setDials();
    const several = view.picks.length > 1;
    get("morph").hidden = !several;
    if (!this.playing) get("share").value = view.share;
    get("share").setAttribute("aria-label", view.picks.length > 2 ? "Place on the loop" : "Morph");
    get("share").setAttribute("aria-valuetext", `${Math.round(view.share * 100)}%`);
    for (const button of get("downloads").querySelectorAll("[data-kind]")) {
      button.disabled = ["strip", "gif", "webp"].includes(button.dataset.kind) && !several;
    }
    if (!this.playing) this.follow(current());
    this.caption();
  }

  // A face for a moment, such as under the pointer on the map.
  preview(edits) { this.pause(); this.follow(current(edits)); }

  follow(recipe) { this.print.dataset.wanted = recipe; this.follower.follow(recipe); }

  show(face, recipe, exact) {
    paint(this.print, face);
    this.print.dataset.face = recipe;
    this.print.dataset.exact = exact;
    for (const watcher of this.watchers) watcher(face);
  }

  caption() {
    const { picks } = view;
    let text = inWords(picks[0] ?? view.faces[0]);
    if (picks.length === 2) text = `${label(picks[0])} → ${label(picks[1])}, ${Math.round(view.share * 100)}%`;
    if (picks.length > 2) text = `A loop through ${picks.length} faces`;
    text = text.charAt(0).toUpperCase() + text.slice(1);
    const moved = Object.values(view.edits).filter(Boolean).length;
    text += this.model.labels.map((given, place) => (view.labels[place] ? `, ${this.labelDials[place].inWords(view.labels[place])}` : "")).join("");
    get("caption").textContent = text + (moved ? `, ${moved} direction${moved > 1 ? "s" : ""} moved` : "");
    this.print.setAttribute("aria-label", get("caption").textContent);
  }

  async tray() {
    const tray = get("tray"), { picks } = view;
    tray.replaceChildren(...(picks.length < 2 ? [] : picks).map((recipe, i) => {
      const item = document.createElement("li");
      item.innerHTML = '<button><canvas width="64" height="64"></canvas></button>';
      item.firstChild.setAttribute("aria-label", `Let go of number ${i + 1}, ${inWords(recipe)}`);
      item.firstChild.addEventListener("click", () => change({ picks: view.picks.filter((other) => other !== recipe) }));
      return item;
    }));
    if (picks.length < 2) return;
    try {
      const pictures = await faces(keys());
      if (view.picks === picks) pictures.forEach((face, i) => paint(tray.children[i].querySelector("canvas"), face));
    } catch (error) { this.say(error.message); }
  }

  dials() {
    const sliders = get("sliders");
    let group = null;
    this.labelDials = this.model.labels.map((given, place) => labelDial(given, (told) => {
      const { [place]: _, ...labels } = view.labels;
      change({ labels: told ? { ...labels, [place]: told } : labels });
    }));
    if (this.labelDials.length) sliders.insertAdjacentHTML("beforeend", '<p class="group">Labels</p>');
    sliders.append(...this.labelDials.map((dial) => dial.row));
    for (const { name, kind, about } of this.model.directions) {
      if (kind !== group) {
        group = kind;
        sliders.insertAdjacentHTML("beforeend", `<p class="group">${kind === "attribute" ? "Attributes" : "Found without labels"}</p>`);
      }
      const row = document.createElement("label");
      row.className = "dial";
      row.innerHTML = `<span></span><input type="range" min="-${REACH}" max="${REACH}" step="0.05" value="0"><output>0</output>`;
      row.firstChild.textContent = directionLabel(name);
      row.title = kind === "attribute" ? `${name}: linearity ${about.linearity ?? "not measured"}` : `${name}: ${Math.round((about.share ?? 0) * 1000) / 10}% of what the first layer varies`;
      row.children[1].dataset.direction = name;
      row.children[1].addEventListener("input", (event) => change({ edits: { ...view.edits, [name]: Number(event.target.value) } }));
      row.children[1].addEventListener("dblclick", () => change({ edits: { ...view.edits, [name]: 0 } }));
      sliders.append(row);
    }
    get("dials").hidden = !this.model.directions.length && !this.model.labels.length;
    if (this.model.labels.length) get("dials-name").textContent = "Labels and directions";
    if (matchMedia("(max-width: 760px)").matches) get("dials").open = false;
    this.setDials();
  }

  setDials(edits = view.edits) {
    for (const input of get("sliders").querySelectorAll("[data-direction]")) {
      const amount = edits[input.dataset.direction] ?? 0;
      if (Number(input.value) !== amount) input.value = amount;
      const row = input.parentElement;
      row.lastChild.textContent = amount ? `${amount > 0 ? "+" : "−"}${Math.abs(amount).toFixed(2).replace(/\.?0+$/, "")}` : "0";
      row.classList.toggle("moved", Boolean(amount));
    }
    this.labelDials.forEach((dial, place) => dial.show(view.labels[place]));
    get("level").hidden = !Object.values(view.edits).some(Boolean) && !Object.keys(view.labels).length;
  }

  // Thirty frames a second, out of parts that arrive while it plays; the clock waits for what is not there yet.
  async play() {
    if (view.picks.length < 2 || this.playing) return;
    const run = this.playing = { parts: new Map(), stop: new AbortController() };
    const button = get("play"), slider = get("share");
    button.setAttribute("aria-pressed", "true");
    button.setAttribute("aria-label", "Pause");
    this.follower.stop();
    const recipes = keys().map((key) => steered(key));
    const total = recipes.length * this.model.frames_a_step, size = this.model.frames_a_part;
    const place = (frame) => (recipes.length > 2 ? frame / total : eased(frame, total));
    let start = null, first = recipes.length > 2 ? Math.round(view.share * total) % total : uneased(view.share, total), last = -1;
    const fetching = this.fetchParts(run, recipes, Math.ceil(total / size), Math.floor(first / size), total, size);
    const step = (now) => {
      if (this.playing !== run) return;
      requestAnimationFrame(step);
      const due = start === null ? first : first + Math.floor((now - start) * FPS / 1000);
      const frame = due % total, part = run.parts.get(Math.floor(frame / size));
      if (!part) { start = null; first = last < 0 ? first : (last + 1) % total; return; }
      start ??= now - ((frame - first + total) % total) * 1000 / FPS;
      if (frame === last) return;
      last = frame;
      run.shown = (run.shown ?? 0) + 1;
      paint(this.print, part[frame % size]);
      this.print.dataset.face = `frame ${frame}`;
      this.print.dataset.exact = false;
      view.share = place(frame);
      slider.value = view.share;
    };
    requestAnimationFrame(step);
    try { await fetching; } catch (error) { if (error.name !== "AbortError") { this.say(error.message); this.pause(); } }
  }

  async fetchParts(run, recipes, parts, from, total, size) {
    for (let i = 0; i < parts; i++) {
      const part = (from + i) % parts;
      run.parts.set(part, await walkPart(recipes, part, Math.min(size, total - part * size), true, run.stop.signal));
    }
  }

  pause() {
    if (!this.playing) return;
    this.playing.stop.abort();
    this.playing = null;
    const button = get("play");
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", "Play");
    change({ share: Math.round(view.share * 10000) / 10000 });
  }

  async download(button) {
    const { kind } = button.dataset;
    const one = ["png", "large"].includes(kind);
    const recipes = one || !view.picks.length ? [current()] : keys().map((key) => steered(key));
    this.pause();
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(query(`/api/download/${kind}`, recipes));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = answer.headers.get("Content-Disposition").match(/filename="([^"]+)"/)[1];
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      get("downloads").open = false;
    } catch (error) { this.say(error.message); }
    button.removeAttribute("aria-busy");
  }

  async copyLink() {
    this.pause();
    const link = `${location.origin}/${write()}`;
    history.replaceState(null, "", write());
    try {
      await navigator.clipboard.writeText(link);
      this.say("Link copied. It shows this view wherever this model is in the studio.");
    } catch { this.say("The link is in the address bar, ready to copy."); }
  }
}

// A loop of two goes there and back, slowing down at both ends, as the server's walk does.
function eased(frame, total) {
  const u = (frame % total) / (total / 2), up = u <= 1 ? u : 2 - u;
  return up * up * (3 - 2 * up);
}

function uneased(share, total) {
  let low = 0, high = 1;
  for (let i = 0; i < 20; i++) { const u = (low + high) / 2; if (u * u * (3 - 2 * u) < share) low = u; else high = u; }
  return Math.round(low * total / 2);
}
