// Amounts and times in words.

export const THOUSAND = 1000;

// Of thousandths: two digits as long as they matter.
export function gpus(thousandths) {
  const digits = thousandths >= 1_000_000 ? 0 : thousandths >= 100_000 ? 1 : 2;
  return (thousandths / 1000).toLocaleString("en", { maximumFractionDigits: digits });
}

export const percent = (part, digits = 0) => `${(part * 100).toFixed(digits)} %`;

export const short = (resource) => resource.slice(resource.lastIndexOf("/") + 1);

export function bytes(amount) {
  for (const [size, unit] of [[2 ** 50, "Pi"], [2 ** 40, "Ti"], [2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"]]) {
    if (amount >= size) return `${Math.round((amount / size) * 10) / 10}${unit}`;
  }
  return String(amount);
}

// To read at a glance: no more digits than tell something.
export const about = (resource, value) => (resource === "cpu" ? String(Number((value / 1000).toPrecision(3))) : amount(resource, value));

// As the core counts: milli-CPU, bytes, and pieces.
export function amount(resource, value) {
  if (resource === "cpu") return String(Math.round(value / 10) / 100);
  if (resource === "memory" || resource === "ephemeral-storage") return bytes(value);
  return String(value);
}

export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
    if (whole >= 2 * size) return `${Math.floor(whole / size)}${unit}`;
  }
  return `${whole}s`;
}

export const clock = (at, seconds = true) =>
  new Date(at * 1000).toLocaleTimeString([], {
    hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23",
  });

export const namespace = (pod) => pod.slice(0, pod.indexOf("/"));

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

const collator = new Intl.Collator("en", { numeric: true });
export const naturally = (a, b) => collator.compare(a, b); // gpu-9 before gpu-10
