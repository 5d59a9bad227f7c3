import { ActionIcon, AppShell, Burger, Button } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { useQueryClient, useSuspenseQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef } from "react";
import { signOut } from "../api/identity";
import { pagesFor } from "../pages";
import { meQuery } from "../queries";
import { Icon } from "./Icon";
import { SchemeButton } from "./SchemeButton";
import { PageLoading } from "./States";

const loadFind = () => import("./Find");
const Find = lazy(() => loadFind().then((m) => ({ default: m.Find })));

export function Brand() {
  return (
    <Link to="/" className="brand">
      <img src="/mark.svg" alt="" width={28} height={28} />
      Lyceum
    </Link>
  );
}

export function Shell() {
  const me = useSuspenseQuery(meQuery).data;
  const [menu, { toggle, close }] = useDisclosure(false);
  const [finding, find] = useDisclosure(false);
  const navigate = useNavigate();
  const client = useQueryClient();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useHotkeys([["mod+K", find.open]], []);
  // Once the page is there: who presses ⌘K types on at once, and what comes before the dialog is lost.
  useEffect(() => void loadFind(), []);

  // A new page starts at its top for screen readers and keyboards too.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the page changes
  useEffect(() => {
    close();
    if (first.current) first.current = false;
    else main.current?.focus({ preventScroll: true });
  }, [path]);

  const leave = async () => {
    await signOut();
    await navigate({ to: "/sign-in" });
    client.clear();
  };

  return (
    <AppShell
      header={{ height: 60 }}
      navbar={{ width: 248, breakpoint: "md", collapsed: { mobile: !menu } }}
      padding={{ base: "md", md: "xl" }}
    >
      <AppShell.Header>
        <div className="top">
          <a className="skip" href="#main">
            Skip to the content
          </a>
          <Burger
            opened={menu}
            onClick={toggle}
            hiddenFrom="md"
            size="sm"
            aria-expanded={menu}
            aria-label={menu ? "Close the menu" : "Open the menu"}
          />
          <Brand />
          <div className="grow" />
          <Button
            variant="default"
            onClick={find.open}
            visibleFrom="sm"
            leftSection={<Icon name="search" size={16} />}
            rightSection={<span className="kbd">⌘K</span>}
          >
            Find
          </Button>
          <ActionIcon variant="default" size={40} onClick={find.open} hiddenFrom="sm" aria-label="Find">
            <Icon name="search" size={18} />
          </ActionIcon>
          <SchemeButton />
        </div>
      </AppShell.Header>
      <AppShell.Navbar>
        <nav className="nav" aria-label="Main">
          {pagesFor(me.roles).map((group) => (
            <div key={group.title}>
              {group.title && <div className="nav-title">{group.title}</div>}
              {group.pages.map((page) => (
                <Link key={page.to} to={page.to} activeOptions={{ exact: page.to === "/" }}>
                  <Icon name={page.icon} />
                  {page.title}
                </Link>
              ))}
            </div>
          ))}
          <div className="nav-me">
            <div className="small">
              <strong>{me.display_name}</strong>
              <div className="soft">{me.job_title || me.email}</div>
              <div className="soft">{me.tenant_name}</div>
            </div>
            <Button variant="default" size="xs" onClick={leave} leftSection={<Icon name="out" size={16} />}>
              Sign out
            </Button>
          </div>
        </nav>
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1} style={{ outline: "none" }}>
        <Suspense fallback={<PageLoading />}>
          <Outlet />
        </Suspense>
      </AppShell.Main>
      {finding && (
        <Suspense fallback={null}>
          <Find close={find.close} roles={me.roles} />
        </Suspense>
      )}
    </AppShell>
  );
}
