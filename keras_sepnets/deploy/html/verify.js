// Classify pictures by a page, in node: node verify.js PAGE.
// stdin: for each picture uint32 height and width, then its RGB bytes. stdout: for each picture its probabilities and
// the milliseconds that they took, float32. Everything is little-endian.
"use strict";
const fs = require("fs");

const page = fs.readFileSync(process.argv[2], "utf8");
const part = (id) => page.match(new RegExp(`<script id="${id}"[^>]*>([^]*?)</script>`))[1];
const { Pixels, Network } = new Function(`${part("interpreter")}; return { Pixels, Network };`)();
const { rules } = JSON.parse(part("about"));
const network = Network.load(JSON.parse(part("network")), part("kernels"), part("floats"));

function read(count) {
  const buffer = Buffer.alloc(count);
  let filled = 0;
  while (filled < count) {
    const more = fs.readSync(0, buffer, filled, count - filled, null);
    if (more === 0) return null;
    filled += more;
  }
  return buffer;
}

for (let header = read(8); header; header = read(8)) {
  const [height, width] = [header.readUInt32LE(0), header.readUInt32LE(4)];
  const pixels = read(height * width * 3);
  const begin = performance.now();
  const { probabilities } = network.run(Pixels.prepare({ pixels, width, height, step: 3 }, rules));
  const row = Float32Array.of(...probabilities, performance.now() - begin);
  fs.writeSync(1, Buffer.from(row.buffer));
}
