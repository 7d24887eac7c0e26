//! numerics.md, "Front end": every operation is one f32 operation, in the order of the page.

use crate::exact::log;
use crate::image::Model;
use crate::protocol::{refused, Failure};
use crate::tensors::Matrix;

/// The features, or that there are none of such samples.
pub fn features(model: &Model, samples: &[f32]) -> Result<Matrix, Failure> {
    let not_finite = || refused("EE_ERR_NOT_FINITE");
    if !samples.iter().all(|v| v.is_finite()) {
        return Err(not_finite());
    }
    let (n_fft, hop) = (model.n_fft, model.hop_length);
    let mut out = Matrix::new(0, model.mels);
    if samples.is_empty() {
        return Ok(out);
    }
    let mut signal = vec![0.0; model.pad];
    signal.extend(samples);
    signal.resize((samples.len() + 2 * model.pad).max(n_fft / 2 + 1), 0.0);
    let before = n_fft / 2 - (n_fft - model.win_length) / 2;
    for t in 0..1 + (samples.len() + 2 * model.pad) / hop {
        let mut frame = vec![0.0; n_fft];
        for (j, v) in frame[..model.win_length].iter_mut().enumerate() {
            *v = mirrored(&signal, t * hop + j, before) * model.window[j];
        }
        let p = power(model, &frame);
        let mut row = vec![];
        for (m, (first, weights)) in model.filters.iter().enumerate() {
            let e = weights.iter().enumerate().fold(0.0, |e, (j, w)| e + p[first + j] * w);
            if !e.is_finite() {
                return Err(not_finite());
            }
            row.push(match model.normalisation.get(m) {
                Some((mean, scale)) => (log(e + model.log_floor) - mean) * scale,
                None => e,
            });
        }
        out.push(row.into_iter());
    }
    Ok(out)
}

/// s(i - before), reflected at both ends.
fn mirrored(signal: &[f32], i: usize, before: usize) -> f32 {
    let last = signal.len() - 1;
    let i = i.abs_diff(before);
    signal[if i > last { 2 * last - i } else { i }]
}

/// Cosine and sine of 2 pi i/n_fft, 0 <= i <= n_fft/2.
fn cos_sin(model: &Model, i: usize) -> (f32, f32) {
    let (q, sines) = (model.n_fft / 4, &model.sines);
    if i <= q {
        (sines[q - i], sines[i])
    } else {
        (-sines[i - q], sines[2 * q - i])
    }
}

/// The power spectrum of a frame: n_fft/2 + 1 values.
fn power(model: &Model, v: &[f32]) -> Vec<f32> {
    let h = v.len() / 2;
    // The FFT of v[2n] + i v[2n+1].
    let bits = h.trailing_zeros();
    let reversed = |n: usize| n.reverse_bits() >> (usize::BITS - bits);
    let mut z: Vec<(f32, f32)> = (0..h).map(|n| (v[2 * reversed(n)], v[2 * reversed(n) + 1])).collect();
    let mut m = 2;
    while m <= h {
        for block in z.chunks_exact_mut(m) {
            for k in 0..m / 2 {
                let (c, s) = cos_sin(model, k * (model.n_fft / m));
                let ((ar, ai), (br, bi)) = (block[k], block[k + m / 2]);
                let (tr, ti) = (c * br + s * bi, c * bi - s * br);
                block[k] = (ar + tr, ai + ti);
                block[k + m / 2] = (ar - tr, ai - ti);
            }
        }
        m *= 2;
    }
    let square = |x: f32| x * x;
    let mut p = vec![0.0; h + 1];
    p[0] = square(z[0].0 + z[0].1);
    p[h] = square(z[0].0 - z[0].1);
    for k in 1..=h / 2 {
        let ((ar, ai), (br, bi)) = (z[k], z[h - k]);
        let (c, s) = cos_sin(model, k);
        let (er, ei, dr, di) = (ar + br, ai - bi, ar - br, ai + bi);
        let (tr, ti) = (c * di - s * dr, c * dr + s * di);
        p[h - k] = (square(er - tr) + square(ei + ti)) * 0.25;
        p[k] = (square(er + tr) + square(ei - ti)) * 0.25;
    }
    p
}
