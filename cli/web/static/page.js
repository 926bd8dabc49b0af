// Keeps the parts of the page fresh. Without it the page is as complete, and loads itself anew now and then.
"use strict";

const EVERY = 3000; // ms
const TOO_LONG = 10000; // ms
const fresh = document.getElementById("fresh");
const freshText = document.getElementById("fresh-text");
const silent = document.getElementById("silent");
let last = new Date();
let timer = 0;
let running = false;

function clock(when) {
  return when.toLocaleTimeString();
}

function tell(state, text) {
  fresh.dataset.state = state;
  // Screen readers tell each change, so there is none where nothing is new.
  if (freshText.textContent !== text) freshText.textContent = text;
}

function show(parts) {
  for (const place of document.querySelectorAll("[data-part]")) {
    const html = parts[place.dataset.part];
    // What somebody is about to press, or reads with a screen reader, is left alone while it has not changed.
    if (html !== undefined && place.made !== html && !place.contains(document.activeElement)) {
      place.innerHTML = html;
      place.made = html;
    }
  }
}

async function refresh() {
  if (running || document.hidden) return;
  running = true;
  try {
    const answer = await fetch("/web/parts", { signal: AbortSignal.timeout(TOO_LONG), credentials: "same-origin" });
    if (answer.status === 401 || answer.status === 403) {
      location.assign("/web/login");
      return;
    }
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    show(await answer.json());
    last = new Date();
    silent.hidden = true;
    tell("ok", "up to date");
  } catch (problem) {
    silent.textContent = `mediapool does not answer. What is shown here is from ${clock(last)}.`;
    silent.hidden = false;
    tell("bad", `since ${clock(last)}`);
  } finally {
    running = false;
    plan();
  }
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    tell("rest", "paused");
  } else {
    refresh();
  }
});

// What was said after an action is said once: not again when the page is loaded anew.
if (location.search) history.replaceState(null, "", location.pathname);
plan();
