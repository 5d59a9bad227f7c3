/** Dates, shares and states as people say them. */
import type { Enrollment } from "./api/enrollment";
import type { Tone } from "./parts/pieces";

const DAY = 86_400_000;
const dates = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const times = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const whole = new Intl.NumberFormat();

export const date = (iso: string | null | undefined): string => (iso ? dates.format(new Date(iso)) : "–");
export const moment = (iso: string | null | undefined): string => (iso ? times.format(new Date(iso)) : "–");
export const count = (n: number | null | undefined): string => (n == null ? "–" : whole.format(n));
/** The space does not break: a number and its sign stay together. */
const percent = (value: number): string => `${value}\u00a0%`;
export const share = (value: number | null | undefined): string =>
  value == null ? "–" : percent(Math.round(value * 100));
/** A score, which is a percentage already. */
export const score = (value: number | null | undefined): string =>
  value == null ? "–" : percent(Math.round(value * 10) / 10);
export const points = (value: number | null | undefined): string =>
  value == null ? "–" : `${Math.round(value * 10) / 10}`;
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${whole.format(n)} ${n === 1 ? one : many}`;

export function minutes(n: number): string {
  if (n < 60) return `${n} min`;
  const rest = n % 60;
  return rest ? `${Math.floor(n / 60)} h ${rest} min` : `${n / 60} h`;
}

/** The civil date decides when there is one: a due date means the end of that day where the person is. */
export function dueWords(of: Enrollment): { tone: Tone; text: string } {
  if (of.state !== "active") return { tone: "plain", text: "" };
  if (!of.due_at)
    return of.overdue ? { tone: "late", text: "Overdue" } : { tone: "plain", text: "No due date" };
  const due = of.due_date ? new Date(`${of.due_date}T12:00:00`) : new Date(of.due_at);
  const days = dayNumber(due) - dayNumber(new Date());
  if (days < 0) return { tone: "late", text: `${plural(-days, "day")} late` };
  if (of.overdue) return { tone: "late", text: "Overdue" };
  if (days === 0) return { tone: "soon", text: "Due today" };
  if (days === 1) return { tone: "soon", text: "Due tomorrow" };
  if (days <= 7) return { tone: "soon", text: `Due in ${days} days` };
  return { tone: "plain", text: `Due ${dates.format(due)}` };
}

/** Counts civil days where this browser is. */
const dayNumber = (at: Date): number => Math.floor((at.getTime() - at.getTimezoneOffset() * 60_000) / DAY);

const languages = new Intl.DisplayNames(undefined, { type: "language" });
export function language(tag: string): string {
  try {
    return languages.of(tag) ?? tag;
  } catch {
    return tag; // a package may say anything
  }
}

export const KIND: Record<string, string> = { scorm12: "Interactive", quiz: "Quiz", reading: "Reading" };

export const STATE: Record<string, { tone: Tone; text: string }> = {
  passed: { tone: "good", text: "Passed" },
  completed: { tone: "good", text: "Completed" },
  failed: { tone: "late", text: "Not passed" },
};
export const stateWords = (state: string): { tone: Tone; text: string } =>
  STATE[state] ?? { tone: "plain", text: state.replaceAll("_", " ") };
