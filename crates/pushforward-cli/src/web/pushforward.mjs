// Samples of an exported flow map: the loop over jumps, and what items look like.

import { noise, Stream } from "./random.mjs";

// Purposes of the streams of random numbers: the number of nodes of a sampled graph, and the label of a sample.
const SIZE = 14;
const LABEL = 21;

/** Opens the model of a folder: `ort` is onnxruntime, `about` the content of model.json, `graph` that of model.onnx. */
export async function open(ort, about, graph) {
  const session = await ort.InferenceSession.create(graph);
  return { ort, about, session };
}

/** The number of nodes or letters of an item, or its label, as often as in the training data. */
function drawn(counts, purpose, seed, index) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  let left = new Stream(seed, index, purpose).uniform() * total;
  for (let n = 0; n < counts.length; n++) {
    left -= counts[n];
    if (left < 0) return n;
  }
  return counts.length - 1;
}

/** Whether an item of a size has a site: the nodes of a graph come first, then its pairs row by row. */
function present(about, size) {
  const { nodes, sites } = about;
  if (nodes === null) return Array.from({ length: sites }, (_, site) => site < size);
  const found = Array.from({ length: nodes }, (_, node) => node < size);
  for (let i = 0; i < nodes; i++) for (let j = i + 1; j < nodes; j++) found.push(j < size);
  return found;
}

/**
 * Class indices of `count` items in rows of `sites`, -1 for sites that an item does not have: those that the program draws
 * with the same seed. `label` is a number, or null for labels as often as in the training data.
 */
export async function sample(model, { count, nfe = 1, seed = 0, first = 0, label = null }) {
  const { ort, about, session } = model;
  const { sites, classes, has } = about;
  const shape = [count, sites, classes];
  let x = noise(count, has.length ? has : Array(sites).fill(classes), classes, seed, first);
  const long = (numbers) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [count]);
  const told = {};
  const there = [];
  if (about.sizes.length) {
    const sizes = Array.from({ length: count }, (_, i) => drawn(about.sizes, SIZE, seed, first + i));
    told.size = long(sizes);
    sizes.forEach((size) => there.push(present(about, size)));
    for (let i = 0; i < count; i++) {
      for (let site = 0; site < sites; site++) {
        const scale = there[i][site] ? (about.nodes !== null && site >= about.nodes ? about.edge_scale : 1) : 0;
        for (let c = 0; c < classes; c++) {
          x[(i * sites + site) * classes + c] *= about.classes_of[site] > c ? scale : 0;
        }
      }
    }
  }
  if (about.labels.length) {
    // The last embedding stands for no label.
    const any = (index) => (about.label_counts.length ? drawn(about.label_counts, LABEL, seed, index) : about.labels.length);
    told.label = long(Array.from({ length: count }, (_, i) => label ?? any(first + i)));
  }
  if (about.told) told.observed = new ort.Tensor("float32", new Float32Array(x.length), shape);
  const times = (time) => new ort.Tensor("float32", new Float32Array(count).fill(time), [count]);
  const grid = about.grids?.[nfe] ?? Array.from({ length: nfe + 1 }, (_, step) => step / nfe);
  for (let step = 0; step < nfe; step++) {
    const inputs = { x: new ort.Tensor("float32", x, shape), s: times(grid[step]), t: times(grid[step + 1]), ...told };
    x = (await session.run(inputs, ["next"])).next.data;
  }
  const ids = new Int32Array(count * sites);
  for (let place = 0; place < ids.length; place++) {
    const [item, site] = [Math.floor(place / sites), place % sites];
    if (there.length && !there[item][site]) {
      ids[place] = -1;
      continue;
    }
    let best = 0;
    for (let c = 1; c < about.classes_of[site]; c++) if (x[place * classes + c] > x[place * classes + best]) best = c;
    ids[place] = best;
  }
  return ids;
}

/** An item as text: its symbols, or its classes. */
export function text(about, item) {
  const live = Array.from(item).filter((id) => id >= 0);
  return about.symbols.length ? live.map((id) => about.symbols[id]).join("") : live.join(" ");
}

/** Draws an image on a canvas. */
export function paint(about, item, canvas) {
  const [height, width] = about.image;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  item.forEach((id, i) => pixels.data.set([...Array(3).fill((255 * id) / Math.max(about.classes - 1, 1)), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}
