import { all, api, forgetToken, open, query } from "./client";

export type Role = "learner" | "manager" | "author" | "admin" | "reader" | "hris" | "operator";

export interface Persona {
  person_id: string;
  tenant_id: string;
  tenant_slug: string;
  display_name: string;
  roles: Role[];
  department: string;
  job_title: string;
  note: string | null;
}

export interface Me {
  person_id: string;
  tenant_id: string;
  tenant_name: string;
  display_name: string;
  email: string;
  roles: Role[];
  department: string;
  location: string;
  job_title: string;
  manager: { person_id: string; display_name: string } | null;
  locale: string;
  time_zone: string;
}

export interface Person {
  person_id: string;
  display_name: string;
  department: string;
  location: string;
  job_title: string;
  status: string;
  manager_id: string | null;
  roles: Role[];
}

export interface OrgUnit {
  org_unit_id: string;
  code: string;
  mapped: boolean;
  parent_id: string | null;
  head_id: string | null;
  people: number;
}

export const personas = (search = "") =>
  open<{ items: Persona[] }>("GET", `/api/identity/personas${query({ search, limit: 200 })}`).then(
    (r) => r.items,
  );

export async function signIn(personId: string): Promise<void> {
  forgetToken();
  await open<void>("POST", "/api/identity/sessions", { person_id: personId });
}

export async function signOut(): Promise<void> {
  await open<void>("DELETE", "/api/identity/sessions");
  forgetToken();
}

export const me = () => api.get<Me>("/api/identity/me");
export const team = () => all<Person>("/api/identity/me/team");
export const person = (id: string) => api.get<Person>(`/api/identity/people/${id}`);
export const people = (search: string, department: string, terminated: boolean) =>
  all<Person>(
    `/api/identity/people${query({ search, department, include_terminated: terminated || undefined, limit: 200 })}`,
  );
export const orgUnits = () => all<OrgUnit>("/api/identity/org-units");
/** Confirm a department that HR brought along; where it belongs stays as it is. */
export const confirmUnit = ({ org_unit_id, parent_id, head_id }: OrgUnit) =>
  api.put<unknown>(`/api/identity/org-units/${org_unit_id}/mapping`, { parent_id, head_id });
