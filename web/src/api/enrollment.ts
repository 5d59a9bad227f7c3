import type { ModuleKind } from "./catalog";
import { all, api, query } from "./client";

export interface Ground {
  kind: "rule" | "path" | "manual" | "self";
  ground_id: string;
  reason: string;
  via: string | null;
}

export interface Enrollment {
  enrollment_id: string;
  person_id: string;
  course_id: string;
  course_version: number;
  course_title: string;
  course_slug: string;
  cycle: number;
  state: "active" | "completed" | "withdrawn";
  overdue: boolean;
  locked: boolean;
  locked_by: string[];
  mandatory: boolean;
  due_at: string | null;
  due_date: string | null;
  enrolled_at: string;
  completed_at: string | null;
  modules_done: number;
  modules_total: number;
  next_module_id: string | null;
  grounds: Ground[];
  why: string[];
}

export interface EnrolledModule {
  module_id: string;
  title: string;
  kind: ModuleKind;
  done: boolean;
  score: number | null;
}

export interface EnrollmentDetail extends Enrollment {
  modules: EnrolledModule[];
}

export interface Today {
  resume: Enrollment | null;
  due: Enrollment[];
  completed_recently: Enrollment[];
}

export interface MyPath {
  path_id: string;
  title: string;
  courses: Enrollment[];
}

export interface TeamRow {
  person_id: string;
  active: number;
  overdue: number;
  completed: number;
  next_due_at: string | null;
  items: Enrollment[];
}

/** A condition tree: all of, any of, not, or one comparison of an HR attribute. */
export type Condition =
  | { all: Condition[] }
  | { any: Condition[] }
  | { not: Condition }
  | { attribute: string; operator: string; value: string | string[] };

/** What a condition may speak of, and how. */
export interface Attribute {
  attribute: string;
  label: string;
  operators: string[];
}

export interface Rule {
  rule_id: string;
  rule_version: number;
  name: string;
  sentence: string;
  condition: Condition;
  state: "draft" | "active" | "retired";
  course_ids: string[];
  path_ids: string[];
  due_in_days: number | null;
  on_ground_lost: "withdraw_if_incomplete" | "keep";
}

export interface RuleDraft {
  name: string;
  condition: Condition;
  course_ids: string[];
  path_ids: string[];
  due_in_days: number | null;
  on_ground_lost: "withdraw_if_incomplete" | "keep";
}

export interface Affected {
  count: number;
  people: { person_id: string; display_name?: string; name?: string }[];
}

export interface Preview {
  sentence?: string;
  enroll: Affected;
  withdraw: Affected;
}

export const today = () => api.get<Today>("/api/enrollment/today");
export const myPaths = () => all<MyPath>("/api/enrollment/paths/mine");
export const team = () => all<TeamRow>("/api/enrollment/team");
export const enrollments = (filter: { person_id?: string; course_id?: string; state?: string }) =>
  all<Enrollment>(`/api/enrollment/enrollments${query({ ...filter, limit: 200 })}`);
export const enrollment = (id: string) => api.get<EnrollmentDetail>(`/api/enrollment/enrollments/${id}`);
export const enrol = (person_id: string, course_id: string, due_date?: string) =>
  api.post<Enrollment>("/api/enrollment/enrollments", {
    person_id,
    course_id,
    ...(due_date ? { due_date } : {}),
  });

export const attributes = () => all<Attribute>("/api/enrollment/rules/attributes");
export const rules = () => all<Rule>("/api/enrollment/rules");
export const rule = (id: string) => api.get<Rule>(`/api/enrollment/rules/${id}`);
export const saveRule = (id: string | null, draft: RuleDraft) =>
  id ? api.put<Rule>(`/api/enrollment/rules/${id}`, draft) : api.post<Rule>("/api/enrollment/rules", draft);
export const activateRule = (id: string) => api.post<unknown>(`/api/enrollment/rules/${id}/activate`);
export const retireRule = (id: string) => api.post<unknown>(`/api/enrollment/rules/${id}/retire`);
export const previewRule = (draft: RuleDraft) => api.post<Preview>("/api/enrollment/rules/preview", draft);
