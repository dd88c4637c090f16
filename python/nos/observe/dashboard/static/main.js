// Puts the page together: the stream, the tabs, the address, and what is drawn when.

import * as cluster from "./cluster.js";
import { readTheme } from "./colours.js";
import { byId, write } from "./dom.js";
import { look, readAddress, writeAddress } from "./look.js";
import { count, drawQueue } from "./queue.js";
import { drawQuotas } from "./quotas.js";
import { follow } from "./stream.js";
import { drawTimeline } from "./timeline.js";
import { askForToken } from "./token.js";
import { drawTotals } from "./totals.js";
import * as view from "./view.js";

const TABS = ["cluster", "queue", "quotas", "timeline"];

function draw() {
  if (!cluster.cluster.isKnown) return;
  drawTotals();
  count();
  write(byId("count-quotas"), cluster.cluster.quotas.length ? String(cluster.cluster.quotas.length) : "");
  if (look.tab === "cluster") view.draw();
  if (look.tab === "queue") drawQueue(byId("view-queue"));
  if (look.tab === "quotas") drawQuotas(byId("view-quotas"));
  if (look.tab === "timeline") drawTimeline(byId("view-timeline"));
}

function openTab(name, { focus = false, isStep = true } = {}) {
  look.tab = name;
  for (const one of TABS) {
    const tab = byId(`tab-${one}`);
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    byId(`view-${one}`).hidden = one !== name;
  }
  if (focus) byId(`tab-${name}`).focus();
  writeAddress(isStep);
  draw();
  if (name === "cluster") view.arrange();
}

function listen() {
  for (const name of TABS) byId(`tab-${name}`).addEventListener("click", () => openTab(name));
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    const to = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const index = TABS.indexOf(look.tab);
    if (to) openTab(TABS[(index + to + TABS.length) % TABS.length], { focus: true });
    else if (event.key === "Home") openTab(TABS[0], { focus: true });
    else if (event.key === "End") openTab(TABS.at(-1), { focus: true });
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    openTab("cluster");
    view.focusFind();
  });
  addEventListener("popstate", () => {
    readAddress();
    openTab(look.tab, { isStep: false });
    view.mark();
    view.show();
  });
  addEventListener("theme", () => {
    readTheme();
    nameTheme();
    view.repaint();
    draw();
  });
  byId("theme").addEventListener("click", () => nosTheme.next());
}

function nameTheme() {
  const chosen = nosTheme.chosen();
  byId("theme").dataset.theme = chosen;
  byId("theme").setAttribute("aria-label", `Theme: ${{ auto: "as the system", light: "light", dark: "dark" }[chosen]}`);
  byId("theme").title = byId("theme").getAttribute("aria-label");
}

readAddress();
readTheme();
nameTheme();
view.make(byId("view-cluster"));
view.mark();
listen();
openTab(look.tab, { isStep: false });

cluster.onChange((what) => {
  if (what.all || what.nodes || what.quotas || what.queue) view.take();
  draw();
  if (what.all) view.arrange();
  if (what.all && look.isOpen) view.show();
});

follow({
  event: (kind, data) => ({ state: cluster.take, changes: cluster.change, sample: cluster.sample })[kind]?.(data),
  state(name, text) {
    byId("status").dataset.state = name;
    write(byId("status"), text);
    document.body.dataset.line = name;
  },
}, askForToken);
