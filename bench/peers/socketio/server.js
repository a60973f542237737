// Socket.IO with the Redis Streams adapter and connection state recovery, as their documentation
// shows them. Arguments: REDIS_URL PORT, or REDIS_URL emit CHANNEL TEXT, which publishes once.
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [url, what, channel, text] = process.argv.slice(2);
const redis = createClient({ url });
await redis.connect();
const http = createServer();
const io = new Server(http, { adapter: createAdapter(redis), connectionStateRecovery: {} });
io.on("connection", (socket) => socket.join(socket.handshake.query.channel));

if (what === "emit") {
  io.to(channel).emit("progress", text);
  while (!(await redis.exists("socket.io"))) await setTimeout(10);
  process.exit(0);
}
http.listen(Number(what), "127.0.0.1", 4096);
