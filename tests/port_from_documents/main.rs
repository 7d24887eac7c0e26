//! A port of ee_ref written from its documents alone: docs/conformance.md,
//! docs/conformance-protocol.md, docs/numerics.md and weights_io/FORMAT.md. It answers the host of
//! the conformance suite on stdin and stdout, with nothing but the standard library:
//!
//!     rustc --edition 2021 -O tests/port_from_documents/main.rs -o port && ee-ref conformance run --exe ./port
//!
//! `--cfg 'fault="sum"'` and `--cfg 'fault="round"'` each compile a mistake in (exact.rs), to see
//! that the suite notices.

#![forbid(unsafe_code)]
#![allow(unknown_lints, unexpected_cfgs)]

mod exact;
mod features;
mod float32;
mod image;
mod model;
mod ops;
mod phrases;
mod protocol;
mod qs8;
mod tensors;

use float32::Float32;
use image::Model;
use model::{put_matrix, Policy};
use ops::{Mode, Taps, View};
use protocol::*;
use qs8::Qs8;
use std::io::{stdin, stdout, BufReader};
use tensors::{Matrix, Weights};

/// conformance-protocol.md, "A whole port, in outline".
fn main() -> std::io::Result<()> {
    let (mut input, mut output) = (BufReader::new(stdin()), stdout());
    let mut model = None;
    while let Some(frame) = read_frame(&mut input)? {
        let (kind, sequence, body) = match frame.payload {
            Some(payload) => match answer(frame.kind, &payload, &mut model) {
                Ok((kind, body)) => (kind, frame.sequence, body),
                Err(failure) => failed(failure, frame.sequence),
            },
            None => failed(Failure::Error(1, "the payload is damaged".into()), 0),
        };
        write_frame(&mut output, kind, sequence, &body.payload())?;
        if kind == END {
            break;
        }
    }
    Ok(())
}

fn failed(failure: Failure, sequence: u16) -> (u8, u16, Body) {
    let mut body = Body::default();
    let (kind, text) = match failure {
        Failure::Unsupported(text) => (UNSUPPORTED, text),
        Failure::Refused(status) => {
            body.set("code", Parameter::Int(4));
            (ERROR, status.into())
        }
        Failure::Error(code, text) => {
            body.set("code", Parameter::Int(code));
            (ERROR, text)
        }
    };
    body.set("text", Parameter::Text(text));
    (kind, sequence, body)
}

fn answer(kind: u8, payload: &[u8], model: &mut Option<Model>) -> Result<(u8, Body), Failure> {
    let question = Body::parse(payload)?;
    let mut body = Body::default();
    match kind {
        HELLO => {
            body.set("protocol", Parameter::Int(1));
            body.set("name", Parameter::Text("port-from-documents".into()));
            body.set("isa", Parameter::Text("rust".into()));
            Ok((PORT, body))
        }
        MODEL => {
            *model = None;
            if !question.tensors.contains_key("image") {
                return Err(Failure::Unsupported("no model is built in".into()));
            }
            let bytes = image_of(&question)?;
            *model = Some(Model::open(&bytes, None)?);
            Ok((RESULT, body))
        }
        CASE => {
            match &question.name[..] {
                "features" | "exits" | "feeds" | "decide" | "transcribe" => {
                    let model = model.as_ref().ok_or_else(|| argument("model"))?;
                    model_case(model, &question, &mut body)?;
                }
                "phrase" => phrases::case(&question, &mut body)?,
                "image_status" | "session_status" | "samples_status" | "log_probs_status" => {
                    let status = match status_case(model.as_ref(), &question) {
                        Ok(()) => "EE_OK",
                        Err(Failure::Refused(status)) => status,
                        Err(failure) => return Err(failure),
                    };
                    let name = status.bytes().map(|b| b as i8).collect();
                    body.put("status", &[status.len()], Data::Int8(name));
                }
                _ => op_case(question, &mut body)?,
            }
            Ok((RESULT, body))
        }
        BYE => Ok((END, body)),
        _ => Err(argument("type of the frame")),
    }
}

fn image_of(question: &Body) -> Result<Vec<u8>, Failure> {
    match question.tensors.get("image") {
        Some(Tensor { shape, data: Data::Int8(image) }) if shape.len() == 1 => {
            Ok(image.iter().map(|&b| b as u8).collect())
        }
        _ => Err(argument("image")),
    }
}

