/** The look of `<run-progress>`; the custom properties are what pages may set. */
export const css = `
:host {
  --accent: var(--run-progress-accent, light-dark(#1d4ed8, #7aa2ff));
  --good: var(--run-progress-good, light-dark(#14693a, #6fdc9b));
  --bad: var(--run-progress-bad, light-dark(#b3241b, #ff9b91));
  --warn: var(--run-progress-warning, light-dark(#855400, #f0c060));
  --muted: var(--run-progress-muted, light-dark(#57606a, #a3adb8));
  --line: var(--run-progress-line, light-dark(#d0d7de, #3d4650));
  --surface: var(--run-progress-surface, light-dark(#f6f8fa, #1a2027));
  --radius: var(--run-progress-radius, .4rem);
  display: block;
}
:host([hidden]), [hidden], :host([messages-only]) .run { display: none; }
* { box-sizing: border-box; }
p, ul, ol { margin: 0; padding: 0; list-style: none; }
.run, .line, .tools, ::slotted([slot]) { margin-bottom: .6rem; }
.run .line { margin-bottom: .3rem; }
.line, .tools { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; }
#text { flex: 1 1 6rem; min-width: 0; overflow-wrap: anywhere; min-height: 1.5em; }
#percent, .percent, time { font-variant-numeric: tabular-nums; }
.muted, time, .percent { color: var(--muted); font-size: .875em; }
#state { flex: 1 1 auto; }
#state::before {
  content: ""; display: inline-block; width: .6em; height: .6em; margin-inline-end: .4em;
  border-radius: 50%; background: var(--muted);
}
#state[data-state=connected]::before { background: var(--good); }
#state[data-state=polling]::before, #state[data-state=connecting]::before { background: var(--warn); }
#state[data-state=disconnected]::before, #state[data-state=refused]::before { background: var(--bad); }
#status, .status { color: var(--muted); }
:host([state=running]) #status, [data-state=running] .status { color: var(--accent); }
:host([state=done]) #status, [data-state=done] .status, [data-kind=done] .text { color: var(--good); }
:host([state=failed]) #status, [data-state=failed] .status,
[data-kind=failed] .text, [data-level=error] .text { color: var(--bad); }
[data-level=warning] .text, [data-state="cut off"] .status, [data-state=cancelled] .status { color: var(--warn); }
[data-level=debug] .text { color: var(--muted); }
#status, .status { font-weight: 600; }
.bar {
  height: .75rem; overflow: hidden; border-radius: 1rem; background: var(--line);
  --fill: var(--accent);
}
.bar i { display: block; height: 100%; width: 0; background: var(--fill); transition: width .2s; }
:host([state=done]) .run .bar, [data-state=done] .bar { --fill: var(--good); }
:host([state=failed]) .run .bar, [data-state=failed] .bar { --fill: var(--bad); }
:host([state=cancelled]) .run .bar, [data-state="cut off"] .bar { --fill: var(--muted); }
.unknown {
  background: repeating-linear-gradient(-45deg, var(--accent) 0 .5rem, var(--line) .5rem 1rem) 0 / 200% 100%;
  animation: 20s linear infinite unknown;
}
@keyframes unknown { to { background-position: -200% 0; } }
ul, ol {
  overflow: auto; overflow-anchor: none; border: 1px solid var(--line); border-radius: var(--radius);
  background: var(--surface); padding: .3rem .6rem;
}
ul { max-height: var(--run-progress-tasks-height, 20rem); margin-bottom: .6rem; }
ol { height: var(--run-progress-log-height, 16rem); }
.counts { margin-bottom: .3rem; font-weight: 600; }
ul li {
  display: grid; gap: 0 .8rem; align-items: center; padding: .25rem 0;
  grid-template-columns: minmax(6rem, 12rem) 5rem minmax(5rem, 1fr) 3.5rem minmax(0, 2fr);
}
ul li > * { min-width: 0; overflow-wrap: anywhere; }
ul .bar { height: .5rem; }
.percent { text-align: end; }
ol li { display: flex; gap: .6rem; align-items: baseline; padding: .1rem 0; }
ol .text { min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
ol b, time { flex: none; }
ol b { max-width: 40%; overflow-wrap: anywhere; }
input, select, button {
  font: inherit; font-size: .875em; color: inherit; background: var(--surface);
  border: 1px solid var(--muted); border-radius: var(--radius); padding: .3em .6em; min-height: 2rem;
}
::placeholder { color: var(--muted); opacity: 1; }
input { flex: 1 1 8rem; min-width: 0; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.hidden, textarea { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 40rem) {
  ul li { grid-template-columns: 1fr auto 3.5rem; }
  ul .bar, ul .text { grid-column: 1 / -1; grid-row: 2; }
  ul .text { grid-row: 3; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .bar { border: 1px solid; --fill: Highlight; forced-color-adjust: none; } }
`;
