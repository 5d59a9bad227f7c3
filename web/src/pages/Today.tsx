import { useQuery, useSuspenseQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Enrollment } from "../api/enrollment";
import { Arches, Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip, EnrollmentRow, Meter, Page, Why } from "../parts/pieces";
import { Ask, Empty } from "../parts/States";
import { meQuery, todayQuery } from "../queries";
import { date, dueWords, plural } from "../words";

export function Today() {
  const me = useSuspenseQuery(meQuery).data;
  const today = useQuery(todayQuery);
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
        {({ resume, due, completed_recently }) => (
          <>
            {resume ? (
              <Resume of={resume} />
            ) : (
              <Empty title="Nothing to continue">
                {due.length ? (
                  "Choose one of the courses below to begin."
                ) : (
                  <Link to="/catalog">Find something to learn in the catalogue</Link>
                )}
              </Empty>
            )}
            <section className="stack" aria-labelledby="due">
              <h2 id="due">Due</h2>
              {due.length ? (
                <ul className="plain stack">
                  {due.map((e) => (
                    <EnrollmentRow key={e.enrollment_id} of={e} />
                  ))}
                </ul>
              ) : (
                <p className="soft">You have no open course with a due date.</p>
              )}
            </section>
            {completed_recently.length > 0 && (
              <section className="stack" aria-labelledby="done">
                <h2 id="done">Recently completed</h2>
                <ul className="plain card stack">
                  {completed_recently.map((e) => (
                    <li key={e.enrollment_id} className="row between">
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
                  <LinkButton to="/record" variant="default">
                    My record and certificates
                  </LinkButton>
                </div>
              </section>
            )}
          </>
        )}
      </Ask>
    </Page>
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
        <h2 id="resume">{of.course_title}</h2>
      </div>
      <Meter done={of.modules_done} total={of.modules_total} label={`Progress in ${of.course_title}`} />
      <span className="soft num">
        {of.modules_done} of {of.modules_total} modules done
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
