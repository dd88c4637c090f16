// One node, or one of its GPUs, beside the map.

import { cluster, owners, problem, used } from "./cluster.js";
import { inkOn, nameOf, ofPod, ofUse } from "./colours.js";
import { h, keep } from "./dom.js";
import { look } from "./look.js";
import { about, age, gpus, namespace, percent } from "./words.js";

// go(node, slot): look there.
export function drawDetail(host, go) {
  const node = cluster.nodes.get(look.at);
  const parts = [{ key: "way", sign: `${look.at}/${look.slot}`, make: () => way(go) }];
  if (!node) {
    parts.push({ key: "gone", sign: look.at, make: () => h("p", { class: "empty" }, `There is no node ${look.at} any more.`) });
  } else if (look.slot !== null && node.gpus[look.slot]) {
    const gpu = node.gpus[look.slot];
    parts.push({ key: `gpu${look.slot}`, sign: sign(gpu, node.pods), make: () => gpuPart(node, gpu, go) });
  } else {
    parts.push({ key: "facts", sign: JSON.stringify([node.cpu, node.memory, node.note, used(node), node.product]), make: () => facts(node) });
    parts.push({ key: "gpus", sign: sign(node.gpus), make: () => bars(node, go) });
    parts.push({ key: "pods", sign: sign(node.pods), make: () => podList(node.pods ?? [], go) });
  }
  keep(host, parts);
}

const sign = (...what) => JSON.stringify([what, look.mode, look.name, document.documentElement.dataset.theme]);

function way(go) {
  const step = (text, focus, to) => h("li", {}, h("button", { "data-focus": focus, onclick: to }, text));
  return h("nav", { class: "way", "aria-label": "Where you are" }, h("ol", {},
    step("Cluster", "cluster", () => go(null, null)),
    look.slot === null ? h("li", { "aria-current": "true" }, look.at) : step(look.at, "node", () => go(look.at, null)),
    look.slot === null ? null : h("li", { "aria-current": "true" }, `GPU ${look.slot}`),
  ));
}

function facts(node) {
  const room = (resource, [asked, there] = [0, 0]) => h("div", { class: "fact" },
    h("dt", {}, resource === "cpu" ? "CPU" : "Memory"),
    h("dd", {}, h("b", {}, about(resource, asked)), ` of ${about(resource, there)}`, meter(there ? asked / there : 0)),
  );
  const part = used(node) / (node.gpus.length * 1000 || 1);
  return h("div", {},
    h("p", { class: "kind" }, node.product || "No GPUs are known of"),
    problem(node) ? h("p", { class: "notice" }, problem(node)) : null,
    h("dl", { class: "facts" },
      h("div", { class: "fact" }, h("dt", {}, "GPU"),
        h("dd", {}, h("b", {}, gpus(used(node))), ` of ${node.gpus.length}`, meter(part))),
      room("cpu", node.cpu), room("memory", node.memory)),
  );
}

const meter = (part) => h("span", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: percent(Math.min(1, part)) .replace(" ", "") } }));

function bars(node, go) {
  return h("div", { class: "bars", role: "list", "aria-label": "GPUs" }, node.gpus.map((gpu, slot) => {
    const who = owners(gpu);
    const said = `GPU ${slot}: ${gpus(gpu.used)} in use${who.length ? `, ${who.join(", ")}` : ""}${gpu.problem ? `, ${gpu.problem}` : ""}`;
    return h("div", { role: "listitem" },
      h("button", { class: "gpu", "data-focus": `gpu${slot}`, "aria-label": said, title: said, onclick: () => go(node.name, slot) },
        h("span", { class: `stack${gpu.problem ? " broken" : ""}` }, stack(gpu, false)),
        h("span", { class: "slot", "aria-hidden": "true" }, slot)));
  }));
}

// Its slices to scale, the one at 0 lowest.
function stack(gpu, isLarge) {
  const block = (from, size, of, kind, colour, ...inside) => h("span", {
    class: `block ${kind}`,
    style: { bottom: `${(from / of) * 100}%`, height: `${(size / of) * 100}%`, ...(colour ? { background: colour, color: inkOn(colour) } : {}) },
  }, ...(isLarge ? inside : []));
  if (gpu.slices?.length && gpu.units) {
    return gpu.slices.map((slice) => {
      const { profile, start = 0, size, pod, state } = slice;
      const words = pod || { coming: "is being cut", going: "goes, to make room" }[state] || "free";
      return block(start, size, gpu.units, pod ? "held" : state || "free", pod && ofPod(look.mode, pod, gpu), h("b", {}, profile), h("span", {}, words));
    });
  }
  if (!gpu.pods?.length) return [];
  const colour = look.mode === "use" ? ofUse(gpu.used) : ofPod(look.mode, gpu.pods[0], gpu);
  return [block(0, gpu.used, 1000, "held", colour, h("b", {}, gpus(gpu.used) === "1" ? "whole" : gpus(gpu.used)), h("span", {}, gpu.pods.join(", ")))];
}

function gpuPart(node, gpu, go) {
  const who = new Set(owners(gpu));
  const pods = (node.pods ?? []).filter(({ pod }) => who.has(pod));
  const units = gpu.units ? Array.from({ length: gpu.units + 1 }, (_, unit) => unit) : [];
  return h("div", {},
    h("p", { class: "kind" }, node.product || "GPU"),
    gpu.problem ? h("p", { class: "notice" }, gpu.problem) : null,
    h("p", { class: "said" }, h("b", {}, percent(gpu.used / 1000)), " in use",
      gpu.units ? `, cut into ${gpu.slices?.length ?? 0} of ${gpu.units} memory units` : ", not cut"),
    h("div", { class: "large" },
      h("div", { class: "scale", "aria-hidden": "true" }, units.map((unit) => h("span", { style: { bottom: `${(unit / gpu.units) * 100}%` } }, unit))),
      h("div", { class: `stack${gpu.problem ? " broken" : ""}` }, stack(gpu, true)),
    ),
    podList(pods, go),
  );
}

function podList(pods) {
  if (!pods.length) return h("p", { class: "empty" }, "No Pods.");
  return h("div", { class: "pods" }, h("h2", {}, `Pods (${pods.length})`), h("ul", {}, pods.map((held) => h("li", {},
    h("span", { class: "dot", style: { background: ofPod(look.mode === "use" ? "namespace" : look.mode, held.pod, { used: 0 }) }, title: nameOf("namespace", held.pod) }),
    h("span", { class: "pod" }, h("span", { class: "muted" }, `${namespace(held.pod)}/`), held.pod.slice(namespace(held.pod).length + 1)),
    h("span", { class: "muted" }, has(held)),
    h("time", { class: "muted" }, held.leaving ? "is going" : age(cluster.at - held.since)),
  ))));
}

function has({ gpus: slots = [], slices = [] }) {
  if (slices.length) return slices.join(" ");
  if (!slots.length) return "";
  return `GPU ${ranges(slots)}`;
}

function ranges(slots) {
  const sorted = [...slots].sort((a, b) => a - b);
  const parts = [];
  for (const slot of sorted) {
    const last = parts.at(-1);
    if (last && last[1] === slot - 1) last[1] = slot;
    else parts.push([slot, slot]);
  }
  return parts.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",");
}
