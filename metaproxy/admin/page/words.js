// Numbers as they are read.

export const NONE = "–";

export function number(value) {
  if (value === null || value === undefined) return NONE;
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function percent(share) {
  return share === null ? NONE : `${(100 * share).toFixed(1)} %`;
}

export function bytes(value) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${number(value)} ${unit}`;
    value /= 1024;
  }
  return `${number(value)} GiB`;
}

export function latency(seconds) {
  if (seconds === null) return NONE;
  return seconds < 1 ? `${number(1000 * seconds)} ms` : `${number(seconds)} s`;
}

export function duration(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

export const moment = (epochSeconds) => new Date(1000 * epochSeconds).toLocaleString();