/// conformance.md, "Refusals". This port copies what it is given, and takes memory where it likes.
fn status_case(model: Option<&Model>, case: &Body) -> Result<(), Failure> {
    for name in ["offset", "memory", "arena"] {
        if case.parameters.contains_key(name) {
            return Err(Failure::Unsupported(format!("{}: the memory is this port's own", name)));
        }
    }
    if case.name == "image_status" {
        let exits = case.parameters.contains_key("exits").then(|| case.int("exits")).transpose()?;
        let exits = exits.map(|n| usize::try_from(n).map_err(|_| argument("exits"))).transpose()?;
        return Model::open(&image_of(case)?, exits).map(|_| ());
    }
    let model = model.ok_or_else(|| argument("model"))?;
    match &case.name[..] {
        "session_status" => {
            model::session(model, &Weights::new(&case.tensors).matrix("features", model.mels)?)?;
            match case.parameters.contains_key("again") {
                true => Err(Failure::Refused("EE_ERR_ENDED")),
                false => Ok(()),
            }
        }
        "samples_status" => features::features(model, &samples(case)?).map(|_| ()),
        _ => model::log_probs(&Weights::new(&case.tensors).matrix("log_probs", model.labels.len())?),
    }
}

/// conformance.md, "Models".
fn model_case(model: &Model, case: &Body, result: &mut Body) -> Result<(), Failure> {
    let input = |name| Weights::new(&case.tensors).matrix(name, model.mels);
    let heard = || features::features(model, &samples(case)?);
    let policy = || match case.parameters.contains_key("exit") {
        true => case.int("exit").map(Policy::Exit),
        false => case.float("threshold").map(Policy::Threshold),
    };
    match &case.name[..] {
        "features" => put_matrix(result, "features", heard()?),
        "exits" => model::exits(model, &input("features")?, case.int("exits")?, result)?,
        "feeds" => {
            let weights = Weights::new(&case.tensors);
            let numbers = (integers(case, "slices")?, integers(case, "exits")?);
            model::feeds(model, &weights.matrix("features", model.mels)?, &numbers.0, &numbers.1, result)?
        }
        "decide" => model::decide(model, &input("features")?, &policy()?, result)?,
        _ => {
            model::decide(model, &heard()?, &policy()?, result)?;
            result.tensors.remove("margin");
            result.tensors.remove("frames");
        }
    }
    Ok(())
}

fn integers(case: &Body, name: &'static str) -> Result<Vec<usize>, Failure> {
    match case.tensors.get(name).map(|t| &t.data) {
        Some(Data::Int32(values)) if values.iter().all(|&v| v >= 0) => {
            Ok(values.iter().map(|&v| v as usize).collect())
        }
        _ => Err(argument(name)),
    }
}

fn samples(case: &Body) -> Result<Vec<f32>, Failure> {
    match case.tensors.get("samples").map(|t| &t.data) {
        Some(Data::Float(samples)) => Ok(samples.clone()),
        Some(Data::Int16(samples)) => Ok(samples.iter().map(|&s| f32::from(s) / 32768.0).collect()),
        _ => Err(argument("samples")),
    }
}

