/* Parts of a report. */

function bars(entries) {
  const most = Math.max(...entries.map((entry) => entry.ns || 0)) || 1;
  const made = element("div", { class: "bars" });
  for (const entry of entries) {
    const width = entry.ns ? (100 * entry.ns) / most : 0;
    made.append(
      element("span", {}, entry.name),
      element("div", { class: "track" }, element("i", { class: entry.own ? "own" : "", style: `width:${width}%` })),
      element("b", { class: "number" }, entry.ns ? duration(entry.ns) : "–"),
      element("span", { class: entry.tint || "faint" }, entry.note || ""),
    );
  }
  return made;
}

function headline(data) {
  const own = data.engines.find((each) => each.engine === "sardonyx").median_ns;
  page.append(
    element("h1", {}, data.model.name),
    element("p", { class: "faint" }, [
      `sardonyx ${data.version}`, data.processor, `${data.threads} thread${data.threads > 1 ? "s" : ""}`, `medians of ${data.runs} runs`, data.date.replace("T", " ").replace("+00:00", " UTC"),
    ].join(" · ")),
    bars(data.engines.map((each) => ({
      name: each.engine, ns: each.median_ns, own: each.engine === "sardonyx",
      note: each.error ? each.error : each.engine === "sardonyx" || !each.median_ns ? "" : `sardonyx is ${(each.median_ns / own).toFixed(2)} times as fast`,
      tint: each.median_ns && each.median_ns < own ? "bad" : "good",
    }))),
    element("p", { class: "faint" }, facts(data).join(" · ")),
  );
}

function facts(data) {
  const model = data.model;
  const inputs = Object.entries(model.inputs).map(([name, [dtype, ...dims]]) => `${name}: ${dtype} ${dims.join("×") || "scalar"}`);
  const flops = data.steps.reduce((sum, step) => sum + step[data.columns.indexOf("flops")], 0);
  return [
    `${model.nodes} nodes became ${data.steps.length} steps`, `${quantity(model.parameters)} parameters`, `${quantity(flops)} operations`,
    `${bytes(data.memory.arena_bytes || 0)} of working memory`, `${bytes(data.memory.weight_bytes || 0)} of packed weights`, ...inputs,
  ];
}

function words(data) {
  if (!data.findings.length && !data.notes.length) {
    section("Findings", element("p", {}, "Nothing that is far from what this machine can do."));
    return;
  }
  section("Findings", element("ul", {}, ...data.findings.map(([text]) => element("li", {}, text)), ...data.notes.map((text) => element("li", { class: "faint" }, text))));
}

const STEP_LIST = [
  { title: "#", width: 56, kind: "number", text: (s) => String(s.index), order: (s) => s.row },
  { title: "operators", width: 170, text: (s) => s.op_type },
  { title: "nodes", width: 230, text: (s) => s.nodes.join(", ") || s.name },
  { title: "time", width: 84, kind: "number", text: (s) => duration(s.median_ns), order: (s) => s.median_ns },
  { title: "share", width: 70, kind: "number", text: (s) => percent(s.share), order: (s) => s.share },
  { title: "GFLOP/s", width: 80, kind: "number", text: (s) => (s.flops ? (s.flops / s.median_ns).toFixed(1) : "–"), order: (s) => s.flops / s.median_ns },
  { title: "GB/s", width: 70, kind: "number", text: (s) => (s.bytes ? (s.bytes / s.median_ns).toFixed(1) : "–"), order: (s) => s.bytes / s.median_ns },
  { title: "of roof", width: 76, kind: "number", help: "least time by this machine's roofline, divided by the time", text: (s) => percent(s.roof), order: (s) => s.roof },
  { title: "onnxruntime", width: 104, kind: "number", text: (s) => duration(s.reference_ns), order: (s) => s.reference_ns },
  { title: "ratio", width: 64, kind: "number", help: "onnxruntime / sardonyx", text: (s) => ratio(s.reference_ns, s.median_ns), order: (s) => (s.reference_ns === null ? null : s.reference_ns / s.median_ns), tint: (s) => (s.reference_ns === null ? "" : s.reference_ns < s.median_ns ? "bad" : "good") },
  { title: "error", width: 76, kind: "number", help: "largest error against onnxruntime, relative to the largest value", text: (s) => error(s.max_rel), order: (s) => s.max_rel },
  { title: "prec.", width: 60, text: (s) => s.precision },
  { title: "layout", width: 110, text: (s) => s.layout },
  { title: "kernel", width: 240, text: (s) => s.kernel },
];

function detailOf(step, data) {
  const nodes = data.nodes.filter((node) => node[2] === step.row);
  return [
    element("h3", {}, `step ${step.index}: ${step.op_type}`),
    element("p", {}, `${duration(step.median_ns)} (95th percentile ${duration(step.p95_ns)}), ${quantity(step.flops)} operations, ${bytes(step.bytes)} of least traffic; ${percent(step.roof)} of the roof, bound by ${step.bound === "compute" ? "the arithmetic units" : "memory"}`),
    element("p", { class: "faint" }, `${step.kernel}, ${step.layout}, ${step.precision}`),
    element("ul", {}, ...nodes.map(([name, kind, , fate]) => element("li", {}, `${kind} ${name}`, element("span", { class: "faint" }, fate === "runs" ? "" : ` (${fate})`)))),
  ];
}

