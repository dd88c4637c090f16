// Where each node is drawn, in units of the map: nodes of one kind together, under a title, as many in a row as makes
// all of it largest in the window (in pixels).

import { naturally } from "./words.js";

export const BAR = { wide: 10, high: 34, gap: 2 };
export const PAD = 3;
const BETWEEN = 6;
const SECTION = 12;
export const LARGEST = 3.2; // pixels a unit, when all of it is seen
const TITLE_PX = 22; // as long as all of it is seen

// The room for a node's name, in pixels when all of it is seen; where tiles are too small for names, next to none.
const HEAD_PX = 16;
const NAMED = 0.75; // pixels a unit, from which on there are names

export function layOut(nodes, wide, high) {
  const { best } = arranged(nodes, wide, high, HEAD_PX);
  const head = best && best.scale >= NAMED ? HEAD_PX / best.scale : 3;
  return arranged(nodes, wide, high, head).placed();
}

function arranged(nodes, wide, high, head) {
  const tileHeight = head + BAR.high + 2 * PAD;
  const kinds = new Map();
  for (const node of nodes) {
    const kind = `${node.product ?? ""}|${node.gpus.length}`;
    if (!kinds.has(kind)) kinds.set(kind, []);
    kinds.get(kind).push(node);
  }
  const sections = [...kinds.values()].sort(
    (a, b) => b.length * b[0].gpus.length - a.length * a[0].gpus.length || naturally(a[0].product ?? "", b[0].product ?? ""),
  );
  const widest = Math.max(1, ...sections.map(([node]) => tileWidth(node)));
  const most = Math.max(1, ...sections.map((members) => members.length));
  let best = null;
  for (let across = 1; across <= most; across += across < 40 ? 1 : Math.ceil(across / 20)) {
    const width = across * (widest + BETWEEN) - BETWEEN;
    const rows = sections.reduce((sum, members) => sum + sectionHeight(members, width, tileHeight), 0);
    const scale = Math.min(wide / width, Math.max(1, high - sections.length * TITLE_PX) / rows, LARGEST);
    if (!best || scale > best.scale) best = { scale, width };
  }
  return { best, placed: () => place(sections, best, head, tileHeight) };
}

function place(sections, best, head, tileHeight) {
  const tiles = [];
  const titles = [];
  const title = TITLE_PX / (best?.scale ?? 1);
  let y = 0;
  for (const members of sections) {
    const tile = tileWidth(members[0]);
    const perRow = rowLength(members, best.width);
    titles.push({ x: 0, y, high: title, node: members[0], count: members.length });
    y += title;
    members.forEach((node, index) => {
      const column = index % perRow;
      const row = Math.floor(index / perRow);
      tiles.push({ node, x: column * (tile + BETWEEN), y: y + row * (tileHeight + BETWEEN), wide: tile, high: tileHeight, head });
    });
    y += Math.ceil(members.length / perRow) * (tileHeight + BETWEEN) - BETWEEN + SECTION;
  }
  return { tiles, titles, width: best?.width ?? 1, height: Math.max(1, y - SECTION) };
}

const tileWidth = (node) => node.gpus.length * (BAR.wide + BAR.gap) - BAR.gap + 2 * PAD;

const rowLength = (members, width) => Math.max(1, Math.floor((width + BETWEEN) / (tileWidth(members[0]) + BETWEEN)));

function sectionHeight(members, width, tileHeight) {
  return Math.ceil(members.length / rowLength(members, width)) * (tileHeight + BETWEEN) - BETWEEN + SECTION;
}

// The bar of a GPU on its tile.
export const bar = (tile, slot) => ({
  x: tile.x + PAD + slot * (BAR.wide + BAR.gap),
  y: tile.y + PAD + tile.head,
  wide: BAR.wide,
  high: BAR.high,
});
