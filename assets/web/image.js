// One photo with all its masks: point, click, label.

import { api, askAnything, askWord, classButtons, classOf, counts, element, fill, find, headNames, inWords, keyOf, keys, page, parameters, query, remember, save, takeBack, telling, toast } from "./common.js";
import * as drafts from "./draft.js";
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
/** The mask that is being made. @type {drafts.Draft | null} */
let draft = null;
/** Whether a click adds to it: while a is held or the button is pressed; and whether the pointer paints. */
let [isAdding, isHeld, isPainting] = [false, false, false];
/** Where the pointer went down, and where it is. @type {{from: number[], to: number[], adds: boolean} | null} */
let drag = null;
/** Radius of the brush, in pixels of the screen. */
let brush = 12;
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
  if (draft) paintDraft(painter, draft);
  else if (chosen) paintMask(painter, chosen.inside, part, { dim: 140, line: rgb(color(chosen)) });
}

/** @param {CanvasRenderingContext2D} painter @param {drafts.Draft} of */
function paintDraft(painter, of) {
  const pixels = drafts.pixels(of);
  if (pixels) paintMask(painter, pixels, part, { dim: 140, line: [255, 255, 255] });
  const scale = canvas.width / part.width;
  const place = (/** @type {number[]} */ [x, y]) => [(x - part.x) * scale, (y - part.y) * scale];
  painter.lineWidth = 2;
  for (const { kind, at } of of.steps) {
    if (kind === "box") continue;
    const [x, y] = place(at);
    painter.beginPath();
    painter.arc(x, y, 6, 0, 2 * Math.PI);
    painter.fillStyle = kind === "foreground" ? "#2ecc71" : "#e74c3c";
    painter.strokeStyle = "#fff";
    painter.fill();
    painter.stroke();
  }
  const box = drag && isAdding && isDragged(drag) ? [...drag.from, ...drag.to] : drafts.prompt(of, "").box;
  if (box) {
    const [[left, top], [right, bottom]] = [place(box.slice(0, 2)), place(box.slice(2))];
    painter.strokeStyle = "#2ecc71";
    painter.strokeRect(left, top, right - left, bottom - top);
  }
}

/** Whether the pointer went far enough for a box. @param {{from: number[], to: number[]}} way */
const isDragged = ({ from, to }) => Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])) * canvas.clientWidth / part.width > 6;

/** The pixel of the photo that is nearest to the pointer. @param {MouseEvent} event */
function nearest(event) {
  const [x, y] = pixel(event);
  return [Math.max(0, Math.min(x, image.width - 1)), Math.max(0, Math.min(y, image.height - 1))];
}

/** Says how the mask that is being made can go on. */
function making() {
  for (const [name, is] of Object.entries({ add: isAdding, brush: isPainting })) find(`#${name}`)?.setAttribute("aria-pressed", String(is));
  const hint = find("#adding");
  if (hint) hint.hidden = !(isAdding || isPainting || draft);
  const keep = find("#keep");
  if (keep) keep.disabled = !draft || !drafts.isSomething(draft);
  canvas.style.cursor = isAdding || isPainting ? "crosshair" : "";
}

/** Asks the model for the masks of the prompt; what is given up or painted meanwhile stays as it is. */
function propose() {
  const mine = /** @type {drafts.Draft} */ (draft);
  const prompt = drafts.prompt(mine, image.image_id);
  find("#why").textContent = "asking the model…";
  /** @type {Promise<void> | null} */
  let asking = null;
  asking = (async () => {
    const found = await telling(() => api("/api/prompt", prompt));
    if (mine.pending !== asking) return;
    mine.pending = null;
    if (found && !mine.painted) drafts.take(mine, prompt, found);
    // A click that the model could not answer does not count.
    if (!found) mine.steps.pop();
    if (draft !== mine) return;
    if (!mine.steps.length && !drafts.isSomething(mine)) draft = null;
    show();
  })();
  mine.pending = asking;
}

