// Draws the map on a canvas: only what is seen, and only as much of it as can be told apart at that size.

import { problem } from "./cluster.js";
import { inkOn, ofPod, themed } from "./colours.js";
import { bar, PAD } from "./layout.js";
import { meant } from "./look.js";

const FAINT = 0.13;
const NAME_PX = 34; // a tile that is so wide has room for the end of a name, if the room over its bars is high enough
const NAME_HIGH_PX = 12;
const DETAIL_PX = 15; // a bar that is so wide shows borders of its slices
const LABEL_PX = 44;

export function paint(canvas, camera, layout, look) {
  const context = canvas.getContext("2d", { alpha: false });
  const { wide, high } = camera.window;
  const ratio = devicePixelRatio || 1;
  const theme = themed();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = theme.bg;
  context.fillRect(0, 0, wide, high);
  const view = { x0: camera.x, y0: camera.y, x1: camera.x + wide / camera.scale, y1: camera.y + high / camera.scale };
  const isSeen = (box, w, t) => box.x < view.x1 && box.x + w > view.x0 && box.y < view.y1 && box.y + t > view.y0;
  const brush = { context, camera, theme, look, hatch: hatches(context, theme) };
  for (const title of layout.titles) if (isSeen(title, layout.width, title.high)) drawTitle(brush, title, layout);
  for (const tile of layout.tiles) if (isSeen(tile, tile.wide, tile.high)) drawTile(brush, tile);
}

const px = (camera, x, y) => [(x - camera.x) * camera.scale, (y - camera.y) * camera.scale];

function drawTitle({ context, camera, theme }, { x, y, high, node, count }) {
  const size = 12.5;
  const [left, top] = px(camera, x, y);
  context.textBaseline = "middle";
  context.font = `600 ${size}px ${theme.font}`;
  context.fillStyle = theme.ink;
  const name = node.product || "GPUs";
  context.fillText(name, left, top + high * camera.scale - 11);
  const after = context.measureText(name).width + 8;
  context.font = `400 ${size}px ${theme.font}`;
  context.fillStyle = theme.muted;
  const nodes = count === 1 ? "1 node" : `${count.toLocaleString("en")} nodes`;
  context.fillText(`${nodes} of ${node.gpus.length === 1 ? "1 GPU" : `${node.gpus.length} GPUs`}`, left + after, top + high * camera.scale - 11);
}

function drawTile(brush, tile) {
  const { context, camera, theme, look } = brush;
  const { node } = tile;
  const { scale } = camera;
  const [left, top] = px(camera, tile.x, tile.y);
  const [wide, high] = [tile.wide * scale, tile.high * scale];
  const has = meant(node);
  const isFaint = has === null;
  context.globalAlpha = isFaint ? FAINT : 1;
  const trouble = problem(node);
  if (scale > 0.5) {
    const radius = Math.min(8, 3 * scale);
    context.beginPath();
    context.roundRect(left, top, wide, high, radius);
    context.fillStyle = theme.card;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = node.note ? theme.trouble : theme.line;
    if (node.note) context.setLineDash([4, 3]);
    context.stroke();
    context.setLineDash([]);
  }
  const isNamed = wide >= NAME_PX && tile.head * scale >= NAME_HIGH_PX;
  if (isNamed) drawName(brush, tile, left, top, wide, trouble);
  node.gpus.forEach((gpu, slot) => drawGpu(brush, tile, gpu, slot, has));
  if (trouble && !isNamed) {
    const size = Math.max(3, Math.min(7, wide / 5));
    context.fillStyle = theme.trouble;
    context.fillRect(left + PAD * scale, top + (PAD + tile.head) * scale - size, wide - 2 * PAD * scale, Math.max(2, size - 2));
  }
  context.globalAlpha = 1;
  if (look.at === node.name || look.hovered === node.name) {
    context.lineWidth = look.at === node.name ? 2 : 1;
    context.strokeStyle = look.at === node.name ? theme.accent : theme.muted;
    context.beginPath();
    context.roundRect(left - 1.5, top - 1.5, wide + 3, high + 3, Math.min(9, 3 * scale + 1));
    context.stroke();
  }
}

function drawName({ context, camera, theme }, tile, left, top, wide, trouble) {
  const size = Math.max(10, Math.min(15, tile.head * camera.scale * 0.7));
  const middle = top + ((PAD + tile.head) / 2 + PAD / 4) * camera.scale;
  const inset = PAD * camera.scale;
  let room = wide - 2 * inset;
  context.textBaseline = "middle";
  context.font = `600 ${size}px ${theme.font}`;
  if (trouble) {
    context.fillStyle = theme.trouble;
    context.beginPath();
    context.arc(left + wide - inset - size * 0.3, middle, size * 0.3, 0, 2 * Math.PI);
    context.fill();
    room -= size;
  }
  context.fillStyle = theme.ink;
  context.fillText(ending(context, tile.node.name, room), left + inset, middle);
}

