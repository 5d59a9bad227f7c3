import { Button } from "@mantine/core";
import { useMutation, useQueries, useQuery, useSuspenseQuery } from "@tanstack/react-query";
import type { Certificate, LearningRecord } from "../api/assessment";
import { download } from "../api/client";
import type { Enrollment } from "../api/enrollment";
import { Icon } from "../parts/Icon";
import { Chip, Page } from "../parts/pieces";
import { Scroller } from "../parts/Scroller";
import { Ask, Empty, Failure } from "../parts/States";
import { certificatesQuery, courseQuery, enrollmentsQuery, meQuery, recordsQuery } from "../queries";
import { date, moment, score, stateWords } from "../words";

export function Record() {
  const me = useSuspenseQuery(meQuery).data;
  const enrollments = useQuery(enrollmentsQuery({ person_id: me.person_id }));
  return (
    <Page
      title="My record"
      lead="What you have learned, with the evidence. It stays, also when a course or a rule is gone."
    >
      <section className="stack" aria-labelledby="certificates">
        <h2 id="certificates">Certificates</h2>
        <Certificates person={me.person_id} />
      </section>
      <section className="stack" aria-labelledby="attempts">
        <h2 id="attempts">Learning records</h2>
        <Records person={me.person_id} enrollments={enrollments.data ?? []} />
      </section>
    </Page>
  );
}

export function Certificates({ person }: { person: string }) {
  return (
    <Ask of={useQuery(certificatesQuery(person))} rows={1}>
      {(found) =>
        found.length ? (
          <ul className="plain grid">
            {found.map((c) => (
              <CertificateCard key={c.certificate_id} of={c} />
            ))}
          </ul>
        ) : (
          <Empty title="No certificate yet">
            Courses marked “Certificate” issue one when you have completed them.
          </Empty>
        )
      }
    </Ask>
  );
}

/** The API may name itself by an absolute address; the browser stays on its own origin. */
const local = (url: string): string => {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
};

export function CertificateCard({ of }: { of: Certificate }) {
  const file = useMutation({
    mutationFn: (kind: "pdf" | "badge") =>
      kind === "pdf"
        ? download(local(of.pdf_url), `${of.course_title}.pdf`, "application/pdf")
        : download(local(of.badge_url), `${of.course_title}.jwt`),
  });
  return (
    <li className={`card stack certificate ${of.revoked_at ? "revoked" : ""}`}>
      <div className="row between">
        <span className="seal" aria-hidden="true">
          <Icon name={of.revoked_at ? "cross" : "record"} size={24} />
        </span>
        {of.revoked_at ? (
          <Chip tone="late">Revoked {date(of.revoked_at)}</Chip>
        ) : (
          <Chip tone="good">
            <Icon name="check" size={14} /> Valid
          </Chip>
        )}
      </div>
      <h3>{of.course_title}</h3>
      <p className="soft small num facts-line" style={{ flex: 1 }}>
        <span>Issued on {date(of.issued_at)}</span>
        {of.score != null && <span>{score(of.score)}</span>}
      </p>
      {file.isError && <Failure error={file.error} />}
      <div className="row">
        <Button
          size="sm"
          loading={file.isPending && file.variables === "pdf"}
          leftSection={<Icon name="down" size={16} />}
          onClick={() => file.mutate("pdf")}
          aria-label={`PDF of ${of.course_title}`}
        >
          PDF
        </Button>
        <Button
          size="sm"
          variant="default"
          loading={file.isPending && file.variables === "badge"}
          onClick={() => file.mutate("badge")}
          aria-label={`Credential of ${of.course_title}`}
        >
          Credential
        </Button>
        <Button
          size="sm"
          variant="default"
          component="a"
          href={of.verify_url}
          target="_blank"
          rel="noopener"
          aria-label={`Public page that verifies ${of.course_title}`}
        >
          Verify
        </Button>
      </div>
    </li>
  );
}

const evidence = (of: LearningRecord): string => {
  if (of.assurance === "server-graded") return "graded by the server";
  return of.kind === "reading" ? "marked by the learner" : "reported by the content";
};

export function Records({ person, enrollments }: { person: string; enrollments: Enrollment[] }) {
  const records = useQuery(recordsQuery(person));
  const ids = [...new Set((records.data ?? []).map((r) => r.course_id))];
  const courses = useQueries({ queries: ids.map((id) => courseQuery(id)) });
  const course = (id: string) => courses.find((c) => c.data?.course_id === id)?.data;
  const title = (r: { enrollment_id: string; course_id: string }) =>
    enrollments.find((e) => e.enrollment_id === r.enrollment_id)?.course_title ??
    course(r.course_id)?.title ??
    "Course";
  return (
    <Ask of={records}>
      {(found) =>
        found.length ? (
          <Scroller card label="Learning records">
            <table className="data folds">
              <thead>
                <tr>
                  <th>Course and module</th>
                  <th>Result</th>
                  <th className="n">Score</th>
                  <th>When</th>
                  <th>Evidence</th>
                </tr>
              </thead>
              <tbody>
                {found.map((r) => {
                  const { tone, text } = stateWords(r.state);
                  return (
                    <tr key={r.attempt_id}>
                      <td>
                        <strong>{title(r)}</strong>
                        <div className="soft small">
                          {course(r.course_id)?.modules.find((m) => m.module_id === r.module_id)?.title}
                        </div>
                      </td>
                      <td data-label="Result">
                        <Chip tone={tone}>{text}</Chip>
                      </td>
                      <td className="n" data-label="Score">
                        {score(r.score)}
                      </td>
                      <td data-label="When">{moment(r.completed_at ?? r.started_at)}</td>
                      <td className="soft" data-label="Evidence">
                        {evidence(r)}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Scroller>
        ) : (
          <Empty title="Nothing recorded yet">Every module you open appears here, with its result.</Empty>
        )
      }
    </Ask>
  );
}
