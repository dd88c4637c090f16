// The map of the cluster: a canvas that is looked around in with pointer, wheel and keys.

import { cluster, gpuNodes, owners, problem, used } from "./cluster.js";
import { Camera, EDGE } from "./camera.js";
import { byId, h, say } from "./dom.js";
import { bar, layOut } from "./layout.js";
import { paint } from "./paint.js";
import { gpus, plural } from "./words.js";

const CLICK_PX = 4;
const GPU_PX = 7; // from that width on, a click means the GPU

// on: {chosen(node, slot)}; look: see look.js
export class ClusterMap {
  constructor(host, look, on) {
    this.look = look;
    this.on = on;
    this.layout = { tiles: [], titles: [], width: 1, height: 1 };
    this.camera = new Camera(() => this.redraw());
    this.isDue = false;
    this.canvas = h("canvas", {
      tabindex: 0, role: "application", "aria-roledescription": "map", "aria-describedby": "map-keys",
      "aria-label": "Map of the cluster",
    });
    host.append(
      this.canvas,
      h("p", { class: "unseen", id: "map-keys" },
        "Arrow keys go from node to node, Enter zooms in, Escape out, plus and minus zoom. The table shows the same."),
    );
    new ResizeObserver(() => this.arrange()).observe(this.canvas);
    this.listen();
  }

  // Nodes have come or gone, their order or the window is another.
  arrange() {
    const { clientWidth: wide, clientHeight: high } = this.canvas;
    if (!wide || !high) return;
    const ratio = devicePixelRatio || 1;
    const size = [Math.round(wide * ratio), Math.round(high * ratio)];
    const isResized = this.canvas.width !== size[0] || this.canvas.height !== size[1];
    if (isResized) [this.canvas.width, this.canvas.height] = size; // which clears it
    this.layout = layOut(this.look.order(gpuNodes()), wide - 2 * EDGE, high - 2 * EDGE);
    this.tiles = new Map(this.layout.tiles.map((tile) => [tile.node.name, tile]));
    this.camera.resize({ wide, high }, this.layout);
    if (isResized) this.paintNow();
    else this.redraw();
  }

  // What they hold is another.
  update() {
    for (const node of gpuNodes()) {
      const tile = this.tiles?.get(node.name);
      if (!tile || tile.node.gpus.length !== node.gpus.length || tile.node.product !== node.product) return this.arrange();
      tile.node = node;
    }
    if (this.tiles.size !== gpuNodes().length) return this.arrange();
    return this.redraw();
  }

