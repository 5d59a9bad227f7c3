import { useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Enrollment, MyPath } from "../api/enrollment";
import { Arches, Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip, EnrollmentRow, Meter, Page, Why } from "../parts/pieces";
import { Ask, Empty } from "../parts/States";
import { meQuery, pathsOfMineQuery, todayQuery } from "../queries";
import { date, dueWords, plural } from "../words";

export function Today() {
  const me = useSuspenseQuery(meQuery).data;
  const today = useQuery(todayQuery);
  const paths = useQuery(pathsOfMineQuery).data ?? [];
  const late = today.data?.due.filter((e) => e.overdue).length ?? 0;
  const lead =
    today.data &&
    (late
      ? `${plural(late, "course is", "courses are")} late.`
      : today.data.due.length
        ? "Nothing is late."
        : "Nothing is due.");
  return (
    <Page title={`Hello, ${me.display_name}`} lead={lead}>
      <Ask of={today}>
        {({ resume, due, completed_recently }) => {
          const next = due.filter((e) => e.enrollment_id !== resume?.enrollment_id);
          const aside = paths.length + completed_recently.length > 0;
          return (
            <>
              {resume ? <Resume of={resume} /> : <NothingToResume waiting={due.length > 0} />}
              <div className={aside && next.length ? "split" : undefined}>
                {next.length > 0 && (
                  <section className="stack" aria-labelledby="next">
                    <h2 id="next">{resume ? "Up next" : "Waiting"}</h2>
                    <ul className="plain stack">
                      {next.map((e) => (
                        <EnrollmentRow key={e.enrollment_id} of={e} />
                      ))}
                    </ul>
                  </section>
                )}
                {aside && (
                  <aside className={next.length ? undefined : "grid two"} aria-label="Your way">
                    {paths.map((path) => (
                      <Way key={path.path_id} of={path} />
                    ))}
                    <Completed items={completed_recently} />
                  </aside>
                )}
              </div>
            </>
          );
        }}
      </Ask>
    </Page>
  );
}

function NothingToResume({ waiting }: { waiting: boolean }) {
  return (
    <Empty title={waiting ? "Nothing to continue right now" : "You are up to date"}>
      {waiting ? (
        "What is below opens when the courses before it are completed."
      ) : (
        <>
          <p>When something is assigned to you, it appears here, and why.</p>
          <div style={{ marginTop: 12 }}>
            <LinkButton to="/catalog" variant="default">
              Look in the catalogue
            </LinkButton>
          </div>
        </>
      )}
    </Empty>
  );
}

function Way({ of }: { of: MyPath }) {
  const done = of.courses.filter((e) => e.state === "completed").length;
  return (
    <section className="card stack" aria-label={`Path ${of.title}`}>
      <div className="stack" style={{ gap: 6 }}>
        <h2 style={{ fontSize: "1.13rem" }}>{of.title}</h2>
        <span className="soft small num">
          {done} of {plural(of.courses.length, "course")} completed
        </span>
      </div>
      <ol className="way">
        {of.courses.map((e, i) => {
          const state = e.state === "completed" ? "done" : e.locked ? "" : "open";
          return (
            <li key={e.enrollment_id}>
              <span className={`dot ${state}`} aria-hidden="true">
                {state === "done" ? (
                  <Icon name="check" size={14} />
                ) : e.locked ? (
                  <Icon name="lock" size={13} />
                ) : (
                  i + 1
                )}
              </span>
              <span>
                <Link to="/catalog/$slug" params={{ slug: e.course_slug || e.course_id }}>
                  {e.course_title}
                </Link>
                <span className="sr">{state === "done" ? ", completed" : e.locked ? ", locked" : ""}</span>
              </span>
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function Completed({ items }: { items: Enrollment[] }) {
  if (!items.length) return null;
  return (
    <section className="card stack" aria-labelledby="done">
      <h2 id="done" style={{ fontSize: "1.13rem" }}>
        Recently completed
      </h2>
      <ul className="plain stack">
        {items.slice(0, 4).map((e) => (
          <li key={e.enrollment_id} className="row between" style={{ flexWrap: "nowrap" }}>
            <Link to="/catalog/$slug" params={{ slug: e.course_slug || e.course_id }}>
              {e.course_title}
            </Link>
            <Chip tone="good">
              <Icon name="check" size={14} /> {date(e.completed_at)}
            </Chip>
          </li>
        ))}
      </ul>
      <div>
        <LinkButton to="/record" variant="default" size="sm">
          My record and certificates
        </LinkButton>
      </div>
    </section>
  );
}

function Resume({ of }: { of: Enrollment }) {
  const begun = of.modules_done > 0;
  const due = dueWords(of).text;
  return (
    <section className="resume" aria-labelledby="resume">
      <Arches />
      <div className="stack">
        <span className="soft">
          {begun ? "Go on where you stopped" : "Ready to begin"}
          {due && ` · ${due}`}
        </span>
        <h2 id="resume">
          <Link to="/catalog/$slug" params={{ slug: of.course_slug || of.course_id }}>
            {of.course_title}
          </Link>
        </h2>
      </div>
      <Meter done={of.modules_done} total={of.modules_total} label={`Progress in ${of.course_title}`} />
      <span className="soft num">
        {of.modules_done} of {plural(of.modules_total, "module")} done
      </span>
      <div className="row" style={{ position: "relative" }}>
        {of.next_module_id ? (
          <Link
            className="resume-go"
            to="/learn/$enrollment/$module"
            params={{ enrollment: of.enrollment_id, module: of.next_module_id }}
          >
            {begun ? "Resume" : "Start"} <Icon name="arrow" />
          </Link>
        ) : (
          <Link className="resume-go" to="/catalog/$slug" params={{ slug: of.course_slug }}>
            Open the course <Icon name="arrow" />
          </Link>
        )}
      </div>
      <Why of={of} />
    </section>
  );
}
