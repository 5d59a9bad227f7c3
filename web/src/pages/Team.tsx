import { useQuery } from "@tanstack/react-query";
import { type TeamRow, team } from "../api/enrollment";
import { team as people } from "../api/identity";
import { Chip, EnrollmentRow, Face, Meter, Page } from "../parts/pieces";
import { Ask, Empty } from "../parts/States";
import { date, plural } from "../words";

/** Late first, then whoever has to finish next. */
const urgency = (a: TeamRow, b: TeamRow) =>
  b.overdue - a.overdue || (a.next_due_at ?? "9").localeCompare(b.next_due_at ?? "9") || b.active - a.active;

export function Team() {
  const names = useQuery({ queryKey: ["team", "people"], queryFn: people });
  const rows = useQuery({ queryKey: ["learning", "team"], queryFn: team });
  const person = (id: string) => names.data?.find((p) => p.person_id === id);
  const known = rows.data ?? [];
  const idle = (names.data ?? []).filter((p) => !known.some((row) => row.person_id === p.person_id));
  const all: TeamRow[] = [
    ...known,
    ...idle.map((p) => ({
      person_id: p.person_id,
      active: 0,
      overdue: 0,
      completed: 0,
      next_due_at: null,
      items: [],
    })),
  ];
  const late = known.filter((row) => row.overdue > 0).length;
  return (
    <Page
      title="Team"
      lead={
        rows.data &&
        (late ? `${plural(late, "person is", "people are")} late. They come first.` : "Nobody is late.")
      }
    >
      <Ask of={rows}>
        {() =>
          all.length ? (
            <ul className="plain stack">
              {all.sort(urgency).map((row) => {
                const who = person(row.person_id);
                const name = who?.display_name ?? (names.isPending ? "…" : "A former member");
                return (
                  <li key={row.person_id} className="card">
                    <div className="row between">
                      <div className="row" style={{ flexWrap: "nowrap" }}>
                        <Face name={name} />
                        <div>
                          <h2 style={{ fontSize: "1.1rem" }}>{name}</h2>
                          <span className="soft small">
                            {[who?.job_title, who?.location].filter(Boolean).join(", ")}
                          </span>
                        </div>
                      </div>
                      {row.overdue > 0 && <Chip tone="late">{row.overdue} late</Chip>}
                    </div>
                    <div className="row small soft" style={{ marginTop: 12 }}>
                      {row.active + row.completed > 0 && (
                        <span style={{ flex: "0 1 180px", minWidth: 90 }}>
                          <Meter
                            done={row.completed}
                            total={row.active + row.completed}
                            label={`Courses of ${name}`}
                            of="courses"
                          />
                        </span>
                      )}
                      <span className="num facts-line">
                        <span>
                          {row.active + row.completed
                            ? `${row.completed} of ${plural(row.active + row.completed, "course")} completed`
                            : "Not enrolled in anything"}
                        </span>
                        {row.next_due_at && <span>next due on {date(row.next_due_at)}</span>}
                      </span>
                    </div>
                    {row.items.length > 0 && (
                      <details className="why" style={{ marginTop: 8 }}>
                        <summary>Show what {name} has</summary>
                        <ul className="plain" style={{ padding: 0, gap: 10 }}>
                          {[...row.items]
                            .sort((a, b) => Number(b.overdue) - Number(a.overdue))
                            .map((e) => (
                              <EnrollmentRow key={e.enrollment_id} of={e} />
                            ))}
                        </ul>
                      </details>
                    )}
                  </li>
                );
              })}
            </ul>
          ) : (
            <Empty title="Nobody reports to you">
              When HR names you as somebody’s manager, they appear here.
            </Empty>
          )
        }
      </Ask>
    </Page>
  );
}
