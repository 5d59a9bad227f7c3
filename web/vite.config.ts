import { copyFileSync, mkdirSync } from "node:fs";
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

const target = process.env.LYCEUM_API ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react(), scormRuntime()],
  build: { target: "es2022", chunkSizeWarningLimit: 700 },
  server: { proxy: { "/api": target, "/verify": target, "/badges": target } },
});
