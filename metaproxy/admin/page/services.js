// What metaproxy depends on: upstream, identity, store.

import { fill } from "./tables.js";
import { duration, number } from "./words.js";

const $ = (id) => document.querySelector(id);

export function showServices({ checks, degraded, upstream, identity, store }) {
  $("#checks").replaceChildren(...Object.entries(checks).map((entry) => check(entry, degraded)));
  fill($("#targets"), upstream.map(target), { none: "no targets" });
  $("#identity").textContent = [identityWords(identity), storeWords(store)].join(" ");
}

function check([name, { well, says }], degraded) {
  const [className, words] = well ? ["good", "✓ well"]
    : degraded.includes(name) ? ["warn", "! degraded"] : ["bad", "✗ not ready"];
  const item = document.createElement("li");
  const mark = Object.assign(document.createElement("span"), {
    className, textContent: words,
  });
  const title = Object.assign(document.createElement("b"), { textContent: name });
  item.append(title, mark, Object.assign(document.createElement("span"), { textContent: says }));
  return item;
}

const BREAKER = { closed: "good", half_open: "warn", open: "bad" };

function target({ name, healthy, breaker, active_requests: active }) {
  return {
    key: name,
    cells: [
      { text: name, className: "code" },
      { text: healthy ? "✓ healthy" : "✗ unhealthy", className: healthy ? "good" : "bad" },
      { text: breaker.replace("_", " "), className: BREAKER[breaker] },
      number(active),
    ],
  };
}

function identityWords(identity) {
  if (!identity) return "Identity: none; nobody's token is checked.";
  const { provider, available, trouble, unavailable_seconds: seconds, tokens } = identity;
  const health = available ? "answers" : `fails (${trouble}) for ${duration(seconds)}`;
  return `Identity: ${provider} ${health}; ${number(tokens.valid)} valid and ${number(tokens.rejected)} rejected tokens known.`;
}

function storeWords({ shared, available }) {
  if (!shared) return "Store: this process alone.";
  return available ? "Store: shared, answers." : "Store: shared, does not answer.";
}
