// The module under Node: does what a job on stdin says, and prints what came of it as JSON.
import fs from "node:fs";

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const { EeRefError, Model, Resampler, hasVectors, readWav, resampled } = await import(job.module);
const bytes = (name) => fs.readFileSync(name);
const floats = (name) => {
  const data = bytes(name);
  return new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
};
const plain = (samples) => Array.from(samples);

const jobs = {
  // The events and rows of a stream, of samples in slices.
  async stream({ kernels, image, phrases, samples, options, sizes }) {
    const model = await Model.open(bytes(image), { kernels: bytes(kernels) });
    if (phrases) model.setPhrases(bytes(phrases));
    const all = floats(samples);
    const found = { events: [], rows: [] };
    const stream = model.stream(options);
    const take = ({ events, rows }) => {
      found.events.push(...events);
      found.rows.push(...rows);
    };
    for (let at = 0, n = 0; at < all.length; at += sizes[n++ % sizes.length]) {
      take(stream.feed(all.subarray(at, at + sizes[n % sizes.length])));
    }
    take(stream.finish());
    return { ...found, milliseconds: stream.milliseconds, kernels: model.kernels,
             exits: model.exits, sampleRate: model.sampleRate };
  },
  // The error of each wrong use.
  async errors({ kernels, image, other, cut, noise, phrases }) {
    const given = { kernels: bytes(kernels) };
    const model = await Model.open(bytes(image), given);
    const nothing = new Float32Array(0);
    const over = model.stream();
    over.finish();
    const replaced = model.stream();
    model.stream();
    const uses = {
      cut: () => Model.open(bytes(cut), given),
      noise: () => Model.open(bytes(noise), given),
      limit: () => Model.open(bytes(image), { ...given, limit: 1e6 }),
      kernels: () => Model.open(bytes(image), { kernels: bytes(noise) }),
      phrases: () => model.setPhrases(bytes(noise)),
      "phrases of another model": async () =>
        (await Model.open(bytes(other), given)).setPhrases(bytes(phrases)),
      "no phrases": () => model.stream({ phrases: true }),
      view: () => model.stream({ view: { left: 0, hop: 0, ahead: 0 } }),
      entropy: () => model.stream({ entropy: NaN }),
      over: () => over.feed(nothing),
      replaced: () => replaced.feed(nothing),
      nan: () => model.stream().feed(new Float32Array([0, NaN])),
      rate: () => new Resampler(44100.5, 16000),
    };
    const found = {};
    for (const [name, use] of Object.entries(uses)) {
      try {
        await use();
        found[name] = null;
      } catch (error) {
        found[name] = error instanceof EeRefError ? error.message : `${error.stack}`;
      }
    }
    return found;
  },
  // Memory that no engine gives.
  async place({ kernels }) {
    const imports = Object.fromEntries(
      ["word", "slot", "heard", "rows", "now"].map((name) => [name, () => 0]));
    const { instance } = await WebAssembly.instantiate(bytes(kernels), { page: imports });
    return [2 ** 32 - 1, 2 ** 32 - 2 ** 17, 2 ** 20].map(
      (size) => instance.exports.place_image(size) >>> 0);
  },
  vectors: () => hasVectors(),
  wav: ({ files }) => files.map((name) => {
    const found = readWav(bytes(name));
    return found && { rate: found.rate, samples: plain(found.samples) };
  }),
  // A recording at another rate, as a whole and in pieces.
  resample({ samples, from, to, sizes }) {
    const all = floats(samples);
    const resampler = new Resampler(from, to);
    const pieces = [];
    for (let at = 0, n = 0; at < all.length; at += sizes[n++ % sizes.length]) {
      pieces.push(...resampler.feed(all.subarray(at, at + sizes[n % sizes.length])));
    }
    pieces.push(...resampler.finish());
    return { whole: plain(resampled(all, from, to)), pieces };
  },
};

process.stdout.write(JSON.stringify(await jobs[job.do](job)));
