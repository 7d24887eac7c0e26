// What wasm/start.c imports: files, console and arguments of Node.
//
//   node port.mjs PROGRAM.wasm [ARGUMENT...]
//
// A trap ends the program with a line on the console and status 70, as a fault does on a board.
import fs from "node:fs";

const FAULT_STATUS = 70;
const LATER = new Int32Array(new SharedArrayBuffer(4));
const program = fs.readFileSync(process.argv[2]);
const given = process.argv.slice(2);
const text = new TextDecoder();
let memory;

const bytesAt = (at, bytes) => new Uint8Array(memory.buffer, at, bytes);

// The bytes that were read or written, all unless the other end is gone. A pipe that Node made
// non-blocking has none at times.
function moved(some, file, data) {
  let done = 0;
  while (done < data.length) {
    try {
      const now = some(file, data, done, data.length - done);
      if (now === 0) break;
      done += now;
    } catch (error) {
      if (error.code === "EOF" || error.code === "EPIPE") break;
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(LATER, 0, 0, 1);
    }
  }
  return done === data.length ? 1 : 0;
}

const port = {
  print: (at, bytes) => moved(fs.writeSync, 1, bytesAt(at, bytes)),
  exit: (status) => process.exit(status),
  open(at, bytes, writes) {
    const name = text.decode(bytesAt(at, bytes));
    if (name === "/dev/stdin") return 0;
    if (name === "/dev/stdout") return 1;
    try {
      return fs.openSync(name, writes ? "w" : "r");
    } catch {
      return -1;
    }
  },
  file_bytes: (file) => fs.fstatSync(file).size,
  read: (file, at, bytes) => moved(fs.readSync, file, bytesAt(at, bytes)),
  write: (file, at, bytes) => moved(fs.writeSync, file, bytesAt(at, bytes)),
  close: (file) => fs.closeSync(file),
  program_bytes: () => program.length,
  argument(number, at, capacity) {
    if (number >= given.length) return -1;
    const bytes = new TextEncoder().encode(`${given[number]}\0`);
    if (bytes.length > capacity) return -1;
    bytesAt(at, bytes.length).set(bytes);
    return bytes.length - 1;
  },
};

const { instance } = await WebAssembly.instantiate(program, { port });
memory = instance.exports.memory;
try {
  process.exitCode = instance.exports.start();
} catch (error) {
  if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  fs.writeSync(1, `\nfault: ${error.message}\n`);
  process.exitCode = FAULT_STATUS;
}
