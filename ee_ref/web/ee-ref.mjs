// ee-ref.mjs: early-exit speech recognition in the browser, or in Node. ee-ref.d.mts is its
// documentation.
//
//   Model, Stream    the C library (kernels/ports/wasm/web.c) on the calling thread
//   Recogniser       the same in a worker, for pages, with files and the microphone
//
// The module is also the script of that worker and of the audio worklet: the end of this file.

const WORKER = "ee-ref";
const SHARE = 1 / 2; // of a second of a recording, that is fed at a time
const MOST_WAITING = 60; // seconds of audio that may wait for a slow machine
const MOST_FILE_BYTES = 2 ** 29;

export class EeRefError extends Error {
  constructor(message) {
    super(message);
    this.name = "EeRefError";
  }
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;

// ---- The C library ----

// A module of one function that splats a vector.
const VECTORS = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

export const hasVectors = () => WebAssembly.validate(VECTORS);

const kernelsHere = () => new URL(
  `./ee-ref-${hasVectors() ? "simd128" : "portable"}.wasm`, import.meta.url);

// A file of this site, whole. Its length is known before it is taken into memory where the server
// tells it.
async function fetched(url, what, limit = Infinity, onprogress = () => {}) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new EeRefError(`${what}: ${url} cannot be loaded: ${error.message}`);
  }
  if (!response.ok) {
    throw new EeRefError(`${what}: ${url} cannot be loaded: ${response.status}`
      + ` ${response.statusText}`);
  }
  const length = response.headers.has("Content-Encoding")
    ? 0 : Number(response.headers.get("Content-Length") ?? 0);
  const tooLarge = (bytes) => {
    throw new EeRefError(`${what}: expected at most ${megabytes(limit)}, found ${megabytes(bytes)}:`
      + " more than this tab may take");
  };
  if (length > limit) tooLarge(length);
  // As large as the server says, or growing: no two copies of a large model.
  let data = new Uint8Array(length || 2 ** 20);
  let count = 0;
  try {
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (count + value.length > limit) tooLarge(count + value.length);
      if (count + value.length > data.length) {
        const larger = new Uint8Array(2 * (count + value.length));
        larger.set(data.subarray(0, count));
        data = larger;
      }
      data.set(value, count);
      count += value.length;
      onprogress(count, length);
    }
  } catch (error) {
    if (error instanceof EeRefError) throw error;
    throw new EeRefError(`${what}: ${url} ended after ${megabytes(count)}: ${error.message}`);
  }
  return data.subarray(0, count);
}

const bytesOf = (data) => (ArrayBuffer.isView(data)
  ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));

const isAddress = (source) => typeof source === "string" || source instanceof URL;

async function compiled(kernels) {
  if (kernels instanceof WebAssembly.Module) return kernels;
  const source = kernels ?? kernelsHere();
  const data = isAddress(source) ? await fetched(source, "kernels") : bytesOf(source);
  try {
    return await WebAssembly.compile(data);
  } catch (error) {
    throw new EeRefError(`kernels: not what this engine runs: ${error.message}`);
  }
}

export class Model {
  #c;
  #text = new TextDecoder();
  #event;
  #stream = null;

  static async open(image, { kernels, limit = 2 ** 31, onprogress } = {}) {
    const module = await compiled(kernels);
    const data = isAddress(image)
      ? await fetched(image, "model", limit, onprogress) : bytesOf(image);
    const model = new Model();
    await model.#start(module);
    model.#open(data, limit);
    return model;
  }

  async #start(module) {
    const string = (at) => this.#string(at);
    const page = {
      word: (first, bytes, start, end, confidence) =>
        this.#event.words.push({ first, bytes, start, end, confidence }),
      slot: (name, value) => { this.#event.slots[string(name)] = string(value); },
      heard: (...found) => this.#heard(...found),
      rows: (exit, count) => this.#event.rows.push({ exit, count }),
      now: () => performance.now(),
    };
    this.#clear();
    this.#c = (await WebAssembly.instantiate(module, { page })).exports;
  }

