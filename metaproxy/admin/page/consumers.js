// Who sends most, who is over a limit, and the rates that are held.

import { change } from "./api.js";
import { attempt } from "./news.js";
import { fill } from "./tables.js";
import { number, percent } from "./words.js";

const $ = (id) => document.querySelector(id);

export function showConsumers({ consumers }) {
  const rows = consumers.map(({ consumer, requests, refusals }) => ({
    key: consumer,
    cells: [
      { text: consumer, className: "code" },
      number(requests),
      refusals ? { text: `${number(refusals)} · over its limit`, className: "bad" } : "0",
      { meter: refusals / requests, text: percent(refusals / requests) },
      { button: "Reset", describes: `Reset the limits of ${consumer}`, act: () => attempt(() => reset(consumer)) },
    ],
  }));
  fill($("#top"), rows, { none: "nobody" });
}

export function showRules({ rules }) {
  const rows = rules.map((rule) => ({
    key: rule.name,
    cells: [
      rule.name,
      `${number(rule.limit)}/${rule.unit}`,
      number(rule.burst),
      rule.per.join(" + "),
      rule.methods.join(", ") || "all",
      { text: rule.path || "every path", className: "code" },
    ],
  }));
  fill($("#rules"), rows, { none: "no rates are configured" });
}

async function reset(consumer) {
  const { counters } = await change("limits/reset", { consumer });
  return `The limits of ${consumer} begin anew: ${number(counters)} counters forgotten.`;
}
