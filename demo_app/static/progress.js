// @ts-check
/**
 * Receive every message of one Redis channel, once and in order, through a
 * Webdis WebSocket. Depends on nothing; lift it into your own project.
 *
 * Redis forgets what is published while nobody listens. So this subscribes,
 * *then* asks `replay` for everything after the last sequence number that it has
 * delivered, and does both again after every lost connection.
 *
 * @typedef {{seq: number, ts: string, kind: string, text: string}} ProgressEvent
 * @typedef {"connecting"|"connected"|"disconnected"} State
 *
 * @param {object} options
 * @param {string} options.url WebSocket of Webdis, ending in `/.json`
 * @param {string} options.channel name of the Redis channel
 * @param {number} options.after sequence number of the last message already known
 * @param {(after: number) => Promise<ProgressEvent[]>} options.replay
 *   messages after a sequence number, in order
 * @param {(event: ProgressEvent) => void} options.onEvent called once a message
 * @param {(state: State) => void} options.onState
 * @param {AbortSignal} [options.signal] ends the subscription
 */
export function subscribe({ url, channel, after, replay, onEvent, onState, signal }) {
  const firstDelayMilliseconds = 250;
  const longestDelayMilliseconds = 5000;
  const acknowledgementMilliseconds = 5000;
  let delayMilliseconds = firstDelayMilliseconds;
  let last = after;

  /** @param {ProgressEvent} event */
  const deliver = (event) => {
    if (event.seq <= last) return; // replayed and pushed: once is enough
    last = event.seq;
    onEvent(event);
  };

  const open = () => {
    if (signal?.aborted) return;
    onState("connecting");
    const socket = new WebSocket(url);
    /** @type {ProgressEvent[] | null} pushed while a replay is under way */
    let waiting = null;
    let ended = false;

    const close = () => {
      ended = true;
      clearTimeout(acknowledgement);
      signal?.removeEventListener("abort", close);
      socket.close();
    };
    const lost = () => {
      if (ended) return;
      close();
      onState("disconnected");
      // Full jitter: all browsers lose a restarted server in the same moment.
      setTimeout(open, Math.random() * delayMilliseconds);
      delayMilliseconds = Math.min(delayMilliseconds * 2, longestDelayMilliseconds);
    };
    const catchUp = async () => {
      waiting = [];
      for (const event of await replay(last)) deliver(event);
      if (ended) return;
      for (const event of waiting) deliver(event);
      waiting = null;
    };
    const acknowledgement = setTimeout(lost, acknowledgementMilliseconds);

    signal?.addEventListener("abort", close);
    socket.onopen = () => socket.send(JSON.stringify(["SUBSCRIBE", channel]));
    socket.onclose = lost;
    socket.onmessage = ({ data }) => {
      if (ended) return;
      // The outer key is the verb that the client typed: only the array counts.
      // When its Redis goes away, Webdis keeps the socket open and sends plain
      // text once, so whatever is not expected is a lost connection.
      try {
        const [kind, name, payload] = /** @type {any[]} */ (Object.values(JSON.parse(data))[0]);
        if (name !== channel) throw new Error("another channel");
        if (kind === "subscribe") {
          clearTimeout(acknowledgement);
          delayMilliseconds = firstDelayMilliseconds;
          catchUp().then(() => ended || onState("connected"), lost);
        } else if (kind === "message") {
          const event = JSON.parse(payload);
          if (waiting) waiting.push(event);
          else if (event.seq > last + 1) catchUp().catch(lost); // it brings this one too
          else deliver(event);
        } else throw new Error("an unknown kind");
      } catch {
        lost();
      }
    };
  };
  open();
}
