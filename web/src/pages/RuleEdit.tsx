export function RuleEdit() { return null; }
