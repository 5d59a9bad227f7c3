import { Button, Checkbox, NativeSelect, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { confirmUnit, orgUnits, people } from "../api/identity";
import { Icon } from "../parts/Icon";
import { Chip, Face, Page } from "../parts/pieces";
import { Ask, Empty, Failure } from "../parts/States";
import { plural } from "../words";

const STATUS: Record<string, string> = {
  active: "Active",
  prehire: "Not started yet",
  on_leave: "On leave",
  terminated: "Left",
  erased: "Erased",
};
export const statusWords = (status: string): string => STATUS[status] ?? status;
const SHOWN = 60;

export function People() {
  const { q = "", department = "", left = false } = useSearch({ from: "/in/shell/admin/people" });
  const navigate = useNavigate({ from: "/admin/people" });
  const [typed, setTyped] = useState(q);
  const [all, setAll] = useState(false);
  const seek = useDebouncedCallback(
    (text: string) => void navigate({ search: (s) => ({ ...s, q: text || undefined }), replace: true }),
    200,
  );
  const units = useQuery({ queryKey: ["org-units"], queryFn: orgUnits }).data ?? [];
  const list = useQuery({
    queryKey: ["people", q, department, left],
    queryFn: () => people(q, department, left),
    placeholderData: keepPreviousData,
  });
  const unmapped = units.filter((u) => !u.mapped);
  const client = useQueryClient();
  const confirm = useMutation({
    mutationFn: confirmUnit,
    onSuccess: () => client.invalidateQueries({ queryKey: ["org-units"] }),
  });
  return (
    <Page
      title="People"
      lead="Everyone HR has told us about. Names and jobs are changed in the HR system, not here."
    >
      {unmapped.length > 0 && (
        <div className="notice soon">
          <div className="stack">
            <p>
              HR names departments that nobody has looked at yet. Rules that name other departments don’t
              reach their people. Confirm what is right; correct the rest in the HR system.
            </p>
            <div className="row">
              {unmapped.map((u) => (
                <Button
                  key={u.org_unit_id}
                  variant="default"
                  size="xs"
                  disabled={confirm.isPending}
                  onClick={() => confirm.mutate(u)}
                >
                  Confirm {u.code}
                </Button>
              ))}
            </div>
          </div>
        </div>
      )}
      {confirm.isError && <Failure error={confirm.error} />}
      <search className="row" style={{ alignItems: "end" }}>
        <TextInput
          style={{ flex: "1 1 220px" }}
          label="Search by name"
          value={typed}
          leftSection={<Icon name="search" size={18} />}
          onChange={(e) => {
            setTyped(e.currentTarget.value);
            seek(e.currentTarget.value.trim());
          }}
        />
        <NativeSelect
          label="Department"
          value={department}
          onChange={(e) =>
            void navigate({ search: (s) => ({ ...s, department: e.target.value || undefined }) })
          }
          data={[
            { value: "", label: "All" },
            ...units.map((u) => ({ value: u.code, label: `${u.code} (${u.people})` })),
          ]}
        />
        <Checkbox
          label="Also those who left"
          checked={left}
          pb={8}
          onChange={(e) =>
            void navigate({ search: (s) => ({ ...s, left: e.currentTarget.checked || undefined }) })
          }
        />
      </search>
      <Ask of={list}>
        {(found) => (
          <>
            <p className="soft small" role="status">
              {plural(found.length, "person", "people")}
            </p>
            {found.length === 0 && (
              <Empty title="Nobody fits">Try fewer letters or another department.</Empty>
            )}
            <h2 className="sr">Found</h2>
            <ul className="plain grid">
              {(all ? found : found.slice(0, SHOWN)).map((p) => (
                <li key={p.person_id} className="card linkcard">
                  <div className="row" style={{ flexWrap: "nowrap" }}>
                    <Face name={p.display_name} />
                    <div style={{ minWidth: 0 }}>
                      <h3>
                        <Link to="/admin/people/$person" params={{ person: p.person_id }}>
                          {p.display_name}
                        </Link>
                      </h3>
                      <div className="soft small">
                        {[p.job_title, p.department, p.location].filter(Boolean).join(", ")}
                      </div>
                    </div>
                  </div>
                  {(p.status !== "active" || p.roles.some((r) => r !== "learner")) && (
                    <div className="row">
                      {p.status !== "active" && <Chip tone="soon">{statusWords(p.status)}</Chip>}
                      {p.roles
                        .filter((r) => r !== "learner")
                        .map((r) => (
                          <Chip key={r}>{r}</Chip>
                        ))}
                    </div>
                  )}
                </li>
              ))}
            </ul>
            {!all && found.length > SHOWN && (
              <div>
                <Button variant="default" onClick={() => setAll(true)}>
                  Show all {found.length}
                </Button>
              </div>
            )}
          </>
        )}
      </Ask>
    </Page>
  );
}
