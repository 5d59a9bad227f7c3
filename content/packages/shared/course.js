/* Turns the sections of a page into a course and keeps a learner's place and answers by SCORM 1.2.

   <section data-page id="…"> is a page, <form class="check" data-check="…" data-right="b"> a knowledge check. With
   data-mastery on <main> the checks are scored; without it, seeing all pages and answering all checks completes. */
"use strict";

const lms = (() => {
  // SCORM puts `API` on a window above the course, or above whoever opened it. A foreign window throws: stop there.
  function above(start) {
    let here = start;
    for (let level = 0; here && level < 20; level += 1) {
      try {
        if (here.API) return here.API;
      } catch {
        return null;
      }
      if (here === here.parent) return null;
      here = here.parent;
    }
    return null;
  }
  let found = null;
  try {
    found = above(window) || (window.top.opener ? above(window.top.opener) : null);
  } catch {
    found = above(window);
  }
  const api = found && String(found.LMSInitialize("")) === "true" ? found : null;
  return {
    found: Boolean(found),
    ready: Boolean(api),
    get: (name) => (api ? String(api.LMSGetValue(name) ?? "") : ""),
    set: (name, value) => (api ? String(api.LMSSetValue(name, String(value))) === "true" : false),
    commit: () => (api ? String(api.LMSCommit("")) === "true" : false),
    finish: () => (api ? String(api.LMSFinish("")) === "true" : false),
    error: () => {
      if (!found) return "";
      const code = String(found.LMSGetLastError());
      return code === "0" ? "" : `${found.LMSGetErrorString(code)} (${code})`;
    },
  };
})();

const main = document.querySelector("main");
const pages = [...document.querySelectorAll("section[data-page]")];
const checks = [...document.querySelectorAll("form.check")];
const needed = Number(lms.get("cmi.student_data.mastery_score") || main.dataset.mastery || 0);
const scored = Boolean(main.dataset.mastery);
const begun = Date.now();
const saved = document.getElementById("saved");
const turn = { back: document.getElementById("back"), next: document.getElementById("next") };
let state = restore();
let current = 0;
let done = ["passed", "completed"].includes(lms.get("cmi.core.lesson_status"));
let closed = false;

function restore() {
  try {
    const kept = JSON.parse(lms.get("cmi.suspend_data") || "{}");
    return { answers: { ...kept.answers }, seen: [...(kept.seen ?? [])] };
  } catch {
    return { answers: {}, seen: [] }; // somebody else's suspend_data: begin again rather than fail
  }
}

function save() {
  if (!lms.ready) {
    saved.dataset.state = lms.found ? "failed" : "preview";
    saved.textContent = lms.found ? `Not saved: ${lms.error() || "no session"}` : "Preview: nothing is saved";
    return;
  }
  let kept = lms.set("cmi.core.lesson_location", pages[current].id);
  kept = lms.set("cmi.suspend_data", JSON.stringify(state)) && kept;
  kept = lms.set("cmi.core.session_time", elapsed()) && kept;
  kept = lms.set("cmi.core.exit", done ? "" : "suspend") && kept;
  kept = lms.commit() && kept;
  saved.dataset.state = kept ? "saved" : "failed";
  const now = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  saved.textContent = kept ? `Saved at ${now}` : `Not saved: ${lms.error() || "the platform did not answer"}`;
}

function elapsed() {
  const hundredths = Math.round((Date.now() - begun) / 10);
  const two = (n) => String(n).padStart(2, "0");
  const seconds = Math.floor(hundredths / 100);
  const hours = Math.min(9999, Math.floor(seconds / 3600));
  return `${String(hours).padStart(4, "0")}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}.${two(hundredths % 100)}`;
}

function show(index, { focus = true } = {}) {
  current = index;
  pages.forEach((page, n) => { page.hidden = n !== index; });
  if (!state.seen.includes(pages[index].id)) state.seen.push(pages[index].id);
  document.querySelectorAll(".steps button").forEach((button, n) => {
    button.toggleAttribute("aria-current", n === index);
    if (n === index) button.setAttribute("aria-current", "step");
    button.classList.toggle("seen", state.seen.includes(pages[n].id));
  });
  turn.back.disabled = index === 0;
  turn.next.hidden = index === pages.length - 1;
  const heading = pages[index].querySelector("h2");
  document.title = `${heading.textContent} – ${main.dataset.title}`;
  if (focus) {
    heading.focus();
    window.scrollTo(0, 0);
  }
  sumUp();
  save();
}

