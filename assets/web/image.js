// One photo with all its masks: point, click, label.

import { api, askAnything, askWord, classButtons, classOf, counts, element, fill, find, headNames, inWords, keyOf, keys, page, parameters, query, remember, save, takeBack, telling, toast } from "./common.js";
import { bitmap, cleared, covers, paintMask, paintPhoto, rgb, windowOf } from "./masks.js";

const form = find("#tools");
const canvas = find("#photo");
/** @type {any} */
let image = null;
/** @type {any} */
let context = { classes: [] };
/** @type {HTMLImageElement | null} */
let photo = null;
let part = { x: 0, y: 0, width: 1, height: 1 };
/** The mask that is shown, and whether it was clicked. */
let chosen = /** @type {any} */ (null);
let isKept = false;
let showsAll = false;
/** Masks under the pointer, the smallest first, and the place of the one that is shown. */
let under = /** @type {any[]} */ ([]);
let depth = 0;
/** What can be undone on this photo. @type {{mask: any, ids: Promise<string[]>}[]} */
let done = [];
/** All outlines, drawn once. */
let outlines = /** @type {HTMLCanvasElement | null} */ (null);

const color = (/** @type {any} */ mask) => classOf(context.classes, mask.said?.label)?.color
  ?? context.classes.find((/** @type {any} */ item) => item.name === mask.best[0]?.class)?.color ?? "#ffd400";

/** All outlines, of the size of the canvas. */
function drawn() {
  const made = document.createElement("canvas");
  [made.width, made.height] = [canvas.width, canvas.height];
  const layer = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  for (const mask of [...image.masks].sort((a, b) => b.area - a.area)) paintMask(layer, mask.inside, part, { dim: 0, line: rgb(color(mask)) });
  return made;
}

function paint() {
  const painter = cleared(canvas);
  if (!image || !photo?.complete || !photo.naturalWidth) return;
  part = windowOf(image, [0, 0, image.width, image.height], 0, canvas.width / canvas.height);
  paintPhoto(painter, photo, image, part);
  if (showsAll) {
    if (!outlines || outlines.width !== canvas.width || outlines.height !== canvas.height) outlines = drawn();
    painter.drawImage(outlines, 0, 0);
  }
  if (chosen) paintMask(painter, chosen.inside, part, { dim: 140, line: rgb(color(chosen)) });
}

function show() {
  const parts = chosen ? [`mask ${chosen.mask_index}`, `${chosen.area.toLocaleString("en")} pixels`,
    chosen.predicted_iou === null ? "" : `predicted IoU ${chosen.predicted_iou.toFixed(2)}`, inWords(chosen.said) && `labelled: ${inWords(chosen.said)}`]
    : [image ? `${image.masks.length} masks, ${image.masks.filter((/** @type {any} */ mask) => mask.said).length} labelled` : ""];
  find("#why").textContent = [image?.file_name, ...parts].filter(Boolean).join(" · ");
  classButtons(context.classes, { best: chosen?.best, said: chosen?.said, disabled: !chosen || page.readOnly, say });
  find("#masks").replaceChildren(...(image?.masks ?? []).map((/** @type {any} */ mask) => element("button", {
    type: "button", "aria-pressed": String(mask === chosen), onclick: () => choose_(mask, true),
  }, `${mask.mask_index} · ${inWords(mask.said) || (mask.best[0] ? `${mask.best[0].class} ${mask.best[0].probability.toFixed(2)}?` : "not labelled")}`)));
  paint();
}

function choose_(/** @type {any} */ mask, /** @type {boolean} */ keep) {
  const wasKept = isKept;
  chosen = mask;
  isKept = keep;
  if (isKept || wasKept) address();
  show();
}

/** Says in the address what is shown. */
const address = () => remember({ image: image?.image_id, extractor: image?.extractor_id, head: form.head.value, mask: isKept && chosen ? chosen.mask_index : undefined });

/** The pixel of the photo under the pointer. @param {MouseEvent} event */
function pixel(event) {
  const shown = canvas.getBoundingClientRect();
  const x = Math.floor(part.x + ((event.clientX - shown.left) / shown.width) * part.width);
  const y = Math.floor(part.y + ((event.clientY - shown.top) / shown.height) * part.height);
  return [x, y];
}

function point(/** @type {MouseEvent} */ event) {
  const [x, y] = pixel(event);
  const found = image.masks.filter((/** @type {any} */ mask) => covers(mask.inside, x, y)).sort((/** @type {any} */ a, /** @type {any} */ b) => a.area - b.area);
  if (found[0] !== under[0] || found.length !== under.length) depth = 0;
  under = found;
  return under[Math.min(depth, under.length - 1)] ?? null;
}

function deeper(/** @type {number} */ step) {
  if (!under.length) return;
  depth = Math.max(0, Math.min(depth + step, under.length - 1));
  choose_(under[depth], isKept);
}

/** @param {any} item */
async function say(item) {
  const mask = chosen;
  const word = item && mask && await askWord(item);
  if (word) answer(mask, { verdict: "is", label: word });
}

