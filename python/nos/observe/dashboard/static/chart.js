// A line over time in SVG, for tiles and for the timeline.

import { s } from "./dom.js";

// points: [at, value]; from and to: of the time shown; top: the greatest value.
export function area(points, { from, to, top, wide, high, kind }) {
  if (points.length < 2 || to <= from) return [];
  const x = (at) => ((Math.max(at, from) - from) / (to - from)) * wide;
  const y = (value) => high - 1 - (Math.min(value, top) / (top || 1)) * (high - 3);
  const path = points.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const [first, last] = [x(points[0][0]).toFixed(1), x(points.at(-1)[0]).toFixed(1)];
  return [
    s("path", { class: `fill ${kind}`, d: `${path}L${last} ${high}L${first} ${high}Z` }),
    s("path", { class: `line ${kind}`, d: path, "vector-effect": "non-scaling-stroke" }),
  ];
}
