import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import type { Attempt, Outcome } from "../api/assessment";
import type { EnrollmentDetail } from "../api/enrollment";
import { Icon } from "../parts/Icon";
import { LinkButton } from "../parts/links";
import { Chip } from "../parts/pieces";
import { certificatesQuery } from "../queries";
import { plural, points, score } from "../words";
import { CertificateCard } from "./Record";

export function Results({
  enrollment,
  attempt,
  outcome,
  again,
  busy,
}: {
  enrollment: EnrollmentDetail;
  attempt: Attempt;
  outcome: Outcome;
  again: () => void;
  busy: boolean;
}) {
  const passed = outcome.state === "passed";
  const may = outcome.attempts_left === null || outcome.attempts_left > 0;
  return (
    <div className="quiz">
      <section className="card score" role="status">
        <Chip tone={passed ? "good" : "late"}>{passed ? "Passed" : "Not passed this time"}</Chip>
        <b className="num">{score(outcome.score)}</b>
        <p className="soft">{score(outcome.passing_score)} were needed.</p>
        {!passed && (
          <p>
            {may
              ? `Look at what went wrong below, then try again${outcome.attempts_left === null ? "" : ` (${plural(outcome.attempts_left, "attempt")} left)`}.`
              : "No attempt is left. Ask your manager or an administrator what to do next."}
          </p>
        )}
        <div className="row" style={{ justifyContent: "center" }}>
          {!passed && may && (
            <Button onClick={again} loading={busy}>
              Try again
            </Button>
          )}
          <LinkButton
            to="/catalog/$slug"
            params={{ slug: enrollment.course_slug }}
            variant={passed ? "filled" : "default"}
          >
            Back to the course
          </LinkButton>
        </div>
      </section>
      {passed && <Issued enrollment={enrollment} />}
      <h2>Question by question</h2>
      {attempt.questions.map((q, i) => {
        const result = outcome.results.find((r) => r.question_id === q.question_id);
        if (!result) return null;
        const some = !result.correct && result.points > 0;
        return (
          <section key={q.question_id} className="card stack" aria-label={`Question ${i + 1}`}>
            <div className="row between">
              <Chip tone={result.correct ? "good" : some ? "soon" : "late"}>
                <Icon name={result.correct ? "check" : "cross"} size={14} />
                {result.correct ? "Right" : some ? "Partly right" : "Not right"}
              </Chip>
              <span className="soft small num">
                {points(result.points)} of {points(result.max_points)}
              </span>
            </div>
            <h3>
              {i + 1}. {q.text}
            </h3>
            {result.feedback && <p>{result.feedback}</p>}
          </section>
        );
      })}
    </div>
  );
}

/** The certificate follows a moment after the course counts as complete, so this looks for it a few times. */
function Issued({ enrollment }: { enrollment: EnrollmentDetail }) {
  const mine = (found: { course_id: string; enrollment_id?: string }[] | undefined) =>
    found?.find((c) =>
      c.enrollment_id ? c.enrollment_id === enrollment.enrollment_id : c.course_id === enrollment.course_id,
    );
  const found = useQuery({
    ...certificatesQuery(),
    refetchInterval: (query) => (mine(query.state.data) || query.state.dataUpdateCount > 10 ? false : 1200),
  });
  const certificate = found.data?.find((c) => c === mine(found.data));
  return certificate ? (
    <section className="stack" aria-label="Your certificate" role="status">
      <h2>Your certificate</h2>
      <ul className="plain">
        <CertificateCard of={certificate} />
      </ul>
    </section>
  ) : null;
}
