/* Long lists. */

/* A list that draws only the rows that are seen. Columns: title, width, text, order, class. */
function list(rows, columns, options = {}) {
  const template = columns.map((column) => `${column.width}px`).join(" ");
  const body = element("div", { class: "body" });
  const head = element("div", { class: "head", role: "row", style: `grid-template-columns:${template}` });
  const box = element("div", { class: "list", role: "table", tabindex: "0", "aria-label": options.label || "list" }, head, body);
  let shown = rows;
  let [sorted, direction] = [null, 1];
  let chosen = null;
  let wanted = "";
  const draw = () => {
    body.style.height = `${ROW * shown.length}px`;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 8);
    const last = Math.min(shown.length, first + Math.ceil(box.clientHeight / ROW) + 16);
    body.replaceChildren(...shown.slice(first, last).map((row, index) => {
      const made = element("div", { class: row === chosen ? "row chosen" : "row", role: "row", style: `top:${ROW * (first + index)}px;grid-template-columns:${template}` });
      for (const column of columns) {
        const cell = element("span", { role: "cell", class: column.kind || "", title: column.text(row) }, column.text(row));
        if (column.tint) cell.classList.add(column.tint(row) || "plain");
        made.append(cell);
      }
      if (options.choose) made.addEventListener("click", () => options.choose(row));
      return made;
    }));
  };
  const arrange = () => {
    const text = wanted.toLowerCase();
    shown = text ? rows.filter((row) => columns.some((column) => column.text(row).toLowerCase().includes(text))) : [...rows];
    if (sorted) {
      const value = sorted.order || sorted.text;
      const absent = (x) => x === null || x === undefined;
      shown.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (absent(x) || absent(y)) return absent(x) - absent(y);
        return direction * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    draw();
  };
  for (const column of columns) {
    head.append(element("button", {
      type: "button", class: column.kind || "", role: "columnheader", title: column.help || column.title,
      onclick: () => {
        direction = sorted === column ? -direction : column.kind === "number" ? -1 : 1;
        sorted = column;
        box.scrollTop = 0;
        arrange();
      },
    }, column.title));
  }
  let pending = false;
  box.addEventListener("scroll", () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(); });
  }, { passive: true });
  new ResizeObserver(draw).observe(box);
  const filter = element("input", { type: "search", placeholder: "filter", "aria-label": "filter", oninput: () => { wanted = filter.value; box.scrollTop = 0; arrange(); } });
  box.reveal = (row) => {
    chosen = row;
    const index = shown.indexOf(row);
    if (index >= 0 && (index * ROW < box.scrollTop || (index + 3) * ROW > box.scrollTop + box.clientHeight)) {
      box.scrollTop = Math.max(0, (index - 3) * ROW);
    }
    draw();
  };
  arrange();
  return [element("div", { class: "tools" }, filter, element("span", { class: "faint" }, `${rows.length} rows; a click on a heading sorts`)), box];
}
