// The cluster as it is known: `take` everything, `change` what is new; whoever has asked to hear of it is told.

import { namespace, naturally } from "./words.js";

const OF_A_KIND = 100;
const DAY_S = 86400;

export const cluster = {
  at: 0,
  totals: { gpus: 0, used: 0, waiting: 0, fragmentation: 0 },
  nodes: new Map(),
  queue: [],
  quotas: [],
  moments: [],
  history: [],
  isKnown: false,
};

const listeners = [];
export const onChange = (listener) => listeners.push(listener);
const tell = (what) => listeners.forEach((listener) => listener(what));

let sorted = null;

// Those with GPUs, by name.
export function gpuNodes() {
  sorted ??= [...cluster.nodes.values()].filter((node) => node.gpus?.length).sort((a, b) => naturally(a.name, b.name));
  return sorted;
}

export function take({ snapshot, moments, history }) {
  Object.assign(cluster, {
    at: snapshot.at, totals: snapshot.totals, queue: snapshot.queue, quotas: snapshot.quotas, moments, history,
    nodes: new Map(Object.entries(snapshot.nodes)), isKnown: true,
  });
  sorted = null;
  tell({ all: true, nodes: true, queue: true, quotas: true, moments: true, history: true });
}

export function change(changes) {
  const { nodes = [], gone = [], queue = null, quotas = null, moments = [] } = changes;
  cluster.at = changes.at;
  cluster.totals = changes.totals;
  for (const node of nodes) cluster.nodes.set(node.name, node);
  for (const name of gone) cluster.nodes.delete(name);
  if (nodes.length || gone.length) sorted = null;
  if (queue) cluster.queue = queue;
  if (quotas) cluster.quotas = quotas;
  if (moments.length) cluster.moments = lastOfEach([...cluster.moments, ...moments]);
  tell({ nodes: nodes.length + gone.length > 0, queue: !!queue, quotas: !!quotas, moments: moments.length > 0 });
}

export function sample(one) {
  cluster.history = [...cluster.history.filter(([at]) => at > one[0] - DAY_S), one];
  tell({ history: true });
}

function lastOfEach(moments) {
  const counts = new Map();
  const kept = [];
  for (let index = moments.length - 1; index >= 0; index -= 1) {
    const count = (counts.get(moments[index].kind) ?? 0) + 1;
    counts.set(moments[index].kind, count);
    if (count <= OF_A_KIND) kept.push(moments[index]);
  }
  return kept.reverse();
}

// Who has something of this GPU.
export const owners = (gpu) => [...(gpu.pods ?? []), ...(gpu.slices ?? []).flatMap(({ pod }) => (pod ? [pod] : []))];

export const used = (node) => node.gpus.reduce((sum, gpu) => sum + gpu.used, 0);

export const problem = (node) => node.note || node.gpus.find((gpu) => gpu.problem)?.problem || "";

// Thousandths of GPUs by namespace.
export function useByNamespace() {
  const sums = new Map();
  const add = (pod, what) => sums.set(namespace(pod), (sums.get(namespace(pod)) ?? 0) + what);
  for (const node of gpuNodes()) {
    for (const gpu of node.gpus) {
      for (const pod of gpu.pods ?? []) add(pod, gpu.used / gpu.pods.length);
      for (const { pod, size } of gpu.slices ?? []) if (pod) add(pod, gpu.units ? (size * 1000) / gpu.units : 0);
    }
  }
  return sums;
}

export function quotaOf() {
  return new Map(cluster.quotas.flatMap(({ title, namespaces }) => namespaces.map((name) => [name, title])));
}
