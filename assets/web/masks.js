// Masks as COCO run lengths, and how they are painted.

/**
 * The pixels of a mask within its own box: a whole bitmap of a large photo would take megabytes a mask.
 * @typedef {{left: number, top: number, width: number, height: number, inside: Uint8Array}} Bitmap
 */

/**
 * Run lengths of COCO's compressed counts (pycocotools, maskApi.c, rleFrString): down the columns, the first outside.
 * @param {string} counts
 */
function runsOf(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let run = 0;
    let digits = 0;
    let more = true;
    while (more) {
      const code = counts.charCodeAt(at) - 48;
      run |= (code & 31) << (5 * digits);
      more = (code & 32) !== 0;
      at += 1;
      digits += 1;
      if (!more && (code & 16) !== 0) run |= -1 << (5 * digits);
    }
    if (runs.length > 2) run += runs[runs.length - 2];
    runs.push(run);
  }
  return runs;
}

/**
 * @param {{height: number, width: number, counts: string}} rle
 * @returns {Bitmap}
 */
export function bitmap({ height, counts }) {
  const runs = runsOf(counts);
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  /** @param {(from: number, to: number) => void} each pixels of a run inside, counted down the columns */
  const inside = (each) => {
    let pixel = 0;
    runs.forEach((run, n) => {
      if (n % 2 === 1 && run > 0) each(pixel, pixel + run);
      pixel += run;
    });
  };
  inside((from, to) => {
    const [first, last] = [Math.floor(from / height), Math.floor((to - 1) / height)];
    left = Math.min(left, first);
    right = Math.max(right, last);
    // A run that goes on in the next column touches the lower and the upper edge.
    top = Math.min(top, first === last ? from % height : 0);
    bottom = Math.max(bottom, first === last ? (to - 1) % height : height - 1);
  });
  if (right < 0) return { left: 0, top: 0, width: 0, height: 0, inside: new Uint8Array(0) };
  const made = { left, top, width: right - left + 1, height: bottom - top + 1, inside: new Uint8Array(0) };
  made.inside = new Uint8Array(made.width * made.height);
  inside((from, to) => {
    for (let n = from; n < to; n += 1) made.inside[((n % height) - top) * made.width + Math.floor(n / height) - left] = 1;
  });
  return made;
}

/** Whether a pixel of the photo is in a mask. @param {Bitmap} of @param {number} x @param {number} y */
export const covers = (of, x, y) => x >= of.left && y >= of.top && x < of.left + of.width && y < of.top + of.height
  && of.inside[(y - of.top) * of.width + x - of.left] === 1;

/**
 * The part of a photo to show, in its own pixels, with the shape of a canvas.
 * @param {{width: number, height: number}} photo
 * @param {number[]} box x, y, width, height of what is to be in the middle
 * @param {number} share share of the canvas that it fills, per side; 0 for the whole photo
 * @param {number} ratio width by height of the canvas
 */
export function windowOf(photo, box, share, ratio) {
  const around = (/** @type {number[]} */ [x, y, width, height]) => {
    const [wide, high] = width / height < ratio ? [height * ratio, height] : [width, width / ratio];
    return { x: x + (width - wide) / 2, y: y + (height - high) / 2, width: wide, height: high };
  };
  const whole = around([0, 0, photo.width, photo.height]);
  if (!share) return whole;
  const [x, y, width, height] = box;
  const [wide, high] = [Math.max(width / share, 24), Math.max(height / share, 24)];
  const part = around([x + (width - wide) / 2, y + (height - high) / 2, wide, high]);
  return part.width < whole.width ? part : whole;
}

/**
 * Makes a canvas as large as it is shown, and clears it.
 * @param {HTMLCanvasElement} canvas
 */
export function cleared(canvas) {
  const density = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [Math.round(canvas.clientWidth * density), Math.round(canvas.clientHeight * density)];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * Paints the part of a photo that a window shows.
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLImageElement} picture the photo, perhaps scaled
 * @param {{width: number, height: number}} photo its own size
 * @param {{x: number, y: number, width: number, height: number}} part
 */
export function paintPhoto(context, picture, photo, part) {
  const { width } = context.canvas;
  const scale = width / part.width;
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, -part.x * scale, -part.y * scale, photo.width * scale, photo.height * scale);
}

/**
 * Dims what is outside a mask and outlines it.
 * @param {CanvasRenderingContext2D} context
 * @param {Bitmap} mask
 * @param {{x: number, y: number, width: number, height: number}} part
 * @param {{dim: number, line: number[]}} look how dark the rest is, 0 to 255, and the colour of the outline
 */
export function paintMask(context, mask, part, look) {
  const { width, height } = context.canvas;
  const pixels = new ImageData(width, height);
  const data = new Uint32Array(pixels.data.buffer);
  const dim = look.dim << 24;
  const [red, green, blue] = look.line;
  const line = (255 << 24) | (blue << 16) | (green << 8) | red;
  const step = part.width / width;
  const columns = new Int32Array(width);
  for (let x = 0; x < width; x += 1) {
    const at = Math.floor(part.x + (x + 0.5) * step) - mask.left;
    columns[x] = at >= 0 && at < mask.width ? at : -1;
  }
  let above = new Uint8Array(width);
  let row = new Uint8Array(width);
  for (let y = 0; y < height; y += 1) {
    const at = Math.floor(part.y + (y + 0.5) * step) - mask.top;
    const base = at >= 0 && at < mask.height ? at * mask.width : -1;
    for (let x = 0; x < width; x += 1) {
      const value = base >= 0 && columns[x] >= 0 ? mask.inside[base + columns[x]] : 0;
      row[x] = value;
      const place = y * width + x;
      if (!value) data[place] = dim;
      const changes = value !== above[x] || (x > 0 && value !== row[x - 1]);
      if (changes) {
        data[place] = line;
        if (x > 0) data[place - 1] = line;
        if (y > 0) data[place - width] = line;
      }
    }
    [above, row] = [row, above];
  }
  const layer = document.createElement("canvas");
  layer.width = width;
  layer.height = height;
  /** @type {CanvasRenderingContext2D} */ (layer.getContext("2d")).putImageData(pixels, 0, 0);
  context.drawImage(layer, 0, 0);
}

/** @param {string} color `#rrggbb` */
export function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}
