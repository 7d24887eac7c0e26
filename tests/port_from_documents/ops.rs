//! The ops that both modes have, and the composites, which are the same text in both
//! (numerics.md, "Ops"; conformance.md, "Formulas").

use std::ops::Range;

use crate::protocol::{argument, Failure};
use crate::tensors::{Matrix, Weights};

pub type Answer = Result<Matrix, Failure>;

/// numerics.md, "What a frame sees".
pub struct View {
    pub chunk: usize,
    pub left: usize,
    pub ahead: usize,
}

impl View {
    /// The chunk of frame t, and with up to `left` frames before it, of `past` and so many frames,
    /// counted from the oldest.
    fn windows(&self, t: usize, frames: usize, past: usize, left: usize) -> (Range<usize>, Range<usize>) {
        let start = if self.chunk == 0 { 0 } else { t / self.chunk * self.chunk };
        let end = if self.chunk == 0 { frames } else { frames.min(start + self.chunk) };
        (start..end, (past + start).saturating_sub(left)..past + end)
    }
}

/// Arithmetic of int8 mode (`qs8::Qs8`) or of float32 (`float32::Float32`).
pub trait Mode {
    /// In int8 mode the input is quantised first.
    fn linear(&self, x: &Matrix, w: &Weights) -> Answer;
    fn layer_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer;
    fn silu(&self, x: &Matrix) -> Matrix;
    fn gelu(&self, x: &Matrix) -> Matrix;
    fn glu(&self, x: &Matrix) -> Answer;
    fn group_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer;
    fn grouped_conv(&self, x: &Matrix, w: &Weights, groups: usize) -> Answer;
    /// Of the sum of four values.
    fn sigmoid_of_sum(&self, z: &[f32]) -> f32;
    fn depthwise_conv(&self, x: &Matrix, w: &Weights, taps: &Taps) -> Answer;
    fn stem_conv(&self, x: &Matrix, w: &Weights, stride: usize) -> Answer;
    fn log_softmax(&self, x: &Matrix) -> Matrix;
    /// The context of one head: each query over all keys and values; bias: added to the scores.
    fn attend(&self, queries: &Matrix, keys: &Matrix, values: &Matrix, bias: Option<&Matrix>) -> Matrix;
    /// The first rows of stem.positions.
    fn positions(&self, stem: &Weights, rows: usize) -> Answer;

    fn feed_forward(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let x = self.layer_norm(x, &w.at("norm"), eps)?;
        let x = self.silu(&self.linear(&x, &w.at("up"))?);
        self.linear(&x, &w.at("down"))
    }

    /// Also keys and values. past: those of the frames before x.
    fn multi_head_attention(
        &self, x: &Matrix, w: &Weights, heads: usize, view: &View, past: &Matrix,
    ) -> Result<(Matrix, Matrix), Failure> {
        let (e, dim) = (head_size(x.cols, heads)?, x.cols);
        let y = self.linear(x, &w.at("in"))?;
        if y.cols != 3 * dim || past.cols != 2 * dim {
            return Err(argument("in_weight or past"));
        }
        let kv = y.columns(dim..3 * dim);
        let seen = past.then(&kv);
        let mut context = Matrix::new(0, dim);
        while context.rows < x.rows {
            let (own, window) = view.windows(context.rows, x.rows, past.rows, view.left);
            let (queries, seen) = (y.part(own.clone()), seen.part(window));
            let heads = (0..dim).step_by(e).map(|d| {
                let values = seen.columns(dim + d..dim + d + e);
                self.attend(&queries.columns(d..d + e), &seen.columns(d..d + e), &values, None)
            });
            let heads: Vec<Matrix> = heads.collect();
            context = context.then(&Matrix::from_fn(own.len(), dim, |t, d| heads[d / e].at(t, d % e)));
        }
        Ok((self.linear(&context, &w.at("out"))?, kv))
    }