function drawGpu(brush, tile, gpu, slot, has) {
  const isFaint = has === null;
  const { context, camera, theme, look } = brush;
  const box = bar(tile, slot);
  // On whole pixels, so that bars of one size look so; with a gap as long as there is room for one.
  const [exactLeft, exactTop] = px(camera, box.x, box.y);
  const left = Math.round(exactLeft);
  const top = Math.round(exactTop);
  const step = Math.round((box.x + 12 - camera.x) * camera.scale) - left;
  const wide = Math.max(1, step - (camera.scale > 1.4 ? Math.round(2 * camera.scale) : camera.scale > 0.2 ? 1 : 0));
  const high = Math.max(2, Math.round(box.high * camera.scale));
  const isDetailed = wide >= DETAIL_PX;
  context.fillStyle = theme.track;
  round(context, left, top, wide, high, isDetailed);
  if (gpu.slices?.length && gpu.units) {
    for (const slice of gpu.slices) drawSlice(brush, gpu, slice, { left, top, wide, high, isDetailed, has });
  } else if (gpu.pods?.length) {
    const part = look.mode === "use" ? 1 : Math.max(0.12, gpu.used / 1000);
    context.globalAlpha = isFaint || !has(gpu.pods) ? FAINT : 1;
    const colour = ofPod(look.mode, gpu.pods[0], gpu);
    context.fillStyle = colour;
    const tall = Math.round(high * part);
    round(context, left, top + high - tall, wide, tall, isDetailed);
    if (wide >= LABEL_PX) {
      context.fillStyle = inkOn(colour);
      label(brush, gpu.pods.join(", "), left, top + high - tall, wide, tall);
    }
    context.globalAlpha = isFaint ? FAINT : 1;
  }
  if (gpu.problem) {
    context.strokeStyle = theme.trouble;
    context.lineWidth = Math.max(1, Math.min(3, wide / 6));
    context.strokeRect(left + 0.5, top + 0.5, wide - 1, high - 1);
  }
  if (look.at === tile.node.name && look.slot === slot) {
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    context.strokeRect(left - 2, top - 2, wide + 4, high + 4);
  }
}

// Memory grows from the bottom: the slice at 0 is the lowest.
function drawSlice({ context, theme, look, hatch, camera }, gpu, slice, { left, top, wide, high, isDetailed, has }) {
  const isFaint = has === null;
  const unit = high / gpu.units;
  const upper = Math.round(top + high - ((slice.start ?? 0) + slice.size) * unit);
  const lower = Math.round(top + high - (slice.start ?? 0) * unit);
  const tall = Math.max(1, lower - upper - (high > 24 ? 1 : 0));
  if (slice.pod) {
    const colour = ofPod(look.mode, slice.pod, gpu);
    context.globalAlpha = isFaint || !has([slice.pod]) ? FAINT : 1;
    context.fillStyle = colour;
    round(context, left, upper, wide, tall, isDetailed);
    if (wide >= LABEL_PX) {
      context.fillStyle = inkOn(colour);
      label({ context, theme, camera }, `${slice.profile}\n${slice.pod}`, left, upper, wide, tall);
    }
  } else {
    context.globalAlpha = isFaint ? FAINT : 1;
    const isFramed = !slice.state && wide >= 4 && tall >= 4; // else it looks as what is free
    context.fillStyle = slice.state ? hatch[slice.state] : isFramed ? theme.edge : theme.track;
    round(context, left, upper, wide, tall, isDetailed);
    if (isFramed) {
      context.fillStyle = theme.track;
      round(context, left + 1, upper + 1, wide - 2, tall - 2, isDetailed);
    }
    if (wide >= LABEL_PX) {
      context.fillStyle = theme.ink;
      label({ context, theme, camera }, slice.profile, left, upper, wide, tall, !!slice.state);
    }
  }
  context.globalAlpha = isFaint ? FAINT : 1;
}

function round(context, left, top, wide, high, isRound) {
  if (!isRound) {
    context.fillRect(left, top, wide, high);
    return;
  }
  context.beginPath();
  context.roundRect(left, top, wide, high, Math.min(4, wide / 8, high / 4));
  context.fill();
}

function label({ context, theme }, text, left, top, wide, high, isBacked = false) {
  const size = Math.max(9, Math.min(13, wide / 7));
  const lines = text.split("\n").slice(0, Math.max(1, Math.floor((high - 4) / (size * 1.25))));
  if (high < size + 3) return;
  context.textBaseline = "top";
  lines.forEach((line, index) => {
    context.font = `${index === 0 ? 600 : 400} ${size}px ${theme.font}`;
    const said = cut(context, line, wide - 10);
    if (isBacked) {
      const ink = context.fillStyle;
      context.fillStyle = theme.card;
      context.fillRect(left + 3, top + 3 + index * size * 1.25, context.measureText(said).width + 4, size * 1.25);
      context.fillStyle = ink;
    }
    context.fillText(said, left + 5, top + 4 + index * size * 1.25);
  });
}

// Of names that begin alike the end says more.
function ending(context, name, room) {
  let from = 0;
  const said = () => (from ? `…${name.slice(from)}` : name);
  while (from < name.length && context.measureText(said()).width > room) from += 1;
  return from < name.length ? said() : "";
}

function cut(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  const mean = context.measureText(text).width / text.length;
  let count = Math.max(0, Math.floor(room / mean) - 1);
  while (count > 0 && context.measureText(`${text.slice(0, count)}…`).width > room) count -= 1;
  return count ? `${text.slice(0, count)}…` : "";
}

// What is planned is hatched, and what goes is hatched the other way, in another colour.
function hatches(context, theme) {
  const pattern = (colour, falls) => {
    const tile = new OffscreenCanvas(6, 6);
    const one = tile.getContext("2d");
    one.fillStyle = theme.track;
    one.fillRect(0, 0, 6, 6);
    one.strokeStyle = colour;
    one.lineWidth = 1.6;
    for (const shift of [-6, 0, 6]) {
      one.beginPath();
      one.moveTo(shift - 1, falls ? -1 : 7);
      one.lineTo(shift + 7, falls ? 7 : -1);
      one.stroke();
    }
    return context.createPattern(tile, "repeat");
  };
  return { coming: pattern(theme.coming, false), going: pattern(theme.going, true) };
}
