/* The page for one's own scan: reads a picture, prepares it, asks the network, shows the answer. Nothing leaves the browser. */
"use strict";
(() => {
  const find = id => document.getElementById(id);
  const percent = share => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;
  const WARM = [252, 165, 10]; // of heat maps
  let network = null; // a promise of the session and what belongs to it
  let scripts = null; // a promise that runtime and network are there

  /* Load the large scripts: after the page, or when they are needed. */
  function load() {
    const one = name =>
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `scan/${name}.js`;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`scan/${name}.js could not be loaded: open the page again`));
        document.head.append(script);
      });
    return (scripts ??= Promise.all([one("runtime"), one("network")]));
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, power = (bits >> 10) & 31, fraction = bits & 1023;
    return sign * (power ? 2 ** (power - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
  }

  async function start() {
    const [wasm, model, stored] = await Promise.all([RUNTIME.wasm, NETWORK.model, NETWORK.features].map(unpack));
    const address = URL.createObjectURL(new Blob([RUNTIME.code], { type: "text/javascript" }));
    const ort = await import(address);
    ort.env.wasm.wasmBinary = wasm.buffer;
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    const features = Float32Array.from(new Uint16Array(stored.buffer), half);
    return { ort, session, features };
  }

  /* The pixels of a picture file, turned as its EXIF orientation says. */
  async function read(blob) {
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const { width, height } = bitmap;
    if (Math.min(width, height) < NETWORK.smallest)
      throw new Error(`it has ${width} x ${height} pixels: at least ${NETWORK.smallest} per side are needed`);
    if (width * height > NETWORK.most) throw new Error("it has too many pixels: export a smaller picture");
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    return { grey: prepare.toGrey(pixels), width, height, colour: prepare.colour(pixels) };
  }

  function soften(shares) {
    const raised = shares.map(share => Math.max(share, 1e-12) ** (1 / NETWORK.temperature));
    const sum = raised.reduce((one, other) => one + other, 0);
    return raised.map(value => value / sum);
  }

  /* The most similar scans of Training: cosine of features. */
  function nearest(own, features) {
    const length = Math.hypot(...own), count = NETWORK.paths.length, size = own.length, found = [];
    for (let row = 0; row < count; row++) {
      let product = 0, square = 0;
      for (let k = 0; k < size; k++) {
        const value = features[row * size + k];
        product += own[k] * value;
        square += value * value;
      }
      found.push({ path: NETWORK.paths[row], cosine: product / Math.max(length * Math.sqrt(square), 1e-9) });
    }
    return found.sort((one, other) => other.cosine - one.cosine).slice(0, NETWORK.neighbours);
  }

  async function ask(image) {
    network ??= start();
    const { ort, session, features } = await network;
    const scan = prepare.scan(image, NETWORK.side);
    const input = new ort.Tensor("float32", Float32Array.from(scan), [1, NETWORK.side, NETWORK.side, 1]);
    const said = await session.run({ scans: input });
    const shares = soften([...said.probabilities.data]), best = shares.indexOf(Math.max(...shares));
    const [, rows, columns, classes] = said.heat.dims;
    const heat = Float32Array.from({ length: rows * columns }, (_, at) => said.heat.data[at * classes + best]);
    const similar = nearest(said.features.data, features);
    const likeness = similar.reduce((sum, one) => sum + one.cosine, 0) / similar.length;
    return { scan, shares, best, heat, rows, columns, similar, likeness };
  }

  function draw(canvas, answer, warm) {
    const context = canvas.getContext("2d"), side = NETWORK.side;
    const small = new OffscreenCanvas(side, side), pixels = new ImageData(side, side);
    answer.scan.forEach((level, at) => pixels.data.set([level, level, level, 255], 4 * at));
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    if (!warm) return;
    const map = new OffscreenCanvas(answer.columns, answer.rows), colours = new ImageData(answer.columns, answer.rows);
    const most = Math.max(...answer.heat, 1e-9);
    answer.heat.forEach((value, at) => colours.data.set([...WARM, Math.round(200 * (value / most) ** 1.5)], 4 * at));
    map.getContext("2d").putImageData(colours, 0, 0);
    context.drawImage(map, 0, 0, canvas.width, canvas.height);
  }

  /* Whether the network abstains, and why, in a sentence. */
  function verdict(answer) {
    if (answer.likeness < NETWORK.likenessBelow)
      return `The network would rather not answer: this scan is unlike those that it learned from (mean cosine ${answer.likeness.toFixed(2)} to the ${NETWORK.neighbours} most similar, at least ${NETWORK.likenessBelow}).`;
    if (answer.shares[answer.best] < NETWORK.abstainBelow)
      return `The network would rather not answer: it is less than ${percent(NETWORK.abstainBelow)} sure.`;
    return `Above ${percent(NETWORK.abstainBelow)}, its threshold for answering. On scans from new sources this confidence is too high.`;
  }

  function show(name, answer) {
    const sure = answer.shares[answer.best];
    find("name").textContent = name;
    find("answer").textContent = `${NETWORK.labels[answer.best]}, ${percent(sure)} sure`;
    find("abstains").textContent = verdict(answer);
    find("shares").replaceChildren(
      ...NETWORK.labels.map((label, index) => {
        const row = document.createElement("tr"), head = document.createElement("th"), cells = [0, 1].map(() => document.createElement("td"));
        head.scope = "row";
        head.textContent = label;
        cells[0].textContent = percent(answer.shares[index]);
        const bar = document.createElement("div");
        bar.className = "bar";
        bar.style.width = `${100 * answer.shares[index]}%`;
        cells[1].append(bar);
        row.append(head, ...cells);
        return row;
      }),
    );
    draw(find("seen"), answer, false);
    draw(find("heat"), answer, true);
    find("heat").setAttribute("aria-label", `Heat map for ${NETWORK.labels[answer.best]}, on the scan as the network sees it`);
    find("similar").replaceChildren(
      ...answer.similar.slice(0, 3).map(({ path, cosine }) => {
        const item = document.createElement("li");
        item.textContent = `${path} (${NETWORK.classes[path.split("/")[1]]}), cosine ${cosine.toFixed(3)}`;
        return item;
      }),
    );
    find("seen-before").hidden = answer.similar[0].cosine < NETWORK.seen;
    find("result").hidden = false;
    scrollTo(find("result"));
    find("status").className = "quiet"; // screen readers hear it; others see the answer below
    find("status").textContent = `${name}: ${find("answer").textContent}. ${find("abstains").textContent}`;
  }

  function scrollTo(place) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    place.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }

  async function answer(blob, name) {
    find("status").className = "";
    find("result").hidden = true;
    find("status").textContent = network ? `Reading ${name} …` : `Reading ${name}, and starting the network …`;
    try {
      await load();
      if ("serviceWorker" in navigator && location.protocol.startsWith("http")) navigator.serviceWorker.register("scan-offline.js");
      const picture = await read(blob);
      if (picture.colour > NETWORK.colourful)
        throw new Error(`it shows no head like those that the network knows (it is in colour: red, green and blue differ by ${picture.colour.toFixed(0)} grey levels on average)`);
      const found = await ask(picture);
      if (found.similar[0].cosine < NETWORK.familiar)
        throw new Error(`it shows no head like those that the network knows (cosine ${found.similar[0].cosine.toFixed(2)}, at least ${NETWORK.familiar})`);
      show(name, found);
    } catch (error) {
      const undecodable = error instanceof DOMException;
      find("status").textContent = `${name} cannot be used: ${undecodable ? "this browser cannot read it as a picture" : error.message}.`;
      scrollTo(find("status"));
      if (/\.(dcm|nii|nii\.gz)$/i.test(name))
        find("status").textContent += " Export the slice as PNG, or use the command: tumor-mri predict reads DICOM and NIfTI.";
    }
  }

  const zone = find("drop"), input = find("file");
  input.addEventListener("change", () => input.files.length && answer(input.files[0], input.files[0].name));
  for (const kind of ["dragover", "dragleave", "drop"])
    zone.addEventListener(kind, event => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) answer(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
    });
  for (const button of document.querySelectorAll("button[data-sample]"))
    button.addEventListener("click", async () => answer(await (await fetch(button.dataset.sample)).blob(), button.textContent.trim()));
  // many megabytes: not before somebody is about to ask
  for (const kind of ["pointerenter", "focusin", "dragenter", "touchstart"])
    for (const place of [zone, document.querySelector(".samples")]) place.addEventListener(kind, () => load().catch(() => {}), { once: true, passive: true });
  window.scanPage = { load, read, ask, prepare }; // for tests
})();
