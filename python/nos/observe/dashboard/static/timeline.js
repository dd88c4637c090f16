// How it came to be so: allocation, who waited and fragmentation over one axis of time, what happened under them, and
// the last of it in words.

import { cluster } from "./cluster.js";
import { area } from "./chart.js";
import { h, keep, s } from "./dom.js";
import { clock, gpus, percent } from "./words.js";

const RANGES = { "15 min": 900, "1 h": 3600, "6 h": 21600, "24 h": 86400 };
const LANES = {
  Decisions: ["Scheduled"],
  Recuts: ["Repartitioning", "RepartitionFailed"],
  Evictions: ["Preempting", "Preempted", "Evicted"],
  Scaling: [
    "NodesOrdered", "NodeOrdered", "NodesNotMade", "NodeNotMade", "NodeUp", "NodeCancelled", "NodeDraining", "NodeDrained",
    "NodeNotDrained",
  ],
  Refusals: ["FailedScheduling", "RejectedByKubelet"],
};
const lane = (kind) => Object.keys(LANES).find((name) => LANES[name].includes(kind)) ?? "Other";
const BUCKETS = 60;
const FIRST = 100;
const WIDE = 1000;

let range = "1 h";
let shownLane = null;
let text = "";
let most = FIRST;

export function drawTimeline(host) {
  if (!host.firstChild) {
    host.append(
      h("div", { class: "tools" },
        h("div", { class: "choice", role: "group", "aria-label": "Time" }, Object.keys(RANGES).map((name) =>
          h("button", { "data-range": name, onclick: () => { range = name; drawTimeline(host); } }, name)))),
      h("div", { class: "scroll times", tabindex: 0, role: "region", "aria-label": "Timeline" },
        h("div", { class: "charts" }),
        h("div", { class: "tools" },
          h("h2", {}, "What happened"),
          h("label", { class: "find" }, h("span", { class: "unseen" }, "Find what happened"),
            h("input", { type: "search", placeholder: "Find", oninput: (event) => { text = event.target.value.trim().toLowerCase(); drawTimeline(host); } })),
          h("div", { class: "chips", role: "group", "aria-label": "Kinds" })),
        h("ol", { class: "moments" }), h("p", { class: "more" })));
  }
  for (const button of host.querySelectorAll("[data-range]")) button.setAttribute("aria-pressed", String(button.dataset.range === range));
  const to = cluster.at;
  const from = to - RANGES[range];
  const samples = cluster.history.filter(([at]) => at >= from);
  const charts = [
    lineChart("Allocation", samples, from, to, (one) => (one[1] ? one[2] / (one[1] * 1000) : 0), 1, "used", (value, one) => `${percent(value, 1)}, ${gpus(one[2])} of ${one[1]} GPUs`),
    lineChart("Waiting", samples, from, to, (one) => one[3], null, "waiting", (value) => `${value} Pods`),
    lineChart("Fragmentation", samples, from, to, (one) => one[4], null, "fragmentation", (value) => percent(value, 1)),
    ...Object.keys(LANES).map((name) => laneChart(name, samples, from, to)),
    { key: "axis", sign: `${from}`, make: () => axis(from, to) },
  ];
  keep(host.querySelector(".charts"), charts);
  drawMoments(host);
}

function lineChart(name, samples, from, to, of, top, kind, say) {
  const points = samples.map((one) => [one[0], of(one)]);
  const peak = top ?? Math.max(kind === "waiting" ? 1 : 0.01, ...points.map(([, value]) => value)) * 1.1;
  const now = points.at(-1)?.[1] ?? 0;
  const words = samples.length ? say(now, samples.at(-1)) : "nothing is known yet";
  const values = points.map(([, value]) => value);
  const spoken = samples.length ? `${name}: now ${words}; least ${say(Math.min(...values), samples.at(-1))}, most ${say(Math.max(...values), samples.at(-1))}` : `${name}: ${words}`;
  return {
    key: name, sign: `${range}|${points.length}|${points.at(-1)?.[0]}|${Math.floor(to / 5)}`,
    make: () => {
      const readout = h("span", { class: "muted readout" }, words);
      const cursor = s("line", { class: "cursor", y1: 0, y2: 80, x1: -9, x2: -9, "vector-effect": "non-scaling-stroke" });
      const svg = s("svg", { viewBox: `0 0 ${WIDE} 80`, preserveAspectRatio: "none", role: "img", "aria-label": spoken },
        [0.25, 0.5, 0.75].map((part) => s("line", { class: "rule", x1: 0, x2: WIDE, y1: 80 * part, y2: 80 * part, "vector-effect": "non-scaling-stroke" })),
        area(points, { from, to, top: peak, wide: WIDE, high: 80, kind }), cursor);
      svg.addEventListener("pointermove", (event) => {
        const { left, width } = svg.getBoundingClientRect();
        const at = from + ((event.clientX - left) / width) * (to - from);
        const near = samples.reduce((best, one) => (Math.abs(one[0] - at) < Math.abs((best?.[0] ?? Infinity) - at) ? one : best), null);
        if (!near) return;
        const x = ((near[0] - from) / (to - from)) * WIDE;
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
        readout.textContent = `${clock(near[0], false)}: ${say(of(near), near)}`;
      });
      svg.addEventListener("pointerleave", () => {
        cursor.setAttribute("x1", -9);
        cursor.setAttribute("x2", -9);
        readout.textContent = words;
      });
      return h("figure", { class: "line-chart" }, h("figcaption", {}, h("b", {}, name), readout), svg, h("span", { class: "peak", "aria-hidden": "true" }, top ? "100 %" : unit(peak)));
    },
  };
}

