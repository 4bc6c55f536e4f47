/* Colours. */

/* Five colours of growing lightness that stay apart for every kind of colour vision. */
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const KINDS = ["#b4492b", "#3b6ea5", "#5a8f3c", "#8d5fa8", "#c99a2e", "#4f9d9d", "#a85f7a"];

function shade(share) {
  const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const low = Math.min(Math.floor(at), SCALE.length - 2);
  const mixed = SCALE[low].map((part, i) => Math.round(part + (at - low) * (SCALE[low + 1][i] - part)));
  return `rgb(${mixed.join(",")})`;
}

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function kindsOf(values) {
  const kinds = [...new Set(values)];
  return (value) => KINDS[kinds.indexOf(value) % KINDS.length];
}

/* How steps are coloured: a function of a step, and the entries of the legend. */
function colourings(rows) {
  const scale = [0, 0.25, 0.5, 0.75, 1].map((share) => [shade(share), percent(share)]);
  const precision = kindsOf(rows.map((step) => step.precision));
  const found = {
    "share of the roof": {
      of: (step) => (step.roof === null ? ink("--idle") : shade(step.roof)),
      legend: [...scale, [ink("--idle"), "neither computes nor moves"]],
    },
    "precision": {
      of: (step) => precision(step.precision),
      legend: [...new Set(rows.map((step) => step.precision))].map((each) => [precision(each), each || "none"]),
    },
    "bound": {
      of: (step) => (step.bound === "compute" ? KINDS[0] : KINDS[1]),
      legend: [[KINDS[0], "arithmetic units"], [KINDS[1], "memory"]],
    },
  };
  if (rows.some((step) => step.reference_ns !== null)) {
    found["times onnxruntime's time"] = {
      of: (step) => (step.reference_ns ? shade(1 - 0.5 * step.median_ns / step.reference_ns) : ink("--idle")),
      legend: [[shade(1), "0"], [shade(0.75), "0.5"], [shade(0.5), "1: as fast"], [shade(0), "2 and more"], [ink("--idle"), "not known there"]],
    };
  }
  return found;
}