/// conformance.md, "Ops": those of int8 mode end in _qs8 or _exact.
fn op_case(mut case: Body, result: &mut Body) -> Result<(), Failure> {
    // By the names of a model: in_weight_scale is in.weight_scale, the scale of q is q_scale.
    let rename = |name: String| match &name[..] {
        "scale" => "q_scale".into(),
        _ => name.replace("_weight", ".weight").replace("_bias", ".bias"),
    };
    case.tensors = case.tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect();
    let w = Weights::new(&case.tensors);
    let eps = || case.float("eps");
    let number = |name| usize::try_from(case.int(name)?).map_err(|_| argument(name));
    let int8 = case.name.strip_suffix("_qs8").or_else(|| case.name.strip_suffix("_exact"));
    let (mode, op): (&dyn Mode, &str) = match int8 {
        Some(op) => (&Qs8, op),
        None => (&Float32, &case.name),
    };
    let x = || w.any_matrix("x");
    let past = |name, cols| match w.has(name) {
        true => w.matrix(name, cols),
        false => Ok(Matrix::new(0, cols)),
    };
    let y = match op {
        "linear" if op != case.name => qs8::linear(&w.quantized("q")?, &w)?,
        "linear" => mode.linear(&x()?, &w)?,
        "layer_norm" => mode.layer_norm(&x()?, &w, eps()?)?,
        "silu" => mode.silu(&x()?),
        "gelu" => mode.gelu(&x()?),
        "glu" => mode.glu(&x()?)?,
        "group_norm" => mode.group_norm(&x()?, &w, eps()?)?,
        "grouped_conv" => mode.grouped_conv(&x()?, &w, number("groups")?)?,
        "gated_attention" => {
            let distances = w.any_matrix("distances")?;
            mode.gated_attention(&x()?, &w, w.vector("gate_scale", distances.rows)?, &distances)?
        }
        "depthwise_conv" => {
            let (before, after) = (number("before")?, number("after")?);
            mode.depthwise_conv(&x()?, &w, &Taps { ahead: number("ahead")?, before, after })?
        }
        "stem_conv" => mode.stem_conv(&x()?, &w, number("stride")?)?,
        "log_softmax" => mode.log_softmax(&x()?),
        "multi_head_attention" => {
            let (x, view) = (x()?, View { chunk: number("chunk")?, left: number("left")?, ahead: 0 });
            let past = past("past", 2 * x.cols)?;
            let (y, kv) = mode.multi_head_attention(&x, &w, number("heads")?, &view, &past)?;
            put_matrix(result, "kv", kv);
            y
        }
        "feed_forward" => mode.feed_forward(&x()?, &w, eps()?)?,
        "conv_module" => {
            let (x, view) = (x()?, View { chunk: number("chunk")?, left: 0, ahead: number("ahead")? });
            let past = past("past", x.cols)?;
            let (y, gated) = mode.conv_module(&x, &w, eps()?, &view, &past)?;
            put_matrix(result, "gated", gated);
            y
        }
        "conformer_layer" => {
            let x = x()?;
            let view = View { chunk: number("chunk")?, left: number("left")?, ahead: number("ahead")? };
            let (kv, gated) = (past("past.kv", 2 * x.cols)?, past("past.gated", x.cols)?);
            mode.conformer_layer(&x, &w, number("heads")?, eps()?, &view, (&kv, &gated))?
        }
        "exit_head" => mode.exit_head(&x()?, &w)?,
        "lstm" => mode.lstm(&x()?, &w)?,
        "softmax" if op == case.name => float32::softmax(&x()?),
        "softmax" => return softmax_qs8(&x()?, &w, result),
        "quantize" if op != case.name => return quantize_qs8(&x()?, result),
        "quantize_digits" => return quantize_digits_qs8(&x()?, result),
        "linear_digits" => mode.stem_conv(&x()?, &w, 1)?, // a convolution of one tap
        _ => return Err(Failure::Unsupported(format!("no op {}", case.name))),
    };
    put_matrix(result, "y", y);
    Ok(())
}

fn softmax_qs8(x: &Matrix, w: &Weights, result: &mut Body) -> Result<(), Failure> {
    let value_scale = w.vector("value_scale", x.cols)?;
    put_digits(x, |row| qs8::softmax(row, &value_scale), result);
    Ok(())
}

fn quantize_digits_qs8(x: &Matrix, result: &mut Body) -> Result<(), Failure> {
    put_digits(x, qs8::quantize_digits, result);
    Ok(())
}

fn put_digits(x: &Matrix, digits: impl Fn(&[f32]) -> qs8::Digits, result: &mut Body) {
    let rows: Vec<qs8::Digits> = (0..x.rows).map(|t| digits(x.row(t))).collect();
    let shape = [x.rows, x.cols];
    result.put("high", &shape, Data::Int8(rows.iter().flat_map(|p| &p.high).copied().collect()));
    result.put("low", &shape, Data::Int8(rows.iter().flat_map(|p| &p.low).copied().collect()));
    result.put("scale", &[x.rows], Data::Float(rows.iter().map(|p| p.scale).collect()));
}

fn quantize_qs8(x: &Matrix, result: &mut Body) -> Result<(), Failure> {
    let quantized = qs8::quantize(x);
    result.put("q", &[x.rows, x.cols], Data::Int8(quantized.q));
    result.put("scale", &[x.rows], Data::Float(quantized.scale));
    Ok(())
}
