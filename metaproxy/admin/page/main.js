// Asks how it goes every two seconds while the page can be seen, and shows it.

import { Refused, Unreachable, read, useToken } from "./api.js";
import { showCache } from "./cache.js";
import { showConfiguration } from "./configuration.js";
import { showConsumers, showRules } from "./consumers.js";
import { showOverview } from "./overview.js";
import { Series } from "./series.js";
import { showServices } from "./services.js";
import { duration } from "./words.js";

const EVERY_MILLISECONDS = 2000;
const WINDOW_SECONDS = 300;

const $ = (id) => document.querySelector(id);
const series = new Series(WINDOW_SECONDS);

async function refresh() {
  const status = await read("status");
  series.add(status);
  showState(status);
  showOverview(series);
  showConsumers(status);
  showServices(status);
  showRules(await read("limits"));
  await showCache();
  await showConfiguration(status);
}

function showState({ ready, draining, version, worker, uptime_seconds: uptime, generation }) {
  badge(draining ? "draining" : ready ? "ready" : "not ready", ready && !draining);
  const facts = [version, `up ${duration(uptime)}`, `configuration ${generation}`];
  if (worker) facts.push(`worker ${worker}`);
  $("#facts").textContent = facts.join(" · ");
}

function badge(text, good) {
  const shown = $("#state");
  if (shown.textContent !== text) shown.textContent = text;
  shown.className = `badge ${good ? "good" : "bad"}`;
}

async function turn() {
  try {
    if (!document.hidden && !$("#login").open) await refresh();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForToken();
    else if (error instanceof Unreachable) badge("no connection", false);
    else reportError(error);
  }
  setTimeout(turn, EVERY_MILLISECONDS);
}

function askForToken() {
  $("#login-problem").textContent = $("#token").value ? "That is not the token." : "";
  $("#login").showModal();
}

$("#login").addEventListener("close", () => useToken($("#token").value));

turn();
