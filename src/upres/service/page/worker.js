"use strict";
// Enlarges pictures by ONNX Runtime, away from the page's own thread: in windows of a fixed size with
// the network's halo around them, so that the result is that of the whole picture, and memory does not
// grow with it.

import { bicubicPart, cut, fillTransparent, keepBordersNear, keepFlat, keepInPlace, keepNeutral } from "./steps.js";
import { PngWriter, metadataOf } from "./png.js";

const WINDOW = 256;
const PREVIEW = 1280;
const BORDER = 8;
const stopped = new Set();
let runtime, provider, models, pace;

const sessions = new Map();

async function load() {
  if (models) return told();
  const threads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency ?? 1) : 1;
  provider = (await hasGpu()) ? "webgpu" : "wasm";
  runtime = await import(provider === "webgpu" ? "./runtime/ort.webgpu.min.mjs" : "./runtime/ort.wasm.min.mjs");
  runtime.env.wasm.wasmPaths = new URL("runtime/", import.meta.url).href;
  runtime.env.wasm.numThreads = threads;
  const listed = await (await fetch(new URL("models/models.json", import.meta.url))).json();
  // All at once: nothing is asked of the network later.
  for (const model of listed) {
    for (const variant of model.variants) {
      const response = await fetch(new URL(`models/${variant.file}`, import.meta.url));
      if (!response.ok) throw new Error(`the model ${variant.file} cannot be loaded`);
      variant.content = await response.arrayBuffer();
    }
  }
  models = listed;
  models.threads = threads;
  await measurePace();
  return told();
}

const told = () => ({
  models: models.map(({ model, purpose }) => ({ model, purpose })),
  provider,
  threads: models.threads,
});

async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    // One that the processor plays is slower than WebAssembly, by minutes.
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter) && adapter.info?.architecture !== "swiftshader";
  } catch {
    return false;
  }
}

/** Multiply-adds that this browser does in a second, about. */
async function measurePace() {
  const variant = models[0].variants[0];
  const session = await sessionOf(variant);
  const side = 96;
  const window = new Float32Array(3 * side * side);
  await run(session, window, side, side, variant.scale);
  const start = performance.now();
  await run(session, window, side, side, variant.scale);
  pace = (variant.parameters * side * side) / ((performance.now() - start) / 1000);
}

/** The model's file for a scale; throws one line where there is none. */
function variantOf(name, scale) {
  const model = models.find((each) => each.model === name);
  const variant = model.variants.find((each) => each.scale === scale);
  if (!variant) {
    const scales = model.variants.map((each) => each.scale).join(" or ");
    throw new Error(`in the browser, ${name} enlarges by a factor of ${scales}`);
  }
  return variant;
}

async function sessionOf(variant) {
  if (!sessions.has(variant.file)) {
    // One is kept: each has memory of its own.
    for (const [file, session] of sessions) {
      await session.release();
      sessions.delete(file);
    }
    const options = { executionProviders: provider === "webgpu" ? ["webgpu", "wasm"] : ["wasm"] };
    sessions.set(variant.file, await runtime.InferenceSession.create(variant.content.slice(0), options));
  }
  return sessions.get(variant.file);
}

/** Planes of red, green and blue through the network. */
async function run(session, planes, height, width, scale) {
  const given = new runtime.Tensor("float32", planes, [1, 3, height, width]);
  const results = await session.run({ [session.inputNames[0]]: given });
  const output = results[session.outputNames[0]];
  const values = new Float32Array(await output.getData());
  output.dispose();
  given.dispose();
  if (values.length !== 3 * height * width * scale * scale) throw new Error("the model's result has another size");
  return values;
}

function plans({ width, height, scale }) {
  return models.map((model) => {
    try {
      const variant = variantOf(model.model, scale);
      return { model: model.model, seconds: (variant.parameters * width * height) / pace };
    } catch (error) {
      return { model: model.model, problem: error.message };
    }
  });
}

// ---------------------------------------------------------------- windows

