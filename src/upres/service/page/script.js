"use strict";
// The page. Its engine is the service that it came from, or, in static files, local.js.

const $ = (id) => document.getElementById(id);
const AT_ONCE = 2;
const PREVIEWED = 50;
const ZOOMED = 320;
const AGAIN = 5;
const KNOWN_FOR = 30000;
// For programs: the page has no such choice.
const FORCED = /errors=force bounds [^:]*$/;
const NOT_DRAWN = /^error_map=png: (.*): [^:]*$/;
const WITHOUT = "it can be enlarged without an error map";

// ---------------------------------------------------------------- the engine behind HTTP

/** A refusal, with the one line for people. */
class Problem extends Error {
  constructor(detail, status = 0, retryAfter = 0) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const service = {
  about: "Enlarges pictures by residual networks, on the computer that this page comes from.",
  atOnce: AT_ONCE,
  told: new Map(),
  jobs: new Set(),
  token: new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token"),

  useToken(token) {
    this.token = token;
    sessionStorage.setItem("token", token);
  },

  async ask(path, options = {}) {
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("the service does not answer");
    }
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    throw new Problem(problem.detail ?? `the service answers ${response.status}`, response.status, problem.retry_after);
  },

  async choices() {
    return (await this.ask("choices")).json();
  },

  async plans(width, height, parameters) {
    const query = new URLSearchParams({ ...parameters, picture_width: width, picture_height: height });
    // Plans tell of both for all of them.
    query.delete("model");
    query.delete("error_map");
    const path = `plans?${query}`, known = this.told.get(path);
    if (known && performance.now() < known.until) return known.plans;
    // Of fifty pictures of one camera it is asked once, and not again at each that is done.
    const plans = this.ask(path).then((response) => response.json());
    this.told.set(path, { plans, until: performance.now() + KNOWN_FOR });
    plans.catch(() => this.told.delete(path));
    return plans;
  },

  /** Enlarge a file; gives its facts and blob, and tells each state. */
  async enlarge(file, parameters, { signal, tell }) {
    const query = new URLSearchParams({ ...parameters, name: file.name });
    tell("uploading");
    const job = await this.begin(file, query, { signal, tell });
    const path = `jobs/${job.id}`;
    const remove = () => {
      this.jobs.delete(remove);
      return this.ask(path, { method: "DELETE", keepalive: true }).catch(() => {});
    };
    this.jobs.add(remove);
    try {
      const ended = await this.follow(path, { signal, tell });
      if (ended.problem) throw new Problem(ended.problem.detail, ended.problem.status);
      tell("fetching");
      const blob = await (await this.ask(`${path}/result`, { signal })).blob();
      const map = ended.result.error_map && (await (await this.ask(`${path}/error-map`, { signal })).blob());
      return { ...ended.result, blob, map, remove, view: (of, box) => this.view(path, of, box) };
    } catch (error) {
      remove();
      throw error;
    }
  },

  async begin(file, query, { signal, tell }) {
    for (;;) {
      try {
        const headers = { "content-type": "application/octet-stream" };
        const response = await this.ask(`jobs?${query}`, { method: "POST", body: file, headers, signal });
        return await response.json();
      } catch (error) {
        if (error.status !== 429) throw error;
        const seconds = Math.max(1, error.retryAfter || 5); // a proxy's refusal has none
        tell("busy", seconds);
        await pause(1000 * seconds, signal);
      }
    }
  },

  /** The job at its end; where the connection is cut off, it is asked for again. */
  async follow(path, { signal, tell }) {
    for (let again = 0; ; again++) {
      const last = await this.followOnce(path, { signal, tell }).catch((error) => {
        if (error.name === "AbortError" || error.status || again === AGAIN) throw error;
      });
      if (["done", "failed"].includes(last?.state)) return last;
      if (again === AGAIN) throw new Problem("the service has ended the work");
      await pause(1000, signal);
    }
  },

  async followOnce(path, { signal, tell }) {
    const response = await this.ask(`${path}/events`, { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "", last = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (pending + value).split(/\r?\n\r?\n/);
      pending = events.pop();
      for (const event of events) {
        const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
        if (!data) continue;
        last = JSON.parse(data);
        tell(last.state, last.part);
      }
    }
    return last;
  },

  async view(path, of, box) {
    const query = new URLSearchParams({ of, ...box });
    return (await this.ask(`${path}/view?${query}`)).blob();
  },
};

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    });
  });
}

