import { api, authorised, Problem } from "./client";

export const SERVICES = ["identity", "catalog", "enrollment", "assessment", "analytics"] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface FeedHead {
  feed: string;
  partition: number;
  head: number;
  sent: number;
  generation: number;
}

export interface Progress {
  consumer: string;
  feed: string;
  partition: number;
  next: number;
  head: number | null;
  lag: number | null;
  healed: number;
  alarm: string | boolean | null;
}

export interface ParkedEvent {
  n: number;
  feed: string;
  key: string;
  reason: string;
  type?: string;
  partition?: number;
  position?: number;
  tries?: number;
  parked_at?: string;
}

export interface FeedReport {
  service: string;
  relay: { outbox: number; oldest_age_s: number; active: boolean; error?: string };
  feeds: FeedHead[];
  consumers: Progress[];
  consumer_error?: string;
  parked: ParkedEvent[];
  timers: { pending: number; late: number; failed: number };
}

export interface Readiness {
  ready: boolean;
  note: string;
}

/** Readiness is public; a red one answers 503 with the checks that fail. */
export async function readiness(service: ServiceName): Promise<Readiness> {
  try {
    await authorised(`/api/${service}/readyz`);
    return { ready: true, note: "" };
  } catch (error) {
    if (error instanceof Problem && error.status !== 401) return { ready: false, note: failing(error) };
    throw error;
  }
}

function failing(problem: Problem): string {
  const red = problem.extra.red;
  if (!red || typeof red !== "object") return problem.message;
  return Object.entries(red)
    .map(([name, why]) => `${name}: ${String(why)}`)
    .join("; ");
}

export const feeds = (service: ServiceName) => api.get<FeedReport>(`/api/${service}/system/feeds`);
export const replay = (service: ServiceName, n: number) =>
  api.post<{ handled: number }>(`/api/${service}/system/parked/${n}/replay`);
export const discard = (service: ServiceName, n: number, why: string) =>
  api.post<void>(`/api/${service}/system/parked/${n}/discard`, { why });