const unit = (value) => (value < 1 ? percent(value, 1) : String(Math.floor(value)));

function laneChart(name, samples, from, to) {
  const sums = new Array(BUCKETS).fill(0);
  for (const [at, , , , , happened] of samples) {
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor(((at - from) / (to - from)) * BUCKETS)));
    for (const [kind, count] of Object.entries(happened)) if (lane(kind) === name) sums[bucket] += count;
  }
  const total = sums.reduce((sum, one) => sum + one, 0);
  const peak = Math.max(...sums, 1);
  const step = WIDE / BUCKETS;
  return {
    key: name, sign: `${range}|${sums.join()}`,
    make: () => h("figure", { class: `lane ${name.toLowerCase()}` },
      h("figcaption", {}, h("b", {}, name), h("span", { class: "muted readout" }, total.toLocaleString("en"))),
      s("svg", { viewBox: `0 0 ${WIDE} 24`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${total} in ${range}` },
        s("line", { class: "rule", x1: 0, x2: WIDE, y1: 23.5, y2: 23.5, "vector-effect": "non-scaling-stroke" }),
        sums.map((sum, bucket) => {
          const high = sum ? 4 + 19 * Math.sqrt(sum / peak) : 0;
          return sum ? s("rect", { x: bucket * step + 1.5, y: 24 - high, width: step - 3, height: high, rx: 1.5 }, s("title", {}, String(sum))) : null;
        }))),
  };
}

function axis(from, to) {
  const every = { "15 min": 180, "1 h": 600, "6 h": 3600, "24 h": 14400 }[range];
  const offset = new Date().getTimezoneOffset() * 60;
  const first = Math.ceil((from - offset) / every) * every + offset;
  const marks = [];
  for (let at = first; at <= to; at += every) marks.push(at);
  return h("div", { class: "axis", "aria-hidden": "true" }, h("div", {}, marks.map((at) =>
    h("span", { style: { left: `${((at - from) / (to - from)) * 100}%` } }, clock(at, false)))));
}

function drawMoments(host) {
  const all = [...cluster.moments].reverse();
  const counts = new Map();
  for (const { kind } of all) counts.set(lane(kind), (counts.get(lane(kind)) ?? 0) + 1);
  if (shownLane && !counts.has(shownLane)) shownLane = null;
  keep(host.querySelector(".chips"), [...counts].map(([name, count]) => ({
    key: name, sign: `${count}${shownLane === name}`,
    make: () => h("button", { class: "chip", "data-focus": name, "aria-pressed": String(shownLane === name), onclick: () => { shownLane = shownLane === name ? null : name; drawTimeline(host); } }, name, h("span", { class: "count" }, count)),
  })));
  const chosen = all.filter((one) => (!shownLane || lane(one.kind) === shownLane) && (!text || [one.kind, one.object, one.text].some((word) => word.toLowerCase().includes(text))));
  const seen = new Map();
  keep(host.querySelector(".moments"), chosen.slice(0, most).map((one) => {
    const like = `${one.at}|${one.kind}|${one.object}|${one.text}`;
    seen.set(like, (seen.get(like) ?? 0) + 1);
    return { key: `${like}|${seen.get(like)}`, sign: "", make: () => h("li", { class: `moment ${lane(one.kind).toLowerCase()}${one.warning ? " warning" : ""}` },
      h("time", {}, clock(one.at)), h("span", { class: "code" }, one.kind), h("b", {}, one.object), h("span", {}, one.text)) };
  }));
  const left = chosen.length - most;
  keep(host.querySelector(".more"), [left > 0 && { key: "more", sign: String(left), make: () => h("button", { "data-focus": "more", onclick: () => { most += 4 * FIRST; drawTimeline(host); } }, `Show more: ${left} are left`) },
    !chosen.length && { key: "none", sign: "", make: () => h("span", {}, all.length ? "Nothing is like that." : "Nothing has happened since the controller began.") }].filter(Boolean));
}
