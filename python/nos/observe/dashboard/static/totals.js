// The cluster in four numbers, each with its last hour.

import { cluster, gpuNodes, problem } from "./cluster.js";
import { area } from "./chart.js";
import { byId, h, keep, s } from "./dom.js";
import { gpus, percent, plural } from "./words.js";

const HOUR_S = 3600;

export function drawTotals() {
  const { totals, at } = cluster;
  const recent = cluster.history.filter(([when]) => when > at - HOUR_S);
  const nodes = gpuNodes();
  const sick = nodes.filter(problem).length;
  const part = totals.gpus ? totals.used / (totals.gpus * 1000) : 0;
  const longest = cluster.queue.reduce((most, { since }) => Math.max(most, at - since), 0);
  const tiles = [
    ["GPUs in use", percent(part, 1), `${gpus(totals.used)} of ${totals.gpus.toLocaleString("en")}`, (one) => (one[1] ? one[2] / (one[1] * 1000) : 0), 1, "used"],
    ["Waiting", totals.waiting.toLocaleString("en"), totals.waiting ? `the longest ${minutes(longest)}` : "nobody", (one) => one[3], null, "waiting"],
    ["Fragmentation", percent(totals.fragmentation, 1), "of what is free", (one) => one[4], null, "fragmentation"],
    ["Nodes", nodes.length.toLocaleString("en"), sick ? `${plural(sick, "node")} with a problem` : "all take Pods", null, 0, "nodes"],
  ];
  keep(byId("totals"), tiles.map(([name, value, more, of, top, kind]) => {
    const points = of ? recent.map((one) => [one[0], of(one)]) : [];
    const from = Math.min(points[0]?.[0] ?? at, at - 300);
    return {
      key: name, sign: [value, more, points.length, points.at(-1)?.[0]].join("|"),
      make: () => h("div", { class: "total" },
        h("p", { class: "name" }, name), h("p", { class: "value" }, value), h("p", { class: `note${kind === "nodes" && sick ? " trouble" : ""}` }, more),
        s("svg", { viewBox: "0 0 120 34", preserveAspectRatio: "none", "aria-hidden": "true" },
          area(points, { from, to: at, top: top ?? Math.max(0.001, ...points.map(([, y]) => y)) * 1.15, wide: 120, high: 34, kind }))),
    };
  }));
}

function minutes(seconds) {
  if (seconds < 120) return `${Math.floor(Math.max(0, seconds))} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} days`;
}
