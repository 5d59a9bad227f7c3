/**
 * Plays a SCORM package. Package and run-time live on the package's own origin; this page only frames them,
 * listens to how saving goes, and asks for a last save before it leaves.
 */
import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useBlocker } from "@tanstack/react-router";
import { useCallback, useEffect, useRef, useState } from "react";
import { launch } from "../api/assessment";
import { Focus } from "../parts/Focus";
import { Icon } from "../parts/Icon";
import { Chip } from "../parts/pieces";
import { Failure, PageLoading } from "../parts/States";
import { learningChanged } from "../queries";
import type { ModuleProps } from "./Learn";

const SANDBOX = "allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-downloads";
const CLOSE_WITHIN = 5000;

type Saving = "idle" | "saved" | "unsaved";

function saved(type: string): Saving | null {
  if (type === "lyceum:saved") return "saved";
  return type === "lyceum:not-saved" ? "unsaved" : null;
}

const typeOf = (data: unknown): string =>
  typeof data === "string" ? data : String((data as { type?: unknown } | null)?.type ?? "");

export function Player({ enrollment, module }: ModuleProps) {
  const frame = useRef<HTMLIFrameElement>(null);
  const closed = useRef<(() => void) | null>(null);
  const [saving, setSaving] = useState<Saving>("idle");
  const [done, setDone] = useState(module.done);
  const [closing, setClosing] = useState(false);
  const [elsewhere, setElsewhere] = useState<string | null>(null);
  const start = useMutation({ mutationFn: () => launch(enrollment.enrollment_id, module.module_id) });
  const url = start.data?.url;
  const origin = url ? new URL(url, location.href).origin : null;

  const begin = start.mutate;
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    begin();
  }, [begin]);

  useEffect(() => {
    const hear = (event: MessageEvent) => {
      if (!origin || event.origin !== origin || event.source !== frame.current?.contentWindow) return;
      const type = typeOf(event.data);
      const state = saved(type);
      if (state) setSaving(state);
      if (type === "lyceum:completed") setDone(true);
      if (type === "lyceum:closed") closed.current?.();
    };
    addEventListener("message", hear);
    return () => removeEventListener("message", hear);
  }, [origin]);

  /** Asks the run-time to finish and save; the frame is blanked, never removed, so the package may say goodbye. */
  const close = useCallback(async () => {
    const target = frame.current?.contentWindow;
    if (!target || !origin || !frame.current) return;
    setClosing(true);
    await new Promise<void>((done) => {
      const late = setTimeout(done, CLOSE_WITHIN);
      closed.current = () => {
        clearTimeout(late);
        done();
      };
      target.postMessage({ type: "lyceum:close" }, origin);
    });
    closed.current = null;
    frame.current.src = "about:blank";
    setClosing(false);
    learningChanged();
  }, [origin]);

  useBlocker({
    enableBeforeUnload: false,
    shouldBlockFn: async () => {
      if (!elsewhere) await close();
      learningChanged();
      return false;
    },
  });

  const newTab = useMutation({
    mutationFn: async () => {
      await close();
      return launch(enrollment.enrollment_id, module.module_id);
    },
    onSuccess: (next) => setElsewhere(next.url),
  });

  const bar = (
    <>
      <span role="status" className="row" style={{ gap: 6 }}>
        {saving === "saved" && !done && (
          <Chip tone="good">
            <Icon name="check" size={14} /> Saved
          </Chip>
        )}
        {saving === "unsaved" && <Chip tone="late">Not saved yet, trying again</Chip>}
        {done && <Chip tone="good">Completed</Chip>}
      </span>
      {!elsewhere && url && (
        <Button
          className="fold"
          variant="default"
          loading={newTab.isPending}
          onClick={() => newTab.mutate()}
          leftSection={<Icon name="open" size={16} />}
          aria-label="Open in a new tab"
        >
          <span className="words">Open in a new tab</span>
        </Button>
      )}
    </>
  );

  return (
    <Focus of={enrollment} title={module.title} full bar={bar} busy={closing}>
      {start.isError && (
        <div className="quiz">
          <Failure error={start.error} retry={() => start.mutate()} />
        </div>
      )}
      {newTab.isError && (
        <div className="quiz">
          <Failure error={newTab.error} />
        </div>
      )}
      {!url && !start.isError && <PageLoading />}
      {elsewhere && (
        <div className="quiz">
          <section className="card stack">
            <h2>Ready for its own tab</h2>
            <p>
              Some browsers block storage inside frames, or a package wants more room. Your place has been
              saved. When you are done there, close that tab and come back here.
            </p>
            <div className="row">
              <Button
                component="a"
                href={elsewhere}
                target="_blank"
                rel="noopener noreferrer"
                rightSection={<Icon name="open" size={16} />}
              >
                Open {module.title}
              </Button>
            </div>
          </section>
        </div>
      )}
      {url && (
        <iframe
          ref={frame}
          src={url}
          title={module.title}
          sandbox={SANDBOX}
          allow="unload"
          style={elsewhere ? { display: "none" } : undefined}
        />
      )}
    </Focus>
  );
}
