// Two directions as a plane. A place on it is nothing but two edits: the sliders show the same numbers.

import { faces, flatten } from "./api.js";
import { paint } from "./picture.js";
import { directionLabel, withEdits } from "./recipe.js";
import { base, change, current, listen, steered, view } from "./view.js";

const SIDE = 7, REACH = 3;
const MOST_TEXT = 560; // longer bases are sent as their latent: 49 of them must fit into an address
const get = (id) => document.getElementById(id);
const round = (value) => Math.round(value * 100) / 100;

export class Map2D {
  constructor(model, stage, say) {
    Object.assign(this, { model, stage, say, plane: get("plane"), terrain: get("terrain"), loupe: get("loupe"), drawn: "", gliding: false });
    for (const [id, axis] of [["axis-x", "x"], ["axis-y", "y"]]) {
      get(id).replaceChildren(...model.directions.map(({ name }) => new Option(directionLabel(name), name)));
      get(id).addEventListener("change", (event) => this.axis(axis, event.target.value));
    }
    this.plane.addEventListener("pointermove", (event) => this.glide(event));
    this.plane.addEventListener("pointerdown", (event) => {
      this.plane.setPointerCapture(event.pointerId);
      this.plane.classList.toggle("touched", event.pointerType !== "mouse");
      this.glide(event);
    });
    this.plane.addEventListener("pointerup", (event) => { this.rest(this.at(event)); if (event.pointerType !== "mouse") this.leave(); });
    this.plane.addEventListener("pointerleave", (event) => { if (!this.plane.hasPointerCapture(event.pointerId)) this.leave(); });
    this.plane.addEventListener("keydown", (event) => this.key(event));
    stage.watchers.push((face) => { if (this.gliding) paint(this.loupe, face); });
    new ResizeObserver(() => { if (!this.plane.hidden) this.paintTerrain(); }).observe(this.plane);
    listen((keys) => { if (view.tab === "map") this.update(keys); });
  }

  place() { return [view.edits[view.x] ?? 0, view.edits[view.y] ?? 0]; }
  edits([x, y]) { return { ...view.edits, [view.y]: round(y), [view.x]: round(x) }; }

  at(event) {
    const box = this.terrain.getBoundingClientRect();
    const clip = (value) => Math.min(REACH, Math.max(-REACH, value));
    return [clip(((event.clientX - box.x) / box.width * 2 - 1) * REACH), clip((1 - (event.clientY - box.y) / box.height * 2) * REACH)];
  }

  css([x, y], ...names) {
    this.plane.style.setProperty(names[0], `${(x / REACH + 1) * 50}%`);
    this.plane.style.setProperty(names[1], `${(1 - y / REACH) * 50}%`);
  }

  update() {
    get("axis-x").value = view.x;
    get("axis-y").value = view.y;
    get("axis-x-name").textContent = `${directionLabel(view.x)} →`;
    get("axis-y-name").textContent = `${directionLabel(view.y)} ↑`;
    const here = this.place();
    this.css(here, "--px", "--py");
    if (!this.gliding) this.css(here, "--x", "--y");
    const words = `${directionLabel(view.x)} ${round(here[0])}, ${directionLabel(view.y)} ${round(here[1])}`;
    this.plane.setAttribute("aria-label", `Map: ${words}`);
    this.draw();
  }

  // A mosaic of the plane, so that one sees where one might go.
  async draw() {
    const others = { ...view.edits, [view.x]: 0, [view.y]: 0 };
    const wanted = JSON.stringify([steered(base(), {}), others, view.x, view.y]);
    if (wanted === this.drawn) return;
    this.drawn = wanted;
    this.drawing?.abort();
    const drawing = this.drawing = new AbortController();
    try {
      let middle = steered(base(), {});
      if (middle.length > MOST_TEXT) middle = await flatten(middle);
      const recipes = [];
      for (let row = 0; row < SIDE; row++) {
        for (let column = 0; column < SIDE; column++) {
          const x = ((column + 0.5) / SIDE * 2 - 1) * REACH, y = (1 - (row + 0.5) / SIDE * 2) * REACH;
          recipes.push(withEdits(middle, { ...others, [view.x]: round(x), [view.y]: round(y) }));
        }
      }
      this.mosaic = await faces(recipes, drawing.signal);
      this.paintTerrain();
    } catch (error) { if (error.name !== "AbortError") { this.drawn = ""; this.say(error.message); } }
  }

  paintTerrain() {
    if (!this.mosaic) return;
    const side = Math.min(1400, Math.round(this.terrain.clientWidth * (devicePixelRatio || 1))) || 448;
    this.terrain.width = this.terrain.height = side;
    const context = this.terrain.getContext("2d");
    context.imageSmoothingQuality = "high";
    this.mosaic.forEach((face, i) => {
      const left = Math.round((i % SIDE) * side / SIDE), top = Math.round(Math.floor(i / SIDE) * side / SIDE);
      context.drawImage(face, left, top, Math.ceil(side / SIDE), Math.ceil(side / SIDE));
    });
    this.plane.dataset.drawn = this.drawn;
  }

  axis(axis, name) {
    const edits = { ...view.edits };
    if (!edits[view[axis]]) delete edits[view[axis]];
    change({ [axis]: name, edits });
  }

  glide(event) {
    const [x, y] = this.at(event);
    this.gliding = true;
    this.loupe.hidden = false;
    this.css([x, y], "--x", "--y");
    const edits = this.edits([x, y]);
    this.stage.setDials(edits);
    this.stage.preview(edits);
  }

  rest(place) { change({ edits: this.edits(place) }); }

  leave() {
    this.gliding = false;
    this.loupe.hidden = true;
    this.plane.classList.remove("touched");
    this.css(this.place(), "--x", "--y");
    this.stage.setDials();
    this.stage.follow(current());
  }

  key(event) {
    const far = event.shiftKey ? 1 : 0.2;
    const [x, y] = this.place();
    const to = { ArrowLeft: [x - far, y], ArrowRight: [x + far, y], ArrowUp: [x, y + far], ArrowDown: [x, y - far], Home: [0, 0] }[event.key];
    if (event.key === "Enter") { event.preventDefault(); this.stage.keep(current()); }
    if (!to || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.rest(to.map((value) => Math.min(REACH, Math.max(-REACH, value))));
  }
}
