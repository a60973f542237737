import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { follow, Run } from "webdis-progress";

/** Follow a run for as long as the component is on the page. */
export function useRun({ url, channel, replay }) {
  // The run stays the same object and changes; React has to be given another one to notice.
  const [shown, setShown] = useState(() => ({ run: new Run() }));
  useEffect(() => {
    const stop = new AbortController();
    const onChange = (run) => setShown({ run });
    const onError = (error) => console.warn(error.message);
    follow({ url, channel, replay, signal: stop.signal, onChange, onError });
    return () => stop.abort();
  }, [url, channel, replay]);
  return shown.run;
}

function RunView(source) {
  const { state, percent, text, connection, messages } = useRun(source);
  return (
    <section>
      <p>
        <progress max="100" value={percent ?? undefined} aria-label="Progress" /> {state}: {text}
      </p>
      <p role="status">{connection}</p>
      <ol>
        {messages.map(({ kind, seq, text }) => (
          <li key={`${kind} ${seq}`}>{text ?? "Earlier messages are not shown."}</li>
        ))}
      </ol>
    </section>
  );
}

const place = document.getElementById("run");
createRoot(place).render(<RunView {...place.dataset} />);
