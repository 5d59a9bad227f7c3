/** Calls to the platform: bearer token in memory, renewed before it ends; problems become words. */

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly extra: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

const WORDS: Record<number, string> = {
  0: "The platform did not answer. Check that it is running and that you are online.",
  401: "Your sign-in has ended. Please sign in again.",
  403: "Your role does not allow this.",
  404: "This does not exist, or it is not yours to see.",
  409: "Somebody changed this at the same moment. Look again and repeat.",
  413: "That is too large.",
  429: "Too many requests in a short time. Wait a moment.",
  503: "A part of the platform is not available right now. Nothing was lost; try again shortly.",
};

let token: { value: string; renewAt: number } | null = null;
let pending: Promise<string> | null = null;

async function send(input: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(input, init);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new Problem(0, "offline", WORDS[0] as string);
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const body: Record<string, unknown> = await response.json().catch(() => ({}));
  const code = typeof body.type === "string" ? body.type.replace("urn:lyceum:problem:", "") : "unknown";
  const words =
    (typeof body.detail === "string" && body.detail) ||
    WORDS[response.status] ||
    (typeof body.title === "string" && body.title) ||
    `The platform answered with status ${response.status}.`;
  return new Problem(response.status, code, words, body);
}

async function renew(): Promise<string> {
  const response = await send("/api/identity/token", { method: "POST", credentials: "same-origin" });
  if (!response.ok) throw await problemOf(response);
  const { access_token, expires_in } = (await response.json()) as {
    access_token: string;
    expires_in: number;
  };
  // A minute early, or at half time for very short tokens: a request never leaves with a token about to end.
  token = { value: access_token, renewAt: Date.now() + 1000 * Math.max(expires_in - 60, expires_in / 2) };
  return access_token;
}

export function accessToken(): Promise<string> {
  if (token && Date.now() < token.renewAt) return Promise.resolve(token.value);
  pending ??= renew().finally(() => {
    pending = null;
  });
  return pending;
}

let clockAhead = 0;
function setClock(header: string | null): void {
  // The header has whole seconds: only a real difference counts.
  const ahead = header ? Date.parse(header) - Date.now() : 0;
  clockAhead = Math.abs(ahead) > 2000 ? ahead : 0;
}

/** What time the server has it: deadlines are the server's, whatever this computer's clock says. */
export const serverNow = (): number => Date.now() + clockAhead;

export function forgetToken(): void {
  token = null;
}

export async function authorised(path: string, init: RequestInit = {}): Promise<Response> {
  for (const lastTry of [false, true]) {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${await accessToken()}`);
    const response = await send(path, { ...init, headers });
    setClock(response.headers.get("Date"));
    if (response.ok) return response;
    if (response.status !== 401 || lastTry) throw await problemOf(response);
    forgetToken();
  }
  throw new Problem(401, "unauthenticated", WORDS[401] as string);
}

async function body<T>(response: Response): Promise<T> {
  return (response.status === 204 ? undefined : await response.json()) as T;
}

function withJson(method: string, data: unknown): RequestInit {
  return data === undefined
    ? { method }
    : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) };
}

export const api = {
  get: async <T>(path: string, signal?: AbortSignal) => body<T>(await authorised(path, { signal })),
  post: async <T>(path: string, data?: unknown) => body<T>(await authorised(path, withJson("POST", data))),
  put: async <T>(path: string, data?: unknown) => body<T>(await authorised(path, withJson("PUT", data))),
};

/** For routes that need no token (personas, sign-in). */
export async function open<T>(method: string, path: string, data?: unknown): Promise<T> {
  const response = await send(path, { ...withJson(method, data), credentials: "same-origin" });
  if (!response.ok) throw await problemOf(response);
  return body<T>(response);
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** Everything of a list that is short by nature. Lists of contract form come in pages, some routes give a bare array. */
export async function all<T>(path: string, signal?: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  let after: string | null = null;
  for (let page = 0; page < 20; page += 1) {
    const join: string = path.includes("?") ? "&" : "?";
    const answer: Page<T> | T[] = await api.get(
      after ? `${path}${join}after=${encodeURIComponent(after)}` : path,
      signal,
    );
    if (Array.isArray(answer)) return answer;
    found.push(...answer.items);
    after = answer.next;
    if (!after) break;
  }
  return found;
}

export function query(values: Record<string, string | number | boolean | undefined | null>): string {
  const pairs = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  return pairs.length ? `?${new URLSearchParams(pairs.map(([k, v]) => [k, String(v)]))}` : "";
}

/** Fetches with the token and hands the file to the browser's own download. */
export async function download(path: string, filename: string, accept?: string): Promise<void> {
  const response = await authorised(path, accept ? { headers: { Accept: accept } } : {});
  saveBlob(await response.blob(), filename);
}

export function saveBlob(blob: Blob, filename: string): void {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