function answer(/** @type {any} */ mask, /** @type {any} */ given) {
  if (!mask || page.readOnly || !image.masks.includes(mask)) return;
  const before = mask.said;
  const entry = { mask, ids: save([{ ...keyOf(mask), ...given, queue: "image" }]) };
  done.push(entry);
  changed(mask, given);
  entry.ids.catch((error) => {
    done = done.filter((other) => other !== entry);
    changed(mask, before);
    toast(`not saved: mask ${mask.mask_index}: ${error.message}`);
  });
}

function changed(/** @type {any} */ mask, /** @type {any} */ said) {
  mask.said = said;
  outlines = null;
  show();
}

/** Takes the last answer on this photo back. */
async function undo() {
  const last = done.pop();
  if (!last) return;
  try {
    const [counting] = await takeBack(last.ids, [last.mask]);
    changed(last.mask, counting);
    if (image.masks.includes(last.mask)) choose_(last.mask, true);
  } catch (error) {
    done.push(last);
    toast(`not taken back: ${error instanceof Error ? error.message : error}`);
  }
}

async function load() {
  const name = form.image.value.trim();
  if (!name) return;
  const given = parameters();
  const found = await telling(() => api(`/api/image?${query({ image: name, head: form.head.value, extractor: given.extractor })}`));
  if (!found) return;
  image = found;
  context = found;
  done = [];
  outlines = null;
  form.image.value = found.file_name;
  for (const mask of image.masks) mask.inside = bitmap(mask.rle);
  under = [];
  chosen = image.masks.find((/** @type {any} */ mask) => String(mask.mask_index) === given.mask) ?? null;
  isKept = Boolean(chosen);
  photo = new Image();
  photo.onload = paint;
  photo.onerror = () => toast(`the photo '${found.file_name}' cannot be read`);
  photo.src = `/photos/${found.image_id}?side=2560`;
  address();
  show();
}

/** The image before or after this one, in the order of their names. */
async function step(/** @type {number} */ by) {
  if (!image) return;
  const beside = await telling(() => api(`/api/beside?${query({ image: image.image_id })}`));
  const next = by < 0 ? beside?.before : beside?.after;
  if (!next) return;
  remember({ image: next, extractor: image.extractor_id, head: form.head.value });
  form.image.value = next;
  await load();
}

async function names() {
  const some = await api(`/api/images?${query({ name: form.image.value })}`).catch(() => []);
  find("#names").replaceChildren(...some.map((/** @type {any} */ item) => element("option", { value: item.file_name })));
  return some;
}

async function begin() {
  const given = parameters();
  const listed = await telling(() => api("/api/heads"));
  const heads = headNames(listed?.heads ?? []);
  fill(form.head, [...heads, ["", "none"]], given.head ?? page.head);
  counts();
  form.image.value = given.image ?? "";
  const some = await names();
  if (!given.image && some[0]) form.image.value = some[0].file_name;
  await load();
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); remember({ image: form.image.value, head: form.head.value }); form.image.blur(); load(); });
form.image.addEventListener("input", names);
form.head.addEventListener("change", load);
find("#before").addEventListener("click", () => step(-1));
find("#after").addEventListener("click", () => step(1));
find("#none").addEventListener("click", () => answer(chosen, { verdict: "is" }));
find("#bad").addEventListener("click", () => answer(chosen, { verdict: "bad mask" }));
find("#undo").addEventListener("click", undo);
canvas.addEventListener("pointermove", (/** @type {MouseEvent} */ event) => {
  if (isKept || !image) return;
  const mask = point(event);
  if (mask !== chosen) choose_(mask, false);
});
canvas.addEventListener("pointerleave", () => { if (!isKept) choose_(null, false); });
canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
  if (!image) return;
  const mask = point(event);
  choose_(mask, mask !== null && !(isKept && mask === chosen));
});
canvas.addEventListener("wheel", (/** @type {WheelEvent} */ event) => { event.preventDefault(); deeper(event.deltaY > 0 ? 1 : -1); }, { passive: false });
canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  if (event.key !== "Tab" || !image?.masks.length) return;
  const place = image.masks.indexOf(chosen) + (event.shiftKey ? -1 : 1);
  // Past the last mask, the focus leaves the photo.
  if (place < 0 || place >= image.masks.length) return;
  event.preventDefault();
  choose_(image.masks[place], true);
});
window.addEventListener("resize", paint);
keys({
  digit: (event) => say(context.classes[Number(event.key) - 1]),
  "/": async () => {
    const mask = chosen;
    const word = mask && await askAnything(context.classes);
    if (word) answer(mask, { verdict: "is", label: word });
  },
  x: () => answer(chosen, { verdict: "is" }),
  b: () => answer(chosen, { verdict: "bad mask" }),
  u: undo,
  m: () => { showsAll = !showsAll; paint(); },
  "+": () => deeper(1),
  "-": () => deeper(-1),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Escape: () => choose_(null, false),
  l: () => { if (chosen) location.href = `/grid?${query({ image: chosen.image_id, extractor: chosen.extractor_id, mask: chosen.mask_index, head: form.head.value })}`; },
});

begin();
