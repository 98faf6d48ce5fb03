"use strict";
// The steps around the network, as upres.enlarging has them. Planes are one after another, float32 in
// [0, 1]; each has height x width samples.

const NEUTRAL_RADIUS = 2;
const NEUTRAL_RANGE = Math.fround(4 / 255);
const FILL_RADIUS = 4;

const luma = (red, green, blue) => 0.299 * red + 0.587 * green + 0.114 * blue;

/** Spans of windows along an axis, as upres.enlarging.tiles.cut has them. */
export function cut(length, window, halo) {
  if (length <= window) return [{ start: 0, stop: length, keepStart: 0, keepStop: length }];
  const spans = [];
  const step = window - 2 * halo;
  for (let number = 0; ; number++) {
    const start = Math.min(number * step, length - window);
    const stop = start + window;
    const keepStart = spans.length ? spans.at(-1).keepStop : 0;
    spans.push({ start, stop, keepStart, keepStop: stop === length ? length : stop - halo });
    if (stop === length) return spans;
  }
}

/** Take from an enlarged window the colour that the network gave to pixels without any. */
export function keepNeutral(made, colour, width, height, scale) {
  const size = width * height;
  const saturation = new Float32Array(size);
  let least = 1;
  for (let at = 0; at < size; at++) {
    const red = colour[at], green = colour[size + at], blue = colour[2 * size + at];
    saturation[at] = Math.max(red, green, blue) - Math.min(red, green, blue);
    least = Math.min(least, saturation[at]);
  }
  if (least >= NEUTRAL_RANGE) return;
  const around = largestAround(saturation, width, height, NEUTRAL_RADIUS);
  const count = size * scale * scale, wide = width * scale;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const weight = Math.min(around[at] / NEUTRAL_RANGE, 1);
      if (weight === 1) continue;
      const red = colour[at], green = colour[size + at], blue = colour[2 * size + at];
      const grey = luma(red, green, blue);
      const own = [(red - grey) * (1 - weight), (green - grey) * (1 - weight), (blue - grey) * (1 - weight)];
      for (let dy = 0; dy < scale; dy++) {
        for (let dx = 0; dx < scale; dx++) {
          const to = (y * scale + dy) * wide + x * scale + dx;
          const light = luma(made[to], made[count + to], made[2 * count + to]);
          for (let band = 0; band < 3; band++) {
            const place = band * count + to;
            made[place] = (made[place] - light) * weight + light + own[band];
          }
        }
      }
    }
  }
}

/** Near a picture's border, keep the result as near to the input as that is to its neighbours.
 *
 * Planes are ``bands`` of them. ``isNear(x, y)`` tells which samples lie near the border.
 */
export function keepBordersNear(made, given, bands, width, height, scale, isNear) {
  const size = width * height, count = size * scale * scale;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!isNear(x, y)) continue;
      for (let band = 0; band < bands; band++) {
        let lowest = Infinity, highest = -Infinity;
        for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
          for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
            const value = given[band * size + row * width + column];
            if (value < lowest) lowest = value;
            if (value > highest) highest = value;
          }
        }
        const spread = highest - lowest;
        for (let dy = 0; dy < scale; dy++) {
          for (let dx = 0; dx < scale; dx++) {
            const at = band * count + (y * scale + dy) * width * scale + x * scale + dx;
            made[at] = Math.min(Math.max(made[at], lowest - spread), highest + spread);
          }
        }
      }
    }
  }
}

/** Put the input, pixels repeated, where it is one colour one pixel around. */
export function keepFlat(made, given, bands, width, height, scale) {
  const size = width * height, count = size * scale * scale;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const own = y * width + x;
      let same = true;
      for (let row = Math.max(0, y - 1); same && row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); same && column <= Math.min(width - 1, x + 1); column++) {
          for (let band = 0; band < bands; band++) {
            if (given[band * size + row * width + column] !== given[band * size + own]) same = false;
          }
        }
      }
      if (!same) continue;
      for (let band = 0; band < bands; band++) {
        for (let dy = 0; dy < scale; dy++) {
          const at = band * count + (y * scale + dy) * width * scale + x * scale;
          made.fill(given[band * size + own], at, at + scale);
        }
      }
    }
  }
}