    /// distances: a row a head.
    fn gated_attention(&self, x: &Matrix, w: &Weights, gate_scale: &[f32], distances: &Matrix) -> Answer {
        let (heads, frames, dim) = (distances.rows, x.rows, x.cols);
        let e = head_size(dim, heads)?;
        let own = Matrix { rows: frames * heads, cols: e, data: x.data.clone() };
        let z = self.stem_conv(&own, &w.at("gate"), 1)?;
        let y = self.linear(x, &w.at("in"))?;
        if y.cols != 3 * dim || z.cols != 8 || gate_scale.len() != heads {
            return Err(argument("in_weight or gate"));
        }
        let contexts: Vec<Matrix> = (0..heads)
            .map(|h| {
                let bias = Matrix::from_fn(frames, frames, |t, v| {
                    let z = z.row(t * heads + h);
                    let (u, r) = (self.sigmoid_of_sum(&z[..4]), self.sigmoid_of_sum(&z[4..]));
                    (u * (r * gate_scale[h] - 1.0) + 2.0) * distances.at(h, v + frames - 1 - t)
                });
                let part = |n: usize| y.columns(n * dim + h * e..n * dim + (h + 1) * e);
                self.attend(&part(0), &part(1), &part(2), Some(&bias))
            })
            .collect();
        let context = Matrix::from_fn(frames, dim, |t, d| contexts[d / e].at(t, d % e));
        self.linear(&context, &w.at("out"))
    }

    /// Also what the GLU gives. past: that of the frames before x.
    fn conv_module(
        &self, x: &Matrix, w: &Weights, eps: f32, view: &View, past: &Matrix,
    ) -> Result<(Matrix, Matrix), Failure> {
        let y = self.layer_norm(x, &w.at("norm"), eps)?;
        let gated = self.glu(&self.linear(&y, &w.at("in"))?)?;
        let kernel = w.at("depthwise").matrix("weight", gated.cols)?.rows;
        if view.ahead >= kernel || past.cols != gated.cols {
            return Err(argument("ahead or past"));
        }
        let seen = past.then(&gated);
        let mut y = Matrix::new(0, gated.cols);
        while y.rows < x.rows {
            let (own, window) = view.windows(y.rows, x.rows, past.rows, kernel - 1 - view.ahead);
            let taps = Taps { ahead: view.ahead, before: window.len() - own.len(), after: 0 };
            y = y.then(&self.depthwise_conv(&seen.part(window), &w.at("depthwise"), &taps)?);
        }
        Ok((self.linear(&self.silu(&y), &w.at("out"))?, gated))
    }

    /// past: keys and values, and gated rows, of the frames before x.
    fn conformer_layer(
        &self, x: &Matrix, w: &Weights, heads: usize, eps: f32, view: &View, past: (&Matrix, &Matrix),
    ) -> Answer {
        let x = x.plus(&self.feed_forward(x, &w.at("ff1"), eps)?, 0.5);
        let y = self.layer_norm(&x, &w.at("attn").at("norm"), eps)?;
        let x = x.plus(&self.multi_head_attention(&y, &w.at("attn"), heads, view, past.0)?.0, 1.0);
        let x = x.plus(&self.conv_module(&x, &w.at("conv"), eps, view, past.1)?.0, 1.0);
        let x = x.plus(&self.feed_forward(&x, &w.at("ff2"), eps)?, 0.5);
        self.layer_norm(&x, &w.at("norm"), eps)
    }

    fn lstm(&self, x: &Matrix, w: &Weights) -> Answer {
        let gates = self.linear(x, &w.at("in"))?;
        if gates.cols % 8 != 0 {
            return Err(argument("in_weight"));
        }
        let width = gates.cols / 8;
        let forward = self.direction(&gates.columns(0..4 * width), &w.at("forward"))?;
        let backward = self.direction(&gates.columns(4 * width..8 * width).reversed(), &w.at("backward"))?;
        Ok(forward.beside(&backward.reversed()))
    }

