// The operations of a network. A tensor is {data: Float32Array, shape: [height, width, channels] or [units]}.
"use strict";
const Network = (() => {

  function bytesOf(base64) {
    const text = atob(base64.trim());
    const bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    return bytes;
  }

  // The number that each float16 stands for.
  function halves() {
    return Float32Array.from({ length: 65536 }, (_, half) => {
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14;
      return half & 0x8000 ? -size : size;
    });
  }

  // Decode kernels, each value times the scale of its channel, in the order of the operations.
  function readWeights(description, kernels, floats, vectors) {
    const bytes = bytesOf(kernels);
    const isInt8 = description.weights === "int8";
    const values = isInt8 ? new Int8Array(bytes.buffer) : new Uint16Array(bytes.buffer);
    const half = isInt8 ? null : halves();
    const numbers = new Float32Array(bytesOf(floats).buffer);
    let [value, number] = [0, 0];
    return description.operations.map((operation) => {
      if (!operation.kernel) return operation;
      const channels = operation.kernel[operation.kernel.length - 1];
      const count = operation.kernel.reduce((one, other) => one * other, 1);
      const scales = numbers.subarray(number, number + channels);
      const bias = numbers.slice(number + channels, number + 2 * channels);
      const kernel = new Float32Array(count);
      for (let k = 0; k < count; k++) {
        kernel[k] = (isInt8 ? values[value + k] : half[values[value + k]]) * scales[k % channels];
      }
      value += count;
      number += 2 * channels;
      const limits = Vectors.LIMITS[operation.activation];
      const complete = { ...operation, weights: kernel, bias };
      if (operation.kind === "conv" || operation.kind === "dense") {
        complete.multiply = vectors.product(kernel, bias, limits);
      } else if (operation.kind === "depthwise") {
        complete.convolve = vectors.convolution(operation, kernel, bias, limits);
      }
      complete.isClamped = Boolean(limits && (complete.multiply || complete.convolve));
      return complete;
    });
  }

  // Call visit(y, x, top, bottom, left, right) for each output pixel, with the part of the window that lies inside.
  function slide(operation, height, width, visit) {
    const [outHeight, outWidth] = operation.shape;
    const [rows, columns] = operation.window;
    const [down, across] = operation.strides;
    const [before, left] = operation.padding;
    for (let y = 0; y < outHeight; y++) {
      const top = y * down - before;
      for (let x = 0; x < outWidth; x++) {
        const start = x * across - left;
        visit(y, x, top, Math.min(rows, height - top), start, Math.min(columns, width - start));
      }
    }
  }

  const OPERATIONS = {
    affine({ weights, bias }, result, [input]) {
      const channels = bias.length;
      for (let at = 0; at < result.length; at += channels) {
        for (let c = 0; c < channels; c++) result[at + c] = input.data[at + c] * weights[c] + bias[c];
      }
    },

    conv(operation, result, [input]) {
      const [height, width, channels] = input.shape;
      const [outHeight, outWidth, outputs] = operation.shape;
      const [rows, columns] = operation.window;
      const isPointwise = rows * columns === 1 && operation.strides[0] * operation.strides[1] === 1;
      if (isPointwise) {
        operation.multiply(input.data, height * width, result, 0);
        return;
      }
      const patch = rows * columns * channels; // values below a kernel
      const line = new Float32Array(outWidth * patch);
      slide(operation, height, width, (y, x, top, down, left, across) => {
        if (x === 0) line.fill(0);
        for (let row = Math.max(0, -top); row < down; row++) {
          const start = Math.max(0, -left);
          const from = ((top + row) * width + left) * channels;
          const to = x * patch + row * columns * channels;
          for (let k = start * channels; k < across * channels; k++) line[to + k] = input.data[from + k];
        }
        if (x === outWidth - 1) {
          operation.multiply(line, outWidth, result, y * outWidth * outputs);
        }
      });
    },

    depthwise(operation, result, [input]) {
      const [height, width, channels] = input.shape;
      if (operation.convolve) {
        operation.convolve(input.data, height, width, result);
        return;
      }
      const outWidth = operation.shape[1];
      const columns = operation.window[1];
      const { weights, bias } = operation;
      const { data } = input;
      slide(operation, height, width, (y, x, top, down, left, across) => {
        const to = (y * outWidth + x) * channels;
        const from = (top * width + left) * channels;
        for (let c = 0; c < channels; c++) result[to + c] = bias[c];
        for (let row = Math.max(0, -top); row < down; row++) {
          for (let column = Math.max(0, -left); column < across; column++) {
            const source = from + (row * width + column) * channels;
            const weight = (row * columns + column) * channels;
            for (let c = 0; c < channels; c++) result[to + c] += data[source + c] * weights[weight + c];
          }
        }
      });
    },

    max_pool(operation, result, [input]) {
      const [height, width, channels] = input.shape;
      result.fill(-Infinity);
      slide(operation, height, width, (y, x, top, down, left, across) => {
        const to = (y * operation.shape[1] + x) * channels;
        for (let row = Math.max(0, -top); row < down; row++) {
          for (let column = Math.max(0, -left); column < across; column++) {
            const from = ((top + row) * width + left + column) * channels;
            for (let c = 0; c < channels; c++) {
              if (input.data[from + c] > result[to + c]) result[to + c] = input.data[from + c];
            }
          }
        }
      });
    },

    average_pool(operation, result, [input]) {
      const [height, width, channels] = input.shape;
      result.fill(0);
      slide(operation, height, width, (y, x, top, down, left, across) => {
        const to = (y * operation.shape[1] + x) * channels;
        const [firstRow, firstColumn] = [Math.max(0, -top), Math.max(0, -left)];
        for (let row = firstRow; row < down; row++) {
          for (let column = firstColumn; column < across; column++) {
            const from = ((top + row) * width + left + column) * channels;
            for (let c = 0; c < channels; c++) result[to + c] += input.data[from + c];
          }
        }
        const pixels = (down - firstRow) * (across - firstColumn); // padding does not count
        for (let c = 0; c < channels; c++) result[to + c] /= pixels;
      });
    },

    add(operation, result, inputs) {
      result.set(inputs[0].data);
      for (const { data } of inputs.slice(1)) {
        for (let k = 0; k < result.length; k++) result[k] += data[k];
      }
    },

    concatenate(operation, result, inputs) {
      const all = operation.shape[operation.shape.length - 1];
      let begin = 0;
      for (const { data, shape } of inputs) {
        const channels = shape[shape.length - 1];
        for (let from = 0, to = begin; from < data.length; from += channels, to += all) {
          for (let c = 0; c < channels; c++) result[to + c] = data[from + c];
        }
        begin += channels;
      }
    },

    slice({ shape, begin }, result, [input]) {
      const channels = shape[2];
      for (let to = 0, from = begin; to < result.length; to += channels, from += input.shape[2]) {
        for (let c = 0; c < channels; c++) result[to + c] = input.data[from + c];
      }
    },

    activation(operation, result, [input]) {
      result.set(input.data);
    },

    mean(operation, result, [input]) {
      const sums = new Float64Array(result.length);
      for (let at = 0; at < input.data.length; at += sums.length) {
        for (let c = 0; c < sums.length; c++) sums[c] += input.data[at + c];
      }
      for (let c = 0; c < sums.length; c++) result[c] = (sums[c] * sums.length) / input.data.length;
    },

    dense({ multiply }, result, [input]) {
      multiply(input.data, 1, result, 0);
    },

    softmax(operation, result, [input]) {
      const highest = input.data.reduce((one, other) => Math.max(one, other));
      let sum = 0;
      for (let k = 0; k < result.length; k++) sum += Math.exp(input.data[k] - highest);
      for (let k = 0; k < result.length; k++) result[k] = Math.exp(input.data[k] - highest) / sum;
    },
  };

  const ACTIVATIONS = {
    relu(data) {
      for (let k = 0; k < data.length; k++) data[k] = Math.max(0, data[k]);
    },
    relu6(data) {
      for (let k = 0; k < data.length; k++) data[k] = Math.min(6, Math.max(0, data[k]));
    },
    elu(data) {
      for (let k = 0; k < data.length; k++) if (data[k] < 0) data[k] = Math.expm1(data[k]);
    },
  };

  // Return {run, steps, runtime, mapSize}; `kernels` and `floats` are base64 of little-endian numbers.
  function load(description, kernels, floats, vectors = Vectors.start()) {
    const operations = readWeights(description, kernels, floats, vectors);
    const lastUse = [];
    operations.forEach(({ inputs }, number) => inputs.forEach((input) => (lastUse[input] = number)));
    // A map of a class is exact where the classifier follows the mean of the last feature map.
    const classifier = operations[operations.length - 2];
    const pooling = operations[classifier.inputs[0] - 1];
    const features = pooling && pooling.kind === "mean" ? pooling.inputs[0] : -1;
    lastUse[features] = Infinity;

    // Tensor 0 is the input, tensor k + 1 the output of operation k. Yields after every operation.
    function* steps(bytes) {
      const tensors = [{ data: new Float32Array(bytes), shape: description.input }];
      for (const [number, operation] of operations.entries()) {
        const inputs = operation.inputs.map((input) => tensors[input]);
        const data = new Float32Array(operation.shape.reduce((one, other) => one * other, 1));
        OPERATIONS[operation.kind](operation, data, inputs);
        if (operation.activation && !operation.isClamped) ACTIVATIONS[operation.activation](data);
        tensors.push({ data, shape: operation.shape });
        for (const input of operation.inputs) if (lastUse[input] === number) tensors[input] = null;
        yield;
      }
      const probabilities = tensors[operations.length].data;
      return { probabilities, map: features > 0 ? (label) => classMap(tensors[features], classifier, label) : null };
    }

    function run(bytes) {
      const running = steps(bytes);
      for (;;) {
        const { value, done } = running.next();
        if (done) return value;
      }
    }

    const mapSize = features > 0 ? operations[features - 1].shape.slice(0, 2) : null;
    return { run, steps, runtime: vectors.name, mapSize };
  }

  // How much each place of the last feature map adds to the logit of a class, compared with the mean class. The
  // mean over the places, plus that of the biases, is the class's logit above the mean one.
  function classMap(features, { weights, bias }, label) {
    const [height, width, channels] = features.shape;
    const at = (input, output) => weights[input * bias.length + output];
    const kernel = new Float64Array(channels);
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let output = 0; output < bias.length; output++) sum += at(c, output);
      kernel[c] = at(c, label) - sum / bias.length;
    }
    const values = new Float32Array(height * width);
    for (let k = 0; k < values.length; k++) {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += features.data[k * channels + c] * kernel[c];
      values[k] = sum;
    }
    return { values, height, width };
  }

  return { load };
})();