  redraw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.paintNow());
  }

  paintNow() {
    this.isDue = false;
    if (!this.canvas.clientWidth) return;
    paint(this.canvas, this.camera, this.layout, this.look);
    this.canvas.dataset.at = cluster.at;
    this.canvas.dataset.scale = this.camera.scale.toFixed(3);
    this.canvas.dataset.nodes = this.layout.tiles.length;
  }

  // Zoom to a node, or to one of its GPUs; to all of it without one.
  show(name, slot = null) {
    const tile = this.tiles?.get(name);
    if (!tile) return this.camera.fit();
    return slot === null ? this.camera.show(tile, 0.7) : this.camera.show(bar(tile, slot), 0.86);
  }

  hit(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const { x, y } = this.camera.toMap(event.clientX - left, event.clientY - top);
    const tile = this.layout.tiles.find((one) => x >= one.x && x < one.x + one.wide && y >= one.y && y < one.y + one.high);
    if (!tile) return null;
    const slot = tile.node.gpus.findIndex((_, index) => {
      const box = bar(tile, index);
      return x >= box.x - 1 && x < box.x + box.wide + 1 && y >= box.y;
    });
    return { tile, slot: slot < 0 ? null : slot, y };
  }

  listen() {
    const { canvas, camera } = this;
    let from = null;
    let hasMoved = false;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY };
      hasMoved = false;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) {
        this.hover(event);
        return;
      }
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (!hasMoved && Math.hypot(dx, dy) < CLICK_PX) return;
      hasMoved = true;
      this.unhover();
      canvas.classList.add("dragged");
      camera.pan(dx, dy);
      from = { x: event.clientX, y: event.clientY };
    });
    canvas.addEventListener("pointerup", (event) => {
      canvas.classList.remove("dragged");
      if (from && !hasMoved) this.click(event);
      from = null;
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
    canvas.addEventListener("pointerleave", () => this.unhover());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = canvas.getBoundingClientRect();
      this.unhover();
      camera.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - left, event.clientY - top);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  click(event) {
    const found = this.hit(event);
    if (!found) return this.on.chosen(null, null);
    const isGpu = found.slot !== null && bar(found.tile, found.slot).wide * this.camera.scale >= GPU_PX;
    return this.on.chosen(found.tile.node.name, isGpu ? found.slot : null);
  }

  hover(event) {
    const found = this.hit(event);
    const tip = byId("tip");
    const name = found?.tile.node.name ?? null;
    if (name !== this.look.hovered) {
      this.look.hovered = name;
      this.redraw();
    }
    tip.hidden = !found;
    this.canvas.style.cursor = found ? "pointer" : "";
    if (!found) return;
    tip.replaceChildren(...said(found));
    const { offsetWidth: wide, offsetHeight: high } = tip;
    const x = event.clientX + 14 + wide > innerWidth ? event.clientX - wide - 10 : event.clientX + 14;
    const y = event.clientY + 16 + high > innerHeight ? event.clientY - high - 10 : event.clientY + 16;
    tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  unhover() {
    byId("tip").hidden = true;
    if (this.look.hovered) {
      this.look.hovered = null;
      this.redraw();
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { camera, look } = this;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in steps) this.walk(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") camera.zoom(1.5);
    else if (event.key === "-") camera.zoom(1 / 1.5);
    else if (event.key === "0") camera.fit();
    else if (event.key === "Enter" && look.at) this.on.chosen(look.at, look.isOpen ? (look.slot ?? 0) : null);
    else if (event.key === "Escape") this.on.back();
    else return;
    event.preventDefault();
  }

  // To the next node that way, or the next GPU if one is chosen.
  walk(dx, dy) {
    const { look } = this;
    const here = this.tiles?.get(look.at);
    if (!here) {
      this.stand(this.layout.tiles[0]);
      return;
    }
    if (look.slot !== null && dx) {
      const slot = look.slot + dx;
      if (slot >= 0 && slot < here.node.gpus.length) this.on.chosen(look.at, slot);
      return;
    }
    let best = null;
    for (const tile of this.layout.tiles) {
      const along = dx ? (tile.x - here.x) * dx : (tile.y - here.y) * dy;
      const aside = dx ? Math.abs(tile.y - here.y) : Math.abs(tile.x - here.x);
      if (along <= 0 || (dx && aside > 1)) continue;
      const far = along + aside * (dx ? 1 : 0.01) + (dx ? 0 : along * 10);
      if (!best || far < best.far) best = { tile, far };
    }
    if (best) this.stand(best.tile);
  }

  stand(tile) {
    if (!tile) return;
    this.look.at = tile.node.name;
    this.look.slot = null;
    this.camera.reveal(tile);
    this.redraw();
    say(describe(tile.node));
    this.on.stands(tile.node.name);
  }
}

export function describe(node) {
  const trouble = problem(node);
  return `${node.name}: ${gpus(used(node))} of ${plural(node.gpus.length, "GPU")} in use${trouble ? `, ${trouble}` : ""}`;
}

function said({ tile: { node, ...tile }, slot, y }) {
  const lines = [h("b", {}, node.name), h("span", {}, `${gpus(used(node))} of ${node.gpus.length} GPUs in use`)];
  if (problem(node)) lines.push(h("span", { class: "trouble" }, problem(node)));
  if (slot === null) return lines;
  const gpu = node.gpus[slot];
  const box = bar(tile, slot);
  const unit = gpu.units ? Math.floor(((box.y + box.high - y) / box.high) * gpu.units) : 0;
  const slice = (gpu.slices ?? []).find(({ start = 0, size }) => unit >= start && unit < start + size);
  const who = slice ? (slice.pod ? [slice.pod] : []) : owners(gpu);
  lines.push(h("i", {}, slice ? `GPU ${slot}, ${slice.profile}` : `GPU ${slot}`));
  if (slice?.state) lines.push(h("span", {}, slice.state === "coming" ? "is being cut" : "goes, to make room"));
  lines.push(h("span", {}, who.length ? who.slice(0, 4).join(", ") : "free"));
  return lines;
}