    /// One direction of an LSTM; gates: what its input adds, in the order of its frames.
    fn direction(&self, gates: &Matrix, w: &Weights) -> Answer {
        let width = gates.cols / 4;
        let tanh = |x: &Matrix| -> Answer {
            let pairs = x.map(|_| 2.0).beside(&x.map(|x| x + x));
            Ok(self.glu(&pairs)?.map(|y| y - 1.0))
        };
        let (mut h, mut c, mut y) = (Matrix::new(1, width), Matrix::new(1, width), Matrix::new(0, width));
        for t in 0..gates.rows {
            let sum = self.linear(&h, w)?;
            if sum.cols != gates.cols {
                return Err(argument("forward_weight or backward_weight"));
            }
            let sum = sum.plus(&gates.part(t..t + 1), 1.0);
            let gate = |n: usize| sum.columns(n * width..(n + 1) * width);
            let entering = self.glu(&tanh(&gate(2))?.beside(&gate(0)))?;
            c = self.glu(&c.beside(&gate(1)))?.plus(&entering, 1.0);
            h = self.glu(&tanh(&c)?.beside(&gate(3)))?;
            y = y.then(&h);
        }
        Ok(y)
    }

    fn exit_head(&self, x: &Matrix, w: &Weights) -> Answer {
        Ok(self.log_softmax(&self.stem_conv(x, w, 1)?))
    }
}

/// Frames behind a convolution of the stem, whose rows of weights are taps outer, channels inner.
pub fn stem_frames(x: &Matrix, weight_cols: usize, stride: usize) -> Result<usize, Failure> {
    if x.cols == 0 || weight_cols == 0 || weight_cols % x.cols != 0 || stride == 0 {
        return Err(argument("weight"));
    }
    let taps = weight_cols / x.cols;
    Ok(if x.rows < taps { 0 } else { (x.rows - taps) / stride + 1 })
}

/// The windows of a convolution of so many values, which lie one after another.
pub fn windows(x: &Matrix, values: usize, stride: usize) -> Answer {
    let rows = stem_frames(x, values, stride)?;
    Ok(Matrix::from_fn(rows, values, |t, i| x.data[t * stride * x.cols + i]))
}

/// Frame u of tap j of a grouped convolution, if there is one.
pub fn tap(t: usize, j: usize, taps: usize, frames: usize) -> Option<usize> {
    (t + j).checked_sub(taps / 2).filter(|&u| u < frames)
}

/// Values of an attention head.
pub fn head_size(dim: usize, heads: usize) -> Result<usize, Failure> {
    if heads == 0 || dim % heads != 0 {
        return Err(argument("heads"));
    }
    Ok(dim / heads)
}

/// Values of a frame behind GLU.
pub fn halves(x: &Matrix) -> Result<usize, Failure> {
    if x.cols % 2 != 0 {
        return Err(argument("x"));
    }
    Ok(x.cols / 2)
}

/// Where the taps of a depthwise convolution lie, and how many of its frames have no result.
pub struct Taps {
    pub ahead: usize,
    pub before: usize,
    pub after: usize,
}

impl Taps {
    /// Frames with a result.
    pub fn rows(&self, kernel: usize, frames: usize) -> Result<usize, Failure> {
        if self.ahead >= kernel {
            return Err(argument("ahead"));
        }
        frames.checked_sub(self.before + self.after).ok_or_else(|| argument("before"))
    }

    /// What is added up for row t: taps, each with its frame.
    pub fn inside(&self, t: usize, kernel: usize, frames: usize) -> impl Iterator<Item = (usize, usize)> {
        let (t, behind) = (self.before + t, kernel - 1 - self.ahead);
        let inside = move |&j: &usize| t + j >= behind && t + j < frames + behind;
        (0..kernel).filter(inside).map(move |j| (j, t + j - behind))
    }
}
