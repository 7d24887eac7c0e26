//! Features to log-probabilities, decisions and text: conformance.md, "Models".

use crate::exact::{exp, sum};
use crate::float32::Float32;
use crate::image::{Model, Speech};
use crate::ops::{windows, Answer, Mode, View};
use crate::protocol::{argument, refused, Body, Data, Failure};
use crate::qs8::Qs8;
use crate::tensors::{Matrix, Weights};

fn encoder_frames(model: &Model, frames: usize) -> usize {
    let conv = |n: usize| n.checked_sub(model.stem_kernel).map_or(0, |n| 1 + n / model.stem_stride);
    match model.has_stacks {
        true => conv(frames).div_ceil(2),
        false => conv(conv(frames)),
    }
}

/// numerics.md, "The encoder": the layers of a Zipformer by the rates of their stacks.
const RATES: [usize; 19] = [1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 4, 4, 4, 4, 2, 2];

/// Rows 0, rate, 2 rate, ...
fn every(x: &Matrix, rate: usize) -> Matrix {
    Matrix::from_fn(x.rows.div_ceil(rate), x.cols, |t, d| x.at(rate * t, d))
}

/// Each row `rate` times, up to so many.
fn repeated(x: &Matrix, rate: usize, rows: usize) -> Matrix {
    Matrix::from_fn(rows, x.cols, |t, d| x.at(t / rate, d))
}

/// Whether the encoder takes these features.
pub fn session(model: &Model, features: &Matrix) -> Result<(), Failure> {
    if model.max_frames > 0 && encoder_frames(model, features.rows) > model.max_frames {
        return Err(refused("EE_ERR_TOO_MANY_FRAMES"));
    }
    finite(features.data.iter().all(|v| v.is_finite()))
}

/// Whether these can be log-probabilities: a value above zero by more than rounding is none.
pub fn log_probs(log_probs: &Matrix) -> Result<(), Failure> {
    finite(log_probs.data.iter().all(|&v| v <= 1e-3))
}

fn finite(right: bool) -> Result<(), Failure> {
    right.then_some(()).ok_or_else(|| refused("EE_ERR_NOT_FINITE"))
}

/// The encoder, exit after exit; numerics.md, "The encoder".
struct Encoder<'a> {
    model: &'a Model,
    mode: &'a dyn Mode,
    x: Matrix,
    /// Of a Zipformer, the rows of the stack.
    slow: Matrix,
    layers_done: usize,
    exits_done: usize,
}

