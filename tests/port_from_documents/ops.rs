//! The ops that both modes have, and the composites, which are the same text in both
//! (numerics.md, "Ops"; conformance.md, "Formulas").

use crate::protocol::{argument, Failure};
use crate::tensors::{Matrix, Weights};

pub type Answer = Result<Matrix, Failure>;

/// Arithmetic of int8 mode (`qs8::Qs8`) or of float32 (`float32::Float32`).
pub trait Mode {
    /// In int8 mode the input is quantised first.
    fn linear(&self, x: &Matrix, w: &Weights) -> Answer;
    fn layer_norm(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer;
    fn silu(&self, x: &Matrix) -> Matrix;
    fn glu(&self, x: &Matrix) -> Answer;
    fn depthwise_conv(&self, x: &Matrix, w: &Weights) -> Answer;
    fn stem_conv(&self, x: &Matrix, w: &Weights, stride: usize) -> Answer;
    fn log_softmax(&self, x: &Matrix) -> Matrix;
    fn multi_head_attention(&self, x: &Matrix, w: &Weights, heads: usize) -> Answer;
    /// The first rows of stem.positions.
    fn positions(&self, stem: &Weights, rows: usize) -> Answer;

    fn feed_forward(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let x = self.layer_norm(x, &w.at("norm"), eps)?;
        let x = self.silu(&self.linear(&x, &w.at("up"))?);
        self.linear(&x, &w.at("down"))
    }

    fn conv_module(&self, x: &Matrix, w: &Weights, eps: f32) -> Answer {
        let x = self.layer_norm(x, &w.at("norm"), eps)?;
        let x = self.glu(&self.linear(&x, &w.at("in"))?)?;
        let x = self.silu(&self.depthwise_conv(&x, &w.at("depthwise"))?);
        self.linear(&x, &w.at("out"))
    }

    fn conformer_layer(&self, x: &Matrix, w: &Weights, heads: usize, eps: f32) -> Answer {
        let x = x.plus(&self.feed_forward(x, &w.at("ff1"), eps)?, 0.5);
        let y = self.layer_norm(&x, &w.at("attn").at("norm"), eps)?;
        let x = x.plus(&self.multi_head_attention(&y, &w.at("attn"), heads)?, 1.0);
        let x = x.plus(&self.conv_module(&x, &w.at("conv"), eps)?, 1.0);
        let x = x.plus(&self.feed_forward(&x, &w.at("ff2"), eps)?, 0.5);
        self.layer_norm(&x, &w.at("norm"), eps)
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

/// What a depthwise convolution adds up for frame t: taps, each with its frame.
pub fn taps_inside(t: usize, taps: usize, frames: usize) -> impl Iterator<Item = (usize, usize)> {
    let before = taps / 2;
    let inside = move |&j: &usize| t + j >= before && t + j < frames + before;
    (0..taps).filter(inside).map(move |j| (j, t + j - before))
}
