/** A course's own picture, drawn from its name: the same one wherever the course is met. */
const PATTERNS = [
  // A colonnade, rings, stairs, waves.
  "M8 64V36a20 20 0 0 1 40 0v28M20 64V38a8 8 0 0 1 16 0v26",
  "M28 8a24 24 0 1 1 0 48 24 24 0 0 1 0-48ZM28 20a12 12 0 1 1 0 24 12 12 0 0 1 0-24Z",
  "M0 56h14V42h14V28h14V14h14",
  "M0 20q14-14 28 0t28 0M0 38q14-14 28 0t28 0M0 56q14-14 28 0t28 0",
];
const HUES = ["ember", "pine", "ochre", "plum", "sky"];

/** FNV-1a: near names get colours that are not near. */
const hash = (text: string) =>
  [...text].reduce(
    (sum, letter) => Math.imul(sum ^ (letter.codePointAt(0) ?? 0), 16777619) >>> 0,
    2166136261,
  );

export function Cover({ of, tall }: { of: string; tall?: boolean }) {
  const number = hash(of);
  const repeats = tall ? 14 : 5;
  return (
    <div className={`cover ${HUES[number % HUES.length]} ${tall ? "tall" : ""}`}>
      <svg
        viewBox={`0 0 ${56 * repeats} 64`}
        preserveAspectRatio="xMaxYMax slice"
        fill="none"
        stroke="currentColor"
        aria-hidden="true"
      >
        {Array.from({ length: repeats }, (_, i) => (
          <path
            // biome-ignore lint/suspicious/noArrayIndexKey: one shape, repeated
            key={i}
            d={PATTERNS[(number >>> 8) % PATTERNS.length]}
            transform={`translate(${i * 56} 0)`}
            strokeWidth="4"
          />
        ))}
      </svg>
    </div>
  );
}