/** For each sample the largest of those at most ``radius`` away, along both axes. */
function largestAround(plane, width, height, radius) {
  const along = (from, across) => {
    const to = from.slice();
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x, place = across ? x : y, length = across ? width : height, stride = across ? 1 : width;
        for (let d = -Math.min(radius, place); d <= Math.min(radius, length - 1 - place); d++) {
          if (from[at + d * stride] > to[at]) to[at] = from[at + d * stride];
        }
      }
    }
    return to;
  };
  return along(along(plane, false), true);
}

/** Put visible neighbours' colour where alpha is zero: the mean of those near, weighted by alpha. */
export function fillTransparent(colour, alpha, width, height) {
  const size = width * height;
  if (!alpha.some((value) => value === 0)) return;
  const sums = [];
  for (let band = 0; band < 4; band++) {
    const weighted = new Float32Array(size);
    for (let at = 0; at < size; at++) weighted[at] = band < 3 ? colour[band * size + at] * alpha[at] : alpha[at];
    sums.push(boxSums(boxSums(weighted, width, height, false), width, height, true));
  }
  for (let at = 0; at < size; at++) {
    if (alpha[at] > 0) continue;
    for (let band = 0; band < 3; band++) colour[band * size + at] = sums[band][at] / Math.max(sums[3][at], 1e-6);
  }
}

function boxSums(plane, width, height, across) {
  const to = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x, place = across ? x : y, length = across ? width : height, stride = across ? 1 : width;
      let sum = 0;
      for (let d = -Math.min(FILL_RADIUS, place); d <= Math.min(FILL_RADIUS, length - 1 - place); d++) sum += plane[at + d * stride];
      to[at] = sum;
    }
  }
  return to;
}

/** Keep an enlarged plane within the range of the three samples that are nearest. */
export function keepInPlace(made, plane, width, height, scale) {
  const sample = (y, x) => plane[Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))];
  const side = (phase) => Math.sign(2 * phase + 1 - scale);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const own = plane[y * width + x];
      for (let dy = 0; dy < scale; dy++) {
        for (let dx = 0; dx < scale; dx++) {
          const beside = sample(y, x + side(dx)), above = sample(y + side(dy), x);
          const at = (y * scale + dy) * width * scale + x * scale + dx;
          made[at] = Math.min(Math.max(made[at], Math.min(own, beside, above)), Math.max(own, beside, above));
        }
      }
    }
  }
}

/** A part of a picture, RGBA of 8 bits, enlarged by bicubic interpolation (a = -0.5). */
export function bicubicPart(given, width, height, scale) {
  const weights = Array.from({ length: scale }, (_, phase) => {
    const place = (phase + 0.5) / scale - 0.5, first = Math.floor(place) - 1;
    return { first, taps: [0, 1, 2, 3].map((tap) => cubic(place - first - tap)) };
  });
  const mirrored = (at, length) => {
    const inside = at < 0 ? -1 - at : at >= length ? 2 * length - 1 - at : at;
    return Math.min(length - 1, Math.max(0, inside));
  };
  const rows = new Float32Array(width * height * scale * 4);
  for (let y = 0; y < height * scale; y++) {
    const { first, taps } = weights[y % scale], from = Math.floor(y / scale) + first;
    for (let x = 0; x < width * 4; x++) {
      let sum = 0;
      for (let tap = 0; tap < 4; tap++) sum += taps[tap] * given[mirrored(from + tap, height) * width * 4 + x];
      rows[y * width * 4 + x] = sum;
    }
  }
  const made = new Uint8ClampedArray(width * scale * height * scale * 4);
  for (let y = 0; y < height * scale; y++) {
    for (let x = 0; x < width * scale; x++) {
      const { first, taps } = weights[x % scale], from = Math.floor(x / scale) + first;
      for (let band = 0; band < 4; band++) {
        let sum = 0;
        for (let tap = 0; tap < 4; tap++) sum += taps[tap] * rows[(y * width + mirrored(from + tap, width)) * 4 + band];
        made[(y * width * scale + x) * 4 + band] = Math.floor(sum + 0.5);
      }
    }
  }
  return made;
}

function cubic(x) {
  const far = Math.abs(x);
  if (far <= 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? ((-0.5 * far + 2.5) * far - 4) * far + 2 : 0;
}
