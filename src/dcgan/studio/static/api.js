// Talking to the server: errors as sentences, sheets cut into faces, and motion that never queues up.

export const COLUMNS = 8;
let model = null;

export const useModel = (value) => { model = value; };

export async function ask(path, options = {}) {
  let answer;
  for (let attempt = 0; ; attempt++) {
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The studio does not answer. Is it still running?");
    }
    if (answer.status !== 503 || attempt >= 4 || options.method === "POST") break;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") || 1)));
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `The studio answered ${answer.status}.`);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

export function query(path, recipes, more = {}) {
  const parameters = new URLSearchParams();
  for (const recipe of recipes) parameters.append("f", recipe);
  for (const [name, value] of Object.entries(more)) parameters.set(name, value);
  parameters.set("m", model.digest.slice(0, 16));
  return `${path}?${parameters}`;
}

// The picture of many faces, cut into one small canvas each.
async function cut(answer, count) {
  const sheet = await createImageBitmap(await answer.blob());
  const size = model.settings.size;
  const faces = [];
  for (let i = 0; i < count; i++) {
    const face = new OffscreenCanvas(size, size);
    face.getContext("2d").drawImage(sheet, -(i % COLUMNS) * size, -Math.floor(i / COLUMNS) * size);
    faces.push(face);
  }
  sheet.close();
  return faces;
}

// Exact faces of recipes, in as few requests as their length allows.
export async function faces(recipes, signal) {
  const batches = [[]];
  let length = 0;
  for (const recipe of recipes) {
    length += recipe.length * 1.3 + 3;
    if (length > 30000 || batches.at(-1).length === model.most_faces) { batches.push([]); length = recipe.length; }
    batches.at(-1).push(recipe);
  }
  const answers = await Promise.all(batches.map(async (batch) =>
    cut(await ask(query("/api/faces", batch), { signal }), batch.length)));
  return answers.flat();
}

export async function walkPart(recipes, part, count, loop, signal) {
  return cut(await ask(query("/api/walk", recipes, { part, loop: loop ? 1 : 0 }), { signal }), count);
}

export async function flatten(recipe) {
  return (await askJson(query("/api/latents", [recipe]))).latents[0];
}

// A face in motion: always the newest wish, one request at a time; the exact face once it rests.
export class Follower {
  constructor(show, complain) {
    Object.assign(this, { show, complain, wanted: null, shown: null, settled: null, busy: false, rest: 0, exact: null });
  }

  follow(recipe) {
    if (recipe === this.wanted) return;
    Object.assign(this, { wanted: recipe, settled: null });
    this.exact?.abort();
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.settle(recipe), 160);
    if (!this.busy) this.run();
  }

  stop() { Object.assign(this, { wanted: null, shown: null }); clearTimeout(this.rest); this.exact?.abort(); }

  async run() {
    this.busy = true;
    while (this.wanted !== null && this.wanted !== this.shown && this.wanted !== this.settled) {
      const recipe = this.wanted;
      try {
        const [face] = await cut(await ask(query("/api/faces", [recipe], { quick: 1 })), 1);
        if (this.wanted !== null && this.wanted !== this.settled) this.show(face, recipe, false);
        this.shown = recipe;
      } catch (error) { this.complain(error); break; }
    }
    this.busy = false;
  }

  async settle(recipe) {
    this.exact = new AbortController();
    try {
      const [face] = await faces([recipe], this.exact.signal);
      if (this.wanted === recipe) { this.settled = recipe; this.show(face, recipe, true); }
    } catch (error) { if (error.name !== "AbortError") this.complain(error); }
  }
}
