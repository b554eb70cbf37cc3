// A conditional model's labels: a class group is a select, yes or no a switch that may stay as drawn, a number a slider.

import { directionLabel } from "./recipe.js";

const DRAWN = "As drawn";

// One label's row. `tell` gets [name, value], or null for as the seed drew it; `show` sets what is seen, `inWords` says it.
export function labelDial(given, tell) {
  const title = directionLabel(given.name);
  const row = document.createElement(given.kind === "binary" ? "div" : "label");
  row.className = "dial";
  row.innerHTML = "<span></span>";
  row.firstChild.textContent = title;
  return { row, ...({ class: classes, binary: yesOrNo, number: range })[given.kind](given, title, row, tell) };
}

// `hair=red` is Red within Hair.
const within = (name) => directionLabel(name.slice(name.indexOf("=") + 1));

function classes({ name, classes: names }, title, row, tell) {
  const select = document.createElement("select");
  select.dataset.label = name;
  select.append(new Option(DRAWN, ""), ...names.map((one) => new Option(within(one), one)));
  select.addEventListener("change", () => tell(select.value ? [select.value, 1] : null));
  row.append(select);
  return {
    show: (told) => { select.value = told?.[0] ?? ""; row.classList.toggle("moved", Boolean(told)); },
    inWords: ([one]) => within(one).toLowerCase(),
  };
}

function yesOrNo({ name }, title, row, tell) {
  const three = document.createElement("span");
  three.className = "three";
  three.setAttribute("role", "radiogroup");
  three.setAttribute("aria-label", title);
  three.dataset.label = name;
  for (const [value, text] of [["", DRAWN], ["0", "No"], ["1", "Yes"]]) {
    const label = document.createElement("label");
    label.innerHTML = '<input type="radio">';
    Object.assign(label.firstChild, { value, name: `label ${name}` });
    label.firstChild.addEventListener("change", () => tell(value ? [name, value] : null));
    label.append(text);
    three.append(label);
  }
  row.append(three);
  return {
    show: (told) => {
      three.querySelector(`[value="${told?.[1] ?? ""}"]`).checked = true;
      row.classList.toggle("moved", Boolean(told));
    },
    inWords: ([, value]) => `${value === "1" ? "" : "no "}${title.toLowerCase()}`,
  };
}

function range({ name, low, high, digits }, title, row, tell) {
  const decimals = Math.max(0, digits);
  row.insertAdjacentHTML("beforeend", '<input type="range"><output></output>');
  const [, input, output] = row.children;
  Object.assign(input, { min: low, max: high, step: 10 ** -digits });
  input.dataset.label = name;
  row.title = `${name}: ${low} to ${high}; a double click leaves it as drawn`;
  input.addEventListener("input", () => tell([name, Number(input.value).toFixed(decimals)]));
  input.addEventListener("dblclick", () => tell(null));
  return {
    show: (told) => {
      input.value = told?.[1] ?? (low + high) / 2;
      output.textContent = told?.[1] ?? "drawn";
      input.setAttribute("aria-valuetext", told?.[1] ?? DRAWN);
      row.classList.toggle("moved", Boolean(told));
    },
    inWords: ([, value]) => `${title.toLowerCase()} ${value}`,
  };
}
