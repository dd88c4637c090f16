// The nodes as a table: what the map shows, for eyes that read and for those that cannot see.

import { gpuNodes, owners, problem, used } from "./cluster.js";
import { ofPod, themed } from "./colours.js";
import { h, keep } from "./dom.js";
import { look } from "./look.js";
import { about, gpus } from "./words.js";

const FIRST = 100;
let most = FIRST;

// go(node, slot): look there.
export function drawNodes(host, go) {
  const chosen = look.order(gpuNodes().filter(look.matches));
  let table = host.querySelector("table");
  if (!table) {
    table = h("table", { class: "rows" },
      h("caption", { class: "unseen" }, "Nodes with GPUs"),
      h("thead", {}, h("tr", {}, ["Node", "GPUs", "In use", "CPU", "Memory", "Pods", "Model", "Note"].map((name, index) => h("th", { scope: "col", class: index >= 2 && index <= 5 ? "number" : "" }, name)))),
      h("tbody", {}));
    host.replaceChildren(table, h("p", { class: "more" }));
  }
  keep(table.tBodies[0], chosen.slice(0, most).map((node) => ({
    key: node.name,
    sign: JSON.stringify([node, look.mode, look.name, look.text, themed().isDark]),
    make: () => row(node, go),
  })));
  const left = chosen.length - most;
  keep(host.querySelector(".more"), [left > 0 && {
    key: "more", sign: String(left),
    make: () => h("button", { "data-focus": "more", onclick: () => { most += 4 * FIRST; drawNodes(host, go); } }, `Show more: ${left} are left`),
  }, !chosen.length && { key: "none", sign: "", make: () => h("span", {}, "No node is like that.") }].filter(Boolean));
}

function row(node, go) {
  const pair = (resource, [asked, there] = [0, 0]) => h("td", { class: "number" }, `${about(resource, asked)} of ${about(resource, there)}`);
  return h("tr", {},
    h("th", { scope: "row" }, h("button", { class: "link", "data-focus": node.name, onclick: () => go(node.name, null) }, node.name)),
    h("td", {}, h("span", { class: "strip", role: "img", "aria-label": spoken(node) }, node.gpus.map((gpu) => h("span", { class: "bit" }, bits(gpu))))),
    h("td", { class: "number" }, `${gpus(used(node))} of ${node.gpus.length}`),
    pair("cpu", node.cpu), pair("memory", node.memory),
    h("td", { class: "number" }, node.pods?.length ?? 0),
    h("td", {}, node.product ?? ""),
    h("td", { class: problem(node) ? "trouble" : "" }, problem(node)),
  );
}

function bits(gpu) {
  const block = (from, size, of, colour, kind) => h("span", { class: `block ${kind}`, style: { left: `${(from / of) * 100}%`, width: `${(size / of) * 100}%`, ...(colour ? { background: colour } : {}) } });
  if (gpu.slices?.length && gpu.units) {
    return gpu.slices.map(({ start = 0, size, pod, state }) => block(start, size, gpu.units, pod && ofPod(look.mode, pod, gpu), pod ? "held" : state || "free"));
  }
  return gpu.pods?.length ? [block(0, gpu.used, 1000, ofPod(look.mode, gpu.pods[0], gpu), "held")] : [];
}

const spoken = (node) => node.gpus.map((gpu, slot) => `GPU ${slot}: ${owners(gpu).join(", ") || "free"}`).join("; ");
