import { Button, Modal, Textarea } from "@mantine/core";
import { useMutation, useQueries, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import * as system from "../api/system";
import { Chip, Page } from "../parts/pieces";
import { Scroller } from "../parts/Scroller";
import { Empty, Failure, Loading } from "../parts/States";
import { count, moment, plural } from "../words";

export function System() {
  const ready = useQueries({
    queries: system.SERVICES.map((s) => ({
      queryKey: ["system", s, "ready"],
      queryFn: () => system.readiness(s),
      refetchInterval: 5000,
    })),
  });
  const reports = useQueries({
    queries: system.SERVICES.map((s) => ({
      queryKey: ["system", s, "feeds"],
      queryFn: () => system.feeds(s),
      refetchInterval: 5000,
    })),
  });
  const red = ready.filter((r) => r.data && !r.data.ready).length;
  const parked = reports.reduce((n, r) => n + (r.data?.parked.length ?? 0), 0);
  const lead = ready.some((r) => !r.data)
    ? "Looking …"
    : `${red ? `${plural(red, "service is", "services are")} not ready` : "Every service is ready"}; ${parked ? `${plural(parked, "event")} parked` : "no event is parked"}.`;
  return (
    <Page title="System" lead={lead}>
      <section className="stack" aria-labelledby="services">
        <h2 id="services">Services</h2>
        <ul className="plain grid">
          {system.SERVICES.map((name, i) => (
            <ServiceCard
              key={name}
              name={name}
              ready={ready[i]?.data}
              report={reports[i]?.data}
              error={ready[i]?.error ?? null}
            />
          ))}
        </ul>
      </section>
      <section className="stack" aria-labelledby="feeds">
        <h2 id="feeds">Feeds</h2>
        <p className="soft small">
          A consumer has everything when nothing is left to read. Healed are events that Kafka lost and the
          ledger gave again.
        </p>
        <Consumers reports={reports.flatMap((r) => (r.data ? [r.data] : []))} />
        {reports.map(
          (r, i) =>
            r.isError && <Failure key={system.SERVICES[i]} error={r.error} retry={() => void r.refetch()} />,
        )}
      </section>
      <section className="stack" aria-labelledby="parked">
        <h2 id="parked">Parked events</h2>
        <Parked
          items={system.SERVICES.flatMap((name, i) =>
            (reports[i]?.data?.parked ?? []).map((event) => ({ name, event })),
          )}
        />
      </section>
    </Page>
  );
}

function ServiceCard({
  name,
  ready,
  report,
  error,
}: {
  name: string;
  ready?: system.Readiness;
  report?: system.FeedReport;
  error: Error | null;
}) {
  return (
    <li className="card stack" style={{ gap: 8, alignContent: "start" }}>
      <div className="row between">
        <h3>{name}</h3>
        {error ? (
          <Chip tone="late">Unknown</Chip>
        ) : !ready ? (
          <Chip>…</Chip>
        ) : ready.ready ? (
          <Chip tone="good">Ready</Chip>
        ) : (
          <Chip tone="late">Not ready</Chip>
        )}
      </div>
      {ready?.note && <p className="small">{ready.note}</p>}
      {report?.consumer_error && <p className="small">Reading: {report.consumer_error}</p>}
      {report && (
        <dl
          className="small soft"
          style={{ margin: 0, display: "grid", gridTemplateColumns: "auto 1fr", gap: "2px 12px" }}
        >
          <dt>Relay</dt>
          <dd style={{ margin: 0 }}>
            {report.relay.error || (report.relay.active ? "active" : "standing by")},{" "}
            {count(report.relay.outbox)} waiting
            {report.relay.outbox > 0 && `, oldest ${report.relay.oldest_age_s} s`}
          </dd>
          <dt>Timers</dt>
          <dd style={{ margin: 0 }}>
            {count(report.timers.pending)} pending, {count(report.timers.late)} late,{" "}
            {count(report.timers.failed)} failed
          </dd>
        </dl>
      )}
    </li>
  );
}

function Consumers({ reports }: { reports: system.FeedReport[] }) {
  const rows = reports.flatMap((report) => {
    const feeds = [...new Set(report.consumers.map((c) => c.feed))];
    return feeds.map((feed) => {
      const parts = report.consumers.filter((c) => c.feed === feed);
      const sum = (of: (p: system.Progress) => number | null) => parts.reduce((n, p) => n + (of(p) ?? 0), 0);
      return {
        key: `${report.service} ${feed}`,
        consumer: report.service,
        feed,
        read: sum((p) => p.next - 1),
        head: parts.some((p) => p.head == null) ? null : sum((p) => p.head),
        lag: parts.some((p) => p.lag == null) ? null : sum((p) => p.lag),
        healed: sum((p) => p.healed),
        alarm: parts.map((p) => p.alarm).find(Boolean),
      };
    });
  });
  if (!rows.length)
    return reports.length ? <Empty title="No feed has been read yet" /> : <Loading rows={1} />;
  return (
    <Scroller card label="Feeds">
      <table className="data">
        <thead>
          <tr>
            <th>Consumer</th>
            <th>Feed</th>
            <th>State</th>
            <th className="n">Read</th>
            <th className="n">Head</th>
            <th className="n">Left</th>
            <th className="n">Healed</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.key}>
              <td>{r.consumer}</td>
              <td>{r.feed}</td>
              <td>
                {r.alarm ? (
                  <Chip tone="late">{typeof r.alarm === "string" ? r.alarm : "Alarm"}</Chip>
                ) : r.lag === 0 ? (
                  <Chip tone="good">All read</Chip>
                ) : r.lag == null ? (
                  <Chip tone="soon">Producer does not answer</Chip>
                ) : (
                  <Chip tone="soon">Reading</Chip>
                )}
              </td>
              <td className="n">{count(r.read)}</td>
              <td className="n">{count(r.head)}</td>
              <td className="n">{count(r.lag)}</td>
              <td className="n">{count(r.healed)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroller>
  );
}

interface ParkedItem {
  name: system.ServiceName;
  event: system.ParkedEvent;
}

function Parked({ items }: { items: ParkedItem[] }) {
  const client = useQueryClient();
  const [leaving, setLeaving] = useState<ParkedItem | null>(null);
  const [why, setWhy] = useState("");
  const again = () => client.invalidateQueries({ queryKey: ["system"] });
  const replay = useMutation({
    mutationFn: ({ name, event }: ParkedItem) => system.replay(name, event.n),
    onSettled: again,
  });
  const discard = useMutation({
    mutationFn: ({ name, event }: ParkedItem) => system.discard(name, event.n, why.trim()),
    onSettled: again,
    onSuccess: () => setLeaving(null),
  });
  return (
    <>
      {replay.isError && <Failure error={replay.error} />}
      <p role="status" className={replay.data ? "small" : "sr"}>
        {replay.data && `${plural(replay.data.handled, "event")} handled.`}
      </p>
      {items.length === 0 && (
        <Empty title="Nothing is parked">
          An event that a service cannot handle waits here, with all later ones of its key.
        </Empty>
      )}
      <ul className="plain stack">
        {items.map((item) => (
          <li key={`${item.name} ${item.event.n}`} className="card stack" style={{ gap: 8 }}>
            <div className="row between">
              <h3>{item.event.type?.split(".").at(-1) ?? item.event.feed}</h3>
              <span className="soft small">
                {item.name} · {moment(item.event.parked_at)}
              </span>
            </div>
            <p>{item.event.reason}</p>
            <p className="soft small" style={{ overflowWrap: "anywhere" }}>
              {item.event.feed} · key {item.event.key}
              {item.event.position != null && ` · position ${item.event.position}`}
            </p>
            <div className="row">
              <Button
                size="xs"
                loading={replay.isPending && replay.variables === item}
                onClick={() => replay.mutate(item)}
              >
                Replay with later ones
              </Button>
              <Button
                size="xs"
                variant="default"
                onClick={() => {
                  setWhy("");
                  setLeaving(item);
                }}
              >
                Discard …
              </Button>
            </div>
          </li>
        ))}
      </ul>
      <Modal
        opened={leaving !== null}
        onClose={() => setLeaving(null)}
        title="Discard this event?"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <form
          className="stack"
          onSubmit={(e) => {
            e.preventDefault();
            if (leaving) discard.mutate(leaving);
          }}
        >
          <p>It will not be handled, and this stays on record with your name.</p>
          <Textarea
            label="Why"
            required
            value={why}
            onChange={(e) => setWhy(e.currentTarget.value)}
            data-autofocus
          />
          {discard.isError && <Failure error={discard.error} />}
          <div className="row">
            <Button type="submit" color="red" loading={discard.isPending} disabled={!why.trim()}>
              Discard
            </Button>
          </div>
        </form>
      </Modal>
    </>
  );
}