function program(data) {
  const rows = steps(data);
  const detail = element("div", { id: "detail", hidden: "" });
  let marked = null;
  const choose = (row) => {
    detail.hidden = false;
    detail.replaceChildren(...detailOf(rows[row], data));
    marked.mark(row);
    box.reveal(rows[row]);
  };
  const [controls, drawn, legend, handle] = strip(rows, choose, "steps of the program by time");
  marked = handle;
  const [filter, box] = list(rows, STEP_LIST, { choose: (step) => choose(step.row), label: "steps" });
  section("The program", element("p", { class: "faint" }, "Fused steps in order, as wide as they take time, below the scopes of their nodes. A click on a scope enlarges it, one on a step shows its nodes."), controls, drawn, legend, detail, filter, box);
  section("By operator", operators(data));
}

function operators(data) {
  const head = ["operators", "steps", "time", "share", "onnxruntime", "ratio"];
  return table(head, data.operators.map((group) => [group.op_type, String(group.count), duration(group.median_ns), percent(group.share), duration(group.reference_ns), ratio(group.reference_ns, group.median_ns)]));
}

function table(head, rows) {
  const cell = (kind, text, index) => element(kind, { class: index ? "number" : "" }, text);
  return element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((text, index) => cell("th", text, index)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text, index) => cell("td", text, index))))));
}

function memory(data) {
  const plan = data.memory.buffers;
  if (!plan.length) return;
  const count = data.steps.length;
  const top = Math.max(...plan.map(([, offset, size]) => offset + size));
  const live = new Array(count).fill(0);
  for (const [, , size, first, last] of plan) for (let step = first; step <= last; step += 1) live[step] += size;
  const height = 260;
  const draw = (context, width) => {
    context.clearRect(0, 0, width, height);
    const unit = width / count;
    for (const [name, offset, size, first, last] of plan) {
      const [x, w] = [first * unit, (last - first + 1) * unit];
      const [y, h] = [height - ((offset + size) / top) * height, (size / top) * height];
      context.fillStyle = name ? KINDS[hash(name) % KINDS.length] : ink("--idle");
      context.fillRect(x, y, Math.max(w - 1, 0.5), Math.max(h - 1, 0.5));
      if (h > 14) label(context, name || "scratch", x, y + h / 2, w, "#fff");
    }
    context.strokeStyle = ink("--text");
    context.lineWidth = 1.5;
    context.beginPath();
    live.forEach((sum, step) => context.lineTo((step + 0.5) * unit, height - (sum / top) * height));
    context.stroke();
    context.lineWidth = 1;
  };
  const made = canvas(height, draw, "plan of working memory over the steps");
  made.addEventListener("mousemove", (event) => {
    const box = made.getBoundingClientRect();
    const step = Math.floor(((event.clientX - box.left) / box.width) * count);
    const at = (1 - (event.clientY - box.top) / box.height) * top;
    const found = plan.find(([, offset, size, first, last]) => first <= step && step <= last && offset <= at && at < offset + size);
    const now = `step ${step}: ${bytes(live[step] || 0)} in use`;
    showTip(event, found ? `${found[0] || "scratch of a step"}\n${bytes(found[2])} at ${found[1]}, steps ${found[3]} to ${found[4]}\n${now}` : now);
  });
  section("Memory", element("p", { class: "faint" }, `Working memory of ${bytes(top)} from bottom to top, steps from left to right; the line is what is in use (at most ${bytes(Math.max(...live))}).`), made);
}

function hash(text) {
  let value = 0;
  for (const sign of text) value = (value * 31 + sign.codePointAt(0)) % 65521;
  return value;
}

function optimizer(data) {
  const { before, after, passes, explanations } = data.optimizer;
  const kinds = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const most = Math.max(1, ...Object.values(before), ...Object.values(after));
  const pairs = element("div", { class: "pair" });
  for (const kind of kinds) {
    const [was, is] = [before[kind] || 0, after[kind] || 0];
    pairs.append(
      element("i", { class: "left", style: `width:${(100 * was) / most}%` }),
      element("span", {}, `${was} ${kind} ${is}`),
      element("i", { style: `width:${(100 * is) / most}%` }),
    );
  }
  const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const reasons = explanations.length
    ? element("details", {}, element("summary", {}, `${explanations.length} explanations: what was fused, and why not more`), element("ul", {}, ...explanations.map((text) => element("li", {}, text))))
    : element("p", { class: "faint" }, "No fusion needed an explanation.");
  const nodes = data.nodes.map(([name, kind, step, fate]) => ({ name, kind, step, fate }));
  const [filter, box] = list(nodes, [
    { title: "node", width: 420, text: (n) => n.name },
    { title: "operator", width: 180, text: (n) => n.kind },
    { title: "became", width: 110, text: (n) => n.fate },
    { title: "step", width: 70, kind: "number", text: (n) => (n.step < 0 ? "–" : String(n.step)), order: (n) => (n.step < 0 ? null : n.step) },
  ], { label: "nodes of the model" });
  section("The optimizer",
    element("p", {}, `${sum(before)} nodes before, ${sum(after)} after`),
    element("div", { class: "columns" },
      element("div", {}, element("h3", {}, "Operators before and after"), pairs),
      element("div", {}, element("h3", {}, "Passes"), table(["pass", "changes", "ms"], passes.map(([name, changes, ms]) => [name, String(changes), String(ms)])))),
    reasons, element("h3", {}, "Nodes of the model, and what became of them"), filter, box);
}

function quantization(data) {
  if (!data.integers.length) return;
  const say = (value) => (value === null ? "–" : value ? "integers" : "floats");
  const [filter, box] = list(data.integers, [
    { title: "node", width: 340, text: (n) => n.name },
    { title: "operator", width: 150, text: (n) => n.op_type },
    { title: "here", width: 90, text: (n) => say(n.here), tint: (n) => (n.here === false ? "bad" : "") },
    { title: "onnxruntime", width: 110, text: (n) => say(n.reference) },
    { title: "why", width: 460, text: (n) => n.reason || "" },
  ], { label: "quantized nodes" });
  section("Quantization", filter, box);
}
