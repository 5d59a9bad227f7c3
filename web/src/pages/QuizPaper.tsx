import { Button, Modal } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { type Attempt, type Outcome, submit } from "../api/assessment";
import { serverNow } from "../api/client";
import type { EnrolledModule, EnrollmentDetail } from "../api/enrollment";
import { Focus } from "../parts/Focus";
import { Icon } from "../parts/Icon";
import { Chip } from "../parts/pieces";
import { Failure } from "../parts/States";
import { learningChanged, patient } from "../queries";
import { plural } from "../words";
import { useAnswers } from "./answers";
import { QuestionCard } from "./QuestionCard";

const empty = (answer: unknown) =>
  answer == null || answer === "" || (Array.isArray(answer) && answer.length === 0);

export function Paper({
  enrollment,
  module,
  attempt,
  done,
}: {
  enrollment: EnrollmentDetail;
  module: EnrolledModule;
  attempt: Attempt;
  done: (outcome: Outcome) => void;
}) {
  const { answers, saving, refusal, give, flush } = useAnswers(attempt);
  const [asking, ask] = useDisclosure(false);
  const hand = useMutation({
    ...patient,
    mutationFn: async () => {
      await flush();
      return submit(attempt.attempt_id);
    },
    onSuccess: (outcome) => {
      learningChanged();
      scrollTo(0, 0);
      done(outcome);
    },
    onError: ask.close,
  });
  const open = attempt.questions.filter((q) => empty(answers[q.question_id]));
  const bar = (
    <>
      <span role="status">
        {saving === "saved" && (
          <Chip tone="good">
            <Icon name="check" size={14} /> Saved
          </Chip>
        )}
        {saving === "saving" && <Chip>Saving …</Chip>}
        {saving === "waiting" && <Chip tone="late">Not saved yet, trying again</Chip>}
        {saving === "refused" && <Chip tone="late">Not saved</Chip>}
      </span>
      {attempt.deadline_at && (
        <Clock deadline={attempt.deadline_at} over={() => !hand.isPending && hand.mutate()} />
      )}
    </>
  );
  return (
    <Focus of={enrollment} title={module.title} bar={bar}>
      <form
        className="quiz"
        onSubmit={(event) => {
          event.preventDefault();
          ask.open();
        }}
      >
        <nav className="dots" aria-label="Questions">
          {attempt.questions.map((q, i) => (
            <a
              key={q.question_id}
              href={`#q${i}`}
              className={empty(answers[q.question_id]) ? "" : "answered"}
              aria-label={`Question ${i + 1}, ${empty(answers[q.question_id]) ? "open" : "answered"}`}
            >
              {i + 1}
            </a>
          ))}
        </nav>
        {refusal && <Failure error={new Error(refusal)} />}
        {attempt.questions.map((q, i) => (
          <QuestionCard
            key={q.question_id}
            question={q}
            index={i}
            answer={answers[q.question_id] ?? null}
            give={give}
          />
        ))}
        {hand.isError && <Failure error={hand.error} retry={() => hand.mutate()} />}
        <div>
          <Button size="lg" type="submit" loading={hand.isPending}>
            Review and hand in
          </Button>
        </div>
      </form>
      <Modal
        opened={asking}
        onClose={ask.close}
        title="Hand in?"
        centered
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <div className="stack wide">
          {open.length ? (
            <>
              <p>
                <strong>{plural(open.length, "question is", "questions are")} still open.</strong> An open
                question earns no points.
              </p>
              <ul className="plain dots">
                {open.map((q) => {
                  const i = attempt.questions.indexOf(q);
                  return (
                    <li key={q.question_id}>
                      <a href={`#q${i}`} onClick={ask.close} aria-label={`Go to question ${i + 1}`}>
                        {i + 1}
                      </a>
                    </li>
                  );
                })}
              </ul>
            </>
          ) : (
            <p>
              All {attempt.questions.length} questions are answered. After handing in you cannot change them.
            </p>
          )}
          {attempt.attempts_left != null && (
            <p className="soft">
              After this one you have {plural(Math.max(0, attempt.attempts_left), "attempt")} left.
            </p>
          )}
          <div className="row">
            <Button onClick={() => hand.mutate()} loading={hand.isPending}>
              Hand in
            </Button>
            <Button variant="default" onClick={ask.close}>
              Go on answering
            </Button>
          </div>
        </div>
      </Modal>
    </Focus>
  );
}

/** Counts to the server's deadline; says five minutes, one minute and the end aloud. */
function Clock({ deadline, over }: { deadline: string; over: () => void }) {
  const [left, setLeft] = useState(() => Date.parse(deadline) - serverNow());
  const seconds = Math.max(0, Math.ceil(left / 1000));
  useEffect(() => {
    const tick = setInterval(() => setLeft(Date.parse(deadline) - serverNow()), 1000);
    return () => clearInterval(tick);
  }, [deadline]);
  const ended = seconds === 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: hands in once, when the time is over
  useEffect(() => {
    if (ended) over();
  }, [ended]);
  const spoken = ended
    ? "The time is over. Your saved answers are handed in."
    : seconds <= 60
      ? "One minute left"
      : seconds <= 300
        ? "Five minutes left"
        : "";
  return (
    <>
      <span
        className={`chip num ${seconds <= 60 ? "late" : seconds <= 300 ? "soon" : ""}`}
        role="timer"
        aria-label="Time left"
      >
        <Icon name="clock" size={14} /> {Math.floor(seconds / 60)}:{String(seconds % 60).padStart(2, "0")}
      </span>
      <span className="sr" role="alert">
        {spoken}
      </span>
    </>
  );
}
