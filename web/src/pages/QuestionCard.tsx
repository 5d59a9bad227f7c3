import { Textarea, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import type { Answer, Question } from "../api/assessment";

interface Props {
  question: Question;
  index: number;
  answer: Answer | null;
  give: (questionId: string, answer: Answer) => void;
}

export function QuestionCard({ question, index, answer, give }: Props) {
  const id = `q${index}`;
  const typed = question.type === "numeric" || question.type === "short_text";
  return (
    <fieldset id={id} className="card question">
      <legend className={typed ? "sr" : undefined}>
        {index + 1}. {question.text}
      </legend>
      {question.type === "multiple_choice" && <Choices {...{ question, index, answer, give }} many={false} />}
      {question.type === "multiple_response" && <Choices {...{ question, index, answer, give }} many />}
      {question.type === "numeric" && <Numeric {...{ question, index, answer, give }} />}
      {question.type === "short_text" && <ShortText {...{ question, index, answer, give }} />}
    </fieldset>
  );
}

function Choices({ question, index, answer, give, many }: Props & { many: boolean }) {
  const ticked = Array.isArray(answer) ? answer : [];
  const change = (option: string, on: boolean) =>
    give(
      question.question_id,
      many
        ? question.options.map((o) => o.id).filter((o) => (o === option ? on : ticked.includes(o)))
        : option,
    );
  return (
    <div className="stack">
      {many && <p className="soft small">Several may be right.</p>}
      {question.options.map((option) => (
        <label key={option.id} className="choice">
          <input
            type={many ? "checkbox" : "radio"}
            name={`q${index}`}
            value={option.id}
            checked={many ? ticked.includes(option.id) : answer === option.id}
            onChange={(event) => change(option.id, event.currentTarget.checked)}
          />
          <span>{option.text}</span>
        </label>
      ))}
    </div>
  );
}

function Numeric({ question, index, answer, give }: Props) {
  const [text, setText] = useState(answer == null ? "" : String(answer));
  const value = Number(text.trim().replace(",", "."));
  const wrong = text.trim() !== "" && !Number.isFinite(value);
  const save = useDebouncedCallback((number: number) => give(question.question_id, number), {
    delay: 400,
    flushOnUnmount: true,
  });
  return (
    <TextInput
      size="md"
      inputMode="decimal"
      label={`${index + 1}. ${question.text}`}
      description="A number"
      value={text}
      maw={420}
      error={wrong ? "This is not a number yet, so it is not saved" : null}
      onBlur={() => save.flush()}
      onChange={(event) => {
        const next = event.currentTarget.value;
        setText(next);
        const number = Number(next.trim().replace(",", "."));
        if (next.trim() && Number.isFinite(number)) save(number);
      }}
    />
  );
}

function ShortText({ question, index, answer, give }: Props) {
  const [text, setText] = useState(answer == null ? "" : String(answer));
  const save = useDebouncedCallback((value: string) => give(question.question_id, value), {
    delay: 400,
    flushOnUnmount: true,
  });
  return (
    <Textarea
      size="md"
      rows={2}
      maxLength={1000}
      label={`${index + 1}. ${question.text}`}
      description="A word or a short sentence"
      value={text}
      onBlur={() => save.flush()}
      onChange={(event) => {
        setText(event.currentTarget.value);
        save(event.currentTarget.value);
      }}
    />
  );
}
