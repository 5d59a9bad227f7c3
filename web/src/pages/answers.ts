/** Saves answers one after the other, newest value of each question, again and again until the server has them. */
import { useCallback, useEffect, useRef, useState } from "react";
import { type Answer, type Attempt, saveAnswer } from "../api/assessment";
import { Problem } from "../api/client";

export type Saving = "saved" | "saving" | "waiting" | "refused";

const PAUSE = 2000;

export function useAnswers(attempt: Attempt) {
  const [answers, setAnswers] = useState<Record<string, Answer | null>>(() =>
    Object.fromEntries(attempt.questions.map((q) => [q.question_id, q.answer])),
  );
  const [saving, setSaving] = useState<Saving>("saved");
  const [refusal, setRefusal] = useState("");
  const waiting = useRef(new Map<string, { answer: Answer; sequence: number }>());
  const sequence = useRef(attempt.saved_sequence ?? 0);
  const running = useRef<Promise<void> | null>(null);
  const gone = useRef(false);

  const drain = useCallback(async () => {
    for (let entry = first(waiting.current); entry && !gone.current; entry = first(waiting.current)) {
      const [question, item] = entry;
      setSaving("saving");
      try {
        await saveAnswer(attempt.attempt_id, question, item.sequence, item.answer);
        if (waiting.current.get(question) === item) waiting.current.delete(question);
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(0, "offline", String(error));
        const theirs = problem.extra.saved_sequence;
        if (problem.status === 409 && typeof theirs === "number" && theirs >= item.sequence) {
          // Another tab of this attempt was ahead. What was chosen last, here, is what counts.
          sequence.current = Math.max(sequence.current, theirs);
          for (const later of waiting.current.values()) later.sequence = ++sequence.current;
        } else if (
          problem.status >= 400 &&
          problem.status < 500 &&
          ![401, 408, 409, 429].includes(problem.status)
        ) {
          waiting.current.delete(question);
          setRefusal(problem.message);
          setSaving("refused");
          return;
        } else {
          setSaving("waiting");
          await new Promise((again) => setTimeout(again, PAUSE));
        }
      }
    }
    setSaving("saved");
  }, [attempt.attempt_id]);

  const flush = useCallback((): Promise<void> => {
    running.current ??= drain().finally(() => {
      running.current = null;
    });
    return running.current;
  }, [drain]);

  const give = useCallback(
    (question: string, answer: Answer) => {
      setAnswers((before) => ({ ...before, [question]: answer }));
      setRefusal("");
      sequence.current += 1;
      waiting.current.delete(question);
      waiting.current.set(question, { answer, sequence: sequence.current });
      void flush();
    },
    [flush],
  );

  useEffect(() => {
    gone.current = false;
    const warn = (event: BeforeUnloadEvent) => {
      if (waiting.current.size) event.preventDefault();
    };
    addEventListener("beforeunload", warn);
    return () => {
      gone.current = true;
      removeEventListener("beforeunload", warn);
    };
  }, []);

  return { answers, saving, refusal, give, flush };
}

const first = <K, V>(map: Map<K, V>): [K, V] | undefined => map.entries().next().value;
