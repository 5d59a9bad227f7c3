import type { ModuleKind } from "./catalog";
import { all, api, Problem, query } from "./client";

export type Answer = string | number | string[];

export interface Question {
  question_id: string;
  /** "multiple_choice", "multiple_response", "numeric" or "short_text". */
  type: string;
  text: string;
  options: { id: string; text: string }[];
  answer: Answer | null;
}

export interface Attempt {
  attempt_id: string;
  number: number;
  title?: string;
  state: string;
  /** The highest number saved so far; the next answer takes a higher one. */
  saved_sequence: number;
  started_at: string;
  deadline_at: string | null;
  questions: Question[];
  attempts_left: number | null;
  passing_score: number;
}

export interface Outcome {
  state: "passed" | "failed";
  score: number;
  passing_score: number;
  results: {
    question_id: string;
    points: number;
    max_points: number;
    correct: boolean;
    feedback: string | null;
  }[];
  certificate_id: string | null;
  attempts_left: number | null;
}

export interface QuizRules {
  quiz_id: string;
  title: string;
  passing_score: number;
  questions: number;
  time_limit_seconds: number | null;
  max_attempts: number | null;
}

export interface LearningRecord {
  attempt_id: string;
  enrollment_id: string;
  course_id: string;
  module_id: string;
  kind: ModuleKind;
  state: string;
  score: number | null;
  assurance: string;
  started_at: string;
  completed_at: string | null;
}

export interface Certificate {
  certificate_id: string;
  enrollment_id?: string;
  course_id: string;
  course_title: string;
  issued_at: string;
  revoked_at: string | null;
  score: number | null;
  verify_url: string;
  pdf_url: string;
  badge_url: string;
}

const base = "/api/assessment";

export const launch = (enrollment_id: string, module_id: string) =>
  api.post<{ attempt_id: string; url: string }>(`${base}/launches`, { enrollment_id, module_id });
export const markRead = (enrollment_id: string, module_id: string) =>
  api.post<unknown>(`${base}/readings`, { enrollment_id, module_id });
export const quizRules = (quizId: string) => api.get<QuizRules>(`${base}/quizzes/${quizId}/rules`);
export const beginAttempt = (enrollment_id: string, module_id: string) =>
  api.post<Attempt>(`${base}/attempts`, { enrollment_id, module_id });
export const saveAnswer = (attemptId: string, questionId: string, sequence: number, answer: Answer) =>
  api.put<{ saved_sequence: number }>(`${base}/attempts/${attemptId}/answers/${questionId}`, {
    sequence,
    answer,
  });
/** A second time it is refused, and that may be because the first answer was lost: the result is there then. */
export async function submit(attemptId: string): Promise<Outcome> {
  try {
    return await api.post<Outcome>(`${base}/attempts/${attemptId}/submit`);
  } catch (error) {
    if (error instanceof Problem && error.code === "already-submitted")
      return await api.get<Outcome>(`${base}/attempts/${attemptId}/result`);
    throw error;
  }
}
export const records = (person_id?: string) => all<LearningRecord>(`${base}/records${query({ person_id })}`);
export const certificates = (person_id?: string) =>
  all<Certificate>(`${base}/certificates${query({ person_id })}`);
