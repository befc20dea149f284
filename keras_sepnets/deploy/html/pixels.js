// From the pixels of a picture to the input of a network, by the arithmetic of tf.image in float32.
"use strict";
const Pixels = (() => {
  const f = Math.fround;

  // Round half to even, as tf.round does.
  function round(value) {
    const rounded = Math.round(value);
    return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
  }

  const toByte = (value) => Math.min(255, Math.max(0, round(value)));

  // The rectangle that the network sees, {x, y, width, height}, in a picture of this size.
  function seenRectangle(width, height, rules) {
    const sides = rules.fit === "crop" ? [Math.min(width, height), Math.min(width, height)] : [width, height];
    const [seenWidth, seenHeight] = sides.map((side) => Math.max(1, round(f(side * f(rules.cropFraction)))));
    return {
      x: Math.floor((width - seenWidth) / 2),
      y: Math.floor((height - seenHeight) / 2),
      width: seenWidth,
      height: seenHeight,
    };
  }

  // Where that rectangle lies in the square that the network sees: {x, y, width, height}, in pixels of the square.
  function place(seen, rules) {
    const size = rules.imageSize;
    if (rules.fit !== "pad") return { x: 0, y: 0, width: size, height: size };
    const longer = Math.max(seen.width, seen.height);
    const [width, height] = [seen.width, seen.height].map((side) => Math.max(1, round(f(f(side / longer) * size))));
    return { x: Math.floor((size - width) / 2), y: Math.floor((size - height) / 2), width, height };
  }

  // For each output pixel: the input pixels it is made of, and their weights. Two, unless it is antialiased.
  function spans(from, to, antialias) {
    const result = [];
    const scale = f(from / to);
    for (let at = 0; at < to; at++) {
      if (antialias) {
        result.push(triangle(at, from, to));
        continue;
      }
      const position = f(f((at + 0.5) * scale) - 0.5);
      const low = Math.max(Math.floor(position), 0);
      const high = Math.min(Math.ceil(position), from - 1);
      result.push({ low, high, share: f(position - Math.floor(position)) });
    }
    return result;
  }

  function triangle(at, from, to) {
    const inverse = f(1 / f(to / from));
    const radius = Math.max(inverse, 1);
    const share = f(1 / radius);
    const centre = f((at + 0.5) * inverse);
    const start = Math.min(from - 1, Math.max(0, Math.ceil(f(f(centre - radius) - 0.5))));
    const end = Math.min(from - 1, Math.max(0, Math.floor(f(f(centre + radius) - 0.5)))) + 1;
    const weights = new Float32Array(end - start);
    let sum = 0;
    for (let source = start; source < end; source++) {
      weights[source - start] = Math.max(0, f(1 - Math.abs(f(f(f(source + 0.5) - centre) * share))));
      sum = f(sum + weights[source - start]);
    }
    const factor = f(1 / sum);
    for (let k = 0; k < weights.length; k++) weights[k] *= factor;
    return { start, weights };
  }

  // Resize a rectangle to (width, height): float32, three channels. `step` is 3 for RGB and 4 for RGBA.
  function resize(pixels, stride, step, seen, width, height, antialias) {
    const columns = spans(seen.width, width, antialias);
    const rows = spans(seen.height, height, antialias);
    const first = seen.y * stride + seen.x * step;
    return antialias
      ? resizeSmoothly(pixels, first, stride, step, seen.width, rows, columns)
      : resizeBilinearly(pixels, first, stride, step, rows, columns);
  }

  function resizeBilinearly(pixels, first, stride, step, rows, columns) {
    const result = new Float32Array(rows.length * columns.length * 3);
    let at = 0;
    for (const row of rows) {
      const upper = first + row.low * stride;
      const lower = first + row.high * stride;
      for (const column of columns) {
        const left = column.low * step;
        const right = column.high * step;
        for (let c = 0; c < 3; c++) {
          const upperLeft = pixels[upper + left + c];
          const lowerLeft = pixels[lower + left + c];
          const top = f(upperLeft + f(f(pixels[upper + right + c] - upperLeft) * column.share));
          const bottom = f(lowerLeft + f(f(pixels[lower + right + c] - lowerLeft) * column.share));
          result[at++] = f(top + f(f(bottom - top) * row.share));
        }
      }
    }
    return result;
  }

  function resizeSmoothly(pixels, first, stride, step, width, rows, columns) {
    const result = new Float32Array(rows.length * columns.length * 3);
    const line = new Float32Array(width * 3); // a row of the result before its columns are summed
    let at = 0;
    for (const row of rows) {
      line.fill(0);
      row.weights.forEach((weight, k) => {
        let from = first + (row.start + k) * stride;
        for (let x = 0; x < width; x++, from += step) {
          for (let c = 0; c < 3; c++) line[3 * x + c] += f(weight * pixels[from + c]);
        }
      });
      for (const column of columns) {
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let k = 0; k < column.weights.length; k++) {
            sum = f(sum + f(column.weights[k] * line[3 * (column.start + k) + c]));
          }
          result[at++] = sum;
        }
      }
    }
    return result;
  }

  // The input of the network: bytes, RGB. The picture has `step` bytes per pixel, of which the first three count.
  function prepare(picture, rules) {
    const { pixels, width, height, step } = picture;
    const size = rules.imageSize;
    const seen = seenRectangle(width, height, rules);
    const inside = place(seen, rules);
    const antialias = Math.max(seen.width, seen.height) > 2 * size;
    const resized = resize(pixels, width * step, step, seen, inside.width, inside.height, antialias);
    const result = new Uint8Array(size * size * 3).fill(rules.padding);
    for (let y = 0; y < inside.height; y++) {
      const to = ((inside.y + y) * size + inside.x) * 3;
      for (let k = 0; k < inside.width * 3; k++) result[to + k] = toByte(resized[y * inside.width * 3 + k]);
    }
    return result;
  }

  // By what a much larger picture is reduced first, as when it was decoded for the training: 1, 2, 4 or 8.
  function reduction(width, height, rules) {
    const shortest = Math.ceil(rules.imageSize / rules.cropFraction);
    return [8, 4, 2].find((factor) => Math.min(width, height) >= shortest * factor) || 1;
  }

  // Reduce RGBA pixels to means of squares, as decoders of JPEG do that stay below full size, and Pillow for others.
  function reduce(pixels, width, height, factor) {
    const [outWidth, outHeight] = [Math.ceil(width / factor), Math.ceil(height / factor)];
    const result = new Uint8Array(outWidth * outHeight * 3);
    const sums = new Uint32Array(outWidth * 3);
    for (let top = 0; top < height; top += factor) {
      const down = Math.min(factor, height - top);
      sums.fill(0);
      for (let y = top; y < top + down; y++) {
        for (let x = 0, from = 4 * y * width; x < width; x++, from += 4) {
          const to = 3 * Math.floor(x / factor);
          sums[to] += pixels[from];
          sums[to + 1] += pixels[from + 1];
          sums[to + 2] += pixels[from + 2];
        }
      }
      const at = (top / factor) * outWidth * 3;
      for (let k = 0; k < sums.length; k++) {
        const across = Math.min(factor, width - Math.floor(k / 3) * factor);
        result[at + k] = Math.floor(sums[k] / (down * across) + 0.5);
      }
    }
    return { pixels: result, width: outWidth, height: outHeight, step: 3 };
  }

  return { prepare, seenRectangle, place, reduction, reduce };
})();
