let chosen = 0;

// Sizes in pixels, so that the picture stays about as high as a screen or two.
function sizes() {
  const gpus = data.nodes.gpus.reduce((sum, count) => sum + Math.min(count, 16), 0);
  if (gpus <= 200) return { bar: 16, high: 44, gap: 2, between: 10 };
  if (gpus <= 2000) return { bar: 9, high: 24, gap: 1, between: 6 };
  if (gpus <= 12000) return { bar: 5, high: 16, gap: 1, between: 4 };
  if (gpus <= 40000) return { bar: 3, high: 11, gap: 0, between: 2 };
  return { bar: 2, high: 8, gap: 0, between: 2 };
}

const used = (policy, node) => policy.nodes.bars[node].reduce((sum, milli) => sum + milli, 0) / policy.nodes.bars[node].length;

// Where each node of one model is drawn; the fullest first.
function layOut(policy, model, width, size) {
  const members = data.nodes.model.flatMap((its, node) => (its === model ? [node] : []));
  members.sort((a, b) => used(policy, b) - used(policy, a) || a - b);
  let [x, y] = [0, 0];
  const boxes = members.map((node) => {
    const wide = policy.nodes.bars[node].length * (size.bar + size.gap) - size.gap;
    if (x && x + wide > width) [x, y] = [0, y + size.high + size.between];
    const box = { node, x, y, wide };
    x += wide + size.between;
    return box;
  });
  return { boxes, height: y + size.high };
}

function drawNodes() {
  const host = byId("nodes");
  const policy = policies[chosen];
  const style = getComputedStyle(document.documentElement);
  const fill = (name) => style.getPropertyValue(`--${name}`).trim();
  const [full, free, stranded] = [fill(policy.name), fill("track"), fill("stranded")];
  document.querySelector(".swatch.used").style.background = full;
  const size = sizes();
  const scale = devicePixelRatio || 1;
  const width = host.clientWidth;
  host.textContent = "";
  data.modelNames.forEach((model, index) => {
    const { boxes, height } = layOut(policy, index, width, size);
    if (!boxes.length) return;
    const lost = boxes.filter((box) => policy.nodes.stranded[box.node]).length;
    const title = element(host, "h3", {}, model);
    element(title, "small", {}, count(boxes.length, "node") +
      (lost ? `, ${number(lost)} with stranded GPU` : ""));
    const canvas = element(host, "canvas", { role: "img", "aria-label": `Nodes with ${model}` });
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    for (const box of boxes) {
      policy.nodes.bars[box.node].forEach((milli, bar) => {
        const x = box.x + bar * (size.bar + size.gap);
        const high = (size.high * milli) / 1000;
        pen.fillStyle = policy.nodes.stranded[box.node] ? stranded : free;
        pen.fillRect(x, box.y, size.bar, size.high - high);
        pen.fillStyle = full;
        pen.fillRect(x, box.y + size.high - high, size.bar, high);
      });
    }
    canvas.addEventListener("pointermove", (event) => {
      const at = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - at.left, event.clientY - at.top];
      const box = boxes.find((one) => x >= one.x && x < one.x + one.wide && y >= one.y && y < one.y + size.high);
      if (box) showTip(event, describe(policy, box.node, model)); else hideTip();
    });
    canvas.addEventListener("pointerleave", hideTip);
  });
}

function describe(policy, node, model) {
  const gpus = data.nodes.gpus[node];
  const taken = (used(policy, node) * gpus) / 1000;
  const lines = [
    data.nodes.name[node],
    `${gpus} x ${model}: ${number(taken, 2)} allocated, ${number(gpus - taken, 2)} free`,
    `free: ${number(policy.nodes.cpu[node] / 1000, 1)} CPU, ${number(policy.nodes.memory[node] / 1024, 1)} GiB`,
  ];
  if (policy.nodes.bars[node].length === gpus && gpus > 1) {
    lines.push("GPUs, % allocated: " + policy.nodes.bars[node].map((milli) => Math.round(milli / 10)).join(" "));
  }
  if (policy.nodes.stranded[node]) lines.push("Its free GPU is stranded.");
  return lines.join("\n");
}

if (policies.length > 1) {
  policies.forEach((policy, index) => {
    const button = element(byId("choose"), "button", { type: "button", "aria-pressed": index === chosen }, policy.name);
    button.addEventListener("click", () => {
      chosen = index;
      [...byId("choose").children].forEach((other, at) => other.setAttribute("aria-pressed", at === chosen));
      drawNodes();
    });
  });
}
const left = [];
if (data.nodes.notDrawn) left.push(`Not drawn: ${count(data.nodes.notDrawn, "more node")} with GPUs.`);
if (data.nodes.withoutGpu) left.push(`Not drawn: ${count(data.nodes.withoutGpu, "node")} without GPUs.`);
byId("left").textContent = left.join(" ");

function draw() {
  drawAllocated();
  drawFragmented();
  drawNodes();
}
let drawnWidth = 0;
new ResizeObserver(() => {
  if (drawnWidth === document.body.clientWidth) return;
  drawnWidth = document.body.clientWidth;
  requestAnimationFrame(draw);
}).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawNodes);
