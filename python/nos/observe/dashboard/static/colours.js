// What is drawn in which colour. Namespaces and quotas: Okabe and Ito's palette, which colour-blind people can tell
// apart, then Tol's; use: from light to dark.

import { cluster, quotaOf, useByNamespace } from "./cluster.js";
import { namespace } from "./words.js";

export const PALETTE = [
  "#56b4e9", "#2fb98a", "#e69f00", "#cc79a7", "#0072b2", "#d55e00", "#d9c72e",
  "#7a6ff0", "#882255", "#8a9a2e", "#44aa99", "#b06ad4",
];
export const RAMP = {
  light: ["#d8efe6", "#a5dcc6", "#66c2a0", "#2a9d78", "#0b6e52"],
  dark: ["#17382e", "#1b5745", "#1f7d61", "#2aa983", "#5fdcb4"],
};
export const OTHERS = "#8b94a3";

let theme = {};

// What the style sheet says, for canvases.
export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["bg", "card", "ink", "muted", "line", "track", "edge", "coming", "going", "trouble", "accent"];
  theme = Object.fromEntries(names.map((name) => [name, of(name)]));
  theme.isDark = document.documentElement.dataset.theme === "dark";
  theme.font = getComputedStyle(document.body).fontFamily;
}

export const themed = () => theme;

// Names keep the colour that they got first; the first to get one are those with most GPUs.
class Assigned {
  constructor() { this.colours = new Map(); }

  of(name) { return this.colours.get(name) ?? OTHERS; }

  admit(names) {
    for (const name of names) {
      if (this.colours.has(name)) continue;
      const taken = new Set(this.colours.values());
      this.colours.set(name, PALETTE.find((colour) => !taken.has(colour)) ?? OTHERS);
    }
  }
}

const namespaces = new Assigned();
const quotas = new Assigned();
let quotaTitles = new Map();
const NO_QUOTA = "no quota";

export const MODES = { namespace: "Namespace", quota: "Quota", use: "Use" };

// Names by their use, the greatest first, each with thousandths of GPUs; and colours for those that have none.
export function admit() {
  const uses = [...useByNamespace()].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  namespaces.admit(uses.map(([name]) => name));
  quotaTitles = quotaOf();
  const sums = new Map();
  for (const [name, sum] of uses) {
    const title = quotaTitles.get(name) ?? NO_QUOTA;
    sums.set(title, (sums.get(title) ?? 0) + sum);
  }
  const byQuota = [...sums].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  quotas.admit(byQuota.map(([title]) => title).filter((title) => title !== NO_QUOTA));
  return { namespace: uses, quota: byQuota };
}

export const quotaTitle = (name) => quotaTitles.get(name) ?? NO_QUOTA;

export function ofName(mode, name) {
  return mode === "quota" ? (name === NO_QUOTA ? OTHERS : quotas.of(name)) : namespaces.of(name);
}

export const nameOf = (mode, pod) => (mode === "quota" ? quotaTitle(namespace(pod)) : namespace(pod));

export function ofUse(thousandths) {
  const ramp = ramps();
  return thousandths === 0 ? theme.track : ramp[Math.min(ramp.length - 1, Math.floor((thousandths * ramp.length) / 1001))];
}

export const ramps = () => RAMP[theme.isDark ? "dark" : "light"];

// Of what a Pod has, on a GPU that is in use so far.
export const ofPod = (mode, pod, gpu) => (mode === "use" ? ofUse(gpu.used) : ofName(mode, nameOf(mode, pod)));

// Black or white, whichever is read better on it: one of them always has a contrast of 4.5 at least.
export function inkOn(colour) {
  const part = (at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5) > 0.179 ? "#000000" : "#ffffff";
}

export const waitsOf = (name) => cluster.queue.filter(({ pod }) => namespace(pod) === name).length;
