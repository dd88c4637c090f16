// The cluster's view: tools, the map or the table, and beside it what is chosen or the legend.

import { cluster, gpuNodes } from "./cluster.js";
import { admit, MODES, ofName, ramps, waitsOf } from "./colours.js";
import { drawDetail } from "./detail.js";
import { byId, h, keep, say, write } from "./dom.js";
import { look, writeAddress } from "./look.js";
import { ClusterMap, describe } from "./map.js";
import { drawNodes } from "./nodes.js";
import { gpus, plural } from "./words.js";

let map = null;
let uses = { namespace: [], quota: [] };
const parts = {};

export function make(host) {
  const choice = (name, label, of, change) => h("div", { class: "choice", role: "group", "aria-label": label },
    Object.entries(of).map(([value, text]) => h("button", { "data-choice": name, "data-value": value, onclick: () => change(value) }, text)));
  const select = (name, label, of) => h("label", { class: "select" }, h("span", {}, label),
    h("select", { id: `choose-${name}`, onchange: (event) => { look[name] = event.target.value; chosen(); } },
      Object.entries(of).map(([value, text]) => h("option", { value }, text))));
  parts.find = h("input", { type: "search", id: "find", placeholder: "Find nodes, Pods, models  ( / )", oninput: (event) => { look.text = event.target.value.trim().toLowerCase(); chosen(); } });
  parts.matched = h("span", { class: "muted matched", role: "status" });
  parts.map = h("div", { class: "map" });
  parts.table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Nodes", hidden: true });
  parts.legend = h("div", { class: "legend" });
  parts.detail = h("div", { class: "detail", hidden: true });
  parts.side = h("aside", { class: "side", "aria-label": "Details", tabindex: 0 }, parts.legend, parts.detail);
  host.append(
    h("div", { class: "tools" },
      h("label", { class: "find" }, h("span", { class: "unseen" }, "Find nodes, Pods and models"), parts.find),
      select("state", "Show", { all: "all", free: "with room", partial: "partly used", empty: "empty", trouble: "with a problem" }),
      select("sort", "Order", { name: "by name", used: "most used", free: "most free" }),
      h("span", { class: "label" }, "Colour"),
      choice("mode", "Colour by", MODES, (value) => { look.mode = value; look.name = null; chosen(); }),
      parts.matched,
      choice("as", "View as", { map: "Map", table: "Table" }, (value) => { look.as = value; chosen(); })),
    h("div", { class: "split" }, h("div", { class: "stage" }, parts.map, parts.table), parts.side));
  parts.side.addEventListener("keydown", (event) => { if (event.key === "Escape" && look.isOpen) back(); });
  map = new ClusterMap(parts.map, look, { chosen: go, back, stands: () => drawSide() });
  parts.map.append(h("div", { class: "zoom", role: "group", "aria-label": "Zoom" },
    h("button", { "aria-label": "Zoom in", onclick: () => map.camera.zoom(1.6) }, "+"),
    h("button", { "aria-label": "Zoom out", onclick: () => map.camera.zoom(1 / 1.6) }, "−"),
    h("button", { "aria-label": "Show all", onclick: () => map.camera.fit() }, "⤢")));
}

// Look at a node, or one of its GPUs; at everything without one.
export function go(node, slot, isStep = true) {
  Object.assign(look, { at: node, slot, isOpen: node !== null });
  map.show(node, slot);
  writeAddress(isStep);
  drawSide();
  mark();
  if (node && cluster.nodes.has(node)) say(slot === null ? describe(cluster.nodes.get(node)) : `GPU ${slot} of ${node}`);
}

const back = () => (look.slot === null ? go(null, null) : go(look.at, null));

// What is shown was chosen anew.
export function chosen() {
  writeAddress();
  mark();
  map.arrange();
  draw();
}

// Show in the tools what is chosen.
export function mark() {
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.setAttribute("aria-pressed", String(look[button.dataset.choice] === button.dataset.value));
  }
  for (const name of ["state", "sort"]) byId(`choose-${name}`).value = look[name];
  if (document.activeElement !== parts.find) parts.find.value = look.text;
  parts.map.hidden = look.as !== "map";
  parts.table.hidden = look.as !== "table";
  if (look.as === "map") map.redraw();
}

export function take() {
  uses = admit();
}

export function repaint() {
  map.paintNow();
  draw();
}

export function draw() {
  if (look.as === "map") map.update();
  else drawNodes(parts.table, go);
  const isAll = !look.text && !look.name && look.state === "all";
  write(parts.matched, isAll ? "" : `${plural(gpuNodes().filter(look.matches).length, "node")} of ${gpuNodes().length.toLocaleString("en")}`);
  drawSide();
}

function drawSide() {
  const hadFocus = parts.side.contains(document.activeElement);
  parts.legend.hidden = look.isOpen;
  parts.detail.hidden = !look.isOpen;
  if (look.isOpen) drawDetail(parts.detail, go);
  else drawLegend();
  if (hadFocus && !parts.side.contains(document.activeElement)) parts.side.focus(); // what had it is gone
}

function drawLegend() {
  const entries = look.mode === "use" ? [] : uses[look.mode];
  const all = Math.max(1, ...entries.map(([, sum]) => sum));
  const items = [{ key: "title", sign: look.mode, make: () => h("h2", {}, { namespace: "Namespaces", quota: "Quotas", use: "Use of a GPU" }[look.mode]) }];
  if (look.mode === "use") {
    items.push({ key: "ramp", sign: document.documentElement.dataset.theme, make: () => h("div", { class: "ramp" },
      h("div", { "aria-hidden": "true" }, h("i", { class: "none" }), ramps().map((colour) => h("i", { style: { background: colour } }))),
      h("p", {}, h("span", {}, "none"), h("span", {}, "all of it"))) });
  } else if (!entries.length) {
    items.push({ key: "none", sign: "", make: () => h("p", { class: "empty" }, "No GPU is in use.") });
  }
  for (const [name, sum] of entries) {
    const waits = look.mode === "namespace" ? waitsOf(name) : 0;
    items.push({ key: `name-${name}`, sign: [sum, waits, all, look.name === name, ofName(look.mode, name)].join("|"), make: () =>
      h("button", { class: "entry", "data-focus": name, "aria-pressed": String(look.name === name), onclick: () => { look.name = look.name === name ? null : name; chosen(); } },
        h("span", { class: "swatch", style: { background: ofName(look.mode, name) } }),
        h("span", { class: "what" }, name.replace(/^(Composite)?ElasticQuota /, "")),
        h("span", { class: "sum" }, gpus(Math.round(sum))),
        h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${(sum / all) * 100}%`, background: ofName(look.mode, name) } })),
        waits ? h("span", { class: "muted waits" }, `${waits} wait`) : null) });
  }
  items.push({ key: "states", sign: "", make: () => h("div", { class: "states" },
    h("span", {}, h("i", { class: "free" }), "free"),
    h("span", {}, h("i", { class: "free slice" }), "free slice"),
    h("span", {}, h("i", { class: "coming" }), "is being cut"),
    h("span", {}, h("i", { class: "going" }), "goes, to make room"),
    h("span", {}, h("i", { class: "broken" }), "has a problem")) });
  keep(parts.legend, items);
}

export const focusFind = () => parts.find.focus();
export const arrange = () => map.arrange();
export const show = () => map.show(look.at, look.slot);
