/* Strip of steps. */

function scopeOf(step) {
  const name = step.nodes[step.nodes.length - 1] || step.name || "";
  const separator = name.includes("/") ? "/" : name.includes("::") ? "::" : ".";
  const parts = name.split(separator).filter((part) => part);
  return parts.slice(0, -1).slice(0, 8);
}

/* Neighbours with the same first scopes form a block; each level of scopes is a row of blocks. */
function blocksOf(rows) {
  const scopes = rows.map(scopeOf);
  const levels = Math.max(0, ...scopes.map((scope) => scope.length));
  const begins = [0];
  rows.forEach((step) => begins.push(begins[begins.length - 1] + step.median_ns));
  const blocks = [];
  for (let level = 0; level < levels; level += 1) {
    let first = 0;
    for (let row = 1; row <= rows.length; row += 1) {
      const key = (index) => scopes[index].slice(0, level + 1).join("/");
      if (row < rows.length && key(row) === key(first)) continue;
      if (scopes[first].length > level) {
        blocks.push({ level, first, last: row, name: scopes[first][level], path: key(first) });
      }
      first = row;
    }
  }
  return { blocks, levels, begins };
}

function strip(rows, choose, title) {
  const { blocks, levels, begins } = blocksOf(rows);
  const total = begins[rows.length] || 1;
  const colours = colourings(rows);
  let colouring = Object.keys(colours)[0];
  let [left, right] = [0, total];
  let chosen = -1;
  const height = 24 * levels + 46;
  const at = (time, width) => ((time - left) / (right - left)) * width;
  const draw = (context, width) => {
    context.clearRect(0, 0, width, height);
    for (const block of blocks) {
      const x = at(begins[block.first], width);
      const w = at(begins[block.last], width) - x;
      if (x + w < 0 || x > width || w < 0.5) continue;
      context.fillStyle = ink(block.level % 2 ? "--panel" : "--ground");
      context.fillRect(x, 24 * block.level, w, 23);
      context.strokeStyle = ink("--line");
      context.strokeRect(x + 0.5, 24 * block.level + 0.5, w, 23);
      label(context, block.name, Math.max(x, 0), 24 * block.level + 12, Math.min(x + w, width) - Math.max(x, 0), ink("--text"));
    }
    rows.forEach((step, row) => {
      const x = at(begins[row], width);
      const w = at(begins[row + 1], width) - x;
      if (x + w < 0 || x > width) return;
      context.fillStyle = colours[colouring].of(step);
      context.fillRect(x, 24 * levels, Math.max(w - (w > 3 ? 1 : 0), 0.4), 46);
      if (row === chosen) {
        context.strokeStyle = ink("--text");
        context.lineWidth = 3;
        context.strokeRect(x + 1, 24 * levels + 1.5, Math.max(w - 2, 1), 43);
        context.lineWidth = 1;
      }
      if (w > 60) {
        context.fillStyle = "#000a";
        context.fillRect(x + 2, 24 * levels + 30, w - 5, 14);
        label(context, step.op_type, x, 24 * levels + 37, w - 4, "#fff");
      }
    });
  };
  const made = canvas(height, draw, title);
  const find = (event) => {
    const box = made.getBoundingClientRect();
    const time = left + ((event.clientX - box.left) / box.width) * (right - left);
    const y = event.clientY - box.top;
    let low = 0;
    let high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (begins[middle] <= time) low = middle; else high = middle - 1;
    }
    const level = Math.floor(y / 24);
    return level < levels ? blocks.find((b) => b.level === level && b.first <= low && low < b.last) || null : rows[low];
  };
  const zoom = (from, to) => { [left, right] = [from, to]; made.redraw(); };
  made.addEventListener("mousemove", (event) => {
    const found = find(event);
    if (!found) return showTip(event, "");
    const text = found.path !== undefined
      ? `${found.path}\n${duration(begins[found.last] - begins[found.first])} in ${found.last - found.first} steps`
      : `${found.op_type}\n${found.nodes.join(", ") || found.name}\n${duration(found.median_ns)}, ${percent(found.share)}, ${percent(found.roof)} of the roof`;
    return showTip(event, text);
  });
  made.addEventListener("click", (event) => {
    const found = find(event);
    if (!found) return;
    if (found.path !== undefined) zoom(begins[found.first], begins[found.last]);
    else choose(found.row);
  });
  made.addEventListener("dblclick", () => zoom(0, total));
  const legend = element("div", { class: "legend" });
  const explain = () => {
    legend.replaceChildren(...colours[colouring].legend.map(([colour, text]) =>
      element("span", {}, element("i", { style: `background:${colour}` }), text)));
  };
  const choice = element("select", { "aria-label": "colour", onchange: () => { colouring = choice.value; explain(); made.redraw(); } },
    ...Object.keys(colours).map((name) => element("option", {}, name)));
  const whole = element("button", { type: "button", onclick: () => zoom(0, total) }, "whole run");
  explain();
  made.mark = (row) => { chosen = row; made.redraw(); };
  return [element("div", { class: "tools" }, "colour: ", choice, whole), made, legend, made];
}
