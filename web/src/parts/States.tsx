/** Loading, nothing there, and something wrong: each says what to do next. */
import { Button, Skeleton } from "@mantine/core";
import { type UseQueryResult, useQueryClient } from "@tanstack/react-query";
import { Link, useRouter } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Problem } from "../api/client";

export const words = (error: unknown): string =>
  error instanceof Problem
    ? error.message
    : "Something went wrong in this page. Reload it; nothing you saved is lost.";

export function Loading({ rows = 3, height = 76 }: { rows?: number; height?: number }) {
  return (
    <div className="stack" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
        <Skeleton key={i} height={height} radius="lg" />
      ))}
    </div>
  );
}

export function PageLoading() {
  return (
    <div className="page">
      <Skeleton height={40} width="40%" />
      <Loading />
    </div>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  return (
    <div className="notice late" role="alert">
      <div className="stack">
        <span>{words(error)}</span>
        {retry && (
          <div>
            <Button variant="default" size="xs" onClick={retry}>
              Try again
            </Button>
          </div>
        )}
      </div>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <h3>{title}</h3>
      {children && <div>{children}</div>}
    </div>
  );
}

/** Shows a query in its three states, so that pages only write the good one. */
export function Ask<T>({
  of,
  rows,
  children,
}: {
  of: UseQueryResult<T>;
  rows?: number;
  children: (found: T) => ReactNode;
}) {
  if (of.data !== undefined) return children(of.data);
  if (of.isError) return <Failure error={of.error} retry={() => void of.refetch()} />;
  return <Loading rows={rows} />;
}

/** The same for a page that is all about one thing: without it there is still a page, with a way on. */
export function AskPage<T>({
  of,
  what,
  back,
  children,
}: {
  of: UseQueryResult<T>;
  what: string;
  back: ReactNode;
  children: (found: T) => ReactNode;
}) {
  if (of.data !== undefined) return children(of.data);
  if (!of.isError) return <PageLoading />;
  const missing = of.error instanceof Problem && of.error.status === 404;
  return (
    <div className="page narrow">
      <h1>{missing ? `There is no such ${what}` : `This ${what} cannot be shown`}</h1>
      {missing ? (
        <p className="soft">It may be gone, the address mistyped, or it is not yours to see.</p>
      ) : (
        <Failure error={of.error} retry={() => void of.refetch()} />
      )}
      <p>{back}</p>
    </div>
  );
}

export function NotFound() {
  return (
    <main className="page narrow" style={{ padding: "15vh 20px" }}>
      <h1>There is no page here</h1>
      <p className="soft">
        The address may be mistyped, or what it led to is gone. Your courses and your record are untouched.
      </p>
      <div className="row">
        <Link to="/">Go to Today</Link>
        <Link to="/catalog">Look in the catalogue</Link>
      </div>
    </main>
  );
}

export function PageFailure({ error }: { error: unknown }) {
  const router = useRouter();
  const client = useQueryClient();
  const again = () => {
    client.clear();
    void router.invalidate();
  };
  return (
    <main className="page narrow" style={{ padding: "15vh 20px" }}>
      <h1>This page could not be shown</h1>
      <Failure error={error} retry={again} />
      <p className="soft">If it stays like this, ask an administrator to look at Administration → System.</p>
    </main>
  );
}
