import { all, api, query } from "./client";

export type ModuleKind = "scorm12" | "quiz" | "reading";

export interface CourseCard {
  course_id: string;
  course_version: number;
  title: string;
  slug: string;
  summary: string;
  language: string;
  duration_minutes: number;
  modules_count: number;
  certifying: boolean;
  deprecated: boolean;
}

export interface CourseModule {
  module_id: string;
  title: string;
  kind: ModuleKind;
  text?: string | null;
  quiz_id?: string | null;
}

export interface Course extends CourseCard {
  modules: CourseModule[];
}

export interface LearningPath {
  path_id: string;
  title: string;
  slug: string;
  summary: string;
}

export const courses = (search = "") =>
  all<CourseCard>(`/api/catalog/courses${query({ search, limit: 200 })}`);
export const course = (idOrSlug: string, version?: number) =>
  api.get<Course>(`/api/catalog/courses/${encodeURIComponent(idOrSlug)}${query({ version })}`);
export const paths = () => all<LearningPath>("/api/catalog/paths");
