/** The frame for one thing at a time: player, reading, quiz. */

import { Button } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { EnrollmentDetail } from "../api/enrollment";
import { Icon } from "./Icon";

export function Focus({
  of,
  title,
  full,
  bar,
  busy,
  children,
}: {
  of: EnrollmentDetail;
  title: string;
  full?: boolean;
  bar?: ReactNode;
  busy?: boolean;
  children: ReactNode;
}) {
  const navigate = useNavigate();
  return (
    <div className={full ? "focus full" : "focus"}>
      <header className="focus-bar">
        <a className="skip" href="#main">
          Skip to the content
        </a>
        <Button
          className="fold"
          variant="default"
          loading={busy}
          leftSection={<Icon name="back" size={16} />}
          aria-label="Back"
          onClick={() =>
            void navigate({ to: "/catalog/$slug", params: { slug: of.course_slug || of.course_id } })
          }
        >
          <span className="words">Back</span>
        </Button>
        <div className="what">
          <h1>{title}</h1>
          {of.course_title !== title && <div className="soft small">{of.course_title}</div>}
        </div>
        {bar}
      </header>
      <main id="main" className="focus-main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