/** Puts what is being made into the store; gives back the mask, or null if that failed. @returns {Promise<any>} */
async function keep() {
  const made = draft;
  if (!made) return null;
  const of = image;
  // The mask that is kept is the one that is seen.
  while (made.pending) await made.pending;
  if (draft !== made || !drafts.isSomething(made)) return null;
  draft = null;
  isPainting = false;
  show();
  const prompt = made.answered ?? drafts.prompt(made, of.image_id);
  const added = await telling(() => api("/api/add", {
    prompt, output: made.masks[made.at]?.output ?? 0, source: made.source && keyOf(made.source), seconds: (Date.now() - made.began) / 1000,
    head: form.head.value || null, runs: made.painted ? drafts.runs(made.painted) : null,
  }));
  if (!added) {
    if (image === of && !draft) draft = made;
    show();
    return null;
  }
  added.inside = bitmap(added.rle);
  if (image?.image_id === added.image_id) {
    const isAdded = (/** @type {any} */ mask) => mask.mask_index === added.mask_index && mask.extractor_id === added.extractor_id;
    image.masks = [added, ...image.masks.filter((/** @type {any} */ mask) => !isAdded(mask))];
    outlines = null;
    if (draft) show();
    else choose_(added, true);
  }
  return added;
}

/** The mask that an answer is about: what is being made, once it is stored, or what was chosen. @param {any} mask */
const answered = (mask) => (draft && (draft.pending || drafts.isSomething(draft)) ? keep() : Promise.resolve(mask));

/** Gives up what is being made, or what is chosen. */
function escape() {
  const had = draft;
  [draft, drag] = [null, null];
  if (had) show();
  else if (isAdding || isPainting) [isAdding, isPainting] = [false, false];
  else choose_(null, false);
  making();
}

/** Whether something is painted, which must not get lost by the way. */
function isInTheWay() {
  if (!draft?.painted) return false;
  toast("keep what you painted first (Enter), or give it up (Esc)");
  return true;
}

/** @param {"add" | "brush"} what @param {boolean} is */
function mode(what, is) {
  if (!page.adds || !image) return;
  [isAdding, isPainting] = what === "add" ? [is, false] : [false, is];
  if (isPainting && !draft) draft = drafts.begin(isKept ? chosen : null);
  // A brush that painted nothing leaves nothing behind.
  if (!isPainting && draft && !drag && !draft.painted && !draft.steps.length) draft = null;
  show();
}

function show() {
  making();
  if (draft) {
    const mask = draft.masks[draft.at];
    find("#why").textContent = [image?.file_name, draft.source ? `mask ${draft.source.mask_index}, changed` : "a new mask",
      draft.painted ? "painted" : mask && `${mask.area.toLocaleString("en")} pixels, predicted IoU ${mask.predicted_iou.toFixed(2)}`].filter(Boolean).join(" · ");
    classButtons(context.classes, { say });
    return paint();
  }
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
  if (keep && draft) {
    if (isInTheWay()) return;
    draft = null;
  }
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
  if (draft) {
    if (draft.painted) return;
    draft.at = Math.max(0, Math.min(draft.at + step, draft.masks.length - 1));
    show();
    return;
  }
  if (!under.length) return;
  depth = Math.max(0, Math.min(depth + step, under.length - 1));
  choose_(under[depth], isKept);
}

/** @param {any} item */
async function say(item) {
  const before = chosen;
  const word = item && await askWord(item);
  const mask = word && await answered(before);
  if (word) answer(mask, { verdict: "is", label: word });
}

function answer(/** @type {any} */ mask, /** @type {any} */ given) {
  if (!mask || page.readOnly) return;
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
  if (draft) {
    // One click after the other; what was painted goes at once.
    if (draft.painted) {
      draft.painted = null;
      return show();
    }
    draft.steps.pop();
    if (draft.steps.length) return propose();
    draft = null;
    return show();
  }
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
  if (!name || isInTheWay()) return;
  const given = parameters();
  const found = await telling(() => api(`/api/image?${query({ image: name, head: form.head.value, extractor: given.extractor })}`));
  if (!found) return;
  image = found;
  context = found;
  done = [];
  [draft, drag] = [null, null];
  outlines = null;
  form.image.value = found.file_name;
  for (const mask of image.masks) mask.inside = bitmap(mask.rle);
  under = [];
  chosen = image.masks.find((/** @type {any} */ mask) => String(mask.mask_index) === given.mask) ?? null;
  isKept = Boolean(chosen);
  photo = new Image();
  photo.onload = paint;
  photo.onerror = () => toast(`the photo '${found.file_name}' cannot be read`);
  photo.src = `/photos/${found.image_id}?${query({ side: 2560, extractor: found.extractor_id })}`;
  address();
  show();
}

