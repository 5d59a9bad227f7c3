/** A condition tree as nested groups: everything works by buttons and fields, nothing by dragging. */
import { ActionIcon, Button, NativeSelect, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Condition } from "../api/enrollment";
import { Icon } from "../parts/Icon";
import { attributesQuery } from "../queries";
import { isDate, type Leaf, named, newLeaf, operatorsOf, takesMany } from "./vocabulary";

type Change = (next: Condition) => void;

const MODES = [
  { value: "all", label: "All of these hold" },
  { value: "any", label: "At least one of these holds" },
];

export function ConditionEditor({
  of,
  change,
  remove,
  depth = 0,
}: {
  of: Condition;
  change: Change;
  remove?: () => void;
  depth?: number;
}) {
  if ("attribute" in of) return <LeafEditor of={of} change={change} remove={remove} />;
  if ("not" in of) {
    return (
      <div className="stack">
        <div className="row between">
          <strong>Not this:</strong>
          <Button size="xs" variant="default" onClick={() => change(of.not)}>
            Remove “not”
          </Button>
        </div>
        <ConditionEditor
          of={of.not}
          change={(next) => change({ not: next })}
          remove={remove}
          depth={depth + 1}
        />
      </div>
    );
  }
  const mode = "all" in of ? "all" : "any";
  const parts = "all" in of ? of.all : of.any;
  const set = (next: Condition[], as = mode) => change(as === "all" ? { all: next } : { any: next });
  return (
    <fieldset className={`group ${mode}`}>
      <legend className="sr">Group of conditions</legend>
      <div className="row" style={{ alignItems: "end" }}>
        <NativeSelect
          aria-label="How the conditions combine"
          data={MODES}
          value={mode}
          onChange={(e) => set(parts, e.target.value as "all" | "any")}
        />
        {remove && (
          <Button size="xs" variant="default" onClick={remove}>
            Remove the group
          </Button>
        )}
      </div>
      {parts.map((part, i) => (
        <ConditionEditor
          // biome-ignore lint/suspicious/noArrayIndexKey: a tree being edited has no other identity
          key={i}
          of={part}
          depth={depth + 1}
          change={(next) => set(parts.with(i, next))}
          remove={() => set(parts.filter((_, at) => at !== i))}
        />
      ))}
      <div className="row">
        <Button
          size="xs"
          variant="default"
          leftSection={<Icon name="plus" size={14} />}
          onClick={() => set([...parts, newLeaf()])}
        >
          Condition
        </Button>
        {depth < 3 && (
          <Button
            size="xs"
            variant="default"
            leftSection={<Icon name="plus" size={14} />}
            onClick={() => set([...parts, mode === "all" ? { any: [newLeaf()] } : { all: [newLeaf()] }])}
          >
            Group
          </Button>
        )}
      </div>
    </fieldset>
  );
}

function LeafEditor({ of, change, remove }: { of: Leaf; change: Change; remove?: () => void }) {
  const attributes = useQuery(attributesQuery).data ?? [];
  const attribute = attributes.find((a) => a.attribute === of.attribute);
  const many = takesMany(of.operator);
  const text = Array.isArray(of.value) ? of.value.join(", ") : of.value;
  const parse = (typed: string, operator: string) => (takesMany(operator) ? typed.split(/,\s*/) : typed);
  return (
    <div className="leaf">
      <NativeSelect
        label="Attribute"
        data={attributes.map((a) => ({ value: a.attribute, label: named(a) }))}
        value={of.attribute}
        onChange={(e) =>
          change({
            attribute: e.target.value,
            operator: operatorsOf(attributes.find((a) => a.attribute === e.target.value))[0]?.value ?? "is",
            value: "",
          })
        }
      />
      <NativeSelect
        label="Comparison"
        data={operatorsOf(attribute)}
        value={of.operator}
        onChange={(e) => change({ ...of, operator: e.target.value, value: parse(text, e.target.value) })}
      />
      <TextInput
        label={many ? "Values, with commas" : "Value"}
        type={isDate(attribute) ? "date" : "text"}
        value={text}
        onChange={(e) => change({ ...of, value: parse(e.currentTarget.value, of.operator) })}
      />
      {remove && (
        <ActionIcon
          variant="default"
          size={36}
          onClick={remove}
          aria-label={`Remove the condition on ${of.attribute}`}
        >
          <Icon name="close" size={16} />
        </ActionIcon>
      )}
    </div>
  );
}
