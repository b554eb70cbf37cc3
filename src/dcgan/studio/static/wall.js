// The contact sheet: choose, lock, refresh, and drag one face onto another to mix them.

import { Follower, faces, flatten } from "./api.js";
import { paint, repaint, still } from "./picture.js";
import { inWords, label, mixed } from "./recipe.js";
import { COUNT, change, listen, resolve, view } from "./view.js";

const LOCK = '<svg viewBox="0 0 12 14" aria-hidden="true"><rect x="1.6" y="6.5" width="8.8" height="6.4" rx="1"/><path class="shackle" d="M3 6.5V4.2a3 3 0 0 1 5.6-1.5"/></svg>';
// A ring drawn by hand with a grease pencil.
const RING = '<svg class="ring" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><path d="M61 4C30-1 3 16 4 50c1 31 22 47 49 46 30-1 44-22 43-48C95 20 74 3 46 6 38 7 30 10 25 14"/></svg>';
const MOST_TEXT = 400; // longer mixes are written as their latent

export class Wall {
  constructor(sheet, model, say) {
    Object.assign(this, { sheet, model, say, drawn: [], focus: 0, drag: null, drawing: null });
    this.tiles = Array.from({ length: COUNT }, (_, i) => this.tile(i));
    sheet.replaceChildren(...this.tiles.map((tile) => tile.frame));
    this.mixing = new Follower((face) => this.drag?.target && paint(this.tiles[this.drag.target.i].canvas, face), () => {});
    sheet.addEventListener("keydown", (event) => this.key(event));
    sheet.addEventListener("touchmove", (event) => { if (this.drag?.on) event.preventDefault(); }, { passive: false });
    new ResizeObserver(() => { this.strips(); this.tiles.forEach((tile) => repaint(tile.canvas)); }).observe(sheet);
    listen((keys) => { if (keys.has("faces") || keys.has("calm")) this.draw(); if (keys.has("picks") || keys.has("locked") || keys.has("faces")) this.mark(); });
  }

  tile(i) {
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.innerHTML = `<button class="face"><canvas width="64" height="64"></canvas></button><span class="number"></span><button class="lock" tabindex="-1">${LOCK}</button>`;
    const [face, number, lock] = frame.children;
    face.addEventListener("focus", () => { this.focus = i; this.rove(); });
    face.addEventListener("click", () => { if (!this.dropped) this.pick(i); this.dropped = false; });
    lock.addEventListener("click", () => this.lock(i));
    face.addEventListener("pointerdown", (event) => this.press(event, i));
    face.addEventListener("contextmenu", (event) => { if (this.drag) event.preventDefault(); });
    return { frame, face, number, lock, canvas: face.firstChild };
  }

  columns() { return getComputedStyle(this.sheet).gridTemplateColumns.split(" ").length; }
  rove() { this.tiles.forEach((tile, i) => { tile.face.tabIndex = i === this.focus ? 0 : -1; }); }
  strips() {
    const columns = this.columns();
    this.tiles.forEach(({ frame }, i) => {
      frame.classList.toggle("start", i % columns === 0);
      frame.classList.toggle("end", i % columns === columns - 1);
    });
  }

  // Draw what has changed; new faces come up as prints do in the developer.
  async draw() {
    this.drawing?.abort();
    const drawing = this.drawing = new AbortController();
    const wanted = view.faces.map(resolve);
    const stale = wanted.map((recipe, i) => i).filter((i) => wanted[i] !== this.drawn[i]);
    if (!stale.length) return;
    this.sheet.ariaBusy = "true";
    try {
      const pictures = await faces(stale.map((i) => wanted[i]), drawing.signal);
      stale.forEach((i, at) => {
        const { frame, canvas } = this.tiles[i];
        paint(canvas, pictures[at]);
        const another = this.drawn[i]?.split("t")[0] !== wanted[i].split("t")[0];
        if (another && !still()) {
          frame.classList.remove("develop");
          void frame.offsetWidth; // lets the animation start anew
          frame.style.setProperty("--wait", `${Math.round(Math.random() * 260)}ms`);
          frame.classList.add("develop");
        }
        this.drawn[i] = wanted[i];
      });
      this.sheet.ariaBusy = "false";
    } catch (error) { if (error.name !== "AbortError") this.say(error.message); }
  }

  mark() {
    this.rove();
    this.strips();
    this.tiles.forEach(({ frame, face, number, lock }, i) => {
      const recipe = view.faces[i], place = view.picks.indexOf(recipe), locked = view.locked.has(i);
      const text = label(recipe);
      number.textContent = text;
      lock.setAttribute("aria-pressed", locked);
      lock.setAttribute("aria-label", `${locked ? "Unlock" : "Lock"} ${text}`);
      lock.title = locked ? "Locked: stays when new faces come" : "Lock";
      face.setAttribute("aria-pressed", place >= 0);
      face.setAttribute("aria-label", `Face ${i + 1}, ${inWords(recipe)}${place >= 0 ? `, chosen as number ${place + 1}` : ""}${locked ? ", locked" : ""}`);
      if ((place >= 0) !== Boolean(frame.querySelector(".ring"))) {
        frame.querySelectorAll(".ring, .order").forEach((element) => element.remove());
        if (place >= 0) frame.insertAdjacentHTML("beforeend", `${RING}<span class="order" aria-hidden="true"></span>`);
      }
      const order = frame.querySelector(".order");
      if (order) { order.textContent = place + 1; order.hidden = view.picks.length < 2; }
    });
  }

  pick(i) {
    const recipe = view.faces[i];
    if (view.picks.includes(recipe)) change({ picks: view.picks.filter((other) => other !== recipe) });
    else if (view.picks.length === this.model.most_keys) this.say(`A loop goes through ${this.model.most_keys} faces at most.`);
    else change({ picks: [...view.picks, recipe], share: view.picks.length === 1 ? 0.5 : 0 });
  }

