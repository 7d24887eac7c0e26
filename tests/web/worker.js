// The program of a port, kernels/ports/wasm/start.c, in a worker of a page: what it prints and
// sends goes to the page's server, which it also reads from.
"use strict";

const text = new TextDecoder();
const given = ["conformance", ...JSON.parse(self.name)];
let memory;
let coming = new Uint8Array(0); // bytes that were not read yet
let going = []; // and those that were not sent: they go when the program waits for an answer

// A request that waits for its answer; null when there will be none.
function asked(path, body) {
  const request = new XMLHttpRequest();
  request.open("POST", path, false);
  request.responseType = "arraybuffer";
  request.send(body);
  return request.status === 200 ? new Uint8Array(request.response) : null;
}

function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  pieces.reduce((at, piece) => (all.set(piece, at), at + piece.length), 0);
  return all;
}

const bytesAt = (at, bytes) => new Uint8Array(memory.buffer, at, bytes);
const port = {
  print: (at, bytes) => asked("/print", bytesAt(at, bytes).slice()),
  exit(status) { throw new Error(`exit ${status}`); },
  open: (at, bytes) => (text.decode(bytesAt(at, bytes)) === "/dev/stdin" ? 0 : 1),
  file_bytes: () => -1,
  read(file, at, bytes) {
    while (coming.length < bytes) {
      const more = asked("/exchange", joined(going.splice(0)));
      if (more === null) return 0;
      coming = joined([coming, more]);
    }
    bytesAt(at, bytes).set(coming.subarray(0, bytes));
    coming = coming.subarray(bytes);
    return 1;
  },
  write(file, at, bytes) {
    going.push(bytesAt(at, bytes).slice());
    return 1;
  },
  close() {},
  program_bytes: () => 0,
  argument(number, at, capacity) {
    if (number >= given.length) return -1;
    return new TextEncoder().encodeInto(`${given[number]}\0`, bytesAt(at, capacity)).written - 1;
  },
};

WebAssembly.instantiateStreaming(fetch("/conformance.wasm"), { port }).then(({ instance }) => {
  memory = instance.exports.memory;
  instance.exports.start();
  asked("/last", joined(going));
});
