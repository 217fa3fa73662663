// What is stored, of which images, and purging it.

import { change, read } from "./api.js";
import { attempt } from "./news.js";
import { fill } from "./tables.js";
import { bytes, duration, number } from "./words.js";

const $ = (id) => document.querySelector(id);

export async function showCache() {
  const { usage, images } = await read("cache");
  if (!usage) {
    $("#usage").textContent = "No route is cached.";
    return;
  }
  $("#usage").textContent =
    `${number(usage.entries)} answers, ${bytes(usage.bytes)} of ${bytes(usage.max_bytes)}; ` +
    `${number(usage.evictions)} had to make room.`;
  $("#usage-share").hidden = false;
  $("#usage-share").value = usage.bytes / usage.max_bytes;
  fill($("#images"), images.map(row), { none: "nothing is stored" });
}

function row({ image, answers, bytes: size }) {
  return {
    key: image,
    cells: [
      { text: image, className: "code" },
      number(answers),
      bytes(size),
      { button: "Show", describes: `Show what is stored of ${image}`, act: () => attempt(() => look(image)) },
      { button: "Purge", describes: `Purge the image ${image}`, act: () => attempt(() => purge({ image })) },
    ],
  };
}

async function look(image) {
  const { number: all, answers } = await read(`cache/answers?${new URLSearchParams({ image })}`);
  fill($("#answers"), answers.map(answerRow), { none: "nothing is stored" });
  $("#answers").hidden = false;
  $("#answers-of").textContent = `Stored answers of ${image}`;
  return `${number(all)} answers are stored of ${image}.`;
}

function answerRow({ path, query, status, media_type: mediaType, age, fresh_for: left, bytes: size }, index) {
  return {
    key: String(index),
    cells: [
      { text: query ? `${path}?${query}` : path, className: "code" },
      `${status} ${mediaType}`,
      duration(age),
      left > 0 ? duration(left) : { text: "stale", className: "warn" },
      bytes(size),
    ],
  };
}

async function purge(what) {
  let purged = 0;
  let replicas = false;
  let workers = false;
  try {
    ({ purged, replicas_told: replicas, workers_told: workers } = await change("cache/purge", what));
  } finally { // it is purged here even if the other replicas could not be told
    $("#answers").hidden = true;
    await showCache();
  }
  return `Purged ${Object.values(what).join()}: ${number(purged)} answers here; ${toldWords(replicas, workers)}.`;
}

function toldWords(replicas, workers) {
  if (replicas) return "replicas on the same store are told";
  if (workers) return "all workers are told, and no other replica, because store.url is not set";
  return "no other process is told, because store.url is not set";
}

$("#purge-what").addEventListener("change", () => {
  $("#purge-name").disabled = $("#purge-what").value === "all";
});

$("#purge").addEventListener("submit", (event) => {
  event.preventDefault();
  const kind = $("#purge-what").value;
  const name = $("#purge-name").value.trim();
  if (kind === "all") {
    if (confirm("Purge everything that is stored, in every replica?")) attempt(() => purge({ all: true }));
  } else if (name) {
    attempt(() => purge({ [kind]: name }));
  }
});
