"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const policies = data.policies;
const byId = (id) => document.getElementById(id);
const color = (policy) => `var(--${policy.name})`;
const number = (value, digits = 0) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const count = (value, thing) => `${number(value)} ${thing}${value === 1 ? "" : "s"}`;

function element(parent, tag, attributes = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

function svgElement(parent, tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

function showTip(event, text) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const right = event.clientX + 16 + box.width > innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX - 14 - box.width : event.clientX + 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
}
const hideTip = () => { byId("tip").hidden = true; };

// Round steps, so that `about` so many of them span the range.
function ticks(low, high, about) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough);
  const marks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-6; index++) marks.push(index * step);
  return marks;
}

// lines: [{policy, points: [[x, y], ...]}], all with the same x; range: {x: [low, high], y: [low, high]}.
// The first point of the lines is the sample number `first` of the course.
function lineChart(host, lines, range, label, xName, requested, first = 0) {
  host.textContent = "";
  const [width, height] = [Math.max(host.clientWidth, 240), host.clientHeight];
  const margin = { left: 44, right: 12, top: 8, bottom: 38 };
  const inner = [width - margin.left - margin.right, height - margin.top - margin.bottom];
  const x = (value) => margin.left + ((value - range.x[0]) / (range.x[1] - range.x[0] || 1)) * inner[0];
  const y = (value) => margin.top + (1 - (value - range.y[0]) / (range.y[1] - range.y[0] || 1)) * inner[1];
  const svg = svgElement(host, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const id = `clip-${host.id}`;
  svgElement(svgElement(svgElement(svg, "defs"), "clipPath", { id }), "rect",
    { x: margin.left, y: margin.top - 2, width: inner[0], height: inner[1] + 4 });
  for (const mark of ticks(...range.y, 5)) {
    svgElement(svg, "line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(mark), y2: y(mark) });
    svgElement(svg, "text", { x: margin.left - 8, y: y(mark) + 4, "text-anchor": "end" }, `${+mark.toFixed(2)} %`);
  }
  for (const mark of ticks(...range.x, Math.max(3, Math.floor(inner[0] / 80)))) {
    svgElement(svg, "text", { x: x(mark), y: height - 20, "text-anchor": "middle" }, `${number(+mark.toFixed(2))}`);
  }
  svgElement(svg, "text", { x: margin.left + inner[0] / 2, y: height - 3, "text-anchor": "middle" }, xName);
  const plot = svgElement(svg, "g", { "clip-path": `url(#${id})` });
  const path = (points) => "M" + points.map((point) => `${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("L");
  if (requested) svgElement(plot, "path", { class: "requested", d: path([[0, 0], [100, 100], [1e4, 100]]) });
  for (const line of [...lines].reverse()) {
    svgElement(plot, "path", { class: "course", d: path(line.points), style: `stroke:${color(line.policy)}` });
  }
  const cursor = svgElement(svg, "line", { class: "cursor", y1: margin.top, y2: margin.top + inner[1], visibility: "hidden" });
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const wanted = range.x[0] + (((event.clientX - box.left) * width) / box.width - margin.left) / inner[0] *
      (range.x[1] - range.x[0]);
    const distance = (index) => Math.abs(lines[0].points[index][0] - wanted);
    let nearest = 0;
    for (let index = 1; index < lines[0].points.length; index++) if (distance(index) < distance(nearest)) nearest = index;
    const at = x(lines[0].points[nearest][0]);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", at >= margin.left - 1 ? "visible" : "hidden");
    const [arrivals, asked] = policies[0].course[nearest + first];
    showTip(event, `after ${count(arrivals, "Pod")}, ${number(asked, 1)} % requested\n` +
      lines.map((line) => `${line.policy.name}: ${number(line.points[nearest][1], 2)} %`).join("\n"));
  });
  svg.addEventListener("pointerleave", () => { hideTip(); cursor.setAttribute("visibility", "hidden"); });
}

let zoomed = false;
// Against what was requested; against the arrivals where nothing asked for GPU.
const byRequest = policies[0].course.at(-1)[1] > 0;
const place = (sample) => (byRequest ? sample[1] : sample[0]);
const xName = byRequest ? "GPU requested so far, % of capacity" : "Pods that arrived";
const xEnd = place(policies[0].course.at(-1)) || 1;

function drawAllocated() {
  const model = +byId("model").value;
  const lines = policies.map((policy) => ({
    policy,
    points: policy.course.map((sample, index) => [place(sample), model < 0 ? sample[2] : policy.courseOfModel[model][index]]),
  }));
  const range = { x: [0, xEnd], y: [0, 100] };
  if (zoomed) {
    range.x = [Math.min(85, xEnd * 0.7) * (byRequest ? 1 : xEnd / 100), xEnd];
    const seen = lines.flatMap((line) => line.points.filter((point) => point[0] >= range.x[0]).map((point) => point[1]));
    const [low, high] = [Math.min(...seen), Math.max(...seen)];
    const air = Math.max((high - low) * 0.06, 0.2);
    range.y = [Math.max(0, low - air), Math.min(100, high + air)];
  }
  lineChart(byId("allocated"), lines, range, "GPU allocated over what was requested", xName, model < 0 && byRequest);
}

function drawFragmented() {
  const ofFree = byId("of").value === "free";
  // Before the first Pod nothing is known of the demand that fragmentation is measured against.
  const lines = policies.map((policy) => ({
    policy,
    points: policy.course.map((sample) => [place(sample), ofFree ? sample[3] : (sample[3] * (100 - sample[2])) / 100]).slice(1),
  }));
  const most = Math.max(...lines.flatMap((line) => line.points.map((point) => point[1])));
  const step = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  const range = { x: [0, xEnd], y: [0, Math.min(100, Math.ceil(most / step) * step || 1)] };
  lineChart(byId("fragmented"), lines, range, "Fragmentation over what was requested", xName, false, 1);
}

function drawBars(host, groups) {
  for (const group of groups) {
    const label = element(host, "div", { class: "label" }, group.label);
    element(label, "small", {}, group.detail);
    const rows = element(host, "div");
    for (const bar of group.bars) {
      const row = element(rows, "div", { class: "row" });
      const fill = element(element(row, "div", { class: "track" }), "i");
      fill.style.width = `${Math.min(100, bar.percent)}%`;
      fill.style.background = color(bar.policy);
      const text = element(row, "span", {}, `${number(bar.percent, 1)} %`);
      if (bar.count !== undefined) element(text, "small", {}, ` ${number(bar.count)}`);
      row.title = `${bar.policy.name}: ${text.textContent}`;
    }
  }
  if (!groups.length) element(host, "p", { class: "note" }, "There is no GPU in this trace.");
}

drawBars(byId("models"), data.models.map((model, index) => ({
  label: model,
  detail: count(data.gpusOfModel[index], "GPU"),
  bars: policies.map((policy) => ({ policy, percent: policy.allocatedOfModel[index] })),
})));
drawBars(byId("refused"), policies[0].refused.map((demand, index) => ({
  label: demand.demand,
  detail: count(demand.pods, "Pod"),
  bars: policies.map((policy) => {
    const { refused, pods } = policy.refused[index];
    return { policy, percent: pods ? (100 * refused) / pods : 0, count: refused };
  }),
})));
if (policies.length > 1) {
  for (const legend of document.querySelectorAll(".legend")) {
    for (const policy of policies) {
      const entry = element(legend, "span");
      element(entry, "i", { class: "swatch", style: `background:${color(policy)}` });
      entry.append(policy.name);
    }
  }
}
element(byId("model"), "option", { value: -1 }, "All models");
data.models.forEach((model, index) => element(byId("model"), "option", { value: index }, model));
byId("model").addEventListener("change", drawAllocated);
byId("of").addEventListener("change", drawFragmented);
byId("zoom").addEventListener("click", () => {
  zoomed = !zoomed;
  byId("zoom").setAttribute("aria-pressed", zoomed);
  drawAllocated();
});
