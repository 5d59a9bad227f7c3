import { Button, Checkbox, Modal, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import * as enrollment from "../api/enrollment";
import { Chip, Page } from "../parts/pieces";
import { Ask, AskPage, Failure } from "../parts/States";
import { coursesQuery, learningChanged } from "../queries";
import { plural } from "../words";
import { ConditionEditor } from "./ConditionEditor";
import { pathsQuery, RULE_STATE } from "./Rules";
import { faultOf, newLeaf } from "./vocabulary";

const EMPTY: enrollment.RuleDraft = {
  name: "",
  condition: { all: [newLeaf()] },
  course_ids: [],
  path_ids: [],
  due_in_days: 30,
  on_ground_lost: "withdraw_if_incomplete",
};

export function RuleEdit() {
  const id = useParams({ from: "/in/shell/admin/rules/$rule" }).rule;
  const isNew = id === "new";
  const asked = useQuery({ queryKey: ["rules", id], queryFn: () => enrollment.rule(id), enabled: !isNew });
  if (isNew) return <Editor key="new" />;
  return (
    <AskPage of={asked} what="rule" back={<Link to="/admin/rules">All rules</Link>}>
      {(rule) => <Editor key={`${id} ${rule.rule_version}`} rule={rule} />}
    </AskPage>
  );
}

const draftOf = ({
  name,
  condition,
  course_ids,
  path_ids,
  due_in_days,
  on_ground_lost,
}: enrollment.Rule): enrollment.RuleDraft => ({
  name,
  condition,
  course_ids,
  path_ids,
  due_in_days,
  on_ground_lost,
});

function Editor({ rule }: { rule?: enrollment.Rule }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [draft, setDraft] = useState(rule ? draftOf(rule) : EMPTY);
  const [asking, ask] = useDisclosure(false);
  const edit = (change: Partial<enrollment.RuleDraft>) => {
    setDraft((before) => ({ ...before, ...change }));
    preview.reset();
  };
  const fault = !draft.name.trim()
    ? "The rule needs a name."
    : faultOf(draft.condition) ||
      (draft.course_ids.length + draft.path_ids.length ? "" : "Choose at least one course or path.");
  const preview = useMutation({ mutationFn: () => enrollment.previewRule(draft) });
  const refresh = () => {
    void client.invalidateQueries({ queryKey: ["rules"] });
    learningChanged();
  };
  const save = useMutation({
    mutationFn: () => enrollment.saveRule(rule?.rule_id ?? null, draft),
    onSuccess: (saved) => {
      refresh();
      if (!rule) void navigate({ to: "/admin/rules/$rule", params: { rule: saved.rule_id } });
    },
  });
  const activate = useMutation({
    mutationFn: async () => {
      const saved = await enrollment.saveRule(rule?.rule_id ?? null, draft);
      await enrollment.activateRule(rule?.rule_id ?? saved.rule_id);
    },
    onSuccess: () => {
      refresh();
      void navigate({ to: "/admin/rules" });
    },
    onSettled: ask.close,
  });
  const retire = useMutation({
    mutationFn: () => enrollment.retireRule(rule?.rule_id ?? ""),
    onSuccess: () => {
      refresh();
      void navigate({ to: "/admin/rules" });
    },
  });
  const failed = preview.error ?? save.error ?? activate.error ?? retire.error;
  const retired = rule?.state === "retired";
  const [leaving, leave] = useDisclosure(false);

  return (
    <Page
      narrow
      title={rule ? rule.name : "New rule"}
      lead={rule?.sentence && `When ${rule.sentence}.`}
      actions={
        rule && (
          <Chip tone={RULE_STATE[rule.state]?.tone}>
            {RULE_STATE[rule.state]?.text ?? rule.state}, version {rule.rule_version}
          </Chip>
        )
      }
    >
      <form
        className="stack wide"
        onSubmit={(e) => {
          e.preventDefault();
          preview.mutate();
        }}
      >
        <TextInput
          label="Name"
          required
          value={draft.name}
          onChange={(e) => edit({ name: e.currentTarget.value })}
        />
        <section className="card stack" aria-labelledby="who">
          <h2 id="who">Who</h2>
          <ConditionEditor of={draft.condition} change={(condition) => edit({ condition })} />
        </section>
        <What draft={draft} edit={edit} />
        <section className="card stack" aria-labelledby="terms">
          <h2 id="terms">By when</h2>
          <NumberInput
            label="Days until due"
            description="From the hire date or from matching, whichever is later. Empty: no due date."
            min={1}
            max={3650}
            hideControls
            value={draft.due_in_days ?? ""}
            onChange={(v) => edit({ due_in_days: typeof v === "number" ? v : null })}
          />
          <NativeSelect
            label="When somebody no longer fits"
            value={draft.on_ground_lost}
            onChange={(e) =>
              edit({ on_ground_lost: e.target.value as enrollment.RuleDraft["on_ground_lost"] })
            }
            data={[
              { value: "withdraw_if_incomplete", label: "Withdraw what is not completed" },
              { value: "keep", label: "Keep the enrolment" },
            ]}
          />
        </section>
        {failed && <Failure error={failed} />}
        {fault && <p className="soft">{fault}</p>}
        {!retired && (
          <div className="row">
            <Button type="submit" disabled={Boolean(fault)} loading={preview.isPending}>
              Preview
            </Button>
            <Button
              variant="default"
              disabled={Boolean(fault)}
              loading={save.isPending}
              onClick={() => save.mutate()}
            >
              Save as draft
            </Button>
            {rule?.state === "active" && (
              <Button variant="default" onClick={leave.open}>
                Retire …
              </Button>
            )}
          </div>
        )}
      </form>
      <div role="status">
        {preview.data && (
          <section className="card stack wide" aria-labelledby="effect">
            <h2 id="effect">If it were active now</h2>
            {preview.data.sentence && <p>When {preview.data.sentence}.</p>}
            <Affected title="would be enrolled" of={preview.data.enroll} />
            <Affected title="would be withdrawn" of={preview.data.withdraw} />
            <div>
              <Button onClick={ask.open}>Activate …</Button>
            </div>
          </section>
        )}
      </div>
      <Modal
        opened={asking}
        onClose={ask.close}
        title="Activate this rule?"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <div className="stack wide">
          <p>
            Now it enrols {plural(preview.data?.enroll.count ?? 0, "person", "people")} and withdraws{" "}
            {preview.data?.withdraw.count ?? 0}. From then on it follows every change from HR.
          </p>
          <div className="row">
            <Button loading={activate.isPending} onClick={() => activate.mutate()}>
              Activate
            </Button>
            <Button variant="default" onClick={ask.close}>
              Not yet
            </Button>
          </div>
        </div>
      </Modal>
      <Modal
        opened={leaving}
        onClose={leave.close}
        title="Retire this rule?"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <div className="stack wide">
          <p>
            It stops enrolling. Open enrolments that only this rule explains{" "}
            {draft.on_ground_lost === "keep" ? "are kept" : "are withdrawn"}; completed ones stay on record.
          </p>
          <div className="row">
            <Button color="red" loading={retire.isPending} onClick={() => retire.mutate()}>
              Retire
            </Button>
            <Button variant="default" onClick={leave.close}>
              Keep it
            </Button>
          </div>
        </div>
      </Modal>
    </Page>
  );
}

function What({
  draft,
  edit,
}: {
  draft: enrollment.RuleDraft;
  edit: (change: Partial<enrollment.RuleDraft>) => void;
}) {
  const courses = useQuery(coursesQuery());
  const paths = useQuery(pathsQuery);
  return (
    <section className="card stack" aria-labelledby="what">
      <h2 id="what">Gets what</h2>
      <Ask of={courses} rows={1}>
        {(found) => (
          <Checkbox.Group
            label="Courses"
            value={draft.course_ids}
            onChange={(course_ids) => edit({ course_ids })}
          >
            <div className="picks">
              {found
                .filter((c) => !c.deprecated || draft.course_ids.includes(c.course_id))
                .map((c) => (
                  <Checkbox key={c.course_id} value={c.course_id} label={c.title} py={4} />
                ))}
            </div>
          </Checkbox.Group>
        )}
      </Ask>
      <Ask of={paths} rows={1}>
        {(found) =>
          found.length > 0 && (
            <Checkbox.Group label="Paths" value={draft.path_ids} onChange={(path_ids) => edit({ path_ids })}>
              <div className="picks">
                {found.map((p) => (
                  <Checkbox key={p.path_id} value={p.path_id} label={p.title} py={4} />
                ))}
              </div>
            </Checkbox.Group>
          )
        }
      </Ask>
    </section>
  );
}

function Affected({ title, of }: { title: string; of: enrollment.Affected }) {
  return (
    <details className="why">
      <summary>
        {plural(of.count, "person", "people")} {title}
      </summary>
      <ul>
        {of.people.slice(0, 200).map((p) => (
          <li key={p.person_id}>{p.display_name ?? p.name ?? p.person_id}</li>
        ))}
        {of.count > 200 && <li>and {of.count - 200} more</li>}
      </ul>
    </details>
  );
}
