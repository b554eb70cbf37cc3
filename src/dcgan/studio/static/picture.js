// Small faces shown large: smooth, at the screen's own resolution.

export function paint(canvas, face) {
  const shown = canvas.getBoundingClientRect().width || canvas.clientWidth || 64;
  const side = Math.max(face.width, Math.min(1024, Math.round(shown * (window.devicePixelRatio || 1))));
  if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(face, 0, 0, side, side);
  canvas.face = face;
}

export const repaint = (canvas) => { if (canvas.face) paint(canvas, canvas.face); };
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// The mean of faces: where the model puts eyes and mouth.
export function mean(faces) {
  const { width, height } = faces[0];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  faces.forEach((face, i) => { context.globalAlpha = 1 / (i + 1); context.drawImage(face, 0, 0); });
  return canvas;
}