  lock(i) {
    const locked = new Set(view.locked);
    if (!locked.delete(i)) locked.add(i);
    change({ locked });
  }

  refresh() {
    const fresh = crypto.getRandomValues(new Uint32Array(COUNT));
    if (view.locked.size === COUNT) { this.say("Every face is locked."); return; }
    change({ faces: view.faces.map((recipe, i) => (view.locked.has(i) ? recipe : String(fresh[i] % 1000000))) });
  }

  // Put a face into the first place that is not locked, and lock it there.
  keep(recipe) {
    const there = view.faces.indexOf(recipe);
    const i = there >= 0 ? there : view.faces.findIndex((other, at) => !view.locked.has(at) && !view.picks.includes(other));
    if (i < 0) { this.say("Every face is locked or chosen: unlock one first."); return -1; }
    change({ faces: view.faces.with(i, recipe), locked: new Set([...view.locked, i]) });
    return i;
  }

  async mix(from, onto, share) {
    const before = { faces: view.faces, locked: view.locked };
    let recipe = mixed([view.faces[onto], view.faces[from]], share);
    if (recipe.length > MOST_TEXT || (recipe.match(/\(/g) || []).length > 4) recipe = await flatten(resolve(recipe));
    const words = `${inWords(view.faces[from])} into ${inWords(view.faces[onto])}`;
    change({ faces: view.faces.with(onto, recipe), locked: new Set([...view.locked, onto]) });
    this.say(`Mixed ${Math.round(share * 100)}% of ${words}. `, ["Undo", () => change(before)]);
  }

  key(event) {
    const at = this.tiles.findIndex((tile) => tile.face === document.activeElement);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns(), ArrowDown: this.columns(), Home: -at, End: COUNT - 1 - at }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      this.tiles[Math.min(COUNT - 1, Math.max(0, at + step))]?.face.focus();
    } else if (event.key.toLowerCase() === "l") this.lock(at);
    else if (event.key.toLowerCase() === "m") {
      const onto = view.faces.indexOf(view.picks.at(-1));
      if (onto < 0 || onto === at) this.say("Choose a face first, then move to another and press M to mix it in.");
      else this.mix(at, onto, 0.5);
    }
  }

  // Dragging: at once with a mouse, after holding still with a finger (which else scrolls).
  press(event, i) {
    if (event.button || this.drag) return;
    const drag = this.drag = { i, x: event.clientX, y: event.clientY, on: false, target: null, touch: event.pointerType === "touch" };
    const move = (next) => this.moved(next);
    const up = () => end(true), cancel = () => end(false);
    const hold = drag.touch ? setTimeout(() => this.lift(event), 320) : 0;
    const end = (done) => {
      clearTimeout(hold);
      removeEventListener("pointermove", move); removeEventListener("pointerup", up); removeEventListener("pointercancel", cancel);
      removeEventListener("keydown", escape, true);
      this.drop(done);
    };
    const escape = (key) => { if (key.key === "Escape" && drag.on) { key.stopPropagation(); end(false); } };
    addEventListener("pointermove", move); addEventListener("pointerup", up); addEventListener("pointercancel", cancel);
    addEventListener("keydown", escape, true);
  }

  lift(event) {
    const { drag } = this, tile = this.tiles[drag.i];
    drag.on = true;
    drag.ghost = document.createElement("canvas");
    drag.ghost.className = "ghost";
    document.body.append(drag.ghost);
    if (tile.canvas.face) paint(drag.ghost, tile.canvas.face);
    tile.frame.classList.add("lifted");
    this.moved(event);
  }

  moved(event) {
    const { drag } = this;
    if (!drag.on) {
      const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 7;
      if (far && !drag.touch) this.lift(event);
      return;
    }
    drag.ghost.style.left = `${event.clientX}px`;
    drag.ghost.style.top = `${event.clientY}px`;
    const i = this.tiles.findIndex((tile, at) => at !== drag.i && tile.frame.contains(document.elementFromPoint(event.clientX, event.clientY)));
    if (drag.target && drag.target.i !== i) this.letGo(drag.target.i);
    drag.ghost.classList.toggle("over", i >= 0); // out of the way of the mix
    if (i < 0) { drag.target = null; return; }
    // The nearer to the middle, the more of it goes in.
    const box = this.tiles[i].face.getBoundingClientRect();
    const away = Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2) / box.width;
    drag.target = { i, share: Math.round(Math.min(0.9, Math.max(0.15, 0.95 - 1.15 * away)) * 20) / 20 };
    this.tiles[i].frame.classList.add("target");
    this.tiles[i].number.textContent = `${Math.round(drag.target.share * 100)}% mixed in`;
    this.mixing.follow(resolve(mixed([view.faces[i], view.faces[drag.i]], drag.target.share)));
  }

  letGo(i) {
    this.mixing.stop();
    const { frame, number } = this.tiles[i];
    frame.classList.remove("target");
    number.textContent = label(view.faces[i]);
    this.drawn[i] = null; // what was shown there was a try
  }

  drop(done) {
    const { drag } = this;
    this.drag = null;
    if (!drag?.on) return;
    drag.ghost.remove();
    this.tiles[drag.i].frame.classList.remove("lifted");
    this.dropped = done; // the click that follows chooses nothing
    setTimeout(() => { this.dropped = false; }, 50);
    if (drag.target) {
      this.letGo(drag.target.i);
      if (done) { this.mix(drag.i, drag.target.i, drag.target.share).catch((error) => this.say(error.message)); return; }
    }
    this.draw();
  }
}
