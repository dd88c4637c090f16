// Who waits, the first to be served first, and why.

import { cluster } from "./cluster.js";
import { ofName } from "./colours.js";
import { byId, h, keep, write } from "./dom.js";
import { age, namespace, plural } from "./words.js";

const FIRST = 100;
let most = FIRST;
let code = null;
let text = "";

const reason = (pod) => {
  if (pod.state === "binding") return ["", "It is decided; its Binding is on its way"];
  if (pod.state === "deferred") return ["", "Its Binding is tried again"];
  return [pod.code ?? "", pod.message || "It is to be looked at"];
};

export function drawQueue(host) {
  if (!host.firstChild) {
    host.append(
      h("div", { class: "tools" },
        h("label", { class: "find" }, h("span", { class: "unseen" }, "Find Pods"),
          h("input", { type: "search", placeholder: "Find Pods, gangs, quotas, reasons", oninput: (event) => { text = event.target.value.trim().toLowerCase(); drawQueue(host); } })),
        h("div", { class: "chips", role: "group", "aria-label": "Reasons" })),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pods that wait" },
        h("table", { class: "rows" },
          h("caption", { class: "unseen" }, "Pods that wait, the first to be served first"),
          h("thead", {}, h("tr", {}, ["", "Pod", "Asks for", "Priority", "Waits", "Gang", "Quota", "Why"].map((name, index) => h("th", { scope: "col", class: [0, 3, 4].includes(index) ? "number" : "" }, name || h("span", { class: "unseen" }, "Place"))))),
          h("tbody", {})),
        h("p", { class: "more" })));
  }
  const queue = [...cluster.queue].sort((a, b) => (b.priority ?? 0) - (a.priority ?? 0) || a.since - b.since || (a.pod < b.pod ? -1 : 1));
  const counts = new Map();
  for (const pod of queue) counts.set(pod.code || "", (counts.get(pod.code || "") ?? 0) + 1);
  if (code !== null && !counts.has(code)) code = null;
  const codes = [...counts].filter(([name]) => name).sort((a, b) => b[1] - a[1]);
  keep(host.querySelector(".chips"), codes.map(([name, count]) => ({
    key: name, sign: `${count}${code === name}`,
    make: () => h("button", { class: "chip", "data-focus": name, "aria-pressed": String(code === name), onclick: () => { code = code === name ? null : name; drawQueue(host); } },
      name, h("span", { class: "count" }, count)),
  })));
  const places = new Map(queue.map((pod, index) => [pod, index + 1]));
  const chosen = queue.filter((pod) => (code === null || pod.code === code) && (!text || [pod.pod, pod.gang, pod.quota, pod.code, pod.message, pod.asks].some((one) => one?.toLowerCase().includes(text))));
  keep(host.querySelector("tbody"), chosen.slice(0, most).map((pod) => ({
    key: pod.pod, sign: JSON.stringify([pod, places.get(pod)]), make: () => row(pod, places.get(pod)),
  })));
  for (const time of host.querySelectorAll("time")) write(time, age(cluster.at - Number(time.dataset.since)));
  const left = chosen.length - most;
  keep(host.querySelector(".more"), [left > 0 && {
    key: "more", sign: String(left),
    make: () => h("button", { "data-focus": "more", onclick: () => { most += 4 * FIRST; drawQueue(host); } }, `Show more: ${left} are left`),
  }, !chosen.length && {
    key: "none", sign: String(queue.length),
    make: () => h("span", {}, queue.length ? "No Pod is like that." : "Nobody waits."),
  }].filter(Boolean));
}

function row(pod, place) {
  const [name, message] = reason(pod);
  const space = namespace(pod.pod);
  return h("tr", {},
    h("td", { class: "number muted" }, place),
    h("th", { scope: "row" }, h("span", { class: "dot", style: { background: ofName("namespace", space) } }), h("span", { class: "muted" }, `${space}/`), pod.pod.slice(space.length + 1)),
    h("td", {}, pod.asks),
    h("td", { class: "number" }, pod.priority ?? 0),
    h("td", { class: "number" }, h("time", { "data-since": pod.since })),
    h("td", {}, pod.gang ?? ""),
    h("td", {}, (pod.quota ?? "").replace(/^(Composite)?ElasticQuota /, "")),
    h("td", { class: "why" }, name ? h("span", { class: "code" }, name) : null, message),
  );
}

export const count = () => {
  write(byId("count-queue"), cluster.queue.length ? cluster.queue.length.toLocaleString("en") : "");
  byId("count-queue").setAttribute("aria-label", plural(cluster.queue.length, "Pod"));
};
