"use strict";
// PNG, written in rows, and the metadata of JPEG and PNG files that goes into it.

const SIGNATURE = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const KEPT = new Set(["iCCP", "sRGB", "gAMA", "cHRM", "cICP", "pHYs", "tEXt", "zTXt", "iTXt", "eXIf", "tIME"]);
const PIXELS = new Set(["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]);
const FRAMES = new Set(["acTL", "fcTL", "fdAT"]);

const TABLE = new Uint32Array(256).map((_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  return number;
});

function chunk(type, content) {
  const bytes = new Uint8Array(12 + content.length), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let at = 0; at < 4; at++) bytes[4 + at] = type.charCodeAt(at);
  bytes.set(content, 8);
  let crc = 0xffffffff;
  for (let at = 4; at < bytes.length - 4; at++) crc = TABLE[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  view.setUint32(bytes.length - 4, (crc ^ 0xffffffff) >>> 0);
  return bytes;
}

/** Takes rows of samples of 8 bits, RGB or RGBA; memory does not grow with them but for the file. */
export class PngWriter {
  constructor(width, height, bands, chunks) {
    const head = new Uint8Array(13), view = new DataView(head.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    head.set([8, bands === 4 ? 6 : 2, 0, 0, 0], 8);
    this.bytes = width * bands;
    this.bands = bands;
    this.before = new Uint8Array(this.bytes);
    this.parts = [SIGNATURE, chunk("IHDR", head), ...chunks.map(([type, content]) => chunk(type, content))];
    const stream = new CompressionStream("deflate");
    this.writer = stream.writable.getWriter();
    this.reading = this.collect(stream.readable.getReader());
  }

  async collect(reader) {
    // Many small pieces become one part each, and the browser may keep those on disk.
    let pieces = [], size = 0;
    const flush = () => {
      if (!size) return;
      const content = new Uint8Array(size);
      let at = 0;
      for (const piece of pieces) {
        content.set(piece, at);
        at += piece.length;
      }
      this.parts.push(new Blob([chunk("IDAT", content)]));
      [pieces, size] = [[], 0];
    };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return flush();
      pieces.push(value);
      size += value.length;
      if (size > 2 ** 20) flush();
    }
  }

  async add(rows) {
    const { bytes, bands } = this;
    const count = rows.length / bytes;
    for (let first = 0; first < count; first += 64) {
      const some = Math.min(64, count - first);
      const filtered = new Uint8Array(some * (bytes + 1));
      for (let y = 0; y < some; y++) {
        const row = rows.subarray((first + y) * bytes, (first + y + 1) * bytes);
        const to = y * (bytes + 1);
        filtered[to] = 4; // Paeth's
        for (let x = 0; x < bytes; x++) {
          const left = x < bands ? 0 : row[x - bands], above = this.before[x], corner = x < bands ? 0 : this.before[x - bands];
          const guess = left + above - corner;
          const byLeft = Math.abs(guess - left), byAbove = Math.abs(guess - above), byCorner = Math.abs(guess - corner);
          filtered[to + 1 + x] = row[x] - (byLeft <= byAbove && byLeft <= byCorner ? left : byAbove <= byCorner ? above : corner);
        }
        this.before = row.slice();
      }
      await this.writer.write(filtered);
    }
  }

  async end() {
    await this.writer.close();
    await this.reading;
    return new Blob([...this.parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
  }
}

// ---------------------------------------------------------------- metadata

/** Chunks for a result, names of the items that it does not keep, and whether the format is known. */
export async function metadataOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let found = { chunks: [], lost: [], known: false };
  try {
    if (SIGNATURE.every((byte, at) => bytes[at] === byte)) found = ofPng(bytes);
    else if (bytes[0] === 0xff && bytes[1] === 0xd8) found = await ofJpeg(bytes);
    else found.lost = ofOthers(bytes);
  } catch {
    found = { chunks: [], lost: ["metadata"], known: false }; // it is damaged
  }
  return { ...found, lost: [...new Set(found.lost)] };
}

const starts = (bytes, at, text) => [...text].every((letter, number) => bytes[at + number] === letter.charCodeAt(0));

/** Names of what other formats have and a result does not keep, as far as their heads tell. */
function ofOthers(bytes) {
  const lost = ["metadata"];
  if (starts(bytes, 0, "GIF8") && isAnimatedGif(bytes)) lost.push("frames");
  if (starts(bytes, 0, "RIFF") && starts(bytes, 8, "WEBPVP8X")) {
    if (bytes[20] & 2) lost.push("frames");
    const exif = chunkOfWebp(bytes, "EXIF");
    // Not all browsers turn these upright.
    if (exif && orientation(starts(exif, 0, "Exif\0\0") ? exif.slice(6) : exif) > 1) lost.push("orientation");
  }
  if (starts(bytes, 4, "ftyp")) {
    if (starts(bytes, 8, "avis") || starts(bytes, 8, "msf1")) lost.push("frames");
    const head = Math.min(bytes.length, 65536);
    for (let at = 16; at + 6 < head; at++) {
      if (bytes[at] === 0x61 && starts(bytes, at, "av1C") && bytes[at + 6] & 0x40) lost.push("more than 8 bits");
    }
  }
  return lost;
}

function isAnimatedGif(bytes) {
  const palette = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let count = 0;
  for (let at = 13 + palette(bytes[10]); at < bytes.length && bytes[at] !== 0x3b; ) {
    if (bytes[at] === 0x2c) {
      if (++count > 1) return true;
      at += 11 + palette(bytes[at + 9]);
    } else if (bytes[at] === 0x21) at += 2;
    else return false;
    while (bytes[at]) at += 1 + bytes[at]; // blocks, up to an empty one
    at += 1;
  }
  return false;
}

function chunkOfWebp(bytes, type) {
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    if (starts(bytes, at, type)) return bytes.slice(at + 8, at + 8 + length);
    at += 8 + length + (length & 1);
  }
  return null;
}

function ofPng(bytes) {
  const view = new DataView(bytes.buffer), chunks = [], lost = [];
  const depth = bytes[24], isGrey = (bytes[25] & 3) === 0;
  if (depth === 16) lost.push("16 bits");
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.slice(at + 8, at + 8 + length);
    if (FRAMES.has(type)) lost.push("frames");
    else if (type === "iCCP" && isGrey) lost.push("colour profile"); // of grey, and the result is RGB
    else if (type === "eXIf") chunks.push([type, upright(content)]);
    else if (KEPT.has(type)) chunks.push([type, content]);
    else if (!PIXELS.has(type)) lost.push(`PNG's ${type}`);
    at += 12 + length;
  }
  return { chunks, lost, known: !lost.includes("colour profile") };
}

async function ofJpeg(bytes) {
  const view = new DataView(bytes.buffer), chunks = [], lost = [], profile = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
    const marker = bytes[at + 1], length = view.getUint16(at + 2), start = at + 4, end = at + 2 + length;
    if (marker === 0xe0 && starts(bytes, start, "JFIF\0")) {
      const unit = bytes[start + 7], dots = [view.getUint16(start + 8), view.getUint16(start + 10)];
      if (unit && dots[0] && dots[1]) chunks.push(["pHYs", density(dots, unit)]);
    } else if (marker === 0xe1 && starts(bytes, start, "Exif\0\0")) {
      chunks.push(["eXIf", upright(bytes.slice(start + 6, end))]);
    } else if (marker === 0xe1 && starts(bytes, start, "http://ns.adobe.com/xap/1.0/\0")) {
      const keyword = new TextEncoder().encode("XML:com.adobe.xmp\0\0\0\0\0");
      chunks.push(["iTXt", joined([keyword, bytes.slice(start + 29, end)])]);
    } else if (marker === 0xe2 && starts(bytes, start, "ICC_PROFILE\0")) {
      profile[bytes[start + 12] - 1] = bytes.slice(start + 14, end);
    } else if (marker === 0xed) lost.push("IPTC");
    else if (marker === 0xfe) lost.push("comments");
    else if (marker === 0xe2 && starts(bytes, start, "MPF\0")) lost.push("further pictures");
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (bytes[start + 5] === 4) lost.push("inks (CMYK)");
    } else if (marker > 0xe0 && marker <= 0xef && marker !== 0xee) lost.push("other segments");
    at = end;
  }
  const whole = joined(profile);
  if (whole.length > 20 && String.fromCharCode(...whole.subarray(16, 20)) === "RGB ") {
    const packed = new Blob([whole]).stream().pipeThrough(new CompressionStream("deflate"));
    const name = new TextEncoder().encode("ICC profile\0\0");
    chunks.unshift(["iCCP", joined([name, new Uint8Array(await new Response(packed).arrayBuffer())])]);
    return { chunks, lost, known: true };
  }
  if (whole.length) lost.push("colour profile");
  return { chunks, lost, known: !whole.length };
}

/** Dots an inch or a centimetre as PNG has them: for a metre. */
function density(dots, unit) {
  const content = new Uint8Array(9), view = new DataView(content.buffer);
  dots.forEach((count, number) => view.setUint32(4 * number, Math.round(unit === 1 ? count / 0.0254 : count * 100)));
  content[8] = 1;
  return content;
}

/** EXIF of a picture that stands upright now, without its thumbnail, which would show the old one. */
function upright(exif) {
  const { view, at, count, little } = entriesOf(exif);
  for (let number = 0; number < count; number++) {
    const entry = at + 2 + 12 * number;
    if (view.getUint16(entry, little) === 0x0112) view.setUint16(entry + 8, 1, little);
  }
  view.setUint32(at + 2 + 12 * count, 0, little);
  return exif;
}

function orientation(exif) {
  const { view, at, count, little } = entriesOf(exif);
  for (let number = 0; number < count; number++) {
    const entry = at + 2 + 12 * number;
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
  }
  return 1;
}

function entriesOf(exif) {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length);
  const little = exif[0] === 0x49;
  const at = view.getUint32(4, little);
  return { view, at, count: view.getUint16(at, little), little };
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
