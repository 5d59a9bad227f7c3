// The wrapper around a SCORM 1.2 package, on the package's own origin (docs: services/assessment/README.md).
//
// It fetches the attempt's state, puts the SCORM API where the package looks for it (the parent window), and sends
// commits. A commit is true for the package only when the server has said so. The app hears by postMessage:
//   {type: "lyceum:ready"}           the package is shown
//   {type: "lyceum:saved", at}       the server has stored everything up to now
//   {type: "lyceum:not-saved", why}  it has not
//   {type: "lyceum:completed"}       the module counts as done
//   {type: "lyceum:closed"}          after the app's {type: "lyceum:close"}: finished, nothing more will come
import { Scorm12API } from "/__lms/scorm12.js";

const app = document.querySelector("meta[name=lyceum-app]").content;
const message = document.getElementById("message");
const frame = document.getElementById("content");
const KEEPALIVE_BYTES = 60_000; // browsers drop a keepalive body above 64 KiB

// The token stays out of the address bar, of the package's document.referrer and of the history.
const token = location.hash.slice(1) || history.state?.token || "";
history.replaceState({ token }, "", location.pathname);

let session = 0;
let sequence = 0;
let finishing = false;
let leaving = false;
let closed = false;
let superseded = false;
let completed = false;
let savedSuspendData = null;
let api = null;

const toApp = (note) => {
  if (window.parent !== window) window.parent.postMessage(note, app);
};
const refused = (code) => ({ result: "false", errorCode: code });

function say(text) {
  message.textContent = text;
}

// scorm-again hands over {cmi: {…}}; it asks for one synchronous answer.
class Transport {
  updateSettings() {}

  processHttpRequest(_url, params) {
    if (superseded || closed) return refused(391);
    const cmi = params.cmi ?? params;
    return leaving ? this.sendLate(cmi) : this.sendNow(cmi);
  }

  body(cmi) {
    const same = savedSuspendData !== null && (cmi.suspend_data ?? "") === savedSuspendData;
    return { session, sequence: ++sequence, finish: finishing, same_suspend_data: false, cmi, same };
  }

  sendNow(cmi) {
    const { same, ...body } = this.body(cmi);
    const request = new XMLHttpRequest();
    try {
      request.open("POST", "/__lms/commit", false);
      request.setRequestHeader("authorization", `Bearer ${token}`);
      request.setRequestHeader("content-type", "application/json");
      request.send(JSON.stringify(body));
    } catch {
      // Chromium forbids synchronous requests while a page goes away, before pagehide has told us.
      if (document.visibilityState === "hidden") return this.deliverLate(body, same);
      return this.failed("The connection is lost");
    }
    return this.answered(request.status, request.responseText, cmi);
  }

  sendLate(cmi) {
    const { same, ...body } = this.body(cmi);
    return this.deliverLate(body, same);
  }

  // Queued by the browser, which outlives the page. "True" can only mean queued here.
  deliverLate(body, same) {
    if (same) {
      const { suspend_data, ...rest } = body.cmi;
      body = { ...body, same_suspend_data: true, cmi: rest };
    }
    const text = JSON.stringify(body);
    fetch("/__lms/commit", {
      method: "POST",
      keepalive: new Blob([text]).size < KEEPALIVE_BYTES,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: text,
    }).catch(() => {});
    return { result: "true", errorCode: 0 };
  }

  answered(status, text, cmi) {
    let answer = null;
    try {
      answer = JSON.parse(text);
    } catch {
      // An HTML page of some proxy is not the server's yes.
    }
    if (status === 200 && answer?.result === true) {
      savedSuspendData = cmi.suspend_data ?? "";
      say("");
      toApp({ type: "lyceum:saved", at: new Date().toISOString() });
      if (answer.completed && !completed) {
        completed = true;
        toApp({ type: "lyceum:completed" });
      }
      return { result: "true", errorCode: 0 };
    }
    if (status === 409) superseded = true;
    return this.failed(answer?.title ?? "The server did not save the progress");
  }

  failed(why) {
    say(`Not saved: ${why}`);
    toApp({ type: "lyceum:not-saved", why });
    return refused(391);
  }
}

function finish() {
  if (!api || finishing) return;
  finishing = true;
  // A package that finished by itself has nothing left to say.
  if (api.isInitialized()) api.LMSFinish("");
}

function close() {
  // The package's own unload handlers run while the frame goes blank; only then is it finished for it.
  const done = () => {
    finish();
    closed = true;
    toApp({ type: "lyceum:closed" });
  };
  if (frame.hidden) return done();
  frame.addEventListener("load", done, { once: true });
  frame.src = "about:blank";
}

async function start() {
  if (!token) return say("Open this module from the course page.");
  let state;
  try {
    const answer = await fetch("/__lms/state", { headers: { authorization: `Bearer ${token}` } });
    state = await answer.json();
    if (!answer.ok) {
      toApp({ type: "lyceum:not-saved", why: state.title });
      return say(state.title);
    }
  } catch {
    return say("The server does not answer. Reload to try again.");
  }
  session = state.session;
  document.title = frame.title = state.title;
  savedSuspendData = state.cmi.suspend_data ?? "";
  api = new Scorm12API({
    lmsCommitUrl: "/__lms/commit", // without one, commits say "true" and go nowhere
    httpService: new Transport(),
    autocommit: true,
    autocommitSeconds: 2,
    alwaysSendTotalTime: true,
    selfReportSessionTime: true,
    mastery_override: false, // the server decides
  });
  api.loadFromJSON({ cmi: state.cmi });
  const lmsFinish = api.LMSFinish.bind(api);
  api.LMSFinish = (parameter) => {
    finishing = true;
    const result = lmsFinish(parameter);
    finishing = result === "true" || result === true;
    return result;
  };
  window.API = api;
  frame.src = `/${state.launch_path}`;
  frame.hidden = false;
  say("");
  toApp({ type: "lyceum:ready" });
}

// Commit, not finish: this runs before the package's own unload handlers, which may still set values.
window.addEventListener("pagehide", () => {
  leaving = true;
  if (api?.isInitialized()) api.LMSCommit("");
});
// Back from the browser's cache: another page may have taken over meanwhile, so begin anew.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
window.addEventListener("message", (event) => {
  if (event.origin === app && event.source === window.parent && event.data?.type === "lyceum:close") close();
});

await start();