function verdict(form, { fresh }) {
  const answer = state.answers[form.dataset.check];
  const place = form.querySelector(".verdict");
  if (answer === undefined) return;
  const right = answer === form.dataset.right;
  place.className = `verdict ${right ? "right" : "wrong"}`;
  place.textContent = `${right ? "Right." : "Not quite."} ${form.dataset.why}`;
  if (fresh) tell(form, answer, right);
}

function tell(form, answer, right) {
  const n = Number(lms.get("cmi.interactions._count") || 0);
  const at = `cmi.interactions.${n}`;
  lms.set(`${at}.id`, form.dataset.check);
  lms.set(`${at}.type`, "choice");
  lms.set(`${at}.time`, new Date().toTimeString().slice(0, 8));
  lms.set(`${at}.correct_responses.0.pattern`, form.dataset.right);
  lms.set(`${at}.student_response`, answer);
  lms.set(`${at}.result`, right ? "correct" : "wrong");
}

function score() {
  const right = checks.filter((form) => state.answers[form.dataset.check] === form.dataset.right).length;
  return checks.length ? Math.round((100 * right) / checks.length) : 100;
}

function open() {
  const unanswered = checks.filter((form) => state.answers[form.dataset.check] === undefined).length;
  const unseen = pages.filter((page) => !state.seen.includes(page.id)).length;
  return { unanswered, unseen };
}

function sumUp() {
  const place = document.getElementById("result");
  const finish = document.getElementById("finish");
  const { unanswered, unseen } = open();
  const parts = [];
  if (done) parts.push("You have finished. You may close this course, or read on.");
  else if (unanswered || unseen) {
    if (unseen) parts.push(`${unseen} ${unseen === 1 ? "page is" : "pages are"} still to read.`);
    if (unanswered) parts.push(`${unanswered} ${unanswered === 1 ? "question is" : "questions are"} still open.`);
  } else if (scored && score() < needed) {
    parts.push(`You have ${score()} %, and ${needed} % are needed. Go back, change an answer, and check it again.`);
  } else parts.push("All read, all answered. Press the button to finish.");
  if (scored && !unanswered) parts.push(`Your result: ${score()} %.`);
  place.textContent = parts.join(" ");
  finish.disabled = done || unanswered > 0 || unseen > 0 || (scored && score() < needed);
}

function complete() {
  done = true;
  if (scored) {
    lms.set("cmi.core.score.min", 0);
    lms.set("cmi.core.score.max", 100);
    lms.set("cmi.core.score.raw", score());
  }
  lms.set("cmi.core.lesson_status", scored ? "passed" : "completed");
  sumUp();
  save();
  document.getElementById("result").focus();
}

function leave() {
  if (closed || !lms.ready) return;
  closed = true;
  lms.set("cmi.core.session_time", elapsed());
  lms.set("cmi.core.exit", done ? "" : "suspend");
  lms.finish();
}

document.querySelector(".steps").append(
  ...pages.map((page, n) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = page.dataset.page;
    button.addEventListener("click", () => show(n));
    item.append(button);
    return item;
  }),
);
pages.forEach((page) => page.querySelector("h2").setAttribute("tabindex", "-1"));
checks.forEach((form) => {
  const kept = state.answers[form.dataset.check];
  const input = kept && form.querySelector(`input[value="${CSS.escape(kept)}"]`);
  if (input) input.checked = true;
  verdict(form, { fresh: false });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = new FormData(form).get("answer");
    if (answer === null) return;
    state.answers[form.dataset.check] = String(answer);
    verdict(form, { fresh: true });
    sumUp();
    save();
  });
});
turn.back.addEventListener("click", () => show(Math.max(0, current - 1)));
turn.next.addEventListener("click", () => show(Math.min(pages.length - 1, current + 1)));
document.getElementById("finish").addEventListener("click", complete);
window.addEventListener("pagehide", leave);
window.addEventListener("unload", leave); // some players close the frame without pagehide

if (["not attempted", "unknown", ""].includes(lms.get("cmi.core.lesson_status"))) {
  lms.set("cmi.core.lesson_status", "incomplete");
}
const bookmark = pages.findIndex((page) => page.id === lms.get("cmi.core.lesson_location"));
show(Math.max(0, bookmark), { focus: false });