impl<'a> Encoder<'a> {
    fn new(model: &'a Model, features: &Matrix) -> Result<Encoder<'a>, Failure> {
        if features.cols != model.mels {
            return Err(argument("features"));
        }
        session(model, features)?;
        let mode: &dyn Mode = if model.int8 { &Qs8 } else { &Float32 };
        let stem = Weights::new(&model.tensors).at("stem");
        let slow = Matrix::new(0, model.dim);
        if let Some(speech) = &model.speech {
            let x = speech_stem(speech, mode, &stem, features, model.norm_eps)?;
            return Ok(Encoder { model, mode, x, slow, layers_done: 0, exits_done: 0 });
        }
        let convs: &[&str] = if model.has_stacks { &["conv"] } else { &["conv1", "conv2"] };
        let mut x = features.clone();
        for conv in convs {
            x = mode.stem_conv(&x, &stem.at(conv), model.stem_stride)?;
        }
        let x = match model.max_frames {
            0 => x,
            _ => x.plus(&mode.positions(&stem, x.rows)?, 1.0),
        };
        Ok(Encoder { model, mode, x, slow, layers_done: 0, exits_done: 0 })
    }

    /// The log-probabilities of the next exit.
    fn next_exit(&mut self) -> Answer {
        let model = self.model;
        let weights = Weights::new(&model.tensors);
        if let Some(speech) = &model.speech {
            return self.next_speech_exit(speech, &weights);
        }
        let view = View { chunk: model.chunk, left: model.left, ahead: model.ahead };
        let nothing = (&Matrix::new(0, 2 * model.dim), &Matrix::new(0, model.dim));
        let group = weights.at("group").at(&(self.exits_done + 1).to_string());
        let run = |x: &Matrix, layer: &Weights| {
            self.mode.conformer_layer(x, layer, model.heads, model.norm_eps, &view, nothing)
        };
        let mut x = self.x.clone();
        let mut slow = self.slow.clone();
        for l in 1..=model.layers[self.exits_done] {
            let layer = group.at("layer").at(&l.to_string());
            let rate = if model.has_stacks { RATES[self.layers_done] } else { 1 };
            let before = if self.layers_done > 0 { RATES[self.layers_done - 1] } else { 1 };
            if model.has_stacks && rate != before {
                if before > 1 {
                    x = x.plus(&repeated(&slow, before, x.rows), 1.0);
                }
                slow = every(&x, rate);
            }
            match rate {
                1 => x = run(&x, &layer)?,
                _ => slow = run(&slow, &layer)?,
            }
            self.layers_done += usize::from(model.has_stacks);
        }
        if model.parallel[self.exits_done] {
            let beside = run(&every(&self.x, 2), &group.at("parallel"))?;
            x = x.plus(&repeated(&beside, 2, x.rows), 1.0);
        }
        self.x = x;
        self.slow = slow;
        self.exits_done += 1;
        self.head(&weights.at("head").at(&self.exits_done.to_string()))
    }

    fn head(&self, w: &Weights) -> Answer {
        let (x, rate) = (&self.x, if self.layers_done > 0 { RATES[self.layers_done - 1] } else { 1 });
        let mut y = match (self.layers_done, rate) {
            (0, _) => x.clone(),
            (19, _) => every(&x.plus(&repeated(&self.slow, rate, x.rows), 1.0), 2),
            (_, 1) => every(x, 2),
            _ => every(&repeated(&self.slow, rate, x.rows), 2),
        };
        for n in 1..=self.model.lstms {
            y = self.mode.lstm(&y, &w.at("lstm").at(&n.to_string()))?;
        }
        self.mode.exit_head(&y, w)
    }
}

/// numerics.md, "The encoder of wav2vec 2.0, HuBERT and WavLM".
fn speech_stem(s: &Speech, mode: &dyn Mode, stem: &Weights, samples: &Matrix, eps: f32) -> Answer {
    let mut x = samples.clone();
    for (n, &(kernel, stride)) in s.convs.iter().enumerate() {
        let w = stem.at(&format!("conv{}", n + 1));
        x = match n {
            1 | 2 => mode.linear(&windows(&x, kernel * x.cols, stride)?, &w)?,
            _ => mode.stem_conv(&x, &w, stride)?,
        };
        if s.layer_norms {
            x = mode.layer_norm(&x, &w.at("norm"), eps)?;
        } else if n == 0 {
            x = mode.group_norm(&x, &w.at("norm"), eps)?;
        }
        x = mode.gelu(&x);
    }
    let x = mode.stem_conv(&mode.layer_norm(&x, &stem.at("proj").at("norm"), eps)?, &stem.at("proj"), 1)?;
    let positional = mode.grouped_conv(&x, &stem.at("positional"), s.groups)?;
    let x = x.plus(&mode.gelu(&positional), 1.0);
    if s.is_pre { Ok(x) } else { mode.layer_norm(&x, &stem.at("norm"), eps) }
}

/// The row of the table for a distance, key less query.
fn bucket(s: &Speech, distance: isize) -> usize {
    let (half, exact, far) = (s.buckets / 2, s.buckets / 4, distance.unsigned_abs());
    let row = if far < exact {
        far
    } else {
        let ratio = |n: usize| (n as f64 / exact as f64).ln();
        let steps = ratio(far) / ratio(s.max_distance) * (half - exact) as f64;
        (exact + (steps + 1e-9) as usize).min(half - 1)
    };
    row + if distance > 0 { half } else { 0 }
}

impl Encoder<'_> {
    fn next_speech_exit(&mut self, s: &Speech, weights: &Weights) -> Answer {
        let (model, mode, eps) = (self.model, self.mode, self.model.norm_eps);
        let group = weights.at("group").at(&(self.exits_done + 1).to_string());
        let frames = self.x.rows as isize;
        let distances = match s.buckets {
            0 => Matrix::new(0, 0),
            _ => {
                let table = weights.at("stem").matrix("distances", model.heads)?;
                Matrix::from_fn(model.heads, (2 * frames - 1).max(0) as usize, |h, i| {
                    table.at(bucket(s, i as isize - frames + 1), h)
                })
            }
        };
        let view = View { chunk: 0, left: 0, ahead: 0 };
        let attention = |x: &Matrix, w: &Weights| match s.buckets {
            0 => Ok(mode.multi_head_attention(x, w, model.heads, &view, &Matrix::new(0, 2 * model.dim))?.0),
            _ => mode.gated_attention(x, w, w.at("gate").vector("scale", model.heads)?, &distances),
        };
        let feed_forward = |x: &Matrix, w: &Weights| {
            mode.linear(&mode.gelu(&mode.linear(x, &w.at("up"))?), &w.at("down"))
        };
        for l in 1..=model.layers[self.exits_done] {
            let layer = group.at("layer").at(&l.to_string());
            for part in ["attn", "ff"] {
                let w = layer.at(part);
                let run = |x: &Matrix| if part == "attn" { attention(x, &w) } else { feed_forward(x, &w) };
                let norm = |x: &Matrix| mode.layer_norm(x, &w.at("norm"), eps);
                self.x = match s.is_pre {
                    true => self.x.plus(&run(&norm(&self.x)?)?, 1.0),
                    false => norm(&self.x.plus(&run(&self.x)?, 1.0))?,
                };
            }
        }
        let head = weights.at("head").at(&(self.exits_done + 1).to_string());
        let normed = match s.head_norm[self.exits_done] {
            true => mode.layer_norm(&self.x, &head.at("norm"), eps)?,
            false => self.x.clone(),
        };
        self.exits_done += 1;
        mode.exit_head(&normed, &head)
    }
}

