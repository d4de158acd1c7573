/* Preparation of a scan, as tumor_mri.models.preprocessing does it: the same numbers, up to rounding. A test compares them. */
"use strict";
const prepare = (() => {
  const SMALL = 96, FRAME = 2, EDGE_BRIGHTNESS = 0.12, MARGIN = 0.02, FOREGROUND = 0.05, EQUALISED = 0.5;
  const BITS = 22; // of Pillow's fixed-point coefficients

  const box = { reach: 0.5, weight: x => (x > -0.5 && x <= 0.5 ? 1 : 0) };
  const bilinear = { reach: 1, weight: x => Math.max(0, 1 - Math.abs(x)) };

  /* Half to even, as NumPy rounds. */
  function rint(value) {
    const low = Math.floor(value), part = value - low;
    return part < 0.5 || (part === 0.5 && low % 2 === 0) ? low : low + 1;
  }

  /* For each pixel of the result: where its window starts in the input, and the window's weights in fixed point. */
  function windows(from, to, filter) {
    const scale = from / to, wide = Math.max(scale, 1), reach = filter.reach * wide, found = [];
    for (let pixel = 0; pixel < to; pixel++) {
      const centre = (pixel + 0.5) * scale;
      const start = Math.max(0, Math.trunc(centre - reach + 0.5));
      const end = Math.min(from, Math.trunc(centre + reach + 0.5));
      const weights = [];
      for (let at = start; at < end; at++) weights.push(filter.weight((at - centre + 0.5) / wide));
      const sum = weights.reduce((one, other) => one + other, 0);
      found.push({ start, weights: weights.map(weight => Math.trunc((weight / sum) * (1 << BITS) + 0.5)) });
    }
    return found;
  }

  function clip8(sum) {
    return Math.min(255, Math.max(0, sum >> BITS));
  }

  /* Pillow's resize of an 8-bit image: first across, then down, each rounded to whole grey levels. */
  function resize(image, width, height, filter) {
    let { grey, width: wide, height: high } = image;
    if (wide !== width) {
      const across = windows(wide, width, filter), out = new Uint8Array(width * high);
      for (let row = 0; row < high; row++)
        for (let column = 0; column < width; column++) {
          const { start, weights } = across[column];
          let sum = 1 << (BITS - 1);
          for (let k = 0; k < weights.length; k++) sum += grey[row * wide + start + k] * weights[k];
          out[row * width + column] = clip8(sum);
        }
      grey = out;
      wide = width;
    }
    if (high !== height) {
      const down = windows(high, height, filter), out = new Uint8Array(width * height);
      for (let row = 0; row < height; row++) {
        const { start, weights } = down[row];
        for (let column = 0; column < width; column++) {
          let sum = 1 << (BITS - 1);
          for (let k = 0; k < weights.length; k++) sum += grey[(start + k) * width + column] * weights[k];
          out[row * width + column] = clip8(sum);
        }
      }
      grey = out;
    }
    return { grey, width, height };
  }

  /* A quantile by linear interpolation, as NumPy's. */
  function quantile(values, share) {
    const sorted = Float64Array.from(values).sort(), place = share * (sorted.length - 1), low = Math.floor(place);
    const high = Math.min(low + 1, sorted.length - 1), part = place - low, difference = sorted[high] - sorted[low];
    return part < 0.5 ? sorted[low] + difference * part : sorted[high] - difference * (1 - part);
  }

  /* Erosion or dilation by a cross; outside the image is dark. */
  function morph(mask, side, erode) {
    const out = new Uint8Array(mask.length);
    const at = (row, column) => (row < 0 || column < 0 || row >= side || column >= side ? 0 : mask[row * side + column]);
    for (let row = 0; row < side; row++)
      for (let column = 0; column < side; column++) {
        const five = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]].map(([down, across]) => at(row + down, column + across));
        out[row * side + column] = erode ? Math.min(...five) : Math.max(...five);
      }
    return out;
  }

  /* Sizes of the 4-connected parts of a mask, and the part of each pixel, from 1; 0 is outside. */
  function parts(mask, side) {
    const label = new Int32Array(mask.length), sizes = [0];
    for (let seed = 0; seed < mask.length; seed++) {
      if (!mask[seed] || label[seed]) continue;
      const stack = [seed], name = sizes.length;
      label[seed] = name;
      sizes.push(0);
      while (stack.length) {
        const pixel = stack.pop(), column = pixel % side;
        sizes[name]++;
        for (const next of [pixel - side, pixel + side, column ? pixel - 1 : -1, column < side - 1 ? pixel + 1 : -1])
          if (next >= 0 && next < mask.length && mask[next] && !label[next]) {
            label[next] = name;
            stack.push(next);
          }
      }
    }
    return { label, sizes };
  }

  /* left, top, right, bottom of the head in pixels; the whole scan if nothing is brighter than the background. */
  function findHead(image) {
    const small = resize(image, SMALL, SMALL, box).grey, last = SMALL - FRAME;
    const inner = [], ring = [];
    for (let row = FRAME; row < last; row++)
      for (let column = FRAME; column < last; column++) {
        const level = small[row * SMALL + column];
        inner.push(level);
        const near = [row < FRAME + 2, row >= last - 2, column < FRAME + 2, column >= last - 2].filter(Boolean).length;
        for (let times = 0; times < near; times++) ring.push(level); // corners count twice
      }
    const background = quantile(ring, 0.25), tissue = quantile(inner, 0.95);
    const limit = background + EDGE_BRIGHTNESS * (tissue - background);
    let bright = new Uint8Array(SMALL * SMALL);
    for (let row = FRAME; row < last; row++)
      for (let column = FRAME; column < last; column++) bright[row * SMALL + column] = small[row * SMALL + column] > limit ? 1 : 0;
    for (const erode of [true, true, false, false]) bright = morph(bright, SMALL, erode);
    const { label, sizes } = parts(bright, SMALL);
    if (sizes.length === 1) return [0, 0, image.width, image.height];
    const least = 0.1 * Math.max(...sizes);
    let [left, top, right, bottom] = [SMALL, SMALL, 0, 0];
    label.forEach((name, pixel) => {
      if (!name || sizes[name] < least) return;
      const row = Math.floor(pixel / SMALL), column = pixel % SMALL;
      [left, top] = [Math.min(left, column), Math.min(top, row)];
      [right, bottom] = [Math.max(right, column + 1), Math.max(bottom, row + 1)];
    });
    const across = image.width / SMALL, down = image.height / SMALL;
    return [left * across, top * down, right * across, bottom * down];
  }

  /* A rectangle of an image, black outside it. */
  function crop(image, left, top, right, bottom) {
    const width = right - left, height = bottom - top, grey = new Uint8Array(width * height);
    for (let row = Math.max(0, -top); row < Math.min(height, image.height - top); row++)
      for (let column = Math.max(0, -left); column < Math.min(width, image.width - left); column++)
        grey[row * width + column] = image.grey[(row + top) * image.width + column + left];
    return { grey, width, height };
  }

  function cropToHead(image, side) {
    const [left, top, right, bottom] = findHead(image);
    const half = Math.max(right - left, bottom - top) * (0.5 + MARGIN), x = (left + right) / 2, y = (top + bottom) / 2;
    const square = crop(image, rint(x - half), rint(y - half), rint(x + half), rint(y + half));
    return resize(square, side, side, Math.min(square.width, square.height) >= side ? box : bilinear).grey;
  }

  function equalise(grey) {
    const low = quantile(grey, 0.02), high = quantile(grey, 0.99);
    const stretched = Float64Array.from(grey, level => Math.min(1, Math.max(0, (level - low) / Math.max(high - low, 1))));
    const head = Float64Array.from(stretched.filter(level => level > FOREGROUND)).sort();
    const rank = new Map(); // of each level: the mean place of the pixels that have it, as a share
    for (let start = 0; start < head.length; ) {
      let end = start;
      while (end < head.length && head[end] === head[start]) end++;
      rank.set(head[start], (start + end + 1) / 2 / head.length);
      start = end;
    }
    return Uint8Array.from(stretched, level => rint(255 * ((1 - EQUALISED) * level + EQUALISED * (rank.get(level) ?? 0))));
  }

  /* Grey levels of RGBA pixels, as Pillow converts them; transparent pixels become black. */
  function toGrey(pixels) {
    const grey = new Uint8Array(pixels.length / 4);
    for (let at = 0; at < grey.length; at++) {
      const alpha = pixels[4 * at + 3];
      const [red, green, blue] = [0, 1, 2].map(channel => Math.round((pixels[4 * at + channel] * alpha) / 255));
      grey[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    }
    return grey;
  }

  /* The mean distance between the largest and the smallest of red, green and blue; 0 for a grey picture. */
  function colour(pixels) {
    let sum = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      const red = pixels[at], green = pixels[at + 1], blue = pixels[at + 2];
      sum += Math.max(red, green, blue) - Math.min(red, green, blue);
    }
    return (4 * sum) / pixels.length;
  }

  return { toGrey, colour, findHead, scan: (image, side) => equalise(cropToHead(image, side)) };
})();
