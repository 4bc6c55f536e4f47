/* Two reports. */

const keyOf = (step) => step.nodes.join("|") || `${step.op_type} ${step.name}`;

function matched(one, two) {
  const others = new Map();
  for (const step of two) others.set(keyOf(step), [...(others.get(keyOf(step)) || []), step]);
  const pairs = one.map((a) => ({ a, b: (others.get(keyOf(a)) || []).shift() || null }));
  for (const rest of others.values()) for (const b of rest) pairs.push({ a: null, b });
  return pairs;
}

function comparison(first, second) {
  const own = (data) => data.engines.find((each) => each.engine === "sardonyx").median_ns;
  const change = own(second) / own(first);
  page.append(
    element("h1", {}, `${first.title} and ${second.title}`),
    element("p", { class: "faint" }, [first, second].map((data) => `${data.model.name}: sardonyx ${data.version}, ${data.processor}, ${data.threads} thread${data.threads > 1 ? "s" : ""}, ${data.date.slice(0, 10)}`).join(" · ")),
    bars([
      { name: first.title, ns: own(first), own: true },
      { name: second.title, ns: own(second), note: `${change.toFixed(3)} times the time of the first`, tint: change > 1 ? "bad" : "good" },
    ]),
  );
  const [one, two] = [steps(first), steps(second)];
  const nothing = () => {};
  section(`Steps of ${first.title}`, ...strip(one, nothing, "steps of the first").slice(0, 3));
  section(`Steps of ${second.title}`, ...strip(two, nothing, "steps of the second").slice(0, 3));
  section("By operator", differences(first, second));
  const time = (step) => (step ? step.median_ns : null);
  const more = (pair) => (time(pair.b) || 0) - (time(pair.a) || 0);
  const [filter, box] = list(matched(one, two), [
    { title: "operators", width: 180, text: (p) => (p.a || p.b).op_type },
    { title: "nodes", width: 330, text: (p) => (p.a || p.b).nodes.join(", ") || (p.a || p.b).name },
    { title: "first", width: 100, kind: "number", text: (p) => duration(time(p.a)), order: (p) => time(p.a) },
    { title: "second", width: 100, kind: "number", text: (p) => duration(time(p.b)), order: (p) => time(p.b) },
    { title: "more", width: 110, kind: "number", text: (p) => signed(more(p)), order: more, tint: (p) => (more(p) > 0 ? "bad" : "good") },
    { title: "ratio", width: 80, kind: "number", text: (p) => (p.a && p.b ? (p.b.median_ns / p.a.median_ns).toFixed(2) : "–"), order: (p) => (p.a && p.b ? p.b.median_ns / p.a.median_ns : null) },
    { title: "kernels", width: 380, text: (p) => [...new Set([p.a, p.b].filter((s) => s).map((s) => s.kernel))].join(" → ") },
  ], { label: "steps of both" });
  section("Steps of both", filter, box);
}

const signed = (ns) => (ns < 0 ? `−${duration(-ns)}` : `+${duration(ns)}`);

function differences(first, second) {
  const times = (data) => new Map(data.operators.map((group) => [group.op_type, group.median_ns]));
  const [one, two] = [times(first), times(second)];
  const kinds = [...new Set([...one.keys(), ...two.keys()])];
  const rows = kinds.map((kind) => [kind, one.get(kind) || 0, two.get(kind) || 0]);
  rows.sort((a, b) => Math.abs(b[2] - b[1]) - Math.abs(a[2] - a[1]));
  return table(["operators", first.title, second.title, "more"], rows.map(([kind, a, b]) => [kind, duration(a), duration(b), signed(b - a)]));
}
