import { NativeSelect } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import * as analytics from "../api/analytics";
import { download } from "../api/client";
import { orgUnits } from "../api/identity";
import { Bars, ChartCard, Trend } from "../parts/Chart";
import { Page } from "../parts/pieces";
import { Ask } from "../parts/States";
import { coursesQuery } from "../queries";
import { count, moment, plural, score, share } from "../words";

const CHARTS = [
  { metric: "compliance", by: "department", title: "Compliance by department", percent: true },
  { metric: "completion_rate", by: "course", title: "Completion by course", percent: true },
  { metric: "pass_rate", by: "course", title: "Pass rate by course", percent: true },
  { metric: "average_score", by: "course", title: "Average score by course", percent: false },
] as const;

export function Dashboards() {
  const { department, course } = useSearch({ from: "/in/shell/admin/dashboards" });
  const navigate = useNavigate({ from: "/admin/dashboards" });
  const scope = { department, course_id: course };
  const overview = useQuery({
    queryKey: ["analytics", "overview", department, course],
    queryFn: () => analytics.overview(scope),
  });
  const units = useQuery({ queryKey: ["org-units"], queryFn: orgUnits, retry: false }).data ?? [];
  const courses = useQuery(coursesQuery()).data ?? [];
  return (
    <Page
      title="Dashboards"
      lead={overview.data?.as_of && `Counted up to ${moment(overview.data.as_of)}.`}
      actions={
        <>
          <NativeSelect
            label="Department"
            value={department ?? ""}
            onChange={(e) =>
              void navigate({ search: (s) => ({ ...s, department: e.target.value || undefined }) })
            }
            data={[
              { value: "", label: "All departments" },
              ...units.map((u) => ({ value: u.code, label: u.code })),
            ]}
          />
          <NativeSelect
            label="Course"
            value={course ?? ""}
            onChange={(e) =>
              void navigate({ search: (s) => ({ ...s, course: e.target.value || undefined }) })
            }
            data={[
              { value: "", label: "All courses" },
              ...courses.map((c) => ({ value: c.course_id, label: c.title })),
            ]}
          />
        </>
      }
    >
      <Ask of={overview} rows={1}>
        {(o) => <Tiles of={o} />}
      </Ask>
      <div className="grid two">
        {CHARTS.map((chart) => (
          <MetricCard key={chart.metric} chart={chart} scope={scope} />
        ))}
        <DropOffCard
          course={course ?? courses[0]?.course_id}
          title={courses.find((c) => c.course_id === (course ?? courses[0]?.course_id))?.title}
        />
        <TrendCard scope={scope} />
      </div>
    </Page>
  );
}

function Tiles({ of }: { of: analytics.Overview }) {
  const tiles = [
    ["Compliance", share(of.compliance), "of obligations are met"],
    ["Overdue", count(of.overdue), "past their date", of.overdue > 0 ? "late" : ""],
    ["Enrolled", count(of.enrolled), `${count(of.withdrawn)} withdrawn`],
    ["Completed", count(of.completed), of.enrolled ? `${share(of.completed / of.enrolled)} of enrolled` : ""],
    ["Pass rate", share(of.pass_rate), "of graded attempts"],
    ["Average score", score(of.average_score), "of graded attempts"],
    ["Certificates", count(of.certificates), "issued"],
  ];
  return (
    <section className="tiles" aria-label="Headline">
      {tiles.map(([name, value, note, tone = ""]) => (
        <div key={name} className={`card tile ${tone}`}>
          <span className="soft small">{name}</span>
          <b>{value}</b>
          <span className="soft small">{note}</span>
        </div>
      ))}
    </section>
  );
}

/** Whoever HR gave no department is counted too. */
const label = (row: analytics.MetricRow): string =>
  row.label === "(none)" ? "Without a department" : row.label || row.key;

