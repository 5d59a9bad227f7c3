/** What a rule may ask about a person, and how a condition tree is made and read in the builder. */
import type { Condition } from "../api/enrollment";

export const ATTRIBUTES = [
  { value: "department", label: "Department" },
  { value: "location", label: "Location" },
  { value: "job_title", label: "Job title" },
  { value: "employment_type", label: "Employment type" },
  { value: "manager_id", label: "Manager (id)" },
  { value: "hire_date", label: "Hire date" },
  { value: "time_zone", label: "Time zone" },
  { value: "status", label: "Employment status" },
];

export const OPERATORS = [
  { value: "is", label: "is" },
  { value: "is_not", label: "is not" },
  { value: "in", label: "is one of" },
  { value: "not_in", label: "is none of" },
  { value: "starts_with", label: "starts with" },
];

export const DATE_OPERATORS = [
  { value: "on_or_after", label: "is on or after" },
  { value: "after", label: "is after" },
  { value: "on_or_before", label: "is on or before" },
  { value: "before", label: "is before" },
];

export type Leaf = Extract<Condition, { attribute: string }>;

export const newLeaf = (): Leaf => ({ attribute: "department", operator: "is", value: "" });

export const operatorsOf = (attribute: string) => (attribute === "hire_date" ? DATE_OPERATORS : OPERATORS);

/** Operators that take several values. */
export const takesMany = (operator: string): boolean => operator === "in" || operator === "not_in";

/** A rule over nobody in particular is a mistake more often than a wish. */
export function faultOf(condition: Condition): string {
  if ("not" in condition) return faultOf(condition.not);
  if ("attribute" in condition)
    return condition.value.length && condition.value[0] ? "" : "A condition has no value yet.";
  const parts = "all" in condition ? condition.all : condition.any;
  if (!parts.length) return "A group has no condition yet.";
  return parts.map(faultOf).find(Boolean) ?? "";
}
