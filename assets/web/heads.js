// Heads: how they did, what they learnt from, and how two compare.

import { api, element, fill, find, headNames, onTrained, parameters, query, remember, telling, train } from "./common.js";

const form = find("#tools");
const number = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "-" : value.toFixed(3));
const isNumber = (/** @type {any} */ item) => typeof item === "string" && /^(-|-?[\d.,]+)$/.test(item);
const cells = (/** @type {any[]} */ row) => row.map((item) => element("td", { class: isNumber(item) ? "n" : "" }, item));

const table = (/** @type {string[]} */ head, /** @type {any[][]} */ rows) => element("table", {},
  element("thead", {}, element("tr", {}, ...head.map((item, at) => element("th", { class: rows.length && rows.every((row) => isNumber(row[at])) ? "n" : "" }, item)))),
  element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))));

/** Downloads a link's file, or tells why there is none. @param {Event} event @param {string} name */
async function download(event, name) {
  event.preventDefault();
  const { href } = /** @type {HTMLAnchorElement} */ (event.currentTarget);
  await telling(async () => {
    const answer = await fetch(href);
    if (!answer.ok) {
      const { error, hint } = await answer.json();
      throw new Error(hint ? `${error} (${hint})` : error);
    }
    const url = URL.createObjectURL(await answer.blob());
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  });
}

async function load() {
  const found = await telling(() => api("/api/heads"));
  if (!found) return;
  const given = parameters();
  const names = headNames(found.heads);
  fill(form.head, names, given.head || names[0] || "");
  fill(form.other, names, given.other || names[1] || names[0] || "");
  // Teachers and students are steps of a training.
  const whole = found.heads.filter((/** @type {any} */ head) => !/\.(teacher|student)$/.test(head.head));
  const newest = new Map(found.heads.map((/** @type {any} */ head) => [head.head, head.head_id]));
  const rows = whole.reverse().map((/** @type {any} */ head) => {
    const { classes = 0, background = 0, not = 0 } = head.mask_labels ?? {};
    // A name stands for its newest head; older ones go by their ids.
    const word = newest.get(head.head) === head.head_id ? head.head : head.head_id;
    const on = head.metrics.map((/** @type {any} */ it) => it.dataset).join(", ");
    return [
      head.head, head.class_set, head.loss ?? "", head.images.toLocaleString("en"), (classes + background + not).toLocaleString("en"),
      head.metrics.map((/** @type {any} */ it) => number(it.miou)).join(", ") || "-", head.metrics.map((/** @type {any} */ it) => number(it.ap50)).join(", ") || "-", on,
      head.created_at, `${head.seconds.toFixed(1)} s`,
      element("span", {}, element("a", { href: `/queue?${query({ head: word, kind: "uncertain" })}` }, "queue"), " · ", element("a", { href: `/grid?${query({ head: word })}` }, "grid"), " · ",
        element("a", { href: `/heads/${encodeURIComponent(head.head_id)}/report`, target: "_blank", rel: "noopener" }, "report"), " · ",
        element("a", { href: `/heads/${encodeURIComponent(head.head_id)}/coco`, title: "what it keeps, as COCO JSON", onclick: (/** @type {Event} */ event) => download(event, `${head.head}.json`) }, "COCO")),
    ];
  });
  find("#heads").replaceChildren(rows.length ? table(["head", "classes", "learnt from", "images", "labelled masks", "mIoU", "AP50", "on", "trained (UTC)", "took", ""], rows)
    : element("div", { class: "empty" }, "There is no head yet. Label some masks in the queue, then train one."));
}

async function compare() {
  remember({ head: form.head.value, other: form.other.value });
  const shown = find("#compared");
  shown.replaceChildren(element("p", { class: "soft" }, "comparing…"));
  const found = await telling(() => api(`/api/compare?${query({ head: form.head.value, other: form.other.value })}`));
  shown.replaceChildren();
  if (!found) return;
  const rows = found.metrics.map((/** @type {any} */ it) => [it.metric, number(it.value), number(it.other_value), number(it.difference),
    it.ci_low === null ? "-" : `${number(it.ci_low)} to ${number(it.ci_high)}`]);
  shown.replaceChildren(element("p", { class: "soft" }, `On '${found.dataset}', in the classes of ${found.classes}; 95 % intervals of the difference.`),
    table(["metric", form.head.value, form.other.value, "difference", "interval"], rows));
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); compare(); });
find("#train").addEventListener("click", () => telling(() => train({ head: form.head.value || undefined })));
onTrained(load);
load();
