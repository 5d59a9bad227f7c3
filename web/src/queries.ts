/** What pages ask for, under one key each, so that pages share answers and refresh together. */
import { QueryCache, QueryClient, queryOptions } from "@tanstack/react-query";
import * as assessment from "./api/assessment";
import * as catalog from "./api/catalog";
import { Problem } from "./api/client";
import * as enrollment from "./api/enrollment";
import * as identity from "./api/identity";

let whenSignedOut = (): void => undefined;
export function onSignedOut(action: () => void): void {
  whenSignedOut = action;
}

/** Only what may heal by itself is asked again: no answer, or a part that is down. */
const mayHeal = (tries: number, error: Error): boolean =>
  tries < 2 && error instanceof Problem && (error.status === 0 || error.status >= 500);

/** For what changes nothing when it comes a second time. */
export const patient = { retry: mayHeal };

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof Problem && error.status === 401) whenSignedOut();
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      retry: mayHeal,
    },
  },
});

export const meQuery = queryOptions({ queryKey: ["me"], queryFn: identity.me, staleTime: 300_000 });
export const attributesQuery = queryOptions({
  queryKey: ["rules", "attributes"],
  queryFn: enrollment.attributes,
  staleTime: 300_000,
});
export const todayQuery = queryOptions({ queryKey: ["learning", "today"], queryFn: enrollment.today });
export const pathsOfMineQuery = queryOptions({
  queryKey: ["learning", "paths"],
  queryFn: enrollment.myPaths,
});
export const coursesQuery = (search = "") =>
  queryOptions({ queryKey: ["courses", search], queryFn: () => catalog.courses(search) });
export const courseQuery = (idOrSlug: string, version?: number) =>
  queryOptions({ queryKey: ["course", idOrSlug, version], queryFn: () => catalog.course(idOrSlug, version) });
export const enrollmentQuery = (id: string) =>
  queryOptions({ queryKey: ["learning", "enrollment", id], queryFn: () => enrollment.enrollment(id) });
export const enrollmentsQuery = (filter: { person_id?: string; course_id?: string; state?: string }) =>
  queryOptions({ queryKey: ["learning", "list", filter], queryFn: () => enrollment.enrollments(filter) });
export const recordsQuery = (person?: string) =>
  queryOptions({ queryKey: ["learning", "records", person], queryFn: () => assessment.records(person) });
export const certificatesQuery = (person?: string) =>
  queryOptions({
    queryKey: ["learning", "certificates", person],
    queryFn: () => assessment.certificates(person),
  });

/** Progress reaches enrollment by events, a moment after the answer: ask now and once more shortly. */
export function learningChanged(): void {
  void queryClient.invalidateQueries({ queryKey: ["learning"] });
  setTimeout(() => void queryClient.invalidateQueries({ queryKey: ["learning"] }), 1500);
}
