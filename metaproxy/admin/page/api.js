// Talks to the admin listener that this page came from. The token, where one is needed, stays in this tab.

const KEY = "metaproxy.token";

export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error ?? `status ${status}`);
    this.status = status;
    this.problems = answer.problems ?? [];
  }
}

export class Unreachable extends Error {}

export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

export const read = (path) => ask(path, { method: "GET" });

export const change = (path, asked) =>
  ask(path, {
    method: "POST",
    body: JSON.stringify(asked),
    headers: { "content-type": "application/json" },
  });

async function ask(path, request) {
  const token = sessionStorage.getItem(KEY);
  const headers = { accept: "application/json", ...request.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...request, headers, cache: "no-store" }).catch(() => {
    throw new Unreachable("The listener cannot be reached.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}