function MetricCard({ chart, scope }: { chart: (typeof CHARTS)[number]; scope: analytics.Scope }) {
  const { metric, by, title, percent } = chart;
  const asked = useQuery({
    queryKey: ["analytics", metric, by, scope],
    queryFn: () => analytics.metric(metric, by, scope),
  });
  const say = percent ? share : score;
  return (
    <Ask of={asked}>
      {(found) => {
        const rows = [...found.rows].sort((a, b) => (a.value ?? 2) - (b.value ?? 2));
        const low = rows.find((r) => r.value != null);
        const high = rows.findLast((r) => r.value != null);
        const sentence =
          !low || !high
            ? "There is nothing to count yet."
            : low === high || low.value === high.value
              ? `${low === high ? label(low) : "All"}: ${say(low.value)}.`
              : `${label(low)} is lowest with ${say(low.value)}, ${label(high)} highest with ${say(high.value)}.`;
        return (
          <ChartCard
            title={title}
            sentence={sentence}
            definition={found.definition}
            csv={() =>
              download(
                `${analytics.metricPath(metric, by, scope)}&format=csv`,
                `${metric}-by-${by}.csv`,
                "text/csv",
              )
            }
            table={{
              head: [by === "course" ? "Course" : "Department", percent ? "Share" : "Score", "Counted", "Of"],
              rows: rows.map((r) => [label(r), say(r.value), count(r.numerator), count(r.denominator)]),
            }}
          >
            <Bars
              items={rows.map((r) => ({
                key: r.key,
                label: label(r),
                share: Math.min(1, (r.value ?? 0) / (percent ? 1 : 100)),
                text: say(r.value),
              }))}
            />
          </ChartCard>
        );
      }}
    </Ask>
  );
}

function DropOffCard({ course, title }: { course?: string; title?: string }) {
  const asked = useQuery({
    queryKey: ["analytics", "drop-off", course],
    queryFn: () => analytics.dropOff(course ?? ""),
    enabled: Boolean(course),
  });
  if (!course) return null;
  return (
    <Ask of={asked}>
      {({ enrolled, modules }) => {
        const last = modules.at(-1);
        const sentence =
          last && enrolled
            ? `Of ${plural(enrolled, "person", "people")} enrolled in ${title ?? "this course"}, ${count(last.completed)} finished the last module.`
            : "Nobody is enrolled in this course yet.";
        const of = (n: number) => (enrolled ? Math.min(1, n / enrolled) : 0);
        return (
          <ChartCard
            title="Where people stop"
            sentence={sentence}
            definition="Started and completed per module, as a share of everyone enrolled. Choose the course above."
            table={{
              head: ["Module", "Started", "Completed"],
              rows: modules.map((m) => [m.title, m.started, m.completed]),
            }}
          >
            <Bars
              items={modules.map((m) => ({
                key: m.module_id,
                label: m.title,
                share: of(m.started),
                second: of(m.completed),
                text: `${count(m.started)} → ${count(m.completed)}`,
              }))}
            />
            <div className="legend" aria-hidden="true">
              <span>
                <i style={{ background: "var(--accent)", opacity: 0.38 }} />
                started
              </span>
              <span>
                <i style={{ background: "var(--good)" }} />
                completed
              </span>
            </div>
          </ChartCard>
        );
      }}
    </Ask>
  );
}

function TrendCard({ scope }: { scope: analytics.Scope }) {
  const asked = useQuery({
    queryKey: ["analytics", "trend", scope],
    queryFn: () => analytics.trend(90, scope),
  });
  return (
    <Ask of={asked}>
      {(days) => {
        const sum = (of: (d: analytics.TrendDay) => number) => days.reduce((n, d) => n + of(d), 0);
        const sentence = `In the last 90 days ${plural(
          sum((d) => d.enrolled),
          "enrolment",
        )} began and ${count(sum((d) => d.completed))} were completed.`;
        return (
          <ChartCard
            title="Trend"
            sentence={sentence}
            table={{
              head: ["Day", "Enrolled", "Completed"],
              rows: days.toReversed().map((d) => [d.day, d.enrolled, d.completed]),
            }}
          >
            {days.some((d) => d.enrolled || d.completed) && <Trend days={days} label={sentence} />}
          </ChartCard>
        );
      }}
    </Ask>
  );
}
