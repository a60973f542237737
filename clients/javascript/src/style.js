/** The look of `<run-progress>`; the custom properties are what pages may set. */
export const css = `
:host {
  --_accent: var(--run-progress-accent, light-dark(#1d4ed8, #7aa2ff));
  --_good: var(--run-progress-good, light-dark(#14693a, #6fdc9b));
  --_bad: var(--run-progress-bad, light-dark(#b3241b, #ff9b91));
  --_warn: var(--run-progress-warning, light-dark(#855400, #f0c060));
  --_muted: var(--run-progress-muted, light-dark(#57606a, #a3adb8));
  --_line: var(--run-progress-line, light-dark(#d0d7de, #3d4650));
  --_surface: var(--run-progress-surface, light-dark(#f6f8fa, #1a2027));
  --_radius: var(--run-progress-radius, .4rem);
  display: block;
}
:host([hidden]), [hidden], :host([messages-only]) :is(.run, .pace) { display: none; }
* { box-sizing: border-box; }
p, ul, ol { margin: 0; padding: 0; list-style: none; }
/* Nothing that is said may move what stands beside it: texts begin where they began. */
.line, p.muted, .tools, ::slotted([slot]) { margin-bottom: .6rem; }
.run .line, .pace { margin-bottom: .3rem; }
.line, .tools { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; }
#text { display: block; overflow-wrap: anywhere; min-height: 1.5em; line-height: 1.5; margin-top: .3rem; }
#percent, .percent, time { font-variant-numeric: tabular-nums; }
.muted, time, .percent { color: var(--_muted); font-size: .875em; }
#status { flex: 1 1 auto; }
#percent, .percent { min-width: 3.2em; text-align: end; white-space: nowrap; }
.pace { font-variant-numeric: tabular-nums; min-height: 1.5em; gap: .3rem 1.5rem; }
.pace > :first-child { min-width: 5em; }
#state::before {
  content: ""; display: inline-block; width: .6em; height: .6em; margin-inline-end: .4em;
  border-radius: 50%; background: var(--_muted);
}
#state[data-state=connected]::before { background: var(--_good); }
#state[data-state=polling]::before, #state[data-state=connecting]::before { background: var(--_warn); }
#state[data-state=disconnected]::before, #state[data-state=refused]::before { background: var(--_bad); }
#state[data-state=disconnected], #state[data-state=refused] { color: var(--_bad); font-weight: 600; }
#state[data-state=paused]::before { background: none; outline: 2px solid var(--_warn); outline-offset: -2px; }
#state[data-state=paused] { color: var(--_warn); font-weight: 600; }
#status, .status { color: var(--_muted); }
:host([state=running]) #status, [data-state=running] .status { color: var(--_accent); }
:host([state=done]) #status, [data-state=done] .status, [data-kind=done] .text { color: var(--_good); }
:host([state=failed]) #status, [data-state=failed] .status,
[data-kind=failed] .text, [data-level=error] .text { color: var(--_bad); }
[data-level=warning] .text, [data-state="cut off"] .status, [data-state=cancelled] .status { color: var(--_warn); }
[data-level=debug] .text { color: var(--_muted); }
#status, .status { font-weight: 600; }
.bar {
  height: .75rem; overflow: hidden; border-radius: 1rem; background: var(--_line);
  --_fill: var(--_accent);
}
.bar i { display: block; height: 100%; width: 0; background: var(--_fill); transition: width .2s; }
:host([state=done]) .run .bar, [data-state=done] .bar { --_fill: var(--_good); }
:host([state=failed]) .run .bar, [data-state=failed] .bar { --_fill: var(--_bad); }
:host([state=cancelled]) .run .bar, [data-state="cut off"] .bar { --_fill: var(--_muted); }
.unknown {
  background: repeating-linear-gradient(-45deg, var(--_accent) 0 .5rem, var(--_line) .5rem 1rem) 0 / 200% 100%;
  animation: 20s linear infinite unknown;
}
@keyframes unknown { to { background-position: -200% 0; } }
ul, ol {
  overflow: auto; overflow-anchor: none; border: 1px solid var(--_line); border-radius: var(--_radius);
  background: var(--_surface); padding: .3rem .6rem;
}
ul { max-height: var(--run-progress-tasks-height, 20rem); margin-bottom: .6rem; }
:host([tasks]) .tasks { display: block; }
:host([tasks]) ul { height: var(--run-progress-tasks-height, 20rem); }
ol { height: var(--run-progress-log-height, 16rem); }
ol:empty::before { content: attr(data-empty); color: var(--_muted); }
.counts { margin-bottom: .3rem; font-weight: 600; min-height: 1.5em; }
ul li {
  display: grid; gap: 0 .8rem; align-items: center; padding: .25rem 0;
  grid-template-columns: minmax(5rem, 8rem) 5rem minmax(5rem, 1fr) 3.5rem minmax(3rem, 2fr);
}
ul li > * { min-width: 0; overflow-wrap: anywhere; }
ul .bar { height: .5rem; }
ol li { display: flex; gap: .6rem; align-items: baseline; padding: .1rem 0; }
ol .text { min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
ol b, time { flex: none; }
ol b { max-width: 40%; overflow-wrap: anywhere; }
input, select, button {
  font: inherit; font-size: .875em; color: inherit; background: var(--_surface);
  border: 1px solid var(--_muted); border-radius: var(--_radius); padding: .3em .6em; min-height: 2rem;
}
::placeholder { color: var(--_muted); opacity: 1; }
input { flex: 1 1 8rem; min-width: 0; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 1px; }
.hidden, textarea { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 40rem) {
  #text { min-height: 3em; }
  .pace { display: grid; gap: 0; min-height: 3em; grid-auto-rows: 1.5em; }
  ul li { grid-template-columns: 1fr auto 3.5rem; }
  ul .bar, ul .text { grid-column: 1 / -1; grid-row: 2; }
  ul .text { grid-row: 3; }
  .tools input { flex-basis: 100%; }
  .tools select { flex: 1 1 4rem; min-width: 0; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .bar { border: 1px solid; --_fill: Highlight; forced-color-adjust: none; } }
`;
