// A photo: cropped here, looked for by the server, its nearest face shown beside it while it is found.

import { ask, faces } from "./api.js";
import { mean, paint, repaint } from "./picture.js";
import { listen, view } from "./view.js";

const SENT = 256; // pixels of the crop that is sent, which the server scales to the model's own
const MOST_BYTES = 40 << 20; // of a file that is opened here
const STAGES = [[0.12, "Trying four starts"], [0.34, "Coming nearer"], [1, "Refining"]];
const get = (id) => document.getElementById(id);

export class Photo {
  constructor(model, say, use) {
    Object.assign(this, { model, say, use, photo: null, zoom: 1, at: [0, 0], searching: null, latent: null });
    get("easel").classList.toggle("unable", !model.projects);
    const drop = get("drop"), crop = get("crop");
    get("choose").addEventListener("click", () => get("file").click());
    get("other").addEventListener("click", () => get("file").click());
    get("file").addEventListener("change", (event) => { this.open(event.target.files[0]); event.target.value = ""; });
    for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.toggle("over", over); });
    }
    drop.addEventListener("drop", (event) => this.open(event.dataTransfer.files[0]));
    addEventListener("paste", (event) => { if (view.tab === "photo") this.open([...event.clipboardData.files][0]); });
    get("zoom").addEventListener("input", (event) => { this.zoom = Number(event.target.value); this.draw(); });
    get("guide").addEventListener("change", () => this.draw());
    crop.addEventListener("wheel", (event) => { event.preventDefault(); this.zoomTo(this.zoom * Math.exp(-event.deltaY / 500)); }, { passive: false });
    crop.addEventListener("pointermove", (event) => { if (event.buttons) this.move(event.movementX / crop.clientWidth, event.movementY / crop.clientWidth); });
    crop.addEventListener("pointerdown", (event) => crop.setPointerCapture(event.pointerId));
    crop.addEventListener("keydown", (event) => this.key(event));
    get("find").addEventListener("click", () => this.find());
    get("cancel").addEventListener("click", () => this.searching?.abort());
    get("use").addEventListener("click", () => this.use(this.latent));
    new ResizeObserver(() => repaint(get("answer"))).observe(get("answer"));
    listen((keys) => { if (keys.has("tab") && view.tab === "photo" && !this.guide) this.drawGuide(); });
  }

  async drawGuide() {
    try { this.guide = mean(await faces(Array.from({ length: 48 }, (_, i) => String(i)))); this.draw(); } catch { /* it is only a help */ }
  }

  async open(file) {
    if (!file) return;
    if (!this.model.projects) return;
    if (file.size > MOST_BYTES) { this.say("That file is larger than 40 MB."); return; }
    try { this.photo = await createImageBitmap(file); } catch { this.say("This browser cannot read that file as a picture."); return; }
    Object.assign(this, { zoom: 1, at: [0, 0] });
    get("zoom").value = 1;
    get("invite").hidden = true;
    get("crop").hidden = get("crop-tools").hidden = false;
    get("drop").classList.add("filled");
    this.draw();
    get("find").focus();
  }

  zoomTo(value) { this.zoom = Math.min(6, Math.max(1, value)); get("zoom").value = this.zoom; this.draw(); }
  move(x, y) { this.at = [this.at[0] + x, this.at[1] + y]; this.draw(); }

  key(event) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (by) { event.preventDefault(); this.move(...by); }
    if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 1.1);
    if (event.key === "-") this.zoomTo(this.zoom / 1.1);
  }

  // The photo into a square canvas, as cropped: it always fills the square.
  render(context, side) {
    const { width, height } = this.photo;
    const scale = side / Math.min(width, height) * this.zoom;
    const room = [(width * scale / side - 1) / 2, (height * scale / side - 1) / 2];
    this.at = this.at.map((value, i) => Math.min(room[i], Math.max(-room[i], value)));
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.drawImage(this.photo, (side - width * scale) / 2 + this.at[0] * side, (side - height * scale) / 2 + this.at[1] * side, width * scale, height * scale);
  }

  draw() {
    if (!this.photo) return;
    const crop = get("crop"), context = crop.getContext("2d");
    this.render(context, crop.width);
    if (!this.guide || !get("guide").checked) return;
    context.globalAlpha = 0.42;
    context.drawImage(this.guide, 0, 0, crop.width, crop.width);
    context.globalAlpha = 1;
  }

  async find() {
    const square = new OffscreenCanvas(SENT, SENT);
    this.render(square.getContext("2d"), SENT);
    this.searching?.abort();
    const search = this.searching = new AbortController();
    get("found").hidden = get("progress").hidden = false;
    get("found-actions").hidden = true;
    get("verdict").textContent = "";
    get("stage-name").textContent = "Trying 500 faces";
    get("bar").value = 0;
    get("find").disabled = true;
    get("found").scrollIntoView({ block: "nearest" });
    try {
      const body = await square.convertToBlob({ type: "image/png" });
      const answer = await ask("/api/project", { method: "POST", body, signal: search.signal });
      for await (const news of lines(answer.body)) await this.tell(news);
      if (!this.latent) throw new Error("The search ended early.");
    } catch (error) {
      this.say(error.name === "AbortError" ? "Stopped." : error.message);
    }
    get("find").disabled = false;
    get("progress").hidden = true;
  }

  async tell(news) {
    if (news.problem) throw new Error(news.problem);
    if (news.photo) { get("asked").src = news.photo; this.latent = null; }
    if (news.face) {
      const done = news.done / news.total;
      get("bar").value = done;
      get("stage-name").textContent = STAGES.find(([until]) => done <= until)[1];
      await this.answer(news.face);
    }
    if (news.found) {
      await this.answer(news.found);
      this.latent = news.found;
      this.judge(news.error, news.others);
      get("found-actions").hidden = false;
    }
  }

  async answer(recipe) {
    const [face] = await faces([recipe]);
    paint(get("answer"), face);
    get("answer").dataset.face = recipe;
  }

  // What an error means can only be said beside what two different faces differ by.
  judge(error, others) {
    const part = error / others;
    const words = part < 0.2 ? "Very near" : part < 0.32 ? "A likeness" : part < 0.5 ? "A distant likeness" : "Not found";
    const verdict = get("verdict");
    verdict.textContent = ` Off by ${error.toFixed(0)} of 255 levels (root mean square); two random faces of this model are ${others.toFixed(0)} apart. This is the nearest face the search found, not the person: what the model cannot draw is missing.`;
    verdict.insertAdjacentHTML("afterbegin", `<b>${words}</b>`);
  }
}

// JSON lines as they arrive.
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}