  #clear() {
    this.#event = { events: [], rows: [], words: [], slots: {} };
  }

  #string(at) {
    const bytes = new Uint8Array(this.#c.memory.buffer, at >>> 0); // C's addresses have no sign
    return this.#text.decode(bytes.subarray(0, bytes.indexOf(0)));
  }

  #heard(text, bytes, final, endpoint, exit, start, end, confidence, accepted, intent) {
    const all = new Uint8Array(this.#c.memory.buffer, text >>> 0, bytes);
    const rate = this.sampleRate;
    const { words, slots, events } = this.#event;
    events.push({
      text: this.#text.decode(all), final: !!final, endpoint: !!endpoint, exit,
      start: start / rate, end: end / rate, confidence,
      words: words.map((word) => ({
        word: this.#text.decode(all.subarray(word.first, word.first + word.bytes)),
        start: word.start / rate, end: word.end / rate, confidence: word.confidence,
      })),
      accepted: !!accepted, intent: intent ? this.#string(intent) : null, slots,
    });
    this.#event.words = [];
    this.#event.slots = {};
  }

  #check(status, what) {
    if (status < 0) throw new EeRefError(`${what}: ${this.#string(this.#c.explain(status))}`);
  }

  // Copies data to where C wants it.
  #placed(place, data, what, limit) {
    const at = data.length <= limit ? place(data.length) >>> 0 : 0;
    if (at === 0) {
      throw new EeRefError(`${what}: needs ${megabytes(data.length)}, more than this tab may take`);
    }
    new Uint8Array(this.#c.memory.buffer, at, data.length).set(data);
    return at;
  }

  #open(data, limit) {
    const at = this.#placed(this.#c.place_image, data, "model", limit);
    this.#check(this.#c.open_image(at, data.length), `model of ${megabytes(data.length)}`);
  }

  setPhrases(section) {
    this.#close();
    const data = bytesOf(section);
    const at = this.#placed(this.#c.place_phrases, data, "phrases", 2 ** 31);
    this.#check(this.#c.open_phrases(at, data.length),
                "phrases (ee-ref phrases compile writes them, for one model)");
  }

  get sampleRate() { return this.#c.sample_rate(); }
  get exits() { return this.#c.exits(); }
  get kernels() { return this.#string(this.#c.isa_name()); }
  get hasPhrases() { return !!this.#c.has_phrases(); }
  get memoryBytes() { return this.#c.memory.buffer.byteLength; }

  #close() {
    if (this.#stream) this.#stream.closed = true;
    this.#stream = null;
  }

  stream({
    entropy, exit = entropy === undefined ? this.exits : 0,
    view = { left: 96, hop: 6, ahead: 10 }, after = 20, longest = 500, phrases = this.hasPhrases,
  } = {}) {
    if (phrases && !this.hasPhrases) throw new EeRefError("phrases: expected some, found none");
    this.#close();
    this.#clear();
    this.#check(this.#c.open_stream(exit, entropy ?? 0, view.left, view.hop, view.ahead, after,
                                    longest, phrases ? 1 : 0), "stream");
    const state = { closed: false };
    this.#stream = state;
    const c = this.#c;
    const most = c.most_samples();
    const found = (status) => {
      const { events, rows } = this.#event;
      this.#clear();
      this.#check(status, "stream");
      return { events, rows };
    };
    const need = () => {
      if (state.closed) throw new EeRefError("stream: over, another was opened or it was finished");
    };
    return {
      feed: (samples) => {
        need();
        let status = 0;
        for (let at = 0; at < samples.length && status === 0; at += most) {
          const some = samples.subarray(at, at + most);
          new Float32Array(c.memory.buffer, c.sample_buffer(), some.length).set(some);
          status = c.feed(some.length);
        }
        return found(status);
      },
      finish: () => {
        need();
        this.#close();
        return found(c.finish());
      },
      get milliseconds() {
        return Array.from({ length: c.exits() + 1 }, (_, at) => c.milliseconds(at));
      },
    };
  }
}

// ---- Audio ----

// The samples of a WAV file of 16-bit PCM as ee_ref reads them, channels averaged; null for others,
// which the browser decodes.
export function readWav(data) {
  const { buffer, byteOffset, length } = bytesOf(data);
  const view = new DataView(buffer, byteOffset, length);
  const tag = (at) => (at + 4 <= view.byteLength ? view.getUint32(at) : 0);
  if (tag(0) !== 0x52494646 || tag(8) !== 0x57415645) return null;
  let channels = 0, rate = 0;
  for (let at = 12; at + 8 <= view.byteLength;) {
    const bytes = view.getUint32(at + 4, true);
    const body = at + 8;
    if (tag(at) === 0x666d7420 && body + 16 <= view.byteLength) {
      if (view.getUint16(body, true) !== 1 || view.getUint16(body + 14, true) !== 16) return null;
      channels = view.getUint16(body + 2, true);
      rate = view.getUint32(body + 4, true);
    } else if (tag(at) === 0x64617461) {
      if (channels === 0 || rate === 0) return null;
      const there = Math.min(bytes, view.byteLength - body);
      const samples = new Float32Array(Math.floor(there / (2 * channels)));
      for (let t = 0; t < samples.length; t++) {
        let sum = 0;
        const at = body + 2 * t * channels;
        for (let c = 0; c < channels; c++) sum += view.getInt16(at + 2 * c, true);
        samples[t] = sum / channels / 32768;
      }
      return { samples, rate };
    }
    at = body + bytes + bytes % 2;
  }
  return null;
}

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

// The Bessel function I0, by its series.
function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

// Polyphase resampling with the filter of scipy.signal.resample_poly, a sinc in a Kaiser window, of
// samples that come in pieces.
export class Resampler {
  #up;
  #down;
  #half;
  #filter;
  #kept = new Float32Array(0);
  #first = 0; // input sample that is kept first
  #fed = 0;
  #made = 0;

  constructor(from, to) {
    if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 8000 && to > 0)) {
      throw new EeRefError(`sample rate: expected whole numbers, 8000 or more, found ${from}`);
    }
    const common = divisor(from, to);
    this.#up = to / common;
    this.#down = from / common;
    const widest = Math.max(this.#up, this.#down);
    this.#half = from === to ? 0 : 10 * widest;
    const filter = Float64Array.from({ length: 2 * this.#half + 1 }, (_, i) => {
      const n = i - this.#half;
      const x = Math.PI * n / widest;
      const inside = n / Math.max(this.#half, 1);
      return (n === 0 ? 1 : Math.sin(x) / x) * bessel(5 * Math.sqrt(1 - inside * inside));
    });
    const gain = this.#up / filter.reduce((a, b) => a + b, 0);
    this.#filter = filter.map((h) => h * gain);
  }

  feed(samples) {
    const kept = new Float32Array(this.#kept.length + samples.length);
    kept.set(this.#kept);
    kept.set(samples, this.#kept.length);
    this.#kept = kept;
    this.#fed += samples.length;
    // Output m reads inputs up to (m down + half) / up.
    return this.#until(Math.floor(((this.#fed - 1) * this.#up - this.#half) / this.#down) + 1);
  }

  finish() {
    return this.#until(Math.ceil(this.#fed * this.#up / this.#down));
  }

  #until(end) {
    const out = new Float32Array(Math.max(0, end - this.#made));
    for (let i = 0; i < out.length; i++) {
      const centre = (this.#made + i) * this.#down;
      const low = Math.max(0, Math.ceil((centre - this.#half) / this.#up));
      const high = Math.min(this.#fed - 1, Math.floor((centre + this.#half) / this.#up));
      let sum = 0;
      for (let k = low; k <= high; k++) {
        sum += this.#kept[k - this.#first] * this.#filter[centre - k * this.#up + this.#half];
      }
      out[i] = sum;
    }
    this.#made += out.length;
    const needed = Math.ceil((this.#made * this.#down - this.#half) / this.#up);
    const drop = Math.min(this.#kept.length, Math.max(0, needed - this.#first));
    this.#kept = this.#kept.slice(drop);
    this.#first += drop;
    return out;
  }
}

// A whole recording at another rate.
export function resampled(samples, from, to) {
  if (from === to) return samples;
  const resampler = new Resampler(from, to);
  const begin = resampler.feed(samples), end = resampler.finish();
  const all = new Float32Array(begin.length + end.length);
  all.set(begin);
  all.set(end, begin.length);
  return all;
}

export async function decode(data, rate) {
  const bytes = bytesOf(data);
  if (bytes.length > MOST_FILE_BYTES) {
    throw new EeRefError(`recording: expected at most ${megabytes(MOST_FILE_BYTES)}, found `
      + megabytes(bytes.length));
  }
  const wav = readWav(bytes);
  if (wav) return resampled(wav.samples, wav.rate, rate);
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice().buffer);
  } catch (error) {
    throw new EeRefError(`recording: expected audio that this browser decodes: ${error.message}`);
  }
  const mono = new Float32Array(decoded.length);
  for (let c = 0; c < decoded.numberOfChannels; c++) {
    decoded.getChannelData(c).forEach((x, t) => { mono[t] += x / decoded.numberOfChannels; });
  }
  return mono;
}

const MICROPHONE = {
  NotAllowedError: "not allowed: allow it for this page in the browser's settings, and try again",
  NotFoundError: "none found",
  NotReadableError: "in use by another program, or switched off",
};

// ---- In a worker ----

export class Recogniser {
  #worker;
  #answers = []; // what waits for one: the worker answers in order
  #failed = null;
  #halt = null; // what stop() calls

  static async open(image, { onprogress = () => {}, ...options } = {}) {
    const recogniser = new Recogniser();
    recogniser.#worker = new Worker(import.meta.url, { type: "module", name: WORKER });
    recogniser.#worker.onmessage = ({ data }) => {
      if (data.progress) onprogress(...data.progress);
      else recogniser.#answered(data);
    };
    recogniser.#worker.onerror = (event) => {
      event.preventDefault();
      recogniser.#fail(new EeRefError(`worker: ${event.message ?? "cannot be started"}`));
    };
    try {
      Object.assign(recogniser, await recogniser.#ask({
        call: "open", image: isAddress(image) ? new URL(image, location.href).href : image, options,
      }));
    } catch (error) {
      recogniser.close(); // the worker, and the memory of what it has loaded
      throw error;
    }
    return recogniser;
  }

  #fail(error) {
    this.#failed = error;
    for (const { reject } of this.#answers.splice(0)) reject(error);
  }

  #answered({ error, value }) {
    const { resolve, reject } = this.#answers.shift();
    if (error === undefined) resolve(value);
    else reject(new EeRefError(error));
  }

  #ask(message, moved = []) {
    if (this.#failed) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      this.#answers.push({ resolve, reject });
      this.#worker.postMessage(message, moved);
    });
  }

  async setPhrases(section) {
    this.hasPhrases = false;
    Object.assign(this, await this.#ask({ call: "phrases", section }));
  }

  // Samples at the rate of the model, a piece at a time, so that words appear as they come; after
  // stop() no more of them.
  async transcribe(samples, options, onheard) {
    await this.#ask({ call: "stream", options });
    const piece = Math.round(SHARE * this.sampleRate);
    let stopped = false;
    this.#halt = () => { stopped = true; };
    try {
      for (let at = 0; at < samples.length && !stopped; at += piece) {
        onheard(await this.#ask({ call: "feed", samples: samples.slice(at, at + piece) }));
      }
      onheard(await this.#ask({ call: "finish" }));
    } finally {
      this.#halt = null;
    }
  }

  // Until stop() is called; then the last words come, and the promise is resolved.
  async listen(options, onheard) {
    if (!navigator.mediaDevices) {
      throw new EeRefError("microphone: browsers give it to pages of https and of localhost alone");
    }
    let media, stopped = false;
    this.#halt = () => { stopped = true; };
    try {
      media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      this.#halt = null;
      throw new EeRefError(`microphone: ${MICROPHONE[error.name] ?? error.message}`);
    }
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(import.meta.url);
      await this.#ask({ call: "stream", options });
      const source = context.createMediaStreamSource(media);
      const tap = new AudioWorkletNode(context, WORKER, { numberOfOutputs: 0 });
      const resampler = new Resampler(context.sampleRate, this.sampleRate);
      let waiting = 0, problem = null;
      await new Promise((resolve) => {
        const give = (samples) => {
          if (samples.length === 0) return;
          waiting += samples.length;
          const count = samples.length;
          this.#ask({ call: "feed", samples }).then((heard) => {
            waiting -= count;
            onheard(heard);
          }).catch((error) => { problem = error; resolve(); });
          if (waiting > MOST_WAITING * this.sampleRate) {
            problem = new EeRefError("this device cannot keep up: an earlier exit may help");
            resolve();
          }
        };
        tap.port.onmessage = ({ data }) => give(resampler.feed(data));
        media.getAudioTracks()[0].onended = () => {
          problem = new EeRefError("microphone: it has gone");
          resolve();
        };
        this.#halt = () => { give(resampler.finish()); resolve(); };
        if (stopped) resolve(); // while the browser was asking for leave
        source.connect(tap);
        context.resume();
      });
      if (!this.#failed) onheard(await this.#ask({ call: "finish" }).catch(() => ({})));
      if (problem) throw problem;
    } finally {
      this.#halt = null;
      media.getTracks().forEach((track) => track.stop());
      await context.close();
    }
  }

  stop() {
    this.#halt?.();
  }

  close() {
    this.stop();
    this.#worker.terminate();
    this.#fail(new EeRefError("closed"));
  }
}

// The worker: one model, one stream.
function serve() {
  let model = null, stream = null;
  const about = () => ({
    sampleRate: model.sampleRate, exits: model.exits, kernels: model.kernels,
    hasPhrases: model.hasPhrases, memoryBytes: model.memoryBytes,
  });
  const heard = (found) => ({ ...found, milliseconds: stream.milliseconds });
  const calls = {
    async open({ image, options }) {
      const onprogress = (...progress) => self.postMessage({ progress });
      model = await Model.open(image, { ...options, onprogress });
      return about();
    },
    phrases({ section }) {
      model.setPhrases(section);
      return about();
    },
    stream({ options }) { stream = model.stream(options); },
    feed: ({ samples }) => heard(stream.feed(samples)),
    finish: () => heard(stream.finish()),
  };
  let before = Promise.resolve();
  self.onmessage = ({ data }) => {
    before = before.then(() => calls[data.call](data)).then(
      (value) => self.postMessage({ value }),
      (error) => self.postMessage({ error: error.message }));
  };
}

// The audio worklet: what the microphone gives, some blocks of 128 samples together.
function tapMicrophone() {
  registerProcessor(WORKER, class extends AudioWorkletProcessor {
    #block = new Float32Array(1024);
    #count = 0;

    process([channels]) {
      for (let t = 0; t < (channels[0]?.length ?? 0); t++) {
        this.#block[this.#count++] =
          channels.reduce((sum, channel) => sum + channel[t], 0) / channels.length;
        if (this.#count === this.#block.length) {
          this.port.postMessage(this.#block);
          this.#count = 0;
        }
      }
      return true;
    }
  });
}

if (typeof registerProcessor === "function") tapMicrophone();
else if (typeof WorkerGlobalScope === "function" && self.name === WORKER) serve();