/// `exits`: the log-probabilities of the first exits.
pub fn exits(model: &Model, features: &Matrix, count: i32, result: &mut Body) -> Result<(), Failure> {
    if count < 1 || count as usize > model.layers.len() {
        return Err(argument("exits"));
    }
    let mut encoder = Encoder::new(model, features)?;
    for k in 1..=count {
        put_matrix(result, &format!("log_probs_{}", k), encoder.next_exit()?);
    }
    Ok(())
}

/// `feeds`: of each exit the rows of the blocks that it was asked for. This port has all the features, and
/// gives the rows of the whole.
pub fn feeds(model: &Model, features: &Matrix, slices: &[usize], exits: &[usize], result: &mut Body) -> Result<(), Failure> {
    let mut encoder = Encoder::new(model, features)?;
    let whole = model.layers.iter().map(|_| encoder.next_exit()).collect::<Result<Vec<_>, _>>()?;
    let mut given = vec![Vec::new(); whole.len()];
    let (mut frames, mut first) = (0, 0);
    for (i, (slice, &count)) in slices.iter().zip(exits).enumerate() {
        frames += slice;
        let rows = encoder_frames(model, frames);
        let end = if i + 1 == slices.len() { rows } else { rows - rows % model.chunk };
        for (exit, rows) in given.iter_mut().zip(&whole).take(count) {
            (first..end).for_each(|t| exit.extend_from_slice(rows.row(t)));
        }
        first = if count > 0 { end } else { first };
    }
    for (k, data) in given.into_iter().enumerate() {
        let cols = whole[k].cols;
        put_matrix(result, &format!("log_probs_{}", k + 1), Matrix { rows: data.len() / cols, cols, data });
    }
    Ok(())
}

pub fn put_matrix(result: &mut Body, name: &str, matrix: Matrix) {
    result.put(name, &[matrix.rows, matrix.cols], Data::Float(matrix.data));
}

/// When to stop: at an exit, or when the frame entropy is no more than a threshold.
pub enum Policy {
    Exit(i32),
    Threshold(f32),
}

/// `decide`, and behind the front end `transcribe`.
pub fn decide(model: &Model, features: &Matrix, policy: &Policy, result: &mut Body) -> Result<(), Failure> {
    let mut encoder = Encoder::new(model, features)?;
    let (log_probs, score, margin) = loop {
        let log_probs = encoder.next_exit()?;
        let (score, margin) = match *policy {
            Policy::Exit(exit) => (encoder.exits_done as f32, encoder.exits_done as f32 - exit as f32),
            Policy::Threshold(threshold) => {
                let score = frame_entropy(&log_probs);
                (score, threshold - score)
            }
        };
        if margin >= 0.0 || encoder.exits_done == model.layers.len() {
            break (log_probs, score, margin);
        }
    };
    let (tokens, frames) = greedy(&log_probs, model.blank);
    let text = text(model, &tokens);
    let int32 = |values: &[usize]| Data::Int32(values.iter().map(|&v| v as i32).collect());
    result.put("exit", &[1], int32(&[encoder.exits_done]));
    result.put("score", &[1], Data::Float(vec![score]));
    result.put("margin", &[1], Data::Float(vec![margin]));
    result.put("tokens", &[tokens.len()], int32(&tokens));
    result.put("frames", &[frames.len()], int32(&frames));
    result.put("text", &[text.len()], Data::Int8(text.iter().map(|&b| b as i8).collect()));
    Ok(())
}

/// numerics.md, "Exit scores".
fn frame_entropy(log_probs: &Matrix) -> f32 {
    let term = |&l: &f32| if l > -87.0 { exp(l) * l } else { 0.0 };
    let h = sum((0..log_probs.rows).map(|t| sum(log_probs.row(t).iter().map(term))));
    let entropy = (0.0 - h) / (log_probs.rows as f32 * log_probs.cols as f32);
    if entropy >= 2f32.powi(-100) {
        entropy
    } else {
        0.0 // also of no frames, 0/0
    }
}

/// Tokens, and the frame of each: where the label of its run is largest.
fn greedy(log_probs: &Matrix, blank: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut tokens, mut frames) = (vec![], vec![]);
    let mut last = blank;
    for t in 0..log_probs.rows {
        let row = log_probs.row(t);
        let best = (1..row.len()).fold(0, |best, v| if row[v] > row[best] { v } else { best });
        if best != blank && best != last {
            tokens.push(best);
            frames.push(t);
        } else if best != blank {
            let frame = frames.last_mut().expect("a run has begun");
            if row[best] > log_probs.at(*frame, best) {
                *frame = t;
            }
        }
        last = best;
    }
    (tokens, frames)
}

/// What the labels add, with runs of spaces made one and none at either end.
fn text(model: &Model, tokens: &[usize]) -> Vec<u8> {
    let joined: Vec<u8> = tokens.iter().flat_map(|&v| &model.labels[v]).copied().collect();
    let words = joined.split(|&b| b == b' ').filter(|word| !word.is_empty());
    words.collect::<Vec<&[u8]>>().join(&b' ')
}
