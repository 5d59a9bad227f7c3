import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { enrol } from "../api/enrollment";
import { person } from "../api/identity";
import { Chip, EnrollmentRow, Page } from "../parts/pieces";
import { Ask, AskPage, Empty, Failure } from "../parts/States";
import { coursesQuery, enrollmentsQuery, learningChanged } from "../queries";
import { statusWords } from "./People";
import { Certificates, Records } from "./Record";

const ORDER = { active: 0, completed: 1, withdrawn: 2 };

export function PersonPage() {
  const id = useParams({ from: "/in/shell/admin/people/$person" }).person;
  const who = useQuery({ queryKey: ["person", id], queryFn: () => person(id) });
  const boss = who.data?.manager_id ?? "";
  const manager = useQuery({
    queryKey: ["person", boss],
    queryFn: () => person(boss),
    enabled: Boolean(boss),
    retry: false,
  }).data;
  const enrolled = useQuery(enrollmentsQuery({ person_id: id }));
  return (
    <AskPage of={who} what="person" back={<Link to="/admin/people">All people</Link>}>
      {(p) => (
        <Page
          title={p.display_name || "Somebody who was erased"}
          lead={
            p.status === "erased"
              ? "Who this was is forgotten for good. What was learned stays, without a name."
              : [p.job_title, p.department, p.location].filter(Boolean).join(", ")
          }
          actions={<Chip tone={p.status === "active" ? "good" : "soon"}>{statusWords(p.status)}</Chip>}
        >
          {manager && (
            <p>
              Reports to{" "}
              <Link to="/admin/people/$person" params={{ person: boss }}>
                {manager.display_name}
              </Link>
              .
            </p>
          )}
          <section className="stack" aria-labelledby="has">
            <h2 id="has">Enrolments, and why</h2>
            <Ask of={enrolled}>
              {(found) =>
                found.length ? (
                  <ul className="plain stack">
                    {[...found]
                      .sort(
                        (a, b) => ORDER[a.state] - ORDER[b.state] || Number(b.overdue) - Number(a.overdue),
                      )
                      .map((e) => (
                        <EnrollmentRow key={e.enrollment_id} of={e} />
                      ))}
                  </ul>
                ) : (
                  <Empty title="Not enrolled in anything">
                    No active rule fits this person. Enrol them by hand below, or write a rule.
                  </Empty>
                )
              }
            </Ask>
            {p.status !== "terminated" && p.status !== "erased" && <Assign person={id} />}
          </section>
          <section className="stack" aria-labelledby="certs">
            <h2 id="certs">Certificates</h2>
            <Certificates person={id} />
          </section>
          <section className="stack" aria-labelledby="recs">
            <h2 id="recs">Learning records</h2>
            <Records person={id} enrollments={enrolled.data ?? []} />
          </section>
        </Page>
      )}
    </AskPage>
  );
}

function Assign({ person }: { person: string }) {
  const courses = useQuery(coursesQuery()).data ?? [];
  const [course, setCourse] = useState("");
  const [due, setDue] = useState("");
  const assign = useMutation({
    mutationFn: () => enrol(person, course, due || undefined),
    onSuccess: () => {
      setCourse("");
      learningChanged();
    },
  });
  return (
    <form
      className="card stack"
      onSubmit={(e) => {
        e.preventDefault();
        assign.mutate();
      }}
    >
      <h3>Enrol by hand</h3>
      <div className="row" style={{ alignItems: "end" }}>
        <NativeSelect
          label="Course"
          required
          value={course}
          onChange={(e) => setCourse(e.target.value)}
          style={{ flex: "1 1 200px", minWidth: 0 }}
          data={[
            { value: "", label: "Choose a course" },
            ...courses.filter((c) => !c.deprecated).map((c) => ({ value: c.course_id, label: c.title })),
          ]}
        />
        <TextInput
          type="date"
          label="Due (optional)"
          value={due}
          onChange={(e) => setDue(e.currentTarget.value)}
        />
        <Button type="submit" loading={assign.isPending} disabled={!course}>
          Enrol
        </Button>
      </div>
      {assign.isError && <Failure error={assign.error} />}
      <p role="status" className={assign.isSuccess ? "small" : "sr"}>
        {assign.isSuccess && "Enrolled. It appears above in a moment."}
      </p>
    </form>
  );
}
