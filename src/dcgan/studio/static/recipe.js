// Faces as text, as dcgan.studio.recipes reads them, and in words.

const NUMBER = (value) => String(Math.round(value * 10000) / 10000);
export const isSeed = (recipe) => /^\d{1,18}$/.test(recipe);
export const name = (direction) => encodeURIComponent(direction).replace(/[!~*'()]/g,
  (letter) => `%${letter.charCodeAt(0).toString(16)}`);

export function withEdits(recipe, edits) {
  return recipe + Object.entries(edits).filter(([, amount]) => amount)
    .map(([direction, amount]) => `+${name(direction)}:${NUMBER(amount)}`).join("");
}

// `labels` holds [name, value] of each that is told, under its place among the model's.
export const withLabels = (recipe, labels) => recipe + Object.values(labels).map(([label, value]) => `!${name(label)}:${value}`).join("");

export const mixed = (recipes, share) => `(${recipes.join("~")}@${NUMBER(Math.min(1, Math.max(0, share)))})`;

// Truncation belongs to seeds: `42` becomes `42t0.7`, also within a mix.
export function calmed(recipe, calm) {
  if (calm === null) return recipe;
  return recipe.replace(/(^|[(~])(\d+)(?=$|[~@+!])/g, (_, before, seed) => `${before}${seed}t${NUMBER(calm)}`);
}

export function label(recipe) {
  if (isSeed(recipe)) return recipe;
  const mix = recipe.match(/^\(([^()~]+)~([^()~]+)@([\d.]+)\)$/);
  if (mix && mix[1].length + mix[2].length < 22) return `${label(mix[1])} × ${label(mix[2])}`;
  if (recipe.startsWith("z")) return "latent";
  const edited = recipe.match(/^(\d+)[+!]/);
  return edited ? `${edited[1]}, edited` : "mix";
}

export const inWords = (recipe) => (isSeed(recipe) ? `seed ${recipe}` : label(recipe) === "latent" ? "a latent" : label(recipe));

export function directionLabel(direction) {
  const principal = direction.match(/^(weights|features)-(\d+)$/);
  if (principal) return principal[1] === "weights" ? `Principal ${principal[2]}` : `Feature ${principal[2]}`;
  const words = direction.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}
