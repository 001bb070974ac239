// Masks as COCO run lengths, and how they are painted.

/**
 * Decodes COCO's compressed counts (pycocotools, maskApi.c, rleFrString) to a bitmap, row by row.
 * @param {{height: number, width: number, counts: string}} rle
 * @returns {Uint8Array} 1 inside
 */
export function bitmap(rle) {
  const { height, width, counts } = rle;
  const inside = new Uint8Array(height * width);
  const runs = [];
  let at = 0;
  let pixel = 0;
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
    // Runs go down the columns, the first of them outside.
    if (runs.length % 2 === 1) {
      for (let n = pixel; n < pixel + run; n += 1) inside[(n % height) * width + Math.floor(n / height)] = 1;
    }
    pixel += run;
    runs.push(run);
  }
  return inside;
}

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
  const { width, height } = context.canvas;
  const scale = width / part.width;
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, -part.x * scale, -part.y * scale, photo.width * scale, photo.height * scale);
}

/**
 * Dims what is outside a mask and outlines it.
 * @param {CanvasRenderingContext2D} context
 * @param {Uint8Array} inside
 * @param {{width: number, height: number}} photo
 * @param {{x: number, y: number, width: number, height: number}} part
 * @param {{dim: number, line: number[]}} look how dark the rest is, 0 to 255, and the colour of the outline
 */
export function paintMask(context, inside, photo, part, look) {
  const { width, height } = context.canvas;
  const pixels = new ImageData(width, height);
  const data = new Uint32Array(pixels.data.buffer);
  const dim = look.dim << 24;
  const [red, green, blue] = look.line;
  const line = (255 << 24) | (blue << 16) | (green << 8) | red;
  const step = part.width / width;
  const columns = new Int32Array(width);
  for (let x = 0; x < width; x += 1) {
    const at = Math.floor(part.x + (x + 0.5) * step);
    columns[x] = at >= 0 && at < photo.width ? at : -1;
  }
  let above = new Uint8Array(width);
  let row = new Uint8Array(width);
  for (let y = 0; y < height; y += 1) {
    const at = Math.floor(part.y + (y + 0.5) * step);
    const base = at >= 0 && at < photo.height ? at * photo.width : -1;
    for (let x = 0; x < width; x += 1) {
      const value = base >= 0 && columns[x] >= 0 ? inside[base + columns[x]] : 0;
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