// ---------------------------------------------------------------- pictures

const engine = document.documentElement.dataset.engine === "local" ? (await import("./local.js")).engine : service;
const items = [];
let shown = null;

function say(text) {
  $("said").textContent = text;
}

/** Take files as pictures that wait to be enlarged. */
function add(files) {
  for (const file of files) {
    const element = $("item").content.firstElementChild.cloneNode(true);
    const item = { file, element, state: "ready", size: null, result: null, urls: [], abort: null };
    element.querySelector(".name").textContent = file.name;
    element.querySelector(".cancel").setAttribute("aria-label", `Remove ${file.name}`);
    element.querySelector(".cancel").addEventListener("click", () => remove(item));
    element.querySelector(".show").addEventListener("click", () => show(item));
    element.querySelector(".show").setAttribute("aria-label", `Compare ${file.name}`);
    element.querySelector("progress").setAttribute("aria-label", `Part of ${file.name} that is done`);
    items.push(item);
    $("list").append(element);
    mark(item, "ready");
    measure(item);
  }
  if (files.length) say(`${files.length} picture${files.length === 1 ? "" : "s"} added.`);
  refresh();
}

/** A picture's size, where the browser can tell it. */
async function measure(item) {
  const url = URL.createObjectURL(item.file);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = url;
    });
    item.size = [image.naturalWidth, image.naturalHeight];
    predict();
  } catch {
    item.size = null; // TIFF and the like: the service tells, once it has looked
  } finally {
    image.src = "";
    URL.revokeObjectURL(url);
  }
}

const WORDS = {
  ready: () => "ready",
  queued: () => "in the queue",
  uploading: () => "uploading",
  busy: (seconds) => `waiting: the service has room in about ${seconds} s`,
  waiting: () => "waiting for its turn",
  working: (part) => `${Math.floor(100 * (part ?? 0))} %`,
  fetching: () => "fetching the result",
  done: () => "done",
  failed: () => "not enlarged",
};

function mark(item, state, value) {
  item.state = state;
  item.element.dataset.state = state;
  item.element.querySelector(".state").textContent = WORDS[state](value);
  const progress = item.element.querySelector("progress");
  progress.hidden = !["uploading", "busy", "waiting", "working", "fetching"].includes(state);
  if (state === "working" || state === "fetching") progress.value = state === "fetching" ? 1 : value ?? 0;
  else progress.removeAttribute("value");
  const busy = !["ready", "done", "failed"].includes(state);
  const button = item.element.querySelector(".cancel");
  button.textContent = busy ? "Cancel" : "Remove";
  button.setAttribute("aria-label", `${button.textContent} ${item.file.name}`);
}

function remove(item) {
  item.abort?.abort();
  item.result?.remove();
  for (const url of item.urls) URL.revokeObjectURL(url);
  items.splice(items.indexOf(item), 1);
  item.element.remove();
  if (shown === item) {
    shown = null;
    $("viewer").hidden = true;
  }
  say(`${item.file.name} removed.`);
  refresh();
}

async function enlarge(item) {
  item.abort = new AbortController();
  const tell = (state, value) => {
    if (items.includes(item) && state !== "done" && state !== "failed") mark(item, state, value);
  };
  try {
    item.result = await engine.enlarge(item.file, item.parameters, { signal: item.abort.signal, tell });
    finish(item);
  } catch (error) {
    if (error.name === "AbortError" || !items.includes(item)) return;
    mark(item, "failed");
    const problem = item.element.querySelector(".problem");
    problem.hidden = false;
    problem.textContent = error.message.replace(FORCED, WITHOUT).replace(NOT_DRAWN, `${item.file.name}: $1: ${WITHOUT}`);
    // The line has the name, unless it is on the service.
    say(problem.textContent.startsWith(item.file.name) ? problem.textContent : `${item.file.name}: ${problem.textContent}`);
    if (error.status === 401) askForToken();
  } finally {
    item.abort = null;
  }
}

