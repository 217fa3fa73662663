// Hit ratio, requests and latency: figures, plots, and a table by outcome.

import { draw, key, linear, logarithmic } from "./plots.js";
import { OUTCOMES, hitRatio, percentile, rate } from "./series.js";
import { fill } from "./tables.js";
import { NONE, latency, number, percent } from "./words.js";

const MINUTE = 60;
const FASTEST = 0.0005;

const $ = (id) => document.querySelector(id);

export function showOverview(series) {
  const after = series.last;
  const before = series.before(MINUTE);
  const seen = OUTCOMES.filter((outcome) => after.requests[outcome]);
  figures(before, after);
  plots(series, seen);
  fill($("#outcomes"), seen.map((outcome) => row(outcome, before, after)), { none: "no request yet" });
}

function figures(before, after) {
  $("#figure-hits").textContent = percent(hitRatio(before, after));
  $("#figure-requests").textContent = number(rate(before, after, ...OUTCOMES));
  $("#figure-p50").textContent = latency(percentile(before, after, 0.5, ...OUTCOMES));
  $("#figure-p99").textContent = latency(percentile(before, after, 0.99, ...OUTCOMES));
  alarming("#figure-refused", rate(before, after, "refused"), "warn");
  alarming("#figure-failed", rate(before, after, "failed"), "bad");
}

// A figure that is coloured as soon as it is not 0.
function alarming(id, value, className) {
  $(id).textContent = number(value);
  $(id).className = value ? className : "";
}

function plots(series, seen) {
  const seconds = series.shown;
  const rates = lines(series, seen, (outcome) => (before, after) => rate(before, after, outcome));
  draw($("#plot-requests"), rates, { seconds, scale: linear(highest(rates)), label: number });
  key($("#plot-requests-key"), seen);

  const hits = [{ name: "hit", points: series.points(hitRatio) }];
  key($("#plot-hits-key"), ["hit"]);
  draw($("#plot-hits"), hits, { seconds, scale: linear(1), label: (share) => `${100 * share} %` });

  const slow = lines(series, seen, (outcome) => (before, after) => percentile(before, after, 0.95, outcome));
  draw($("#plot-latency"), slow, {
    seconds, scale: logarithmic(FASTEST, Math.max(highest(slow), 0.01)), label: latency,
  });
  key($("#plot-latency-key"), seen);
}

const lines = (series, names, value) => names.map((name) => ({ name, points: series.points(value(name)) }));

const highest = (drawn) => Math.max(0, ...drawn.flatMap(({ points }) => points.map(([, value]) => value)));

function row(outcome, before, after) {
  const at = (share) => latency(percentile(before, after, share, outcome));
  const perSecond = rate(before, after, outcome);
  return {
    key: outcome,
    cells: [
      outcome,
      perSecond === null ? NONE : number(perSecond),
      at(0.5), at(0.95), at(0.99),
      number(after.requests[outcome]),
    ],
  };
}
