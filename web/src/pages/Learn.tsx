import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import { Link, Navigate, useParams } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import type { EnrolledModule, EnrollmentDetail } from "../api/enrollment";
import { useTitle } from "../parts/pieces";
import { AskPage, PageLoading } from "../parts/States";
import { enrollmentQuery } from "../queries";
import { Player } from "./Player";

const Reading = lazy(() => import("./Reading").then((m) => ({ default: m.Reading })));

export interface ModuleProps {
  enrollment: EnrollmentDetail;
  module: EnrolledModule;
}

/** While the enrolment is on its way, and when there is none. */
export function NoModule({ of }: { of: UseQueryResult<EnrollmentDetail> }) {
  return (
    <main style={{ padding: "10vh 20px" }}>
      <AskPage of={of} what="module" back={<Link to="/">Go to Today</Link>}>
        {() => null}
      </AskPage>
    </main>
  );
}

export function Learn() {
  const { enrollment, module } = useParams({ from: "/in/learn/$enrollment/$module" });
  const asked = useQuery(enrollmentQuery(enrollment));
  const found = asked.data?.modules.find((m) => m.module_id === module);
  useTitle(found?.title ?? "Learn");
  if (!asked.data) return <NoModule of={asked} />;
  if (!found) {
    return (
      <main className="page narrow" style={{ padding: "15vh 20px" }}>
        <h1>This module is not part of your course</h1>
        <p>
          <Link to="/catalog/$slug" params={{ slug: asked.data.course_slug }}>
            Back to {asked.data.course_title}
          </Link>
        </p>
      </main>
    );
  }
  if (found.kind === "quiz")
    return <Navigate to="/quiz/$enrollment/$module" params={{ enrollment, module }} replace />;
  const props = { enrollment: asked.data, module: found };
  return (
    <Suspense fallback={<PageLoading />}>
      {found.kind === "reading" ? <Reading key={module} {...props} /> : <Player key={module} {...props} />}
    </Suspense>
  );
}
