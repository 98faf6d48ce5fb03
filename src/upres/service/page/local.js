"use strict";
// The page's engine without a server: models run in worker.js, in this browser.

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let count = 0;

worker.addEventListener("message", ({ data }) => {
  const call = waiting.get(data.number);
  if (!call) return;
  if (data.told) return call.tell(...data.told);
  waiting.delete(data.number);
  if (data.problem) call.reject(new Error(data.problem));
  else call.resolve(data.value);
});
worker.addEventListener("error", (event) => {
  event.preventDefault();
  for (const call of waiting.values()) call.reject(new Error(`the models cannot be run here: ${event.message}`));
  waiting.clear();
});

/** Have the worker do something; gives its result. */
function ask(verb, values = {}, { signal, tell = () => {} } = {}) {
  const number = ++count;
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject, tell });
    signal?.addEventListener("abort", () => {
      worker.postMessage({ verb: "stop", number });
      if (waiting.delete(number)) reject(new DOMException("", "AbortError"));
    });
    worker.postMessage({ verb, number, ...values });
  });
}

export const engine = {
  about: "Enlarges pictures by residual networks in this browser. Pictures stay on this computer.",
  atOnce: 1,
  hides: ["by", "format", "consistent", "error-map"],

  async choices() {
    const loaded = await ask("load");
    this.purposes = new Map(loaded.models.map(({ model, purpose }) => [model, purpose]));
    const threads = `${loaded.threads} thread${loaded.threads === 1 ? "" : "s"}`;
    const how = loaded.provider === "webgpu" ? "WebGPU" : `WebAssembly, ${threads}`;
    return {
      models: loaded.models,
      formats: ["auto"],
      limits:
        `Everything is loaded, and nothing more is asked of the network (${how}). Results are PNG in 8 bits. ` +
        "EXIF, XMP, colour profile and resolution of JPEG and PNG are kept; other metadata, more frames than the " +
        "first, and more bits than 8 are not, and each result says so. There are no error maps. Factors are 2, 3 and 4; photo also restores by 1.",
    };
  },

  async plans(width, height, parameters) {
    return ask("plans", { width, height, scale: Number(parameters.scale) });
  },

  async enlarge(file, parameters, { signal, tell }) {
    const scale = Number(parameters.scale);
    const values = { file, name: file.name, scale, model: parameters.model };
    tell("waiting");
    const made = await ask("enlarge", values, { signal, tell });
    return {
      ...made,
      name: `${file.name.replace(/\.[^.]*$/, "")}_x${scale}.png`,
      remove() {},
      view: (of, box) => ask("view", { ...values, of, box, preview: made.preview }),
    };
  },
};
