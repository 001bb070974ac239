// A mask that a person is making: by clicks, a box, or a brush.

import { bitmap } from "./masks.js";

/**
 * @typedef {import("./masks.js").Bitmap} Bitmap
 * @typedef {{kind: "foreground" | "background" | "box", at: number[]}} Step a click at x, y, or a box from x, y to x, y
 * @typedef {{steps: Step[], masks: any[], at: number, painted: Bitmap | null, source: any, answered: any, pending: Promise<void> | null, began: number}} Draft
 *   `answered` is the prompt that the masks are for; `pending` is there while the model is asked
 */

/** @param {any} source the mask that is to be changed, if there is one @returns {Draft} */
export const begin = (source = null) => ({ steps: [], masks: [], at: 0, painted: null, source, answered: null, pending: null, began: Date.now() });

/** The pixels as they are now. @param {Draft} draft @returns {Bitmap | null} */
export const pixels = (draft) => draft.painted ?? draft.masks[draft.at]?.inside ?? draft.source?.inside ?? null;

/** The prompt, as the server reads it; a later box takes the place of an earlier one. @param {Draft} draft @param {string} image_id */
export function prompt(draft, image_id) {
  const points = (/** @type {string} */ kind) => draft.steps.filter((step) => step.kind === kind).map((step) => step.at);
  return { image_id, foreground: points("foreground"), background: points("background"), box: points("box").at(-1) ?? null };
}

/** Whether there is something to store. @param {Draft} draft */
export const isSomething = (draft) => Boolean(draft.painted || draft.masks.length);

/** Takes what the server gave for a prompt. @param {Draft} draft @param {any} prompt @param {{masks: any[], best: number}} found */
export function take(draft, prompt, found) {
  draft.answered = prompt;
  const best = found.masks[found.best];
  draft.masks = found.masks.map((mask) => ({ ...mask, inside: bitmap(mask.rle) })).sort((a, b) => a.area - b.area);
  draft.at = Math.max(0, draft.masks.findIndex((mask) => mask.output === best?.output));
}

/**
 * Adds or takes away the pixels of a brush between two points.
 * @param {Draft} draft
 * @param {{width: number, height: number}} photo
 * @param {number[]} from @param {number[]} to @param {number} radius
 * @param {boolean} adds
 */
export function paint(draft, photo, from, to, radius, adds) {
  draft.painted ??= whole(pixels(draft), photo);
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(radius / 2, 1)));
  for (let n = 0; n <= steps; n += 1) {
    const [x, y] = [0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * n) / steps);
    disc(draft.painted, x, y, radius, adds ? 1 : 0);
  }
}

/** A mask as a bitmap of the whole photo. @param {Bitmap | null} mask @param {{width: number, height: number}} photo @returns {Bitmap} */
function whole(mask, { width, height }) {
  const made = { left: 0, top: 0, width, height, inside: new Uint8Array(width * height) };
  for (let y = 0; mask && y < mask.height; y += 1) {
    made.inside.set(mask.inside.subarray(y * mask.width, (y + 1) * mask.width), (mask.top + y) * width + mask.left);
  }
  return made;
}

/** @param {Bitmap} of @param {number} x @param {number} y @param {number} radius @param {number} value */
function disc(of, x, y, radius, value) {
  for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(of.height - 1, y + radius); row += 1) {
    const half = Math.sqrt(Math.max(0, radius * radius - (row - y) ** 2));
    const [from, to] = [Math.max(0, Math.ceil(x - half)), Math.min(of.width - 1, Math.floor(x + half))];
    if (from <= to) of.inside.fill(value, row * of.width + from, row * of.width + to + 1);
  }
}

/** Run lengths down the columns, the first outside, as COCO counts them. @param {Bitmap} of a bitmap of the whole photo */
export function runs(of) {
  const found = [];
  let [value, length] = [0, 0];
  for (let x = 0; x < of.width; x += 1) {
    for (let at = x; at < of.inside.length; at += of.width) {
      if (of.inside[at] !== value) {
        found.push(length);
        [value, length] = [of.inside[at], 0];
      }
      length += 1;
    }
  }
  found.push(length);
  return found;
}
