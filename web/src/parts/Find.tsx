/** ⌘K: go to a page or a course by typing a few letters. */
import { Modal, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { Role } from "../api/identity";
import { pagesFor } from "../pages";
import { coursesQuery } from "../queries";
import { Icon } from "./Icon";
import { Failure } from "./States";

export function Find({ close, roles }: { close: () => void; roles: Role[] }) {
  const [typed, setTyped] = useState("");
  const list = useRef<HTMLUListElement>(null);
  const { data: courses = [], isPending, error, refetch } = useQuery(coursesQuery());
  const [entered, setEntered] = useState(false); // before the courses were here: the first is opened when they are
  const fits = (text: string) => text.toLowerCase().includes(typed.trim().toLowerCase());
  const pages = pagesFor(roles)
    .flatMap((group) => group.pages)
    .filter((page) => fits(page.title));
  const found = courses.filter((course) => fits(course.title)).slice(0, 8);

  useEffect(() => {
    if (!entered || isPending) return;
    setEntered(false);
    list.current?.querySelector("a")?.click();
  }, [entered, isPending]);

  const move = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll("a") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    if (event.key === "ArrowDown") links[Math.min(at + 1, links.length - 1)]?.focus();
    else if (event.key === "ArrowUp") links[Math.max(at - 1, 0)]?.focus();
    else if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
    else if (links[0]) links[0].click();
    else setEntered(isPending);
    event.preventDefault();
  };

  return (
    <Modal
      opened
      onClose={close}
      title="Find"
      size="lg"
      yOffset="10vh"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrow keys move between the links inside */}
      <div onKeyDown={move} className="stack">
        <TextInput
          data-autofocus
          aria-label="Page or course"
          placeholder="Page or course"
          value={typed}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            setEntered(false);
          }}
          leftSection={<Icon name="search" size={16} />}
        />
        <ul className="plain find-list" ref={list}>
          {pages.map((page) => (
            <li key={page.to}>
              <Link to={page.to} onClick={close}>
                <Icon name={page.icon} /> {page.title}
              </Link>
            </li>
          ))}
          {found.map((course) => (
            <li key={course.course_id}>
              <Link to="/catalog/$slug" params={{ slug: course.slug }} onClick={close}>
                <Icon name="catalog" /> {course.title}
              </Link>
            </li>
          ))}
        </ul>
        {error && <Failure error={error} retry={() => void refetch()} />}
        {!error && pages.length + found.length === 0 && (
          <p className="soft" role="status">
            {isPending ? "Looking through the courses …" : "Nothing is called that."}
          </p>
        )}
      </div>
    </Modal>
  );
}
