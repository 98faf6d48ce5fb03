// Runs the page's steps on planes of standard input: a line of JSON, then float32.
import { readFileSync } from "node:fs";
const steps = await import(process.argv[2]);
const input = readFileSync(0);
const end = input.indexOf(10);
const { step, shapes, width, height, scale, halo, window, near } = JSON.parse(input.subarray(0, end));
let at = end + 1;
const planes = shapes.map((count) => {
  const bytes = input.subarray(at, at + 4 * count);
  at += 4 * count;
  return new Float32Array(new Uint8Array(bytes).buffer);
});
const [first, second] = planes;
const size = width * height;
let out = first;
if (step === "keepNeutral") steps.keepNeutral(first, second, width, height, scale);
else if (step === "keepFlat") steps.keepFlat(first, second, second.length / size, width, height, scale);
else if (step === "keepInPlace") steps.keepInPlace(first, second, width, height, scale);
else if (step === "fillTransparent") steps.fillTransparent(first, second, width, height);
else if (step === "keepBordersNear") {
  const [left, top, right, bottom] = near; // how many samples of each side lie near the border
  const isNear = (x, y) => x < left || y < top || x >= width - right || y >= height - bottom;
  steps.keepBordersNear(first, second, second.length / size, width, height, scale, isNear);
} else if (step === "bicubicPart") {
  out = Float32Array.from(steps.bicubicPart(Uint8ClampedArray.from(first), width, height, scale));
} else if (step === "cut") {
  out = Float32Array.from(steps.cut(width, window, halo).flatMap((s) => [s.start, s.stop, s.keepStart, s.keepStop]));
} else throw new Error(step);
process.stdout.write(Buffer.from(out.buffer));
