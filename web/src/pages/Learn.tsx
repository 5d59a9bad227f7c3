import { useQuery } from "@tanstack/react-query";
import { Navigate, useParams } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import type { EnrolledModule, EnrollmentDetail } from "../api/enrollment";
import { useTitle } from "../parts/pieces";
import { Failure, PageLoading } from "../parts/States";
import { enrollmentQuery } from "../queries";
import { Player } from "./Player";

const Reading = lazy(() => import("./Reading").then((m) => ({ default: m.Reading })));

export interface ModuleProps {
  enrollment: EnrollmentDetail;
  module: EnrolledModule;
}

export function Learn() {
  const { enrollment, module } = useParams({ from: "/in/learn/$enrollment/$module" });
  const asked = useQuery(enrollmentQuery(enrollment));
  const found = asked.data?.modules.find((m) => m.module_id === module);
  useTitle(found?.title ?? "Learn");
  if (asked.isError)
    return (
      <main className="page narrow" style={{ padding: "15vh 20px" }}>
        <h1>This module cannot be opened</h1>
        <Failure error={asked.error} retry={() => void asked.refetch()} />
      </main>
    );
  if (!asked.data) return <PageLoading />;
  if (!found) {
    return (
      <main className="page narrow" style={{ padding: "15vh 20px" }}>
        <h1>This module is not part of your course</h1>
        <p>
          <a href={`/catalog/${asked.data.course_slug}`}>Back to {asked.data.course_title}</a>
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
