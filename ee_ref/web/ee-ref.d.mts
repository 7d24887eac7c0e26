/**
 * Early-exit speech recognition in the browser, or in Node: the C library of ee_ref in WebAssembly,
 * int8 models alone, without threads and without the network but for the files named here.
 * Times are in seconds; a row is an encoder frame, of 40 ms with the bundled models.
 */

/** What went wrong, in one line: what was expected and what was found. */
export class EeRefError extends Error {}

/** A file's address, or its bytes. */
export type Source = string | URL | ArrayBuffer | ArrayBufferView;

/** Whether this engine has vectors of 128 bits (SIMD128), and so runs the faster kernels. */
export function hasVectors(): boolean;

export interface OpenOptions {
  /** The kernels; without it those that lie beside this module and that the engine runs. Node has
   * to be given their bytes. */
  kernels?: Source | WebAssembly.Module;
  /** Most bytes that an image may have; 2 GiB by default. */
  limit?: number;
  /** Bytes that have come, and of how many: 0 where the server does not say. */
  onprogress?: (bytes: number, of: number) => void;
}

/** How far windows look, in rows, for a model with a full view (docs/streaming.md). */
export interface View {
  left: number;
  hop: number;
  ahead: number;
}

export interface StreamOptions {
  /** Always stop at this exit, from 1; by default the last one, or where `entropy` says. */
  exit?: number;
  /** Stop where the frame entropy is at most this; not with `exit`. */
  entropy?: number;
  /** Default: 96, 6, 10. Not read where the model has chunks. */
  view?: View;
  /** Rows of silence after speech that end an utterance; 20 by default. */
  after?: number;
  /** Rows of an utterance, at most; 500 by default. */
  longest?: number;
  /** Whether only phrases may be said; by default whether there are any. */
  phrases?: boolean;
}

export interface Word {
  word: string;
  start: number;
  end: number;
  confidence: number;
}

/** As ee_ref.stream.Event. */
export interface Event {
  /** These words stay; otherwise they replace those of the event before that was not final. */
  final: boolean;
  /** This ends an utterance. */
  endpoint: boolean;
  text: string;
  /** None with phrases, of which only the end is known. */
  words: Word[];
  /** The deepest one of the words; 0 without any. */
  exit: number;
  start: number;
  end: number;
  confidence: number;
  /** The text is one of the phrases, and means this. */
  accepted: boolean;
  intent: string | null;
  slots: Record<string, string>;
}

/** Rows that have become final; exit 0: nothing was heard, and nothing computed. */
export interface Rows {
  exit: number;
  count: number;
}

export interface Found {
  events: Event[];
  rows: Rows[];
}

/** The last stream that was opened of its model. */
export interface Stream {
  /** Samples at the rate of the model, any number, full scale at 1. */
  feed(samples: Float32Array): Found;
  /** What is left; then the stream is over. */
  finish(): Found;
  /** Computing so far: at 0 of the gate and the words, at k of the layers and the head of exit k,
   * at 1 of features and stem too. */
  readonly milliseconds: number[];
}

interface About {
  readonly sampleRate: number;
  readonly exits: number;
  /** "c" or "simd128". */
  readonly kernels: string;
  readonly hasPhrases: boolean;
  /** Memory of the model and its stream. */
  readonly memoryBytes: number;
}

/** A model on the calling thread, with one stream at a time. */
export class Model implements About {
  private constructor();
  /** image: of `ee-ref export`, or model.bin of `ee-ref web`. */
  static open(image: Source, options?: OpenOptions): Promise<Model>;
  readonly sampleRate: number;
  readonly exits: number;
  readonly kernels: string;
  readonly hasPhrases: boolean;
  readonly memoryBytes: number;
  /** Phrases that `ee-ref phrases compile` made for this model, in place of any before. */
  setPhrases(section: ArrayBuffer | ArrayBufferView): void;
  /** Begins a stream; the one before it is over. */
  stream(options?: StreamOptions): Stream;
}

export interface Heard extends Found {
  milliseconds: number[];
}

/** A model in a worker, for pages; one call of transcribe or listen at a time. */
export class Recogniser implements About {
  private constructor();
  static open(image: Source, options?: OpenOptions): Promise<Recogniser>;
  readonly sampleRate: number;
  readonly exits: number;
  readonly kernels: string;
  readonly hasPhrases: boolean;
  readonly memoryBytes: number;
  setPhrases(section: ArrayBuffer | ArrayBufferView): Promise<void>;
  /** Resolved when all was heard, or after stop(). */
  transcribe(
    samples: Float32Array, options: StreamOptions, onheard: (heard: Heard) => void): Promise<void>;
  /** The microphone, until stop() is called; resolved after the last words. Rejected when it is not
   * allowed, there is none or it is gone, or when the device cannot keep up. */
  listen(options: StreamOptions, onheard: (heard: Heard) => void): Promise<void>;
  stop(): void;
  close(): void;
}

/** Samples at `rate` of an audio file, channels averaged: of any format that the browser decodes;
 * WAV of 16-bit PCM is read, and resampled, as ee_ref does. */
export function decode(data: ArrayBuffer | ArrayBufferView, rate: number): Promise<Float32Array>;

/** The samples of a WAV file of 16-bit PCM; null for any other file. */
export function readWav(
  data: ArrayBuffer | ArrayBufferView): { samples: Float32Array; rate: number } | null;

/** A whole recording at another rate, as ee_ref resamples it. */
export function resampled(samples: Float32Array, from: number, to: number): Float32Array;

/** The same of samples that come in pieces. Rates are whole numbers, `from` at least 8000. */
export class Resampler {
  constructor(from: number, to: number);
  feed(samples: Float32Array): Float32Array;
  finish(): Float32Array;
}

/** model.json, which `ee-ref web` writes beside the image. */
export interface ModelDescription {
  name: string;
  image: string;
  frameSeconds: number;
  /** Multiply-accumulates for a second of audio, up to each exit. */
  work: number[];
  views: { live: View; recording: View; phrases: View };
  policy: { exit: number } | { entropy: number };
  after: number;
  longest: number;
  phrases: { file: string; name: string; text: string } | null;
}
