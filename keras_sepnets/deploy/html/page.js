// The page: pictures and the camera go in, classes with probabilities come out. Names are only ever set as text.
"use strict";
(() => {
  const LARGEST = 1024; // px, of the picture on the page
  const BAND = 2_000_000; // pixels that are read from a picture at once
  const BUSY = 40; // ms after which the page gets a turn
  const element = (id) => document.getElementById(id);
  const about = JSON.parse(element("about").textContent);
  const { rules, classes, card } = about;
  const shown = classes.length <= 8 ? classes.length : 5; // classes before "all"
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

  let network = null;
  let current = null; // what is shown: {width, height, scale, probabilities, map, milliseconds}
  let chosen = 0; // the class whose map is shown
  let showsAll = false;
  let stream = null; // of the camera
  let queue = Promise.resolve(); // pictures are classified one after the other

  function make(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // Pixels

  // Read a picture at the size at which the training decoded it: {pixels, width, height, step}.
  function readPixels(source, width, height) {
    const factor = Pixels.reduction(width, height, rules);
    const rows = factor === 1 ? height : Math.min(height, factor * Math.ceil(BAND / (factor * width)));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, rows];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const bands = [];
    for (let top = 0; top < height; top += rows) {
      const used = Math.min(rows, height - top);
      context.fillStyle = "#fff"; // transparency is laid over white
      context.fillRect(0, 0, width, rows);
      context.drawImage(source, 0, top, width, used, 0, 0, width, used);
      const { data } = context.getImageData(0, 0, width, used);
      if (factor === 1) return { pixels: data, width, height, step: 4 };
      bands.push(Pixels.reduce(data, width, used, factor));
    }
    const reduced = { width: bands[0].width, height: Math.ceil(height / factor), step: 3 };
    reduced.pixels = new Uint8Array(reduced.width * reduced.height * 3);
    bands.reduce((at, band) => (reduced.pixels.set(band.pixels, at), at + band.pixels.length), 0);
    return reduced;
  }

  const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 0));

  async function classify(source, width, height) {
    let begin = performance.now();
    let milliseconds = 0;
    const running = network.steps(Pixels.prepare(readPixels(source, width, height), rules));
    for (;;) {
      const { value, done } = running.next();
      const now = performance.now();
      if (done) return { ...value, milliseconds: milliseconds + now - begin };
      if (now - begin > BUSY) {
        milliseconds += now - begin;
        await nextTurn();
        begin = performance.now();
      }
    }
  }

  // What is shown

  function show(source, width, height, result) {
    current = { width, height, ...result };
    const scale = Math.min(1, LARGEST / Math.max(width, height));
    for (const id of ["picture", "overlay"]) {
      element(id).width = Math.max(1, Math.round(width * scale));
      element(id).height = Math.max(1, Math.round(height * scale));
    }
    current.scale = scale;
    const canvas = element("picture");
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    // Small pictures are enlarged on the page, and then their pixels should be seen.
    canvas.style.imageRendering = Math.max(width, height) < 100 ? "pixelated" : "auto";
    element("view").style.width = `calc(var(--height) * ${width / height})`;
    element("view").style.aspectRatio = `${width} / ${height}`;
    dimUnseen(context, canvas);
    element("view").hidden = false;
    element("invitation").hidden = true;
    element("drop").classList.add("filled");
    chosen = best(current.probabilities);
    showAnswer();
  }

  // What the network does not see is pale.
  function dimUnseen(context, canvas) {
    const seen = Pixels.seenRectangle(current.width, current.height, rules);
    const [left, top] = [seen.x * current.scale, seen.y * current.scale];
    const [right, bottom] = [left + seen.width * current.scale, top + seen.height * current.scale];
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--dim");
    context.fillRect(0, 0, canvas.width, top);
    context.fillRect(0, bottom, canvas.width, canvas.height - bottom);
    context.fillRect(0, top, left, bottom - top);
    context.fillRect(right, top, canvas.width - right, bottom - top);
  }

  const best = (probabilities) => probabilities.reduce((at, value, k) => (value > probabilities[at] ? k : at), 0);

  function showAnswer() {
    const { probabilities, milliseconds } = current;
    const first = best(probabilities);
    const isSure = probabilities[first] >= element("threshold").value / 100;
    const verdict = element("verdict");
    setText(verdict, isSure ? classes[first] : "Unsure");
    verdict.classList.toggle("unsure", !isSure);
    const nearest = isSure ? "" : `The most probable class, ${classes[first]}, has only `;
    const time = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds);
    setText(element("detail"), `${nearest}${percent(probabilities[first])} · computed in ${time} ms`);
    showClasses(probabilities);
    showMap();
  }

  // A live region speaks whenever its text is set, even to the same.
  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function showClasses(probabilities) {
    const order = [...probabilities.keys()].sort((one, other) => probabilities[other] - probabilities[one]);
    const rows = order.slice(0, showsAll ? order.length : shown);
    const list = element("classes");
    while (list.children.length > rows.length) list.lastChild.remove();
    while (list.children.length < rows.length) list.append(makeRow());
    rows.forEach((label, k) => {
      const button = list.children[k].firstChild;
      const [bar, name, share] = button.children;
      bar.style.width = percent(probabilities[label], 2);
      setText(name, classes[label]);
      setText(share, percent(probabilities[label]));
      button.dataset.label = label;
      button.disabled = !current.map || !element("map").checked;
      button.setAttribute("aria-pressed", String(!button.disabled && label === chosen));
    });
    element("more").hidden = classes.length <= shown;
    element("more").textContent = showsAll ? `Show the first ${shown}` : `Show all ${classes.length} classes`;
  }

  function makeRow() {
    const row = make("li");
    const button = make("button");
    button.type = "button";
    button.append(make("span", "", "bar"), make("span", "", "name"), make("span", "", "share"));
    button.addEventListener("click", () => {
      chosen = Number(button.dataset.label);
      showAnswer();
    });
    row.append(button);
    return row;
  }

  // Draw where the evidence for the chosen class lies, over the part of the picture that the network sees.
  function showMap() {
    const overlay = element("overlay");
    const context = overlay.getContext("2d");
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (!current.map || !element("map").checked) return;
    const { values, height, width } = current.map(chosen);
    const highest = Math.max(...values);
    const small = document.createElement("canvas");
    [small.width, small.height] = [width, height];
    const image = new ImageData(width, height);
    values.forEach((value, k) => {
      const strength = highest > 0 ? Math.max(0, value / highest) : 0;
      image.data.set([255, Math.round(190 - 150 * strength), 40, Math.round(200 * strength)], 4 * k);
    });
    small.getContext("2d").putImageData(image, 0, 0);
    const seen = Pixels.seenRectangle(current.width, current.height, rules);
    const inside = Pixels.place(seen, rules);
    const across = (current.scale * seen.width) / inside.width; // pixels on the page per pixel of the square
    const down = (current.scale * seen.height) / inside.height;
    context.save();
    context.beginPath();
    const [left, top] = [seen.x * current.scale, seen.y * current.scale];
    context.rect(left, top, seen.width * current.scale, seen.height * current.scale);
    context.clip();
    context.imageSmoothingQuality = "high";
    const size = rules.imageSize;
    context.drawImage(small, left - inside.x * across, top - inside.y * down, size * across, size * down);
    context.restore();
  }

  function tell(text) {
    element("fault").hidden = !text;
    element("fault").textContent = text;
  }

  // Pictures

  function addFiles(files) {
    stopCamera();
    tell("");
    for (const file of files) {
      const entry = makeEntry(file);
      queue = queue.then(() => look(file, entry)).catch((error) => tell(String(error)));
    }
  }

  function makeEntry(file) {
    const button = make("button");
    button.type = "button";
    button.title = file.name;
    button.append(make("canvas"), make("span", file.name), make("span", "waiting"));
    button.addEventListener("click", () => {
      stopCamera();
      queue = queue.then(() => look(file, button)).catch((error) => tell(String(error)));
    });
    const item = make("li");
    item.append(button);
    element("strip").append(item);
    element("strip").hidden = false;
    return button;
  }

  async function look(file, entry) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    } catch {
      entry.lastChild.textContent = "unreadable";
      tell(`${file.name} cannot be read: it is no picture, damaged, or of a format that this browser does not know.`);
      return;
    }
    const result = await classify(bitmap, bitmap.width, bitmap.height);
    show(bitmap, bitmap.width, bitmap.height, result);
    const [thumbnail, , answer] = entry.children;
    const scale = 120 / Math.max(bitmap.width, bitmap.height);
    thumbnail.width = Math.max(1, Math.round(bitmap.width * scale));
    thumbnail.height = Math.max(1, Math.round(bitmap.height * scale));
    thumbnail.getContext("2d").drawImage(bitmap, 0, 0, thumbnail.width, thumbnail.height);
    bitmap.close();
    const first = best(result.probabilities);
    answer.textContent = `${percent(result.probabilities[first], 0)} ${classes[first]}`;
    for (const other of element("strip").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
    entry.setAttribute("aria-current", "true");
    const strip = element("strip");
    const left = entry.offsetLeft - strip.offsetLeft;
    const isInSight = left >= strip.scrollLeft && left + entry.offsetWidth <= strip.scrollLeft + strip.clientWidth;
    if (!isInSight) strip.scrollLeft = left;
    await nextTurn();
  }

  // Camera

  async function startCamera() {
    tell("");
    await queue;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    } catch (error) {
      tell(`The camera cannot be used: ${error.message || error}`);
      return;
    }
    const video = make("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    element("camera").textContent = "Stop the camera";
    element("live").setAttribute("aria-live", "off"); // it would speak all the time
    await video.play();
    const mine = stream;
    while (stream === mine) {
      const [width, height] = [video.videoWidth, video.videoHeight];
      if (width && height) {
        const frame = await createImageBitmap(video);
        const result = await classify(frame, frame.width, frame.height);
        if (stream === mine) show(frame, frame.width, frame.height, result);
        frame.close();
      }
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  }

  function stopCamera() {
    if (!stream) return;
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    element("camera").textContent = "Use the camera";
    element("live").setAttribute("aria-live", "polite");
  }

  // The card

  function showCard() {
    element("title").textContent = about.title;
    element("summary").textContent = about.summary;
    if (card.top1 === null) {
      element("top1").textContent = "not known";
    } else {
      element("top1").textContent = percent(card.top1);
      element("scale").hidden = element("legend").hidden = false;
      const [low, high] = card.interval;
      const place = (selector, style) => Object.assign(element("scale").querySelector(selector).style, style);
      place(".band", { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
      place(".point", { left: `${100 * card.top1}%` });
      place(".baseline", { left: `${100 * card.majority}%` });
    }
    element("top1-words").textContent = card.words;
    for (const [name, value] of card.facts) element("facts").append(make("dt", name), make("dd", value));
    for (const note of card.notes) element("notes").append(make("li", note));
  }

  function showThreshold() {
    const share = element("threshold").value / 100;
    element("threshold-value").textContent = percent(share, 0);
    const row = card.sure.find(([threshold]) => Math.abs(threshold - share) < 0.001);
    if (row) {
      const [, answered, right] = row;
      const rest = answered ? `, and ${percent(right / answered)} of these answers are right` : "";
      element("threshold-meaning").textContent =
        `Of the ${card.pictures} ${card.split} pictures, it answers ${percent(answered / card.pictures)}${rest}.`;
    }
    if (current) showAnswer();
  }

  // Events

  function listen() {
    const drop = element("drop");
    element("files").addEventListener("change", ({ target }) => {
      addFiles([...target.files]);
      target.value = "";
    });
    element("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
    element("map").addEventListener("change", () => current && showAnswer());
    element("threshold").addEventListener("input", showThreshold);
    element("more").addEventListener("click", () => {
      showsAll = !showsAll;
      showClasses(current.probabilities);
    });
    document.addEventListener("paste", ({ clipboardData }) => addFiles([...clipboardData.files]));
    document.addEventListener("keydown", ({ key }) => key === "Escape" && stopCamera());
    for (const kind of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(kind, (event) => {
        event.preventDefault(); // otherwise the browser would open the file in place of this page
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop") addFiles([...event.dataTransfer.files]);
      });
    }
    element("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  }

  showCard();
  showThreshold();
  listen();
  queue = queue.then(nextTurn).then(() => {
    network = Network.load(
      JSON.parse(element("network").textContent),
      element("kernels").textContent,
      element("floats").textContent,
    );
    const [height, width] = network.mapSize || [1, 1];
    element("map-switch").hidden = height * width === 1; // a map of one place shows nothing
    document.body.dataset.ready = "true";
  });
})();
