"use strict";
/* Report of sardonyx: all that it shows is in the element "data" of the page. */
const given = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const tip = document.getElementById("tip");
const ROW = 26;

function element(kind, options = {}, ...children) {
  const made = document.createElement(kind);
  for (const [key, value] of Object.entries(options)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

function section(title, ...children) {
  page.append(element("h2", {}, title), ...children.filter((child) => child));
}

function duration(ns) {
  if (ns === null || ns === undefined) return "–";
  if (ns >= 1e9) return `${(ns / 1e9).toPrecision(3)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toPrecision(3)} ms`;
  return `${(ns / 1e3).toPrecision(3)} µs`;
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < 3) { count /= 1024; unit += 1; }
  return `${unit ? count.toPrecision(3) : count} ${units[unit]}`;
}

function quantity(count) {
  const units = ["", "k", "M", "G", "T"];
  let unit = 0;
  while (count >= 1000 && unit < 4) { count /= 1000; unit += 1; }
  return `${unit ? count.toPrecision(3) : count}${units[unit]}`;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const ratio = (other, own) => (other === null || !own ? "–" : (other / own).toFixed(2));
const error = (value) => (value === null ? "–" : value.toExponential(1));

function steps(data) {
  return data.steps.map((values, row) => {
    const step = { row };
    data.columns.forEach((column, index) => { step[column] = values[index]; });
    return step;
  });
}
