//! Frames and bodies: conformance-protocol.md.

use std::collections::BTreeMap;
use std::io::{Read, Result as IoResult, Write};

/// What is answered instead of a result; the numbers are those of "Codes of ERROR".
#[derive(Debug)]
pub enum Failure {
    Error(i32, String),
    Unsupported(String),
    Refused(&'static str),
}

pub fn argument(name: &str) -> Failure {
    Failure::Error(3, format!("{}: missing, or of another type or size", name))
}

/// What is not as it should be, by the name that conformance.md, "Refusals" gives it.
pub fn refused(status: &'static str) -> Failure {
    Failure::Refused(status)
}

/// CRC-32 of zlib and PNG, of the parts one after another.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = !0u32;
    for &byte in parts.iter().copied().flatten() {
        crc = CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    !crc
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0xEDB8_8320 * (value & 1));
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

// Frames

pub const HELLO: u8 = 0x01;
pub const MODEL: u8 = 0x02;
pub const CASE: u8 = 0x03;
pub const BYE: u8 = 0x04;
pub const PORT: u8 = 0x81;
pub const RESULT: u8 = 0x82;
pub const UNSUPPORTED: u8 = 0x83;
pub const ERROR: u8 = 0x84;
pub const END: u8 = 0x85;

const HEADER: usize = 16;

pub struct Frame {
    pub kind: u8,
    pub sequence: u16,
    /// None: its CRC does not fit.
    pub payload: Option<Vec<u8>>,
}

/// The next frame; what is none is passed over byte by byte. None: the input has ended.
pub fn read_frame(input: &mut impl Read) -> IoResult<Option<Frame>> {
    let mut header = Vec::with_capacity(HEADER);
    loop {
        let missing = (HEADER - header.len()) as u64;
        input.take(missing).read_to_end(&mut header)?;
        if header.len() < HEADER {
            return Ok(None);
        }
        if header.starts_with(b"EECF") && word(&header, 12) == crc32(&[&header[..12]]) {
            break;
        }
        header.remove(0);
    }
    let bytes = word(&header, 8) as usize;
    let mut payload = Vec::new();
    input.take(bytes as u64 + 4).read_to_end(&mut payload)?;
    if payload.len() < bytes + 4 {
        return Ok(None);
    }
    let right = word(&payload, bytes) == crc32(&[&payload[..bytes]]);
    payload.truncate(bytes);
    Ok(Some(Frame {
        kind: header[4],
        sequence: u16::from_le_bytes([header[6], header[7]]),
        payload: right.then_some(payload),
    }))
}

pub fn write_frame(output: &mut impl Write, kind: u8, sequence: u16, payload: &[u8]) -> IoResult<()> {
    let mut header = b"EECF".to_vec();
    header.extend([kind, 0]);
    header.extend(sequence.to_le_bytes());
    header.extend((payload.len() as u32).to_le_bytes());
    header.extend(crc32(&[&header]).to_le_bytes());
    output.write_all(&header)?;
    output.write_all(payload)?;
    output.write_all(&crc32(&[payload]).to_le_bytes())?;
    output.flush()
}

/// The little-endian number at an offset.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// n rounded up to a multiple.
pub fn multiple(n: usize, of: usize) -> usize {
    (n + of - 1) / of * of
}

// Bodies

pub enum Parameter {
    Int(i32),
    Float(f32),
    Text(String),
}

pub enum Data {
    Float(Vec<f32>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
}

pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Data,
}

pub type Tensors = BTreeMap<String, Tensor>;

#[derive(Default)]
pub struct Body {
    pub name: String,
    pub parameters: BTreeMap<String, Parameter>,
    pub tensors: Tensors,
}

impl Data {
    /// Bytes of a value of a dtype of the protocol.
    pub fn size(dtype: u8) -> Option<usize> {
        [(b'f', 4), (b'b', 1), (b'h', 2), (b'i', 4)].iter().find(|(d, _)| *d == dtype).map(|(_, n)| *n)
    }

