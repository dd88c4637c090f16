// What part of the map is seen: `scale` pixels a unit, and the unit at the left upper corner. Moves are animated,
// unless the system asks for less motion.

import { LARGEST } from "./layout.js";

const MOVE_MS = 260;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
export const EDGE = 14; // pixels around all of it

export class Camera {
  constructor(moved) {
    this.moved = moved;
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.window = { wide: 1, high: 1 };
    this.world = { width: 1, height: 1 };
    this.isWhole = true; // all of it is seen, and is to stay so
    this.flight = null;
  }

  resize(window, world) {
    this.window = window;
    this.world = world;
    if (this.isWhole) this.set(this.whole());
  }

  whole() {
    const { wide, high } = this.window;
    const fits = Math.min((wide - 2 * EDGE) / this.world.width, (high - 2 * EDGE) / this.world.height);
    const scale = Math.max(0.01, Math.min(fits, LARGEST));
    return { scale, x: -(wide / scale - this.world.width) / 2, y: -Math.min(EDGE, (high - this.world.height * scale) / 2) / scale };
  }

  set({ x, y, scale }) {
    this.flight = null;
    Object.assign(this, { x, y, scale });
    this.moved();
  }

  fit() {
    this.isWhole = true;
    this.fly(this.whole());
  }

  // Show a box, `part` of the window large at most.
  show({ x, y, wide, high }, part = 0.8) {
    const { window } = this;
    const scale = this.limited(Math.min((window.wide * part) / wide, (window.high * part) / high));
    this.isWhole = false;
    this.fly({ scale, x: x + wide / 2 - window.wide / scale / 2, y: y + high / 2 - window.high / scale / 2 });
  }

  // Where a pixel stays where it is.
  zoom(by, px = this.window.wide / 2, py = this.window.high / 2) {
    const scale = this.limited(this.scale * by);
    const whole = this.whole();
    if (scale <= whole.scale) return this.fit();
    this.isWhole = false;
    return this.set({ scale, x: this.x + px / this.scale - px / scale, y: this.y + py / this.scale - py / scale });
  }

  pan(dx, dy) {
    this.isWhole = false;
    this.set({ scale: this.scale, x: this.x - dx / this.scale, y: this.y - dy / this.scale });
  }

  // Move no more than is needed to see a box.
  reveal({ x, y, wide, high }) {
    const [w, t] = [this.window.wide / this.scale, this.window.high / this.scale];
    const to = { scale: this.scale, x: this.x, y: this.y };
    if (x < to.x) to.x = x - 4;
    if (x + wide > to.x + w) to.x = x + wide - w + 4;
    if (y < to.y) to.y = y - 4;
    if (y + high > to.y + t) to.y = y + high - t + 4;
    if (to.x !== this.x || to.y !== this.y) this.fly(to);
  }

  limited(scale) { return Math.max(this.whole().scale, Math.min(scale, 24)); }

  fly(to) {
    if (STILL.matches) return this.set(to);
    const from = { x: this.x, y: this.y, scale: this.scale };
    const began = performance.now();
    const flight = (this.flight = {});
    const step = (now) => {
      if (this.flight !== flight) return;
      const part = Math.min(1, (now - began) / MOVE_MS);
      const eased = 1 - (1 - part) ** 3;
      const scale = from.scale * (to.scale / from.scale) ** eased;
      // Along the way the point that both views share stays where it is.
      const along = from.scale === to.scale ? eased : (1 / from.scale - 1 / scale) / (1 / from.scale - 1 / to.scale);
      Object.assign(this, { scale, x: from.x + (to.x - from.x) * along, y: from.y + (to.y - from.y) * along });
      if (part === 1) this.flight = null;
      this.moved();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  toMap(px, py) { return { x: this.x + px / this.scale, y: this.y + py / this.scale }; }
}
