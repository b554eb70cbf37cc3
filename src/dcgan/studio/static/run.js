// A run while it trains: how far, its curves, and its samples coming up like prints in the developer.

import { ask } from "./api.js";
import { chart, short } from "./chart.js";
import { change, listen, view } from "./view.js";

const SECONDS = 2;
const CURVES = [
  ["Losses", [["discriminator", "discriminator_loss"], ["generator", "generator_loss"]], {}],
  ["What the discriminator says", [["real", "d_real"], ["generated", "d_fake"], ["after its step", "d_fake_updated"]], { low: 0, high: 1 }],
];

export class Run {
  constructor(panel, say) {
    Object.assign(this, { panel, say, state: null, tag: null, pictures: new Map(), one: null, playing: 0 });
    panel.innerHTML = `
      <div class="run-head"><h2 id="run-name"></h2><span class="status" id="run-status" role="status"></span><div class="tiles" id="run-tiles"></div></div>
      <div class="run-grid">
        <div><figure class="develop-print" id="develop-print"><canvas id="develop" role="img" tabindex="0" aria-label="Samples of the run"></canvas>
            <figcaption><span id="develop-caption"></span><span class="hint">touch one to follow it</span></figcaption></figure>
          <div class="timeline"><button class="play" id="develop-play" aria-label="Play the training" aria-pressed="false"><svg viewBox="0 0 20 20" aria-hidden="true"><path class="on" d="M6 4l11 6-11 6z"/><path class="off" d="M5 4h3.6v12H5zM11.4 4H15v12h-3.6z"/></svg></button>
            <input type="range" id="develop-at" min="0" max="0" step="1" aria-label="Sample timeline"></div></div>
        <div><div class="charts" id="charts"></div><details class="settings"><summary>Settings</summary><dl class="facts" id="run-settings"></dl></details></div>
      </div>`;
    this.get = (id) => panel.querySelector(`#${id}`);
    this.slider = this.get("develop-at");
    this.slider.addEventListener("input", () => { this.pause(); this.pick(Number(this.slider.value)); });
    this.get("develop-play").addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.get("develop").addEventListener("click", (event) => this.touch(event));
    this.get("develop").addEventListener("keydown", (event) => { if (event.key === "Enter") this.follow(this.one === null ? 0 : null); else if (event.key === "Escape") this.follow(null); });
    new ResizeObserver(() => this.show()).observe(this.get("develop"));
    listen((keys) => { if (keys.has("tab")) this.watch(); if (!keys.has("tab") && keys.has("sample")) this.show(); });
  }

  watch() {
    clearTimeout(this.timer);
    if (view.tab !== "run") { this.pause(); return; }
    const round = async () => { await this.load(); if (view.tab === "run") this.timer = setTimeout(round, SECONDS * 1000); };
    round();
  }

  async load() {
    if (document.hidden) return;
    try {
      const answer = await ask("/api/run");
      const tag = answer.headers.get("ETag");
      if (tag === this.tag) return;
      const state = await answer.json();
      Object.assign(this, { state, tag });
      this.tell();
      this.slider.max = Math.max(0, state.samples.length - 1);
      await this.show();
    } catch (error) { this.say(error.message); }
  }

  // The newest sample unless one was chosen.
  index() {
    const at = this.state.samples.findIndex(({ label }) => label === view.sample);
    return at < 0 ? this.state.samples.length - 1 : at;
  }

