// What a hostile package would try, in the learner's browser. The outcome of each stands in window.findings.
(async () => {
  const app = document.currentScript?.dataset.app ?? document.querySelector("script[data-app]").dataset.app;
  const refused = "refused";
  const within = (ms, promise) => Promise.race([promise, new Promise((r) => setTimeout(() => r(refused), ms))]);
  const sync = (look) => {
    try {
      const got = look();
      return got === null || got === undefined || got === "" ? refused : String(got);
    } catch {
      return refused;
    }
  };
  const read = (request) => request.then((r) => (r.type === "opaque" ? refused : r.text()), () => refused);
  const load = (tag, name, value) =>
    within(2000, new Promise((done) => {
      const node = document.createElement(tag);
      node.onload = () => done("loaded");
      node.onerror = () => done(refused);
      node[name] = value;
      document.body.append(node);
    }));
  // A frame of our own origin whose answer may have forgotten its policy: what runs there is less confined.
  const frame = document.createElement("iframe");
  frame.src = "/no-such-file";
  await new Promise((done) => {
    frame.onload = frame.onerror = done;
    document.body.append(frame);
  });
  const elsewhere = (() => {
    try {
      return frame.contentWindow.document ? frame.contentWindow : window;
    } catch {
      return window;
    }
  })();
  const post = { method: "POST", credentials: "include", body: "{}" };
  const framed = (source) =>
    new Promise((done) => {
      const node = document.createElement("iframe");
      node.onload = () => done(sync(() => node.contentWindow.document.body.textContent));
      setTimeout(() => done(refused), 2000);
      node.src = source;
      document.body.append(node);
    });
  const popup = async (source) => {
    const opened = window.open(source, "_blank");
    await new Promise((r) => setTimeout(r, 1000));
    return sync(() => opened.document.documentElement.outerHTML);
  };
  const form = async (where) => {
    const made = where.document.createElement("form");
    Object.assign(made, { method: "post", action: `${app}/api/identity/sessions`, target: "answer" });
    const into = where.document.createElement("iframe");
    into.name = "answer";
    (where.document.body ?? where.document.documentElement).append(into, made);
    made.submit();
    await new Promise((r) => setTimeout(r, 1000));
    return sync(() => into.contentWindow.document.body.textContent);
  };
  window.findings = {
    "cookies of the app": sync(() => document.cookie),
    "storage of the app": sync(() => localStorage.getItem("mine")),
    "page above": sync(() => top.document.title),
    "address above": sync(() => (top === window ? refused : top.location.href)),
    "storage above": sync(() => top.localStorage.getItem("mine")),
    opener: sync(() => top.opener?.document.title ?? window.opener),
    "page taken away": sync(() => { if (top !== window) top.location = "about:blank#taken"; }),
    "token by fetch": await read(fetch(`${app}/api/identity/token`, post)),
    "me by fetch": await read(fetch(`${app}/api/identity/me`, { credentials: "include" })),
    "token by a fetch without policy": await read(elsewhere.fetch(`${app}/api/identity/token`, post)),
    "token by an opaque fetch": await read(elsewhere.fetch(`${app}/api/identity/token`, { ...post, mode: "no-cors" })),
    "app as a frame": await framed(`${app}/`),
    "API as a frame": await framed(`${app}/api/identity/me`),
    "API as a script": await load("script", "src", `${app}/api/identity/jwks`),
    "image of the app": await load("img", "src", `${app}/mark.svg`),
    "app as a popup": await popup(`${app}/`),
    "session by a form": await form(elsewhere),
    "service worker": await within(2000, (navigator.serviceWorker?.register("/hostile.js") ?? Promise.reject()).then(() => "registered", () => refused)),
  };
  document.body.className = "done";
})();
