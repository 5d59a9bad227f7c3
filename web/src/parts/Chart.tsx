/** Bars and a trend as plain HTML and SVG. Each has a sentence, a table twin and its numbers as CSV. */

import { Button, SegmentedControl } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useId, useState } from "react";
import type { TrendDay } from "../api/analytics";
import { saveBlob } from "../api/client";
import { Icon } from "./Icon";
import { Scroller } from "./Scroller";
import { Failure } from "./States";

export interface Table {
  head: string[];
  rows: (string | number)[][];
}

const cell = (value: string | number): string => {
  // A leading = + - @ would run as a formula in a spreadsheet.
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function ChartCard({
  title,
  sentence,
  definition,
  table,
  csv,
  children,
}: {
  title: string;
  sentence: string;
  definition?: string;
  table: Table;
  csv?: () => Promise<void>;
  children: ReactNode;
}) {
  const [view, setView] = useState("chart");
  const id = useId();
  const save = useMutation({
    mutationFn: async () => {
      if (csv) return csv();
      const lines = [table.head, ...table.rows].map((row) => row.map(cell).join(","));
      saveBlob(
        new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" }),
        `${title.toLowerCase().replaceAll(" ", "-")}.csv`,
      );
    },
  });
  return (
    <section className="card stack wide" aria-labelledby={id} style={{ alignContent: "start" }}>
      <div className="stack">
        <h2 id={id}>{title}</h2>
        <p>{sentence}</p>
      </div>
      {table.rows.length > 0 && (
        <div className="row between">
          <SegmentedControl
            size="xs"
            value={view}
            onChange={setView}
            aria-label={`${title} as`}
            data={[
              { value: "chart", label: "Chart" },
              { value: "table", label: "Table" },
            ]}
          />
          <Button
            size="xs"
            variant="default"
            leftSection={<Icon name="down" size={14} />}
            loading={save.isPending}
            onClick={() => save.mutate()}
            aria-label={`${title} as CSV`}
          >
            CSV
          </Button>
        </div>
      )}
      {save.isError && <Failure error={save.error} />}
      {view === "chart" ? children : <DataTable of={table} label={title} />}
      {definition && <p className="soft small">{definition}</p>}
    </section>
  );
}

export function DataTable({ of, label }: { of: Table; label: string }) {
  return (
    <Scroller label={label} tall>
      <table className="data">
        <thead>
          <tr>
            {of.head.map((h, i) => (
              <th key={h} className={i ? "n" : undefined}>
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {of.rows.map((row) => (
            <tr key={String(row[0])}>
              {row.map((value, i) => (
                <td key={of.head[i]} className={i ? "n" : undefined}>
                  {value}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroller>
  );
}

export interface BarItem {
  key: string;
  label: string;
  /** 0 to 1 of the full width. */
  share: number;
  text: string;
  second?: number;
}

export function Bars({ items }: { items: BarItem[] }) {
  return (
    <ul className="plain bars">
      {items.map((item) => (
        <li key={item.key} className="bar">
          <span>{item.label}</span>
          <strong className="num">{item.text}</strong>
          <span className="track" aria-hidden="true">
            <i
              className={item.second === undefined ? undefined : "under"}
              style={{ width: `${100 * item.share}%` }}
            />
            {item.second !== undefined && <i className="second" style={{ width: `${100 * item.second}%` }} />}
          </span>
        </li>
      ))}
    </ul>
  );
}

const W = 640;
const H = 200;

export function Trend({ days, label }: { days: TrendDay[]; label: string }) {
  const top = Math.max(1, ...days.map((d) => Math.max(d.enrolled, d.completed)));
  const x = (i: number) => (days.length < 2 ? W / 2 : (i * W) / (days.length - 1));
  const y = (n: number) => H - (n / top) * (H - 16);
  const line = (of: (d: TrendDay) => number) =>
    days.map((d, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(of(d)).toFixed(1)}`).join("");
  return (
    <div className="stack">
      <svg
        className="trend"
        viewBox={`0 0 ${W} ${H + 22}`}
        role="img"
        aria-label={label}
        preserveAspectRatio="none"
      >
        {[0, 0.5, 1].map((f) => (
          <line
            key={f}
            x1="0"
            x2={W}
            y1={y(top * f)}
            y2={y(top * f)}
            stroke="var(--line)"
            vectorEffect="non-scaling-stroke"
          />
        ))}
        <path
          d={`${line((d) => d.enrolled)}L${x(days.length - 1)} ${H}L${x(0)} ${H}Z`}
          fill="var(--accent)"
          opacity="0.12"
        />
        <path
          d={line((d) => d.enrolled)}
          fill="none"
          stroke="var(--accent)"
          strokeWidth="2.5"
          vectorEffect="non-scaling-stroke"
        />
        <path
          d={line((d) => d.completed)}
          fill="none"
          stroke="var(--good)"
          strokeWidth="2.5"
          strokeDasharray="6 4"
          vectorEffect="non-scaling-stroke"
        />
      </svg>
      <div className="row between soft small num">
        <span>{days[0]?.day}</span>
        <span>most in a day: {top}</span>
        <span>{days.at(-1)?.day}</span>
      </div>
      <div className="legend" aria-hidden="true">
        <span>
          <i style={{ background: "var(--accent)" }} />
          enrolled (solid)
        </span>
        <span>
          <i style={{ background: "var(--good)" }} />
          completed (dashed)
        </span>
      </div>
    </div>
  );
}
