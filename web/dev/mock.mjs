/** Front-end work without the platform: the built app (or `npm run dev`) against made-up answers. Never part of a release. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { answer } from "./answers.mjs";

const port = Number(process.env.PORT ?? 8080);
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
// The policy the platform sends, so that what it would break breaks here.
const CSP =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-src http://*.localhost:* https:";

const PACKAGE = `<!doctype html><meta charset="utf-8"><title>Package</title><body style="font:20px system-ui;padding:40px">
<h1>A package</h1><p>On its own origin.</p><script>
const app = "*", say = (type) => parent.postMessage({ type }, app);
setTimeout(() => say("lyceum:saved"), 300);
addEventListener("message", (e) => { if (e.data?.type === "lyceum:close") setTimeout(() => say("lyceum:closed"), 100); });
</script>`;

async function file(path) {
  const clean = normalize(path).replace(/^(\.\.[/\\])+/, "");
  for (const name of [clean, "index.html"]) {
    try {
      return [await readFile(join("dist", name)), TYPES[extname(name)] ?? "application/octet-stream"];
    } catch {
      // Not a file: the app's own routes all start at index.html.
    }
  }
  return ["Run `npm run build` first.", "text/plain"];
}

createServer(async (request, response) => {
  const url = new URL(request.url, `http://${request.headers.host}`);
  if (url.hostname.endsWith(".localhost"))
    return response.setHeader("Content-Type", "text/html").end(PACKAGE);
  if (!url.pathname.startsWith("/api/")) {
    const [body, type] = await file(url.pathname);
    response.setHeader("Content-Type", type).setHeader("Content-Security-Policy", CSP);
    return response.end(body);
  }
  let text = "";
  for await (const chunk of request) text += chunk;
  const {
    status = 200,
    body,
    cookie,
  } = answer(request.method, url, text ? JSON.parse(text) : {}, request.headers, port);
  if (cookie) response.setHeader("Set-Cookie", cookie);
  response.writeHead(status, {
    "Content-Type": status < 400 ? "application/json" : "application/problem+json",
  });
  response.end(body === undefined ? "" : JSON.stringify(body));
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
