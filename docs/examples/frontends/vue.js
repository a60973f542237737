import { createApp, h, onUnmounted, shallowRef, triggerRef } from "vue";
import { follow } from "webdis-progress";

/** Follow a run for as long as the component is on the page. */
export function useRun({ url, channel, replay }) {
  const stop = new AbortController();
  const onChange = () => triggerRef(run);
  const onError = (error) => console.warn(error.message);
  // Shallow: the run has private fields, which Vue's proxies cannot reach.
  const run = shallowRef(follow({ url, channel, replay, signal: stop.signal, onChange, onError }));
  onUnmounted(() => stop.abort());
  return run;
}

const RunView = {
  props: ["url", "channel", "replay"],
  setup(source) {
    const run = useRun(source);
    return () => {
      const { state, percent, text, connection, messages } = run.value;
      const line = ({ kind, seq, text }) =>
        h("li", { key: `${kind} ${seq}` }, text ?? "Earlier messages are not shown.");
      return [
        h("p", [h("progress", { max: 100, value: percent, "aria-label": "Progress" }), ` ${state}: ${text}`]),
        h("p", { role: "status" }, connection),
        h("ol", messages.map(line)),
      ];
    };
  },
};

const place = document.getElementById("run");
createApp(RunView, { ...place.dataset }).mount(place);
