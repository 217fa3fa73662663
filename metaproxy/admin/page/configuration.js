// The configuration in use, and reloading the file.

import { change, read } from "./api.js";
import { attempt } from "./news.js";
import { moment } from "./words.js";

const $ = (id) => document.querySelector(id);

let shown = "";

// Asks only when what is shown is another generation, or when a file was refused meanwhile.
export async function showConfiguration(status) {
  const state = `${status.generation} ${status.checks.config?.says}`;
  if (state === shown) return;
  const { path, generation, loaded_at: loadedAt, problems, needs_restart: restart, config } = await read("config");
  shown = state;
  $("#loaded").textContent = `Generation ${generation} of ${path}, loaded ${moment(loadedAt)}.`;
  const told = problems.map((problem) => `Refused: ${problem}`);
  if (restart.length) told.push(`A restart is needed for ${restart.join(", ")}.`);
  $("#problems").replaceChildren(...told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  $("#config").textContent = JSON.stringify(config, null, 2);
}

$("#reload").addEventListener("click", () => attempt(async () => {
  const { generation } = await change("reload", {});
  return `Reloaded: generation ${generation} is in use.`;
}));
