import type { ReactNode } from "react";

interface Props {
  label: string;
  card?: boolean;
  tall?: boolean;
  children: ReactNode;
}

/** Wide and tall tables scroll in here, by keyboard too. */
export function Scroller({ label, card, tall, children }: Props) {
  const look = `scroll ${card ? "card" : ""} ${tall ? "tall" : ""}`;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className={look} aria-label={`${label}, table`} tabIndex={0}>
      {children}
    </section>
  );
}
