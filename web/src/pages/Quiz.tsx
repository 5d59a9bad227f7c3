import { Button } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { type Attempt, beginAttempt, type Outcome, quizRules } from "../api/assessment";
import type { EnrolledModule, EnrollmentDetail } from "../api/enrollment";
import { Focus } from "../parts/Focus";
import { Chip, useTitle } from "../parts/pieces";
import { Failure } from "../parts/States";
import { courseQuery, enrollmentQuery, patient, recordsQuery } from "../queries";
import { minutes, moment, score, stateWords } from "../words";
import { NoModule } from "./Learn";
import { Paper } from "./QuizPaper";
import { Results } from "./QuizResults";

export function QuizPage() {
  const ids = useParams({ from: "/in/quiz/$enrollment/$module" });
  const asked = useQuery(enrollmentQuery(ids.enrollment));
  const module = asked.data?.modules.find((m) => m.module_id === ids.module);
  useTitle(module?.title ?? "Quiz");
  if (!asked.data) return <NoModule of={asked} />;
  if (!module) {
    return (
      <main className="page narrow" style={{ padding: "15vh 20px" }}>
        <h1>This quiz is not part of your course</h1>
        <p>
          <Link to="/catalog/$slug" params={{ slug: asked.data.course_slug }}>
            Back to {asked.data.course_title}
          </Link>
        </p>
      </main>
    );
  }
  return <Quiz key={ids.module} enrollment={asked.data} module={module} />;
}

function Quiz({ enrollment, module }: { enrollment: EnrollmentDetail; module: EnrolledModule }) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const begin = useMutation({
    ...patient,
    mutationFn: () => beginAttempt(enrollment.enrollment_id, module.module_id),
    onSuccess: () => {
      setOutcome(null);
      scrollTo(0, 0);
    },
  });
  const attempt: Attempt | undefined = begin.data;
  if (attempt && outcome) {
    return (
      <Focus of={enrollment} title={module.title}>
        <Results
          enrollment={enrollment}
          attempt={attempt}
          outcome={outcome}
          again={() => begin.mutate()}
          busy={begin.isPending}
        />
      </Focus>
    );
  }
  if (attempt)
    return (
      <Paper
        key={attempt.attempt_id}
        enrollment={enrollment}
        module={module}
        attempt={attempt}
        done={setOutcome}
      />
    );
  return (
    <Focus of={enrollment} title={module.title}>
      <Start
        enrollment={enrollment}
        module={module}
        begin={() => begin.mutate()}
        busy={begin.isPending}
        error={begin.error}
      />
    </Focus>
  );
}

function Start({
  enrollment,
  module,
  begin,
  busy,
  error,
}: {
  enrollment: EnrollmentDetail;
  module: EnrolledModule;
  begin: () => void;
  busy: boolean;
  error: unknown;
}) {
  const course = useQuery(courseQuery(enrollment.course_id, enrollment.course_version));
  const quizId = course.data?.modules.find((m) => m.module_id === module.module_id)?.quiz_id;
  const rules = useQuery({
    queryKey: ["quiz", quizId],
    queryFn: () => quizRules(quizId ?? ""),
    enabled: Boolean(quizId),
    retry: false,
  }).data;
  const earlier = (useQuery(recordsQuery()).data ?? []).filter(
    (r) => r.enrollment_id === enrollment.enrollment_id && r.module_id === module.module_id,
  );
  const graded = earlier.filter((r) => r.state === "passed" || r.state === "failed");
  const left = rules?.max_attempts ? Math.max(0, rules.max_attempts - graded.length) : null;
  const running = earlier.length > graded.length;
  return (
    <div className="quiz">
      <h2>The rules first</h2>
      {rules && (
        <dl className="facts">
          <div>
            <dt>Questions</dt>
            <dd>{rules.questions}</dd>
          </div>
          <div>
            <dt>To pass</dt>
            <dd>{score(rules.passing_score)}</dd>
          </div>
          <div>
            <dt>Time</dt>
            <dd>
              {rules.time_limit_seconds ? minutes(Math.ceil(rules.time_limit_seconds / 60)) : "No limit"}
            </dd>
          </div>
          <div>
            <dt>Attempts left</dt>
            <dd>{left === null ? "No limit" : `${left} of ${rules.max_attempts}`}</dd>
          </div>
        </dl>
      )}
      <ul style={{ margin: 0, paddingLeft: 22, lineHeight: 1.7 }}>
        <li>Each answer is saved as you give it. You may close this page and go on later.</li>
        {rules?.time_limit_seconds && (
          <li>
            The clock is the server’s and goes on while you are away; at the end what you have saved is handed
            in.
          </li>
        )}
        <li>You can change every answer until you hand in. Then you see how each question went.</li>
        <li>Without a connection your answers wait here and are sent when it is back.</li>
      </ul>
      {error != null && <Failure error={error} />}
      <div>
        <Button size="lg" onClick={begin} loading={busy} disabled={left === 0}>
          {running ? "Go on with the attempt" : graded.length ? "Start a new attempt" : "Start"}
        </Button>
      </div>
      {graded.length > 0 && (
        <section className="card stack" aria-labelledby="earlier">
          <h3 id="earlier">Earlier attempts</h3>
          <ul className="plain stack">
            {graded.map((r) => (
              <li key={r.attempt_id} className="row between">
                <span className="soft">{moment(r.completed_at ?? r.started_at)}</span>
                <span className="row">
                  <span className="num">{score(r.score)}</span>
                  <Chip tone={stateWords(r.state).tone}>{stateWords(r.state).text}</Chip>
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}