/** A picture that is decoded; parts of it are read as samples. */
class Picture {
  constructor(bitmap) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.canvas = null;
  }

  static async open(file, metadata) {
    const options = { premultiplyAlpha: "none", imageOrientation: "from-image" };
    // The profile goes with the samples, where it is kept.
    if (metadata.known) options.colorSpaceConversion = "none";
    try {
      return new Picture(await createImageBitmap(file, options));
    } catch {
      throw new Error("not a picture in a format that this browser reads");
    }
  }

  /** Samples of 8 bits, RGBA. */
  part(left, top, width, height) {
    if (this.canvas?.width !== width || this.canvas?.height !== height) {
      this.canvas = new OffscreenCanvas(width, height);
      this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    }
    this.context.clearRect(0, 0, width, height);
    this.context.drawImage(this.bitmap, left, top, width, height, 0, 0, width, height);
    return this.context.getImageData(0, 0, width, height).data;
  }

  isOpaque() {
    const rows = Math.max(1, Math.floor(2 ** 20 / this.width));
    for (let top = 0; top < this.height; top += rows) {
      const data = this.part(0, top, this.width, Math.min(rows, this.height - top));
      for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return false;
    }
    return true;
  }

  close() {
    this.bitmap.close();
  }
}

/** A window of a picture, enlarged: planes of red, green, blue and, unless it is opaque, alpha. */
async function enlargeWindow(session, picture, column, row, scale, opaque) {
  const width = column.stop - column.start, height = row.stop - row.start;
  const data = picture.part(column.start, row.start, width, height);
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let at = 0; at < size; at++) {
    for (let band = 0; band < 3; band++) planes[band * size + at] = data[4 * at + band] / 255;
  }
  let alpha = null;
  if (!opaque) {
    alpha = new Float32Array(size);
    for (let at = 0; at < size; at++) alpha[at] = data[4 * at + 3] / 255;
    fillTransparent(planes, alpha, width, height);
  }
  const made = await run(session, planes, height, width, scale);
  keepNeutral(made, planes, width, height, scale);
  const isNear = (x, y) =>
    Math.min(x + column.start, picture.width - 1 - x - column.start, y + row.start, picture.height - 1 - y - row.start) < BORDER;
  keepBordersNear(made, planes, 3, width, height, scale, isNear);
  keepFlat(made, planes, 3, width, height, scale);
  let cover = null;
  if (alpha) {
    const grey = new Float32Array(3 * size);
    for (let band = 0; band < 3; band++) grey.set(alpha, band * size);
    const large = await run(session, grey, height, width, scale);
    const count = size * scale * scale;
    cover = new Float32Array(count);
    for (let at = 0; at < count; at++) cover[at] = 0.299 * large[at] + 0.587 * large[count + at] + 0.114 * large[2 * count + at];
    keepBordersNear(cover, alpha, 1, width, height, scale, isNear);
    keepFlat(cover, alpha, 1, width, height, scale);
    keepInPlace(cover, alpha, width, height, scale);
  }
  return { made, cover, width: width * scale, height: height * scale };
}

/** Put the part of a window that is kept into rows of the result. */
function place(window, column, row, scale, strip, stripWidth, bands, origin = 0) {
  const { made, cover, width, height } = window;
  const size = width * height;
  const left = (column.keepStart - column.start) * scale, right = (column.keepStop - column.start) * scale;
  const top = (row.keepStart - row.start) * scale, bottom = (row.keepStop - row.start) * scale;
  for (let y = top; y < bottom; y++) {
    let to = ((y - top) * stripWidth + (column.keepStart - origin) * scale) * bands;
    for (let x = left; x < right; x++) {
      const at = y * width + x;
      // An array of clamped bytes rounds halves to even; a sample of the library rounds them up.
      for (let band = 0; band < 3; band++) strip[to++] = Math.floor(255 * Math.min(1, Math.max(0, made[band * size + at])) + 0.5);
      if (bands === 4) strip[to++] = Math.floor(255 * Math.min(1, Math.max(0, cover[at])) + 0.5);
    }
  }
}

async function enlarge({ number, file, scale, model }) {
  const start = performance.now();
  const variant = variantOf(model, scale);
  const metadata = await metadataOf(file);
  const picture = await Picture.open(file, metadata);
  try {
    const session = await sessionOf(variant);
    const opaque = picture.isOpaque();
    const halo = variant.halo + (opaque ? 0 : 4);
    const columns = cut(picture.width, WINDOW, halo), rows = cut(picture.height, WINDOW, halo);
    const width = picture.width * scale, height = picture.height * scale, bands = opaque ? 3 : 4;
    const writer = new PngWriter(width, height, bands, metadata.chunks);
    const preview = new Preview(width, height, bands);
    let done = 0;
    for (const row of rows) {
      const strip = new Uint8Array(width * (row.keepStop - row.keepStart) * scale * bands);
      for (const column of columns) {
        place(await enlargeWindow(session, picture, column, row, scale, opaque), column, row, scale, strip, width, bands);
        done += 1;
        postMessage({ number, told: ["working", done / (rows.length * columns.length)] });
        await breath();
        if (stopped.delete(number)) throw new Error("stopped");
      }
      preview.add(strip);
      await writer.add(strip);
    }
    return {
      blob: await writer.end(),
      preview: await preview.blob(),
      width,
      height,
      models: [`${model}-x${scale}`],
      why: "",
      seconds: (performance.now() - start) / 1000,
      agreement: null,
      not_kept: metadata.lost,
    };
  } finally {
    picture.close();
  }
}

