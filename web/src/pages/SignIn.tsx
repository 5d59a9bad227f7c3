import { Button, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { Problem } from "../api/client";
import { type Persona, personas, type Role, signIn } from "../api/identity";
import { Arches, Icon } from "../parts/Icon";
import { Face, useTitle } from "../parts/pieces";
import { SchemeButton } from "../parts/SchemeButton";
import { Empty, Failure, Loading } from "../parts/States";
import { router, safeReturn } from "../router";
import { plural } from "../words";

const GROUPS: { role: Role; title: string; lead: string }[] = [
  { role: "admin", title: "Administrators", lead: "People, rules, dashboards and the system" },
  { role: "author", title: "Authors", lead: "Courses and quizzes" },
  { role: "manager", title: "Managers", lead: "Who in the team is late" },
  { role: "learner", title: "Learners", lead: "What to learn today" },
];
const SHOWN = 9;

/** Everyone is a learner: a person stands where their most telling role is. */
const groupOf = (persona: Persona): Role =>
  GROUPS.find((g) => persona.roles.includes(g.role))?.role ?? "learner";

export function SignIn() {
  useTitle("Sign in");
  const { return: back, find = "" } = useSearch({ from: "/sign-in" });
  const client = useQueryClient();
  const [typed, setTyped] = useState(find);
  const list = useQuery({ queryKey: ["personas"], queryFn: () => personas() });
  const enter = useMutation({
    mutationFn: (persona: Persona) => signIn(persona.person_id),
    onSuccess: async () => {
      client.clear();
      await router.invalidate();
      router.history.push(safeReturn(back));
    },
  });
  const absent = list.error instanceof Problem && [401, 403, 404].includes(list.error.status);
  const sought = typed.trim().toLowerCase();
  const [asked] = useDebouncedValue(sought, 250);
  // The first answer holds 200 people at most: the server knows the others.
  const more = useQuery({
    queryKey: ["personas", asked],
    queryFn: () => personas(asked),
    enabled: asked !== "" && (list.data?.length ?? 0) >= 200,
  });
  const near = (list.data ?? []).filter((p) =>
    [p.display_name, p.department, p.job_title, p.tenant_slug, p.note].some((text) =>
      text?.toLowerCase().includes(sought),
    ),
  );
  const far = sought ? (more.data ?? []).filter((p) => !near.some((n) => n.person_id === p.person_id)) : [];
  const found = [...near, ...far];
  const several = new Set((list.data ?? []).map((p) => p.tenant_id)).size > 1;

  return (
    <div className="door">
      <header className="door-side">
        <span className="brand">
          <img src="/mark.svg" alt="" width={32} height={32} /> Lyceum
        </span>
        <h1>Learning you can prove.</h1>
        <p>What to learn, why you have it, and evidence that holds when somebody asks.</p>
        <Arches />
      </header>
      <main className="door-main">
        <div className="row between" style={{ flexWrap: "nowrap", alignItems: "start" }}>
          <div className="stack">
            <h2 style={{ fontSize: "1.7rem" }}>Who are you today?</h2>
            {!absent && (
              <p className="soft">
                A local demo sign-in: choose a person, no password. It works on this computer only and is
                switched off everywhere else.
              </p>
            )}
          </div>
          <SchemeButton />
        </div>
        {enter.isError && <Failure error={enter.error} />}
        {absent ? (
          <Empty title="Sign in with your link">
            This platform has no demo people. Open the one-time link that your administrator gave you; it
            signs you in here.
          </Empty>
        ) : list.isError ? (
          <Failure error={list.error} retry={() => void list.refetch()} />
        ) : !list.data ? (
          <Loading rows={4} />
        ) : list.data.length === 0 ? (
          <Empty title="Nobody is here yet">
            Run <code>./lyceum demo</code> to bring in a few hundred people and their courses, then load this
            page again.
          </Empty>
        ) : (
          <>
            <TextInput
              label="Find a person"
              size="md"
              value={typed}
              leftSection={<Icon name="search" size={18} />}
              description="By name, department, job or what is special about them"
              onChange={(event) => setTyped(event.currentTarget.value)}
            />
            <p className="sr" role="status">
              {plural(found.length, "person", "people")} found
            </p>
            {GROUPS.map((group) => (
              <Group
                key={group.role}
                title={group.title}
                lead={group.lead}
                all={Boolean(sought)}
                people={found.filter((p) => groupOf(p) === group.role)}
                several={several}
                choose={enter.mutate}
                busy={enter.isPending}
              />
            ))}
            {found.length === 0 && <Empty title="Nobody fits">Try fewer letters.</Empty>}
          </>
        )}
      </main>
    </div>
  );
}

function Group({
  title,
  lead,
  people,
  choose,
  busy,
  all,
  several,
}: {
  title: string;
  lead: string;
  people: Persona[];
  choose: (persona: Persona) => void;
  busy: boolean;
  all: boolean;
  several: boolean;
}) {
  const [open, setOpen] = useState(false);
  if (!people.length) return null;
  const shown = open || all ? people.slice(0, 60) : people.slice(0, SHOWN);
  return (
    <section className="stack" aria-label={title}>
      <div>
        <h3>{title}</h3>
        <p className="soft small">{lead}</p>
      </div>
      <div className="grid">
        {shown.map((p) => (
          <button
            key={p.person_id}
            type="button"
            className="persona"
            aria-disabled={busy}
            onClick={() => !busy && choose(p)}
          >
            <Face name={p.display_name} />
            <span>
              <strong>{p.display_name}</strong>
              <span className="soft small" style={{ display: "block" }}>
                {[p.job_title, p.department, several && p.tenant_slug].filter(Boolean).join(", ")}
              </span>
              {p.note && (
                <span className="small" style={{ display: "block" }}>
                  {p.note}
                </span>
              )}
            </span>
          </button>
        ))}
      </div>
      {people.length > shown.length && (
        <div>
          <Button variant="default" onClick={() => setOpen(true)}>
            Show {people.length - shown.length} more
          </Button>
        </div>
      )}
    </section>
  );
}
