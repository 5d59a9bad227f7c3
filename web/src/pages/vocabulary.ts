/** How a condition tree is made and read in the builder. */
import type { Attribute, Condition } from "../api/enrollment";

const OPERATORS = [
  { value: "is", label: "is" },
  { value: "is_not", label: "is not" },
  { value: "in", label: "is one of" },
  { value: "not_in", label: "is none of" },
  { value: "starts_with", label: "starts with" },
];

const DATE_OPERATORS = [
  { value: "on_or_after", label: "is on or after" },
  { value: "after", label: "is after" },
  { value: "on_or_before", label: "is on or before" },
  { value: "before", label: "is before" },
];

export type Leaf = Extract<Condition, { attribute: string }>;

export const newLeaf = (): Leaf => ({ attribute: "department", operator: "is", value: "" });

/** What may be said of an attribute; of a date, how it lies to another. */
export const operatorsOf = (attribute?: Attribute) => (isDate(attribute) ? DATE_OPERATORS : OPERATORS);

export const isDate = (attribute?: Attribute): boolean => attribute?.operators.includes("before") ?? false;

/** As a choice: "Job title", "Manager (id)". */
export const named = ({ attribute, label }: Attribute): string =>
  label.charAt(0).toUpperCase() + label.slice(1) + (attribute.endsWith("_id") ? " (id)" : "");

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