function finish(item) {
  const { result, element } = item;
  mark(item, "done");
  files(result).forEach(({ name, blob }, number) => {
    const link = element.querySelectorAll(".save, .save-map")[number];
    item.urls.push(URL.createObjectURL(blob));
    link.href = item.urls.at(-1);
    link.download = name;
    link.setAttribute("aria-label", `${link.textContent} ${name}`);
    link.hidden = false;
  });
  element.querySelector(".show").hidden = false;
  const facts = [
    `${result.width} x ${result.height}`,
    result.models.join(", "),
    `${result.seconds.toFixed(1)} s`,
    size(result.blob.size),
  ];
  if (result.agreement !== null) {
    facts.push(result.agreement === "inf" ? "agrees with its input in every sample" : `agrees with its input to ${result.agreement} dB`);
  }
  if (result.errors) facts.push(result.errors.told);
  if (result.not_kept.length) facts.push(`not kept: ${result.not_kept.join(", ")}`);
  const text = element.querySelector(".facts");
  text.textContent = facts.join(" · ");
  text.hidden = false;
  say(`${item.file.name} is enlarged.`);
}

/** The files of a result: the picture, and its error map if there is one. */
function files({ name, blob, map, error_map }) {
  return map ? [{ name, blob }, { name: error_map.name, blob: map }] : [{ name, blob }];
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Have pictures of the queue enlarged, some at once. */
async function work() {
  const running = () => items.filter((item) => item.abort).length;
  for (const item of items) {
    if (running() >= engine.atOnce) return;
    if (item.state === "queued") {
      enlarge(item).finally(() => {
        refresh();
        work();
      });
    }
  }
}

function refresh() {
  const done = items.filter((item) => item.result);
  $("start").disabled = !items.some((item) => item.state === "ready" || item.state === "failed");
  $("save-all").disabled = !done.length;
  $("clear").disabled = !items.length;
  predict();
}

// ---------------------------------------------------------------- choices

const SIZES = {
  scale: ["Factor", "4", "at least 1, such as 2.5"],
  width: ["Width", "3840", "pixels; the height follows"],
  height: ["Height", "2160", "pixels; the width follows"],
  fit: ["Fit within", "3840x2160", "width x height"],
};

function parameters() {
  return {
    [$("by").value]: $("size").value.trim(),
    model: $("model").value,
    format: $("format").value,
    consistent: $("consistent").checked ? "true" : "auto",
    ...($("error-map").checked && !$("error-map").disabled ? { error_map: "png" } : {}),
  };
}

let predicted = 0;
let timer = 0;

/** Tell by each model how long the pictures that wait will take. */
function predict() {
  clearTimeout(timer);
  timer = setTimeout(predictNow, 150);
}

async function predictNow() {
  const number = ++predicted;
  const waiting = items.filter((item) => ["ready", "queued"].includes(item.state));
  const known = waiting.filter((item) => item.size).slice(0, PREVIEWED);
  const totals = new Map();
  let problem = "", unbounded = "";
  try {
    const told = await Promise.all(known.map((item) => engine.plans(...item.size, parameters())));
    for (const plan of told.flat()) {
      if (plan.model === $("model").value) unbounded ||= plan.no_error_map ?? "";
      if (plan.problem) problem = plan.problem;
      else totals.set(plan.model, (totals.get(plan.model) ?? 0) + plan.seconds);
    }
  } catch (error) {
    problem = error.message;
  }
  if (number !== predicted) return;
  $("error-map").disabled = Boolean(unbounded);
  $("error-map-help").textContent = unbounded;
  const more = waiting.length > known.length;
  for (const option of $("model").options) {
    const seconds = totals.get(option.value);
    option.textContent = option.dataset.text + (seconds === undefined ? "" : ` (about ${duration(seconds)}${more ? " and more" : ""})`);
  }
  const seconds = totals.get($("model").value);
  $("model-help").textContent = seconds === undefined ? problem : `about ${duration(seconds)} here${more ? " for those whose size is known" : ""}`;
}

function duration(seconds) {
  if (seconds < 10) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function askForToken() {
  $("token-form").hidden = false;
  $("token").focus();
}

async function prepare() {
  $("about").textContent = engine.about;
  try {
    const { models, formats, limits } = await engine.choices();
    $("token-form").hidden = true;
    const options = models.map(({ model, purpose }) => {
      const option = new Option(`${model}: ${purpose}`, model);
      option.dataset.text = option.textContent;
      return option;
    });
    $("model").replaceChildren(...options);
    $("format").replaceChildren(...formats.map((name) => new Option(name === "auto" ? "as the picture" : name.toUpperCase(), name)));
    $("limits").textContent = limits ?? "";
    if (engine.hides) for (const id of engine.hides) $(id).closest("p, .field").hidden = true;
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    say(error.message);
    if (error.status === 401) askForToken();
  }
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  engine.useToken($("token").value);
  say("");
  prepare();
});
$("by").addEventListener("change", () => {
  const [label, value, help] = SIZES[$("by").value];
  document.querySelector("#size-field label").textContent = label;
  $("size").value = value;
  $("size-help").textContent = help;
  predict();
});
for (const id of ["size", "model", "format", "consistent", "error-map"]) $(id).addEventListener("input", predict);
$("choices").addEventListener("submit", (event) => {
  event.preventDefault();
  for (const item of items) {
    if (item.state !== "ready" && item.state !== "failed") continue;
    item.element.querySelector(".problem").hidden = true;
    item.parameters = parameters();
    mark(item, "queued");
  }
  refresh();
  work();
});
$("clear").addEventListener("click", () => {
  for (const item of [...items]) remove(item);
  say("All pictures removed.");
});

// ---------------------------------------------------------------- dropping, pasting, choosing

const SEEN = /^[^.].*\.[a-z0-9]{2,5}$/i;

const unread = [];

/** The files of a folder that was dropped, and of those in it. */
async function filesIn(entry) {
  const found = [];
  try {
    if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const inside of some) found.push(...(await filesIn(inside)));
    }
  } catch {
    unread.push(entry.name); // the others are taken all the same
  }
  return found.filter((file) => SEEN.test(file.name));
}

