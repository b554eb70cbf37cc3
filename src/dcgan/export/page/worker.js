// One onnxruntime session; requests are answered in turn.
import * as ort from "./onnxruntime/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("onnxruntime/", import.meta.url).href;
// Threads need headers that most static hosts do not send (cross-origin isolation).
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;

let session;
let last = Promise.resolve();

self.onmessage = ({ data }) => {
  last = last.then(() => answer(data)).catch((error) => self.postMessage({ id: data.id, error: String(error.message ?? error) }));
};

async function answer({ id, file, inputs }) {
  if (file) {
    session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
    self.postMessage({ id });
    return;
  }
  const tensors = Object.entries(inputs).map(([name, { data, shape }]) => [name, new ort.Tensor("float32", data, shape)]);
  const { images } = await session.run(Object.fromEntries(tensors));
  self.postMessage({ id, pixels: images.data, shape: images.dims });
}
