import type { ReactNode } from "react";

/** Wide tables scroll in here, by keyboard too. */
export function Scroller({ label, card, children }: { label: string; card?: boolean; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className={card ? "card scroll" : "scroll"} aria-label={`${label}, table`} tabIndex={0}>
      {children}
    </section>
  );
}