  tell() {
    const { state } = this;
    this.get("run-name").textContent = state.name;
    const status = this.get("run-status");
    status.textContent = state.status.charAt(0).toUpperCase() + state.status.slice(1);
    status.className = `status ${state.status}`;
    const tiles = [[`${short(state.kimg)}${state.total_kimg ? ` of ${short(state.total_kimg)}` : ""}`, "kimg"], [short(state.epoch), "epochs"], [short(state.images_per_second), "images/s"], [span(state.seconds), "trained"]];
    if (state.status === "training" && state.total_kimg && state.images_per_second) tiles.push([span(Math.max(0, state.total_kimg - state.kimg) * 1000 / state.images_per_second), "left"]);
    this.get("run-tiles").replaceChildren(...tiles.map(([value, unit]) => {
      const tile = document.createElement("span"), number = document.createElement("b");
      number.textContent = value;
      tile.append(number, ` ${unit}`);
      return tile;
    }));
    const { curves, figures } = state;
    const charts = curves.kimg.length ? CURVES.map(([title, lines, options]) => chart(title, curves.kimg, lines.map(([label, key]) => [label, curves[key]]), options)) : [];
    const small = document.createElement("div");
    small.className = "figures";
    for (const [name, values] of Object.entries(figures)) if (name !== "kimg") small.append(chart(name.replaceAll("_", " "), figures.kimg, [["", values]], { height: 90 }));
    this.get("charts").replaceChildren(...charts, small);
    this.get("run-settings").replaceChildren(...Object.entries(state.settings).flatMap(([name, value]) => {
      const term = document.createElement("dt"), fact = document.createElement("dd");
      term.textContent = name.replaceAll("_", " ");
      fact.textContent = value;
      return [term, fact];
    }));
  }

  pick(i) { change({ sample: i === this.state.samples.length - 1 ? null : this.state.samples[i].label }); }

  async picture(label) {
    if (!this.pictures.has(label)) {
      const made = ask(`/api/run/samples/${encodeURIComponent(label)}`).then(async (answer) => createImageBitmap(await answer.blob()));
      made.catch(() => this.pictures.delete(label));
      this.pictures.set(label, made);
    }
    return this.pictures.get(label);
  }

  async show() {
    if (!this.state?.samples.length) { this.get("develop-caption").textContent = "No samples yet"; return; }
    const at = this.index(), { label, kimg } = this.state.samples[at];
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `${short(kimg)} kimg`);
    let picture;
    try { picture = await this.picture(label); } catch (error) { this.say(error.message); return; }
    if (at !== this.index()) return;
    const canvas = this.get("develop"), side = Math.min(1400, Math.round(canvas.clientWidth * (devicePixelRatio || 1))) || 528;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const { columns, size, gap } = this.state.grid;
    if (this.one === null) {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, side, side);
      const scale = side / Math.max(picture.width, picture.height);
      context.drawImage(picture, 0, 0, picture.width * scale, picture.height * scale);
    } else {
      const x = (this.one % columns) * (size + gap), y = Math.floor(this.one / columns) * (size + gap);
      const face = new OffscreenCanvas(size, size);
      face.getContext("2d").drawImage(picture, -x, -y);
      context.drawImage(face, 0, 0, side, side);
    }
    canvas.dataset.sample = label;
    this.get("develop-caption").textContent = `${this.one === null ? "The same latents" : `Latent ${this.one + 1}`}, ${short(kimg)} kimg`;
    this.get("develop-print").classList.toggle("one", this.one !== null);
  }

  touch(event) {
    if (!this.state) return;
    if (this.one !== null) { this.follow(null); return; }
    const box = event.target.getBoundingClientRect(), { columns, count } = this.state.grid;
    const column = Math.floor((event.clientX - box.x) / box.width * columns), row = Math.floor((event.clientY - box.y) / box.height * columns);
    if (row * columns + column < count) this.follow(row * columns + column);
  }

  follow(one) { this.one = one; this.show(); }

  play() {
    if (!this.state?.samples.length) return;
    let at = this.index() === this.state.samples.length - 1 ? 0 : this.index();
    const step = async () => {
      const playing = this.playing;
      await this.picture(this.state.samples[at].label).catch(() => {});
      if (playing !== this.playing || !playing) return;
      this.pick(at);
      if (at === this.state.samples.length - 1) { this.pause(); return; }
      at += 1;
      this.playing = setTimeout(step, 140);
    };
    this.get("develop-play").setAttribute("aria-pressed", "true");
    this.playing = setTimeout(step, 0);
  }

  pause() {
    clearTimeout(this.playing);
    this.playing = 0;
    this.get("develop-play").setAttribute("aria-pressed", "false");
  }
}

function span(seconds) {
  if (!seconds && seconds !== 0) return "–";
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? `${Math.round(seconds)} s` : minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
