import { Button } from "@mantine/core";
import { useMutation, useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import type { Course } from "../api/catalog";
import { type Enrollment, type EnrollmentDetail, enrol } from "../api/enrollment";
import { Cover } from "../parts/Cover";
import { Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip, DueChip, Meter, Page, Why } from "../parts/pieces";
import { AskPage, Failure } from "../parts/States";
import {
  courseQuery,
  coursesQuery,
  enrollmentQuery,
  enrollmentsQuery,
  learningChanged,
  meQuery,
} from "../queries";
import { date, KIND, language, minutes, plural, score } from "../words";

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
    <AskPage of={course} what="course" back={<Link to="/catalog">Look in the catalogue</Link>}>
      {(c) => (
        <Page
          title={c.title}
          lead={c.summary}
          cover={<Cover of={c.slug} tall />}
          actions={c.certifying && <Chip tone="accent">Ends with a certificate</Chip>}
        >
          <div className="split">
            <aside className="stays" aria-label="Where you stand">
              {mine && mine.state !== "withdrawn" ? (
                <Standing of={mine} />
              ) : (
                list.data && <Enrol course={c} person={me.person_id} again={Boolean(mine)} />
              )}
              {list.isError && <Failure error={list.error} retry={() => void list.refetch()} />}
            </aside>
            <section className="stack" aria-labelledby="modules">
              <div className="row between">
                <h2 id="modules">Modules</h2>
                <p className="soft small num facts-line">
                  <span>{plural(c.modules.length, "module")}</span>
                  <span>{minutes(c.duration_minutes)}</span>
                  <span>{language(c.language)}</span>
                  <span>version {c.course_version}</span>
                </p>
              </div>
              <Modules course={c} mine={mine?.state === "withdrawn" ? undefined : detail.data} />
            </section>
          </div>
        </Page>
      )}
    </AskPage>
  );
}

function Standing({ of }: { of: Enrollment }) {
  const others = useQuery({ ...coursesQuery(), enabled: of.locked }).data ?? [];
  const first = of.locked_by.map(
    (id) => others.find((c) => c.course_id === id)?.title ?? "another course of the path",
  );
  return (
    <div className="card stack wide">
      <div className="stack" style={{ gap: 6 }}>
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
          {of.modules_done} of {plural(of.modules_total, "module")} done
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
            fullWidth
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
          <LinkButton variant="default" fullWidth to="/record">
            My record and certificates
          </LinkButton>
        </div>
      )}
      <Why of={of} open />
    </div>
  );
}

function Enrol({ course, person, again }: { course: Course; person: string; again: boolean }) {
  const join = useMutation({ mutationFn: () => enrol(person, course.course_id), onSuccess: learningChanged });
  return (
    <div className="card stack">
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
          <Button size="md" fullWidth loading={join.isPending} onClick={() => join.mutate()}>
            Enrol me
          </Button>
        </div>
      )}
    </div>
  );
}

const verb = (done: boolean, next: boolean, i: number): string =>
  done ? "Open again" : next ? (i ? "Continue" : "Start") : "Open";

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
                {m.score != null && ` · ${score(m.score)}`}
                {m.kind === "quiz" && !m.done && " · graded by the server"}
              </span>
            </div>
            {mine && !mine.locked && (
              <LinkButton
                to={m.kind === "quiz" ? "/quiz/$enrollment/$module" : "/learn/$enrollment/$module"}
                params={{ enrollment: mine.enrollment_id, module: m.module_id }}
                variant={next ? "filled" : "default"}
                aria-label={`${verb(m.done, next, i)}: ${m.title}`}
              >
                {verb(m.done, next, i)}
              </LinkButton>
            )}
          </li>
        );
      })}
    </ol>
  );
}