/** Let messages come in, such as the word to stop. */
const breath = () => new Promise((resolve) => setTimeout(resolve));

/** The result, reduced while it is made. */
class Preview {
  constructor(width, height, bands) {
    this.step = Math.ceil(Math.max(width, height) / PREVIEW);
    this.columns = Math.max(1, Math.floor(width / this.step));
    this.rows = Math.max(1, Math.floor(height / this.step));
    this.image = new ImageData(this.columns, this.rows);
    this.from = [width, bands];
    this.row = 0;
  }

  add(strip) {
    const [width, bands] = this.from;
    const count = strip.length / (width * bands);
    for (let y = 0; y < count; y++, this.row++) {
      if (this.row % this.step !== this.step >> 1) continue;
      const to = Math.floor(this.row / this.step);
      if (to >= this.rows) continue;
      for (let x = 0; x < this.columns; x++) {
        const from = (y * width + x * this.step + (this.step >> 1)) * bands;
        const at = 4 * (to * this.columns + x);
        for (let band = 0; band < 4; band++) this.image.data[at + band] = band < bands ? strip[from + band] : 255;
      }
    }
  }

  blob() {
    return blobOf(this.image);
  }
}

async function blobOf(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** A part of the picture, its result or bicubic, as a blob. Pixels of the result are made anew. */
async function view({ file, scale, model, of, box, preview }) {
  if (of === "result" && !box) return preview;
  const metadata = await metadataOf(file);
  const picture = await Picture.open(file, metadata);
  try {
    if (!box) {
      const part = Math.min(1, PREVIEW / Math.max(picture.width, picture.height));
      const size = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * part)));
      const canvas = new OffscreenCanvas(...size);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(picture.bitmap, 0, 0, ...size);
      return await canvas.convertToBlob({ type: "image/png" });
    }
    const reach = of === "result" ? variantOf(model, scale).halo + 4 : 3;
    const axis = (start, length, whole) => {
      const first = Math.max(0, Math.floor(start / scale) - reach);
      const last = Math.min(whole, Math.ceil((start + length) / scale) + reach);
      return { start: first, stop: last, keepStart: first, keepStop: last };
    };
    const column = axis(box.left, box.width, picture.width), row = axis(box.top, box.height, picture.height);
    const width = (column.stop - column.start) * scale, height = (row.stop - row.start) * scale;
    let strip;
    if (of === "result") {
      const opaque = picture.isOpaque(), bands = opaque ? 3 : 4;
      const window = await enlargeWindow(await sessionOf(variantOf(model, scale)), picture, column, row, scale, opaque);
      strip = new Uint8ClampedArray(width * height * bands);
      place(window, column, row, scale, strip, width, bands, column.start);
    }
    const image = new ImageData(box.width, box.height);
    const left = box.left - column.start * scale, top = box.top - row.start * scale;
    if (of === "bicubic") {
      const given = picture.part(column.start, row.start, column.stop - column.start, row.stop - row.start);
      strip = bicubicPart(given, column.stop - column.start, row.stop - row.start, scale);
    }
    const bands = strip.length / (width * height);
    for (let y = 0; y < box.height; y++) {
      for (let x = 0; x < box.width; x++) {
        for (let band = 0; band < 4; band++) {
          const from = ((y + top) * width + x + left) * bands + band;
          image.data[4 * (y * box.width + x) + band] = band < bands ? strip[from] : 255;
        }
      }
    }
    return await blobOf(image);
  } finally {
    picture.close();
  }
}

// ---------------------------------------------------------------- one thing after another

const verbs = { load, plans, enlarge, view };
let last = Promise.resolve();

addEventListener("message", ({ data }) => {
  if (data.verb === "stop") return stopped.add(data.number);
  last = last.then(async () => {
    if (stopped.delete(data.number)) return;
    try {
      postMessage({ number: data.number, value: await verbs[data.verb](data) });
    } catch (error) {
      const named = data.name ? `${data.name}: ` : "";
      postMessage({ number: data.number, problem: `${named}${error.message ?? error}` });
    }
  });
});