for (const id of ["files", "folder"]) {
  $(id).addEventListener("change", () => {
    const files = [...$(id).files];
    add(id === "folder" ? files.filter((file) => SEEN.test(file.name)) : files);
    $(id).value = "";
  });
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
for (const kind of ["dragleave", "drop"]) addEventListener(kind, () => $("drop").classList.remove("over"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return add([...event.dataTransfer.files]);
  const files = (await Promise.all(entries.map(filesIn))).flat();
  add(files);
  const lost = unread.splice(0);
  if (lost.length) say(`the browser cannot read ${lost.join(", ")}`);
  else if (!files.length) say("There are no pictures in it.");
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) add(files);
});
addEventListener("pagehide", ({ persisted }) => {
  // The browser may keep the page, and show it again as it was.
  if (!persisted) for (const remove of [...(engine.jobs ?? [])]) remove();
});

// ---------------------------------------------------------------- before and after

const urls = new Map();

/** Put a blob into an image, and let go of the one before. */
function put(image, blob) {
  const before = urls.get(image);
  const url = URL.createObjectURL(blob);
  urls.set(image, url);
  return new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = reject;
    image.src = url;
  }).finally(() => before && URL.revokeObjectURL(before));
}

async function show(item) {
  shown = item;
  $("viewer").hidden = false;
  $("viewer-title").textContent = `Before and after: ${item.file.name}`;
  $("viewer-said").textContent = "making the previews";
  $("viewer-title").focus();
  $("before").alt = `${item.file.name} before`;
  $("after").alt = `${item.file.name} enlarged`;
  const { map, errors, error_map } = item.result;
  $("map-figure").hidden = $("zoom-map-figure").hidden = !map;
  if (map) {
    const most = error_map.shown_to;
    $("map-half").textContent = `±${most / 2}`;
    $("map-most").textContent = `±${most}`;
    $("map-said").textContent = `error map: ${errors.told}`;
    $("map").alt = `error map of ${item.file.name}: dark where it is within 0, bright where it is within ${most} of the truth`;
  }
  try {
    const seen = map ? ["picture", "result", "errors"] : ["picture", "result"];
    const blobs = await Promise.all(seen.map((of) => item.result.view(of)));
    if (shown !== item) return;
    await Promise.all(blobs.map((blob, place) => put($(["before", "after", "map"][place]), blob)));
    $("viewer-said").textContent = "";
  } catch (error) {
    $("viewer-said").textContent = `no preview: ${error.message ?? "the browser does not show it"}`;
  }
  await zoom();
}

