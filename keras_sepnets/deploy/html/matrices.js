// Products of matrices, in WebAssembly with vectors of four numbers where there is such, and else in JavaScript.
"use strict";
const Matrices = (() => {
  const TILE = 8; // columns that are computed at once: two vectors
  const ROWS = 4; // rows that are computed at once

  // The parts of a module, as the WebAssembly core specification 2.0 encodes them (section 5).
  const I32 = 0x7f;
  const V128 = 0x7b;
  const END = 0x0b;
  const BRANCH_IF = [0x0d, 0]; // to the begin of the innermost loop
  const LOOP = [0x03, 0x40];
  const ADD = 0x6a;
  const SHIFT_LEFT = 0x74;
  const IS_LESS = 0x49;
  const VECTOR_ADD = [0xfd, 0xe4, 1];
  const VECTOR_MULTIPLY = [0xfd, 0xe6, 1];
  const get = (local) => [0x20, local];
  const set = (local) => [0x21, local];
  const tee = (local) => [0x22, local];
  const number = (value) => [0x41, value]; // below 64
  const load = (offset) => [0xfd, 0, 0, offset];
  const splat = [0xfd, 9, 0, 0]; // four times the number at an address
  const store = (offset) => [0xfd, 11, 0, offset];
  const section = (id, ...content) => [id, ...size(content.flat().length), ...content.flat()];
  const size = (value) => (value < 128 ? [value] : [(value & 127) | 128, value >> 7]);
  const name = (text) => [text.length, ...[...text].map((letter) => letter.charCodeAt(0))];

  // multiply(row, stride, tile, end of the tile, bias, result, its stride, end of the rows): byte addresses. It
  // multiplies all rows by one tile of weights (inputs, TILE) and adds the bias.
  function assemble() {
    const [row, stride, tile, tileEnd, bias, result, resultStride, rowsEnd] = Array(8).keys();
    const from = (r) => 8 + r; // where each row is read
    const weight = 8 + ROWS;
    const sum = (r, half) => 9 + ROWS + 2 * r + half;
    const weights = (half) => 9 + 3 * ROWS + half;
    const input = 11 + 3 * ROWS;
    const halves = [0, 1];
    const rows = [...Array(ROWS).keys()];
    const code = [
      LOOP,
      rows.map((r) => (r ? [get(from(r - 1)), get(stride), ADD, set(from(r))] : [get(row), set(from(r))])),
      rows.map((r) => halves.map((half) => [get(bias), load(16 * half), set(sum(r, half))])),
      [get(tile), set(weight)],
      LOOP,
      halves.map((half) => [get(weight), load(16 * half), set(weights(half))]),
      rows.map((r) => [
        [get(from(r)), splat, set(input)],
        halves.map((half) => [
          [get(sum(r, half)), get(input), get(weights(half)), VECTOR_MULTIPLY, VECTOR_ADD, set(sum(r, half))],
        ]),
        [get(from(r)), number(4), ADD, set(from(r))],
      ]),
      [get(weight), number(4 * TILE), ADD, tee(weight), get(tileEnd), IS_LESS, BRANCH_IF, END],
      rows.map((r) => [
        halves.map((half) => [get(result), get(sum(r, half)), store(16 * half)]),
        [get(result), get(resultStride), ADD, set(result)],
      ]),
      [get(row), get(stride), number(2), SHIFT_LEFT, ADD, tee(row), get(rowsEnd), IS_LESS, BRANCH_IF, END, END],
    ].flat(Infinity);
    const locals = [2, ROWS + 1, I32, 2 * ROWS + 3, V128];
    const body = [...locals, ...code];
    return new Uint8Array([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, [1, 0x60, 8, ...Array(8).fill(I32), 0]),
      ...section(2, [1, ...name("page"), ...name("memory"), 2, 0, 1]),
      ...section(3, [1, 0]),
      ...section(7, [1, ...name("multiply"), 0, 0]),
      ...section(10, [1, ...size(body.length), ...body]),
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
    const { multiply } = new WebAssembly.Instance(module, { page: { memory } }).exports;
    let used = 0; // bytes of the memory that hold weights; what follows is free for rows and results

    function reserve(bytes) {
      const missing = used + bytes - memory.buffer.byteLength;
      if (missing > 0) memory.grow(Math.ceil(missing / 65536));
      return new Float32Array(memory.buffer);
    }

    function keep(values) {
      const address = used;
      reserve(4 * values.length).set(values, address / 4);
      used += Math.ceil(values.length / 4) * 16;
      return address;
    }

    return (kernel, bias) => {
      const outputs = bias.length;
      const inputs = kernel.length / outputs;
      const wide = Math.ceil(outputs / TILE) * TILE;
      const tiles = keep(inTiles(kernel, outputs));
      const biases = keep(Float32Array.from({ length: wide }, (_, k) => bias[k] || 0));
      return (rows, count, result, at) => {
        const [padded, first] = [Math.ceil(count / ROWS) * ROWS, used];
        const end = first + 4 * padded * inputs;
        const numbers = reserve(4 * padded * (inputs + wide));
        numbers.set(count * inputs === rows.length ? rows : rows.subarray(0, count * inputs), first / 4);
        for (let output = 0; output < wide; output += TILE) {
          const tile = tiles + 4 * output * inputs;
          const to = end + 4 * output;
          multiply(first, 4 * inputs, tile, tile + 4 * TILE * inputs, biases + 4 * output, to, 4 * wide, end);
        }
        if (wide === outputs) {
          result.set(numbers.subarray(end / 4, end / 4 + count * outputs), at);
          return;
        }
        for (let row = 0; row < count; row++) {
          const from = end / 4 + row * wide;
          result.set(numbers.subarray(from, from + outputs), at + row * outputs);
        }
      };
    };
  }

  function inJavaScript(kernel, bias) {
    const outputs = bias.length;
    const inputs = kernel.length / outputs;
    const tiles = inTiles(kernel, outputs);
    return (rows, count, result, at) => {
      for (let output = 0; output < outputs; output += 4) {
        const tile = Math.floor(output / TILE) * TILE * inputs + (output % TILE);
        for (let row = 0; row < count; row += 2) {
          const second = row + 1 < count ? inputs : 0; // the last of an odd number of rows is computed twice
          const to = at + row * outputs + output;
          multiplyFour(rows, row * inputs, second, tiles, tile, inputs, bias, output, result, to, outputs);
        }
      }
    };
  }

  // Multiply two rows by four columns: in numbers of 64 bits, which are faster here than rounded ones.
  function multiplyFour(rows, from, second, tiles, tile, inputs, bias, output, result, to, outputs) {
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
    const sums = second ? [s0, s1, s2, s3, t0, t1, t2, t3] : [s0, s1, s2, s3];
    sums.forEach((sum, k) => {
      const column = output + (k % 4);
      if (column < outputs) result[to + (k < 4 ? 0 : outputs) + (k % 4)] = sum + bias[column];
    });
  }

  // Return a function from (kernel, bias) to a function that multiplies: (rows, count, result, at) puts the product
  // of the first `count` rows into result from `at` on.
  function start() {
    try {
      return { product: inWebAssembly(), name: "WebAssembly" };
    } catch {
      return { product: inJavaScript, name: "JavaScript" };
    }
  }

  return { start, inJavaScript, inWebAssembly };
})();