    pub fn parse(dtype: u8, bytes: &[u8]) -> Option<Data> {
        let words = || bytes.chunks_exact(4).map(|b| word(b, 0));
        let halves = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]));
        Some(match dtype {
            b'f' => Data::Float(words().map(f32::from_bits).collect()),
            b'b' => Data::Int8(bytes.iter().map(|&b| b as i8).collect()),
            b'h' => Data::Int16(halves.collect()),
            b'i' => Data::Int32(words().map(|w| w as i32).collect()),
            _ => return None,
        })
    }

    /// The dtype of the protocol, and the bytes.
    fn encoded(&self) -> (u8, Vec<u8>) {
        match self {
            Data::Float(values) => (b'f', values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Int8(values) => (b'b', values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Int16(values) => (b'h', values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Data::Int32(values) => (b'i', values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        }
    }
}

/// The next bytes of a payload; None where they are not there.
fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let part = rest.get(..bytes)?;
    *rest = &rest[bytes..];
    Some(part)
}

fn take_half(rest: &mut &[u8]) -> Option<usize> {
    take(rest, 2).map(|b| u16::from_le_bytes([b[0], b[1]]).into())
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

impl Body {
    pub fn parse(payload: &[u8]) -> Result<Body, Failure> {
        Body::read(payload).ok_or_else(|| Failure::Error(2, "the body is not whole".into()))
    }

    fn read(payload: &[u8]) -> Option<Body> {
        let rest = &mut &payload[..];
        let [name, parameters, tensors] = [take_half(rest)?, take_half(rest)?, take_half(rest)?];
        take(rest, 2)?;
        let mut body = Body { name: text(take(rest, name)?)?, ..Body::default() };
        for _ in 0..parameters {
            let head = take(rest, 4)?;
            let name = text(take(rest, head[0].into())?)?;
            let value = take(rest, u16::from_le_bytes([head[2], head[3]]).into())?;
            let value = match (head[1], value.len()) {
                (b'i', 4) => Parameter::Int(word(value, 0) as i32),
                (b'f', 4) => Parameter::Float(f32::from_bits(word(value, 0))),
                (b's', _) => Parameter::Text(text(value)?),
                _ => return None,
            };
            body.parameters.insert(name, value);
        }
        for _ in 0..tensors {
            let head = take(rest, 4)?;
            (1..=4).contains(&head[2]).then_some(())?;
            let axes = take(rest, 4 * usize::from(head[2]))?;
            let shape: Vec<usize> = axes.chunks(4).map(|size| word(size, 0) as usize).collect();
            let name = text(take(rest, head[0].into())?)?;
            let behind = payload.len() - rest.len();
            take(rest, multiple(behind, 64) - behind)?;
            let size = Data::size(head[1])?;
            let bytes = shape.iter().try_fold(size, |bytes, &n| bytes.checked_mul(n))?;
            let data = Data::parse(head[1], take(rest, bytes)?)?;
            body.tensors.insert(name, Tensor { shape, data });
        }
        Some(body).filter(|_| rest.is_empty())
    }

    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for count in [self.name.len(), self.parameters.len(), self.tensors.len(), 0] {
            out.extend((count as u16).to_le_bytes());
        }
        out.extend(self.name.bytes());
        for (name, value) in &self.parameters {
            let (kind, bytes) = match value {
                Parameter::Int(v) => (b'i', v.to_le_bytes().to_vec()),
                Parameter::Float(v) => (b'f', v.to_le_bytes().to_vec()),
                Parameter::Text(v) => (b's', v.clone().into_bytes()),
            };
            out.extend([name.len() as u8, kind]);
            out.extend((bytes.len() as u16).to_le_bytes());
            out.extend(name.bytes());
            out.extend(bytes);
        }
        for (name, tensor) in &self.tensors {
            let (dtype, data) = tensor.data.encoded();
            out.extend([name.len() as u8, dtype, tensor.shape.len() as u8, 0]);
            for &size in &tensor.shape {
                out.extend((size as u32).to_le_bytes());
            }
            out.extend(name.bytes());
            out.resize(multiple(out.len(), 64), 0);
            out.extend(data);
        }
        out
    }

    pub fn int(&self, name: &str) -> Result<i32, Failure> {
        match self.parameters.get(name) {
            Some(Parameter::Int(value)) => Ok(*value),
            _ => Err(argument(name)),
        }
    }

    pub fn float(&self, name: &str) -> Result<f32, Failure> {
        match self.parameters.get(name) {
            Some(Parameter::Float(value)) => Ok(*value),
            _ => Err(argument(name)),
        }
    }

    pub fn set(&mut self, name: &str, value: Parameter) {
        self.parameters.insert(name.into(), value);
    }

    pub fn put(&mut self, name: &str, shape: &[usize], data: Data) {
        self.tensors.insert(name.into(), Tensor { shape: shape.to_vec(), data });
    }
}