$("slider").addEventListener("input", () => $("stage").style.setProperty("--at", `${$("slider").value}%`));

let zoomed = 0;

async function zoom() {
  const item = shown, number = ++zoomed;
  if (!item) return;
  const times = Number($("zoom-by").value);
  const { width, height } = item.result;
  const side = Math.floor(ZOOMED / times);
  const box = { width: Math.min(side, width), height: Math.min(side, height) };
  box.left = Math.round(((width - box.width) * $("zoom-x").value) / 1000);
  box.top = Math.round(((height - box.height) * $("zoom-y").value) / 1000);
  const place = `${box.width} x ${box.height} pixels from ${box.left}, ${box.top}`;
  try {
    for (const of of item.result.map ? ["bicubic", "result", "errors"] : ["bicubic", "result"]) {
      const image = $(`zoom-${of}`);
      const blob = await item.result.view(of, box);
      if (shown !== item || number !== zoomed) return; // there is a later one
      await put(image, blob);
      image.style.width = `${box.width * times}px`;
      image.alt = `${{ result: "upres", bicubic: "bicubic", errors: "error map" }[of]}: ${place} of ${item.file.name}`;
    }
  } catch (error) {
    $("viewer-said").textContent = `no pixels to show: ${error.message ?? "the browser does not show them"}`;
  }
}

for (const id of ["zoom-x", "zoom-y", "zoom-by"]) $(id).addEventListener("change", zoom);

// ---------------------------------------------------------------- a zip of all results

const TABLE = new Uint32Array(256).map((_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  return number;
});

async function crc32(blob) {
  let crc = 0xffffffff;
  const reader = blob.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ 0xffffffff) >>> 0;
    for (const byte of value) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
}

/** A zip of files, stored as they are: pictures are compressed already. */
async function zip(files) {
  const total = files.reduce((sum, { blob }) => sum + blob.size + 200, 0);
  if (total > 0xffffffff || files.length > 65535) throw new Problem("all results together are too much for one zip: download them one by one");
  const parts = [], index = [];
  let at = 0;
  for (const { name, blob } of files) {
    const called = new TextEncoder().encode(name);
    const common = new DataView(new ArrayBuffer(26));
    common.setUint16(0, 20, true); // version that is needed
    common.setUint16(2, 0x0800, true); // names are UTF-8
    common.setUint16(8, 0x0021, true); // 1 January 1980: of no interest
    common.setUint32(10, await crc32(blob), true);
    common.setUint32(14, blob.size, true);
    common.setUint32(18, blob.size, true);
    common.setUint16(22, called.length, true);
    const start = at;
    parts.push(new Uint8Array([0x50, 0x4b, 3, 4]), common, called, blob);
    at += 30 + called.length + blob.size;
    const rest = new DataView(new ArrayBuffer(14));
    rest.setUint32(10, start, true);
    index.push(new Uint8Array([0x50, 0x4b, 1, 2, 20, 0]), common, rest, called);
  }
  const length = index.reduce((sum, part) => sum + part.byteLength, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...index, end], { type: "application/zip" });
}

/** Names that differ, as files of several folders may be called alike. */
function distinct(named) {
  const taken = new Set();
  return named.map(({ name, blob }) => {
    let other = name;
    for (let number = 2; taken.has(other.toLowerCase()); number++) other = name.replace(/(\.[^.]*)?$/, ` (${number})$1`);
    taken.add(other.toLowerCase());
    return { name: other, blob };
  });
}

$("save-all").addEventListener("click", async () => {
  try {
    const url = URL.createObjectURL(await zip(distinct(items.filter((item) => item.result).flatMap((item) => files(item.result)))));
    const link = document.createElement("a");
    link.href = url;
    link.download = "upres.zip";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  } catch (error) {
    say(error.message);
  }
});

await prepare();
