// Products of matrices and depthwise convolutions, in WebAssembly with vectors of four numbers, or in JavaScript.
"use strict";
const Vectors = (() => {
  const TILE = 8; // columns of a product that are computed at once: two vectors
  const ROWS = 4; // rows of a product that are computed at once
  const HALVES = [0, 1]; // of a tile
  const WINDOW = [...Array(9).keys()]; // pixels of a 3x3 kernel
  const FREE = [-Infinity, Infinity];
  const LIMITS = { relu: [0, Infinity], relu6: [0, 6] }; // of the results of an operation with this activation

  // The parts of a module, as the WebAssembly core specification 2.0 encodes them (section 5).
  const I32 = 0x7f;
  const V128 = 0x7b;
  const END = 0x0b;
  const LOOP = [0x03, 0x40];
  const REPEAT_IF = [0x0d, 0, END]; // begin the innermost loop again, or leave it
  const ADD = 0x6a;
  const IS_LESS = 0x49;
  const VECTOR_ADD = [0xfd, 0xe4, 1];
  const VECTOR_MULTIPLY = [0xfd, 0xe6, 1];
  const VECTOR_MIN = [0xfd, 0xe8, 1];
  const VECTOR_MAX = [0xfd, 0xe9, 1];
  const get = (local) => [0x20, local];
  const set = (local) => [0x21, local];
  const tee = (local) => [0x22, local];
  const number = (value) => [0x41, value]; // below 64
  const load = (offset) => [0xfd, 0, 0, offset];
  const splat = [0xfd, 9, 0, 0]; // four times the number at an address
  const store = (offset) => [0xfd, 11, 0, offset];
  const advance = (local, ...by) => [get(local), by, ADD, set(local)];
  const clamp = [number(0), load(0), VECTOR_MAX, number(0), load(16), VECTOR_MIN]; // to the limits at address 0
  const size = (value) => (value < 128 ? [value] : [(value & 127) | 128, value >> 7]);
  const name = (text) => [text.length, ...[...text].map((letter) => letter.charCodeAt(0))];

  function section(id, ...content) {
    const bytes = content.flat(Infinity);
    return [id, ...size(bytes.length), ...bytes];
  }

  // A function of eight addresses and numbers of bytes, with this many more locals of each type.
  function body(numbers, vectors, ...code) {
    const bytes = [[2, numbers, I32, vectors, V128], code, END].flat(Infinity);
    return [size(bytes.length), bytes];
  }

  // All rows times one tile of weights (inputs, TILE), plus the bias.
  function multiplyBody() {
    const [row, stride, tile, tileEnd, bias, result, resultStride, rowsEnd] = Array(8).keys();
    const rows = [...Array(ROWS).keys()];
    const from = (r) => 8 + r; // where each row is read
    const weight = 8 + ROWS;
    const sum = (r, half) => 9 + ROWS + 2 * r + half;
    const weights = (half) => 9 + 3 * ROWS + half;
    const input = 11 + 3 * ROWS;
    return body(ROWS + 1, 2 * ROWS + 3, [
      LOOP,
      rows.map((r) => (r ? [get(from(r - 1)), get(stride), ADD, set(from(r))] : [get(row), set(from(r))])),
      rows.map((r) => HALVES.map((half) => [get(bias), load(16 * half), set(sum(r, half))])),
      [get(tile), set(weight)],
      LOOP,
      HALVES.map((half) => [get(weight), load(16 * half), set(weights(half))]),
      rows.map((r) => [
        [get(from(r)), splat, set(input)],
        HALVES.map((half) => [
          [get(sum(r, half)), get(input), get(weights(half)), VECTOR_MULTIPLY, VECTOR_ADD, set(sum(r, half))],
        ]),
        advance(from(r), number(4)),
      ]),
      [get(weight), number(4 * TILE), ADD, tee(weight), get(tileEnd), IS_LESS, REPEAT_IF],
      rows.map((r) => [
        HALVES.map((half) => [get(result), get(sum(r, half)), clamp, store(16 * half)]),
        advance(result, get(resultStride)),
      ]),
      rows.map(() => advance(row, get(stride))),
      [get(row), get(rowsEnd), IS_LESS, REPEAT_IF],
    ]);
  }

  // One row of results of a 3x3 depthwise convolution; `channels` is the bytes of a pixel, `step` those to the next.
  function depthwiseBody() {
    const [input, stride, weights, bias, result, channels, step, resultEnd] = Array(8).keys();
    const pixel = (k) => 8 + k;
    const weight = (k) => 17 + k;
    const offset = 26;
    const at = (local) => [get(local), get(offset), ADD];
    const after = (one, by, other) => [get(one), get(by), ADD, set(other)];
    const others = WINDOW.slice(1);
    return body(19, 0, [
      [get(weights), set(weight(0)), others.map((k) => after(weight(k - 1), channels, weight(k)))],
      LOOP,
      [get(input), set(pixel(0))],
      others.map((k) => (k % 3 ? after(pixel(k - 1), channels, pixel(k)) : after(pixel(k - 3), stride, pixel(k)))),
      [number(0), set(offset)],
      LOOP,
      [at(result), at(bias), load(0)],
      WINDOW.map((k) => [at(pixel(k)), load(0), at(weight(k)), load(0), VECTOR_MULTIPLY, VECTOR_ADD]),
      [clamp, store(0)],
      [get(offset), number(16), ADD, tee(offset), get(channels), IS_LESS, REPEAT_IF],
      advance(input, get(step)),
      [get(result), get(channels), ADD, tee(result), get(resultEnd), IS_LESS, REPEAT_IF],
    ]);
  }

  function assemble() {
    return new Uint8Array([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, 1, 0x60, 8, Array(8).fill(I32), 0),
      ...section(2, 1, name("page"), name("memory"), 2, 0, 1),
      ...section(3, 2, 0, 0),
      ...section(7, 2, name("multiply"), 0, 0, name("depthwise"), 0, 1),
      ...section(10, 2, multiplyBody(), depthwiseBody()),
    ]);
  }

  // Reorder a matrix (inputs, outputs) so that the outputs of a tile lie together; missing outputs are 0.
  function inTiles(kernel, outputs) {
    const inputs = kernel.length / outputs;
    const result = new Float32Array(inputs * Math.ceil(outputs / TILE) * TILE);
    for (let input = 0; input < inputs; input++) {
      for (let output = 0; output < outputs; output++) {
        const tile = Math.floor(output / TILE);
        result[(tile * inputs + input) * TILE + (output % TILE)] = kernel[input * outputs + output];
      }
    }
    return result;
  }

  function inWebAssembly() {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const module = new WebAssembly.Module(assemble());
    const { multiply, depthwise } = new WebAssembly.Instance(module, { page: { memory } }).exports;
    let numbers = new Float32Array(memory.buffer);
    let used = 32; // bytes that are kept: limits and weights; what follows is free for inputs and results

    function reserve(bytes, limits) {
      const missing = used + bytes - memory.buffer.byteLength;
      if (missing > 0) {
        memory.grow(Math.ceil(missing / 65536));
        numbers = new Float32Array(memory.buffer);
      }
      numbers.fill(limits[0], 0, 4).fill(limits[1], 4, 8);
    }

    function keep(values, length = values.length) {
      const address = used;
      reserve(4 * length, FREE);
      numbers.set(values, address / 4);
      used += Math.ceil(length / 4) * 16;
      return address;
    }

    function product(kernel, bias, limits = FREE) {
      const outputs = bias.length;
      const inputs = kernel.length / outputs;
      const wide = Math.ceil(outputs / TILE) * TILE;
      const tiles = keep(inTiles(kernel, outputs));
      const biases = keep(bias, wide);
      return (rows, count, result, at) => {
        const padded = Math.ceil(count / ROWS) * ROWS;
        const end = used + 4 * padded * inputs;
        reserve(4 * padded * (inputs + wide), limits);
        numbers.set(rows.length === count * inputs ? rows : rows.subarray(0, count * inputs), used / 4);
        for (let output = 0; output < wide; output += TILE) {
          const tile = tiles + 4 * output * inputs;
          const to = end + 4 * output;
          multiply(used, 4 * inputs, tile, tile + 4 * TILE * inputs, biases + 4 * output, to, 4 * wide, end);
        }
        for (let row = 0, step = wide === outputs ? count : 1; row < count; row += step) {
          const from = end / 4 + row * wide;
          result.set(numbers.subarray(from, from + step * outputs), at + row * outputs);
        }
      };
    }

    // Only for 3x3 kernels and channels in fours; null for others.
    function convolution(operation, kernel, bias, limits = FREE) {
      const channels = bias.length;
      if (kernel.length !== 9 * channels || operation.window[0] !== 3 || channels % 4) return null;
      const [weights, biases] = [keep(kernel), keep(bias)];
      const [down, across] = operation.strides;
      const [top, left, bottom, right] = operation.padding;
      const [outHeight, outWidth] = operation.shape;
      return (data, height, width, result) => {
        const row = (left + width + right) * channels; // numbers in a padded row
        const count = (top + height + bottom) * row;
        reserve(4 * (count + result.length), limits);
        const first = used / 4;
        numbers.fill(0, first, first + count);
        for (let y = 0; y < height; y++) {
          const line = data.subarray(y * width * channels, (y + 1) * width * channels);
          numbers.set(line, first + (top + y) * row + left * channels);
        }
        const step = 4 * outWidth * channels;
        for (let y = 0, to = used + 4 * count; y < outHeight; y++, to += step) {
          const from = used + 4 * y * down * row;
          depthwise(from, 4 * row, weights, biases, to, 4 * channels, 4 * channels * across, to + step);
        }
        result.set(numbers.subarray(first + count, first + count + result.length));
      };
    }

    return { name: "WebAssembly", product, convolution };
  }

  function inJavaScript() {
    return { name: "JavaScript", product: plainProduct, convolution: () => null };
  }

  function plainProduct(kernel, bias, limits = FREE) {
    const outputs = bias.length;
    const inputs = kernel.length / outputs;
    const tiles = inTiles(kernel, outputs);
    const sums = new Float64Array(8); // of two rows and four columns
    return (rows, count, result, at) => {
      for (let output = 0; output < outputs; output += 4) {
        const tile = Math.floor(output / TILE) * TILE * inputs + (output % TILE);
        const wide = Math.min(4, outputs - output);
        for (let row = 0; row < count; row += 2) {
          const both = Math.min(2, count - row);
          multiplyRows(rows, row * inputs, both === 2 ? inputs : 0, tiles, tile, inputs, sums);
          for (let r = 0; r < both; r++) {
            const to = at + (row + r) * outputs + output;
            for (let k = 0; k < wide; k++) {
              result[to + k] = Math.min(limits[1], Math.max(limits[0], sums[4 * r + k] + bias[output + k]));
            }
          }
        }
      }
    };
  }

  // Two rows times four columns, in numbers of 64 bits, which are faster here than rounded ones.
  function multiplyRows(rows, from, second, tiles, tile, inputs, sums) {
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    let [t0, t1, t2, t3] = [0, 0, 0, 0];
    for (let end = tile + inputs * TILE; tile < end; tile += TILE, from++) {
      const x = rows[from];
      const y = rows[from + second];
      const w0 = tiles[tile];
      const w1 = tiles[tile + 1];
      const w2 = tiles[tile + 2];
      const w3 = tiles[tile + 3];
      s0 += x * w0;
      s1 += x * w1;
      s2 += x * w2;
      s3 += x * w3;
      t0 += y * w0;
      t1 += y * w1;
      t2 += y * w2;
      t3 += y * w3;
    }
    [sums[0], sums[1], sums[2], sums[3]] = [s0, s1, s2, s3];
    [sums[4], sums[5], sums[6], sums[7]] = [t0, t1, t2, t3];
  }

  // Return {name, product, convolution}, for the weights of one network. `product(kernel, bias, limits)` returns a
  // function (rows, count, result, at) that puts the product of the first rows into result from `at` on.
  // `convolution(operation, kernel, bias, limits)` returns a function (data, height, width, result), or null.
  function start() {
    try {
      return inWebAssembly();
    } catch {
      return inJavaScript();
    }
  }

  return { start, inJavaScript, inWebAssembly, LIMITS };
})();
