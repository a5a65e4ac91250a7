// No-op jobs through BullMQ: one process, one worker, the jobs waiting before it begins. Prints jobs a second.
// Arguments: the socket of a Redis, how many jobs, how many at once.
import { createRequire } from "node:module";

// The packages lie in the working directory, not beside this file.
const { Queue, Worker } = createRequire(`${process.cwd()}/`)("bullmq");

const [path, jobs, concurrency] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const connection = { path, maxRetriesPerRequest: null };
const queue = new Queue("peer", { connection });
for (let made = 0; made < jobs; made += 1000) {
  const batch = Array.from({ length: Math.min(1000, jobs - made) }, () => ({ name: "noop", data: {} }));
  await queue.addBulk(batch);
}
let done = 0;
const began = performance.now();
await new Promise((resolve, reject) => {
  const worker = new Worker("peer", async () => {}, { connection, concurrency });
  worker.on("completed", () => ++done === jobs && resolve());
  worker.on("failed", (_, error) => reject(error));
});
console.log((jobs / (performance.now() - began)) * 1000);
process.exit(0);
