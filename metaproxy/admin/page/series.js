// What two answers of /status say about the time between them. No DOM here.

export const MEMORY = ["hit", "stale", "revalidated", "collapsed"];

export const OUTCOMES = [...MEMORY, "forwarded", "refused", "failed", "aborted"];

export class Series {
  // Keeps the answers of the last `seconds`, and forgets them when the process has been restarted.
  constructor(seconds) {
    this.seconds = seconds;
    this.samples = [];
  }

  get last() {
    return this.samples.at(-1);
  }

  add(status) {
    if (this.last && (status.now < this.last.now || total(status) < total(this.last))) this.samples = [];
    this.samples.push(status);
    while (status.now - this.samples[0].now > this.seconds) this.samples.shift();
  }

  // The answer of `seconds` ago, or the oldest that is here.
  before(seconds) {
    return this.samples.find((sample) => this.last.now - sample.now <= seconds);
  }

  // Seconds from the first answer to the last, in whole minutes and at least one.
  get shown() {
    const covered = this.last.now - this.samples[0].now;
    return Math.min(60 * Math.max(Math.ceil(covered / 60), 1), this.seconds);
  }

  // One value per step between two answers; `value` is given both. Points are [seconds ago, value].
  points(value) {
    const points = [];
    for (let i = 1; i < this.samples.length; i += 1) {
      const found = value(this.samples[i - 1], this.samples[i]);
      if (found !== null) points.push([this.samples[i].now - this.last.now, found]);
    }
    return points;
  }
}

const total = (status) => Object.values(status.requests).reduce((sum, number) => sum + number, 0);

const grown = (before, after, outcome) => (after.requests[outcome] ?? 0) - (before.requests[outcome] ?? 0);

export function rate(before, after, ...outcomes) {
  const seconds = after.now - before.now;
  const requests = outcomes.reduce((sum, outcome) => sum + grown(before, after, outcome), 0);
  return seconds > 0 ? requests / seconds : null;
}

// The share of answers that came from memory; null while there are none.
export function hitRatio(before, after) {
  const memory = MEMORY.reduce((sum, outcome) => sum + grown(before, after, outcome), 0);
  const answers = memory + grown(before, after, "forwarded");
  return answers > 0 ? memory / answers : null;
}

// Seconds below which a `share` of the requests of these outcomes took; null while there are none.
export function percentile(before, after, share, ...outcomes) {
  const bounds = after.latency_bounds;
  const counts = new Array(bounds.length + 1).fill(0);
  for (const outcome of outcomes) {
    const now = after.latency[outcome]?.counts ?? [];
    const then = before.latency[outcome]?.counts ?? [];
    now.forEach((count, i) => { counts[i] += count - (then[i] ?? 0); });
  }
  return quantile(bounds, counts, share);
}

function quantile(bounds, counts, share) {
  const requests = counts.reduce((sum, count) => sum + count, 0);
  if (requests <= 0) return null;
  let left = share * requests;
  for (let i = 0; i < bounds.length; i += 1) {
    if (left <= counts[i]) {
      const lower = i ? bounds[i - 1] : 0;
      return lower + (bounds[i] - lower) * (left / counts[i]);
    }
    left -= counts[i];
  }
  return bounds.at(-1);
}
