// @ts-check
/**
 * Receive the messages of one Redis channel through a Webdis WebSocket.
 *
 * @param {{url: string, channel: string, onEvent: (event: any) => void,
 *          onState: (state: "connecting"|"connected"|"disconnected") => void}} options
 */
export function subscribe({ url, channel, onEvent, onState }) {
  let delay = 250;
  const open = () => {
    onState("connecting");
    const socket = new WebSocket(url);
    const lost = () => {
      socket.onclose = socket.onmessage = null;
      socket.close();
      onState("disconnected");
      setTimeout(open, Math.random() * (delay = Math.min(delay * 2, 5000)));
    };
    socket.onopen = () => socket.send(JSON.stringify(["SUBSCRIBE", channel]));
    socket.onclose = lost;
    socket.onmessage = ({ data }) => {
      // The outer key is the verb that the client typed: only the array counts.
      // After its Redis is gone, Webdis keeps the socket open and sends plain
      // text once, so whatever is not expected is a lost connection.
      try {
        const [kind, name, payload] = /** @type {any[]} */ (Object.values(JSON.parse(data))[0]);
        if (name !== channel) throw new Error("another channel");
        if (kind === "subscribe") {
          delay = 250;
          onState("connected");
        } else if (kind === "message") {
          onEvent(JSON.parse(payload));
        } else throw new Error("an unknown kind");
      } catch {
        lost();
      }
    };
  };
  open();
}
