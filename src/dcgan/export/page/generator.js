// The generator, computed by onnxruntime-web in a worker so that the page never waits for it.

/** Loads a model into a worker; `images(latents)` then resolves to an ImageData a latent. */
export class Generator {
  /** `size` numbers of a latent are z, and the rest, if any, are labels. */
  constructor(file, size) {
    this.size = size;
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.ready = new Promise((resolve, reject) => this.waiting.set("ready", { resolve, reject }));
    this.worker.onmessage = ({ data: { id, error, pixels, shape } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(pixels && toImages(pixels, shape));
    };
    this.worker.onerror = (event) => this.waiting.get("ready")?.reject(new Error(event.message ?? "the worker failed"));
    this.worker.postMessage({ id: "ready", file: new URL(file, document.baseURI).href });
  }

  /** Images of latents, a list of Float32Array. */
  async images(latents) {
    await this.ready;
    const id = (this.count += 1);
    const inputs = { latents: this.columns(latents, 0, this.size) };
    if (latents[0].length > this.size) inputs.labels = this.columns(latents, this.size, latents[0].length);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, inputs });
    });
  }

  /** Columns `from` to `to` of latents, as data and shape of a tensor. */
  columns(latents, from, to) {
    const data = new Float32Array(latents.length * (to - from));
    latents.forEach((latent, i) => data.set(latent.subarray(from, to), i * (to - from)));
    return { data, shape: [latents.length, to - from] };
  }
}

/** Bytes N x H x W x C (grey, grey and alpha, RGB or RGBA) as N ImageData. */
function toImages(pixels, [count, height, width, channels]) {
  const area = height * width;
  return Array.from({ length: count }, (_, n) => {
    const image = new ImageData(width, height);
    for (let i = 0; i < area; i += 1) {
      const from = (n * area + i) * channels;
      const colour = channels < 3 ? [0, 0, 0] : [0, 1, 2];
      colour.forEach((channel, k) => (image.data[4 * i + k] = pixels[from + channel]));
      image.data[4 * i + 3] = channels % 2 ? 255 : pixels[from + channels - 1];
    }
    return image;
  });
}