/** The image before or after this one, in the order of their names. */
async function step(/** @type {number} */ by) {
  if (!image || isInTheWay()) return;
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
/** What is said of the mask that is chosen, or being made. @param {any} given */
const tell = async (given) => answer(await answered(chosen), given);
find("#none").addEventListener("click", () => tell({ verdict: "is" }));
find("#bad").addEventListener("click", () => tell({ verdict: "bad mask" }));
find("#add")?.addEventListener("click", () => mode("add", !isAdding));
find("#brush")?.addEventListener("click", () => mode("brush", !isPainting));
find("#keep")?.addEventListener("click", keep);
canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
  if (!image || !(isAdding || isPainting) || event.button !== 0) return;
  if (isAdding && isInTheWay()) return;
  const at = nearest(event);
  drag = { from: at, to: at, adds: !event.shiftKey };
  canvas.setPointerCapture(event.pointerId);
  draft ??= drafts.begin(isPainting && isKept ? chosen : null);
  if (isPainting) stroke(at, at);
});
canvas.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => {
  const done = drag;
  drag = null;
  if (!done || !draft || isPainting) return;
  done.to = nearest(event);
  const isBox = isDragged(done);
  const [from, to] = [done.from, done.to];
  if (isBox) draft.steps.push({ kind: "box", at: [...[0, 1].map((axis) => Math.min(from[axis], to[axis])), ...[0, 1].map((axis) => Math.max(from[axis], to[axis]))] });
  else draft.steps.push({ kind: done.adds ? "foreground" : "background", at: to });
  propose();
});

canvas.addEventListener("pointercancel", () => { drag = null; paint(); });

/** @param {number[]} from @param {number[]} to */
function stroke(from, to) {
  if (!draft || !drag) return;
  const isFirst = !draft.painted;
  drafts.paint(draft, image, from, to, Math.max((brush * part.width) / canvas.clientWidth, 0.5), drag.adds);
  // The words and the buttons beside it stay as they are from the second stroke on.
  if (isFirst) show();
  else paint();
}

document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() !== "a" || !isHeld) return;
  isHeld = false;
  mode("add", false);
});
window.addEventListener("blur", () => { if (isHeld) { isHeld = false; mode("add", false); } });
find("#undo").addEventListener("click", undo);
canvas.addEventListener("pointermove", (/** @type {MouseEvent} */ event) => {
  if (drag && draft) {
    const last = drag.to;
    drag.to = nearest(event);
    if (isPainting) stroke(last, drag.to);
    else paint();
    return;
  }
  if (isKept || !image || draft || isAdding || isPainting) return;
  const mask = point(event);
  if (mask !== chosen) choose_(mask, false);
});
canvas.addEventListener("pointerleave", () => { if (!isKept && !draft) choose_(null, false); });
canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
  if (!image || draft || isAdding || isPainting) return;
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
    const before = chosen;
    const word = (draft || before) && await askAnything(context.classes);
    const mask = word && await answered(before);
    if (word) answer(mask, { verdict: "is", label: word });
  },
  x: () => tell({ verdict: "is" }),
  b: () => tell({ verdict: "bad mask" }),
  a: () => { isHeld = true; mode("add", true); },
  A: () => { isHeld = true; mode("add", true); },
  e: () => mode("brush", !isPainting),
  Enter: () => keep(),
  "[": () => { brush = Math.max(2, brush / 1.5); },
  "]": () => { brush = Math.min(200, brush * 1.5); },
  u: undo,
  m: () => { showsAll = !showsAll; paint(); },
  "+": () => deeper(1),
  "-": () => deeper(-1),
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Escape: escape,
  l: () => { if (chosen) location.href = `/grid?${query({ image: chosen.image_id, extractor: chosen.extractor_id, mask: chosen.mask_index, head: form.head.value })}`; },
});

begin();
