// What of the cluster is shown, in which order, and where one stands: kept in the address, so that it can be sent.

import { problem, used } from "./cluster.js";
import { nameOf } from "./colours.js";

const ORDERS = {
  name: () => 0,
  used: (a, b) => used(b) - used(a),
  free: (a, b) => free(b) - free(a),
};
const free = (node) => node.gpus.length * 1000 - used(node);

const STATES = {
  all: () => true,
  free: (node) => free(node) > 0,
  partial: (node) => free(node) > 0 && used(node) > 0,
  empty: (node) => used(node) === 0,
  trouble: (node) => problem(node) !== "",
};

export const look = {
  tab: "cluster",
  as: "map", // or table
  mode: "namespace", // what the colours are of
  sort: "name",
  state: "all",
  text: "",
  name: null, // of a namespace or quota, as mode has it
  at: null, // a node
  slot: null, // one of its GPUs
  hovered: null,
  isOpen: false, // the node is chosen, not only stood on

  order: (nodes) => (look.sort === "name" ? nodes : [...nodes].sort(ORDERS[look.sort])),

  matches: (node) => meant(node) !== null,
};

// What of a node is meant: tells of Pods whether they are; null where nothing of it is. With a text that is found in
// the node's own words, all of its Pods are.
export function meant(node) {
  if (!STATES[look.state](node)) return null;
  const own = [node.name, node.product, node.note].some((text) => text?.toLowerCase().includes(look.text));
  const isMeant = (pod) =>
    (own || pod.toLowerCase().includes(look.text)) && (!look.name || nameOf(look.mode, pod) === look.name);
  if ((!own || look.name) && !(node.pods ?? []).some(({ pod }) => isMeant(pod))) return null;
  return (pods) => (!look.text && !look.name) || pods.some(isMeant);
}

const MODES = ["namespace", "quota", "use"];
const TABS = ["cluster", "queue", "quotas", "timeline"];
const KEPT = { as: "map", mode: "namespace", sort: "name", state: "all", text: "", name: null };

export function readAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [tab, node, slot] = path.split("/").map(decoded);
  const given = new URLSearchParams(query);
  look.tab = TABS.includes(tab) ? tab : TABS[0];
  look.at = node || null;
  look.isOpen = Boolean(node);
  look.slot = node && /^\d+$/.test(slot ?? "") ? Number(slot) : null;
  for (const [name, usual] of Object.entries(KEPT)) look[name] = given.get(name) ?? usual;
  // Somebody may have written it by hand.
  look.text = look.text.toLowerCase();
  if (!Object.hasOwn(ORDERS, look.sort)) look.sort = "name";
  if (!Object.hasOwn(STATES, look.state)) look.state = "all";
  if (!MODES.includes(look.mode)) look.mode = MODES[0];
  if (look.as !== "table") look.as = "map";
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// isStep: one can go back from it.
export function writeAddress(isStep = false) {
  const path = [look.tab, ...(look.isOpen && look.at ? [look.at, ...(look.slot === null ? [] : [look.slot])] : [])];
  const query = new URLSearchParams(Object.entries(KEPT).flatMap(([name, usual]) => (look[name] === usual ? [] : [[name, look[name]]])));
  const hash = `#/${path.map(encodeURIComponent).join("/")}${query.size ? `?${query}` : ""}`;
  if (hash === (location.hash || "#/cluster")) return;
  history[isStep ? "pushState" : "replaceState"](null, "", hash);
}
