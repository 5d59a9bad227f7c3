/** Small pieces that many pages share. */
import { Link } from "@tanstack/react-router";
import { type ReactNode, useEffect } from "react";
import type { Enrollment } from "../api/enrollment";
import { dueWords, plural } from "../words";
import { Icon } from "./Icon";

export type Tone = "good" | "late" | "soon" | "accent" | "plain";

export function Chip({ tone = "plain", children }: { tone?: Tone; children: ReactNode }) {
  return <span className={`chip ${tone}`}>{children}</span>;
}

export function Page({
  title,
  lead,
  cover,
  actions,
  narrow,
  children,
}: {
  title: string;
  lead?: ReactNode;
  cover?: ReactNode;
  actions?: ReactNode;
  narrow?: boolean;
  children: ReactNode;
}) {
  useTitle(title);
  return (
    <div className={narrow ? "page narrow" : "page"}>
      {cover}
      <header className="page-head">
        <div>
          <h1>{title}</h1>
          {lead && <p>{lead}</p>}
        </div>
        {actions && <div className="row">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Lyceum`;
  }, [title]);
}

export function Meter({
  done,
  total,
  label,
  of = "modules",
}: {
  done: number;
  total: number;
  label: string;
  of?: string;
}) {
  const share = total ? Math.min(100, (100 * done) / total) : 0;
  return (
    <div
      className={done >= total && total > 0 ? "meter done" : "meter"}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={done}
      aria-valuetext={`${done} of ${total} ${of} done`}
    >
      <i style={{ width: `${share}%` }} />
    </div>
  );
}

export function Why({ of, open }: { of: Enrollment; open?: boolean }) {
  if (!of.why?.length) return null;
  return (
    <details className="why above" open={open}>
      <summary>Why do I have this?</summary>
      <ul>
        {of.why.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
    </details>
  );
}

export function DueChip({ of }: { of: Enrollment }) {
  if (of.state === "completed") {
    return (
      <Chip tone="good">
        <Icon name="check" size={14} /> Completed
      </Chip>
    );
  }
  if (of.state === "withdrawn") return <Chip>Withdrawn</Chip>;
  const { tone, text } = dueWords(of);
  return (
    <span className="row" style={{ gap: 6 }}>
      {of.locked && (
        <Chip>
          <Icon name="lock" size={14} /> Locked
        </Chip>
      )}
      {text && <Chip tone={tone}>{text}</Chip>}
    </span>
  );
}

export function EnrollmentRow({ of }: { of: Enrollment }) {
  return (
    <li className="card linkcard">
      <div className="due">
        <h3>
          <Link to="/catalog/$slug" params={{ slug: of.course_slug || of.course_id }}>
            {of.course_title}
          </Link>
        </h3>
        <DueChip of={of} />
      </div>
      <div className="row small soft">
        <span style={{ flex: "0 1 180px", minWidth: 90 }}>
          <Meter done={of.modules_done} total={of.modules_total} label={`Progress in ${of.course_title}`} />
        </span>
        <span className="num">
          {of.modules_done} of {plural(of.modules_total, "module")}
        </span>
      </div>
      <Why of={of} />
    </li>
  );
}

export function Face({ name }: { name: string }) {
  const letters = name
    .split(/\s+/)
    .filter(Boolean)
    .map((part) => [...part][0] ?? "");
  return (
    <span className="face" aria-hidden="true">
      {`${letters[0] ?? "?"}${letters.length > 1 ? letters.at(-1) : ""}`}
    </span>
  );
}
