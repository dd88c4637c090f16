// Quotas: what is used of what is guaranteed, what is borrowed beyond it, what is lent, and where it ends.

import { cluster } from "./cluster.js";
import { ofName } from "./colours.js";
import { h, keep } from "./dom.js";
import { amount, short } from "./words.js";

export function drawQuotas(host) {
  if (!host.firstChild) {
    host.append(
      h("p", { class: "key" },
        h("span", {}, h("i", { class: "own" }), "used of what is guaranteed"),
        h("span", {}, h("i", { class: "borrowed" }), "borrowed from others"),
        h("span", {}, h("i", { class: "lent" }), "guaranteed and idle: may be lent"),
        h("span", {}, h("i", { class: "most" }), "the most there may be")),
      h("div", { class: "scroll cards", tabindex: 0, role: "region", "aria-label": "Quotas" }));
  }
  const quotas = [...cluster.quotas].sort((a, b) => (a.title < b.title ? -1 : 1));
  const items = quotas.map((quota) => ({ key: quota.title, sign: JSON.stringify([quota, quota.namespaces.map((name) => ofName("namespace", name))]), make: () => card(quota) }));
  if (!items.length) items.push({ key: "none", sign: "", make: () => h("p", { class: "empty" }, "There are no quotas: everybody may use what is there.") });
  keep(host.querySelector(".cards"), items);
}

function card(quota) {
  const [, kind, name] = quota.title.match(/^(\S+) (.*)$/) ?? [null, "", quota.title];
  const waits = cluster.queue.filter((pod) => pod.quota === quota.title).length;
  return h("article", { class: "card" },
    h("header", {}, h("h2", {}, name), h("span", { class: "muted" }, kind)),
    h("p", { class: "namespaces" }, quota.namespaces.map((one) => h("span", { class: "tag" }, h("span", { class: "dot", style: { background: ofName("namespace", one) } }), one)),
      waits ? h("span", { class: "muted" }, `${waits} wait`) : null),
    quota.problem ? h("p", { class: "notice" }, quota.problem) : null,
    Object.entries(quota.resources ?? {}).map(([resource, bound]) => line(resource, bound)));
}

function line(resource, { used, min = null, max = null }) {
  const borrowed = min === null ? 0 : Math.max(0, used - min);
  const own = used - borrowed;
  const lent = Math.max(0, (min ?? 0) - used);
  const whole = Math.max(max ?? 0, used, min ?? 0, 1);
  const part = (value) => `${(value / whole) * 100}%`;
  const say = (value) => amount(resource, value);
  const words = [
    h("b", {}, say(used)),
    min === null ? " used" : ` of ${say(min)}`,
    borrowed ? h("span", { class: "lending" }, `${say(borrowed)} borrowed`) : null,
    lent ? h("span", { class: "muted" }, `${say(lent)} idle`) : null,
    max === null ? null : h("span", { class: "muted" }, `at most ${say(max)}`),
  ];
  return h("div", { class: "quota" },
    h("p", {}, h("span", { class: "resource" }, short(resource)), h("span", { class: "amounts" }, words)),
    h("div", { class: "bound", "aria-hidden": "true" },
      h("span", { class: "own", style: { width: part(own) } }),
      h("span", { class: "borrowed", style: { left: part(own), width: part(borrowed) } }),
      h("span", { class: "lent", style: { left: part(used), width: part(lent) } }),
      min === null ? null : h("span", { class: "mark", style: { left: part(min) } }),
      max === null ? null : h("span", { class: "mark most", style: { left: part(max) } })));
}
