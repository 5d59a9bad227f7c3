import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** The SCORM run-time is served by assessment on package origins, so it stays a file of its own. */
function scormRuntime(): Plugin {
  return {
    name: "scorm-runtime",
    apply: "build",
    closeBundle() {
      mkdirSync("dist/lms", { recursive: true });
      copyFileSync("node_modules/scorm-again/dist/esm/scorm12.min.js", "dist/lms/scorm12.js");
    },
  };
}

/** What a server hands to browsers packed is packed once, here. */
function packed(): Plugin {
  return {
    name: "packed",
    apply: "build",
    closeBundle() {
      for (const entry of readdirSync("dist", { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue;
        const file = join(entry.parentPath, entry.name);
        const bytes = readFileSync(file);
        if (bytes.length < 1024) continue;
        writeFileSync(`${file}.br`, brotliCompressSync(bytes));
        writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
      }
    },
  };
}

const target = process.env.LYCEUM_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react(), scormRuntime(), packed()],
  build: { target: "es2022", chunkSizeWarningLimit: 700 },
  server: { proxy: { "/api": target, "/verify": target, "/badges": target } },
});
