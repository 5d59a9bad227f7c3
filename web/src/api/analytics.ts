import { api, query } from "./client";

export interface Overview {
  enrolled: number;
  completed: number;
  withdrawn: number;
  overdue: number;
  pass_rate: number | null;
  average_score: number | null;
  compliance: number | null;
  certificates: number;
  as_of: string | null;
}

export interface MetricRow {
  key: string;
  label: string;
  value: number | null;
  numerator: number | null;
  denominator: number | null;
}

export interface Metric {
  metric: string;
  definition: string;
  dimension: string;
  rows: MetricRow[];
}

export interface DropOff {
  enrolled: number;
  modules: { module_id: string; title: string; started: number; completed: number }[];
}

export interface TrendDay {
  day: string;
  enrolled: number;
  completed: number;
}

export interface Scope {
  department?: string;
  course_id?: string;
}

export const overview = (scope: Scope) => api.get<Overview>(`/api/analytics/overview${query({ ...scope })}`);
export const metricPath = (metric: string, by: "department" | "course", scope: Scope = {}) =>
  `/api/analytics/metrics/${metric}${query({ by, ...scope })}`;
export const metric = (name: string, by: "department" | "course", scope: Scope) =>
  api.get<Metric>(metricPath(name, by, scope));
export const dropOff = (courseId: string) => api.get<DropOff>(`/api/analytics/courses/${courseId}/drop-off`);
export const trend = (days: number, scope: Scope) =>
  api
    .get<TrendDay[] | { items: TrendDay[] }>(`/api/analytics/trend${query({ days, ...scope })}`)
    .then((found) => (Array.isArray(found) ? found : found.items));
