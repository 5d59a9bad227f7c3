import { Button } from "@mantine/core";
import { useMutation, useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import type { Course } from "../api/catalog";
import { type Enrollment, type EnrollmentDetail, enrol } from "../api/enrollment";
import { Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip, DueChip, Meter, Page, Why } from "../parts/pieces";
import { Ask, Failure } from "../parts/States";
import {
  courseQuery,
  coursesQuery,
  enrollmentQuery,
  enrollmentsQuery,
  learningChanged,
  meQuery,
} from "../queries";
import { date, KIND, minutes, plural, points } from "../words";

const ORDER = { active: 0, completed: 1, withdrawn: 2 };

/** The enrolment that counts now: an open one first, then the latest. */
const current = (all: Enrollment[]) =>
  [...all].sort(
    (a, b) =>
      ORDER[a.state] - ORDER[b.state] || b.cycle - a.cycle || b.enrolled_at.localeCompare(a.enrolled_at),
  )[0];

export function CoursePage() {
  const { slug } = useParams({ from: "/in/shell/catalog/$slug" });
  const me = useSuspenseQuery(meQuery).data;
  const course = useQuery(courseQuery(slug));
  const courseId = course.data?.course_id;
  const list = useQuery({
    ...enrollmentsQuery({ person_id: me.person_id, course_id: courseId }),
    enabled: Boolean(courseId),
  });
  const mine = current((list.data ?? []).filter((e) => e.course_id === courseId));
  const detail = useQuery({ ...enrollmentQuery(mine?.enrollment_id ?? ""), enabled: Boolean(mine) });
  return (
    <Ask of={course}>
      {(c) => (
        <Page
          title={c.title}
          lead={c.summary}
          actions={c.certifying && <Chip tone="accent">Ends with a certificate</Chip>}
        >
          <p className="soft num">
            {plural(c.modules.length, "module")} · {minutes(c.duration_minutes)} · version {c.course_version}{" "}
            · {c.language}
          </p>
          {mine && mine.state !== "withdrawn" ? (
            <Standing of={mine} />
          ) : (
            list.data && <Enrol course={c} person={me.person_id} again={Boolean(mine)} />
          )}
          {list.isError && <Failure error={list.error} retry={() => void list.refetch()} />}
          <section className="stack" aria-labelledby="modules">
            <h2 id="modules">Modules</h2>
            <Modules course={c} mine={mine?.state === "withdrawn" ? undefined : detail.data} />
          </section>
        </Page>
      )}
    </Ask>
  );
}

function Standing({ of }: { of: Enrollment }) {
  const others = useQuery({ ...coursesQuery(), enabled: of.locked }).data ?? [];
  const first = of.locked_by.map(
    (id) => others.find((c) => c.course_id === id)?.title ?? "another course of the path",
  );
  return (
    <section className="card stack wide" aria-label="Where you stand">
      <div className="row between">
        <DueChip of={of} />
        <span className="soft small">
          {of.state === "completed"
            ? `Completed on ${date(of.completed_at)}`
            : `Enrolled on ${date(of.enrolled_at)}`}
        </span>
      </div>
      <div className="stack">
        <Meter done={of.modules_done} total={of.modules_total} label="Progress" />
        <span className="soft small num">
          {of.modules_done} of {of.modules_total} modules done
        </span>
      </div>
      {of.locked && (
        <div className="notice soon">
          <Icon name="lock" />
          <span>
            Locked for now. It opens as soon as you have completed {new Intl.ListFormat("en").format(first)}.
          </span>
        </div>
      )}
      {of.state === "active" && !of.locked && of.next_module_id && (
        <div>
          <LinkButton
            size="md"
            to="/learn/$enrollment/$module"
            params={{ enrollment: of.enrollment_id, module: of.next_module_id }}
            rightSection={<Icon name="arrow" size={18} />}
          >
            {of.modules_done ? "Resume" : "Start"}
          </LinkButton>
        </div>
      )}
      {of.state === "completed" && (
        <div>
          <LinkButton variant="default" to="/record">
            My record and certificates
          </LinkButton>
        </div>
      )}
      <Why of={of} open />
    </section>
  );
}

function Enrol({ course, person, again }: { course: Course; person: string; again: boolean }) {
  const join = useMutation({ mutationFn: () => enrol(person, course.course_id), onSuccess: learningChanged });
  return (
    <section className="card stack" aria-label="Enrol">
      <p>
        {course.deprecated
          ? "This course is retired: nobody new can enrol."
          : again
            ? "You were withdrawn from this course. Enrol again and you go on where you were."
            : "You are not enrolled. Enrolling yourself sets no due date; you may stop at any time."}
      </p>
      {join.isError && <Failure error={join.error} />}
      {!course.deprecated && (
        <div>
          <Button size="md" loading={join.isPending} onClick={() => join.mutate()}>
            Enrol me
          </Button>
        </div>
      )}
    </section>
  );
}

function Modules({ course, mine }: { course: Course; mine?: EnrollmentDetail }) {
  // What counts is the version the enrolment is pinned to; the catalogue shows the newest.
  const modules = mine?.modules ?? course.modules.map((m) => ({ ...m, done: false, score: null }));
  return (
    <ol className="plain card modules">
      {modules.map((m, i) => {
        const next = mine?.state === "active" && mine.next_module_id === m.module_id && !mine.locked;
        return (
          <li key={m.module_id}>
            <span className={`step ${m.done ? "done" : next ? "next" : ""}`} aria-hidden="true">
              {m.done ? <Icon name="check" size={18} /> : i + 1}
            </span>
            <div>
              <h3>{m.title}</h3>
              <span className="soft small">
                {KIND[m.kind] ?? m.kind}
                {m.done && " · done"}
                {m.score != null && ` · ${points(m.score)} %`}
                {m.kind === "quiz" && !m.done && " · graded by the server"}
              </span>
            </div>
            {mine && !mine.locked && (
              <LinkButton
                to={m.kind === "quiz" ? "/quiz/$enrollment/$module" : "/learn/$enrollment/$module"}
                params={{ enrollment: mine.enrollment_id, module: m.module_id }}
                variant={next ? "filled" : "default"}
                aria-label={`${m.done ? "Open again" : next ? "Continue" : "Open"}: ${m.title}`}
              >
                {m.done ? "Open again" : next ? "Continue" : "Open"}
              </LinkButton>
            )}
          </li>
        );
      })}
    </ol>
  );
}
