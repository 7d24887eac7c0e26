//! Opens a flash image: FORMAT.md, "Flash images", with the tensors of its "Tensors".

use std::iter::once;

use crate::features::LEAST_FLOOR;
use crate::protocol::{crc32, multiple, refused, word, Data, Failure, Tensor, Tensors};

const HEADER: usize = 2048;

pub struct Model {
    pub int8: bool,
    pub heads: usize,
    pub dim: usize,
    pub mels: usize,
    pub stem_stride: usize,
    pub stem_kernel: usize,
    pub max_frames: usize,
    pub chunk: usize,
    pub left: usize,
    /// Frames that the depthwise convolution reaches ahead.
    pub ahead: usize,
    pub blank: usize,
    pub n_fft: usize,
    pub win_length: usize,
    pub hop_length: usize,
    pub pad: usize,
    pub log_floor: f32,
    pub norm_eps: f32,
    /// Layers of each exit that the image brings.
    pub layers: Vec<usize>,
    /// Whether each of them has a layer at half rate.
    pub parallel: Vec<bool>,
    /// Whether it is a Zipformer.
    pub has_stacks: bool,
    /// LSTMs of a head.
    pub lstms: usize,
    pub window: Vec<f32>,
    pub sines: Vec<f32>,
    /// First bin and weights of each mel filter.
    pub filters: Vec<(usize, Vec<f32>)>,
    /// What only models that take samples have.
    pub speech: Option<Speech>,
    /// Mean and scale of each mel, or none.
    pub normalisation: Vec<(f32, f32)>,
    /// What each label adds to a text.
    pub labels: Vec<Vec<u8>>,
    /// By the names of the model file, without the padding of rows.
    pub tensors: Tensors,
}

pub struct Speech {
    pub channels: usize,
    pub groups: usize,
    pub conv_bias: bool,
    /// A layer norm after each convolution, not a group norm after the first.
    pub layer_norms: bool,
    pub is_pre: bool,
    pub buckets: usize,
    pub max_distance: usize,
    /// Kernels and strides.
    pub convs: Vec<(usize, usize)>,
    pub head_norm: Vec<bool>,
}

impl Speech {
    fn read(bytes: &[u8]) -> Speech {
        let numbers = words(&bytes[..28]);
        let (kernels, strides) = (halves(&bytes[28..60]), halves(&bytes[60..92]));
        Speech {
            channels: numbers[0],
            groups: numbers[1],
            conv_bias: numbers[2] == 1,
            layer_norms: numbers[3] == 1,
            is_pre: numbers[4] == 1,
            buckets: numbers[5],
            max_distance: numbers[6],
            convs: kernels.into_iter().zip(strides).filter(|conv| conv.0 > 0).collect(),
            head_norm: bytes[92..156].iter().map(|&n| n == 1).collect(),
        }
    }
}

fn check(right: bool, status: &'static str) -> Result<(), Failure> {
    right.then_some(()).ok_or_else(|| refused(status))
}

const TRUNCATED: &str = "EE_ERR_IMAGE_TRUNCATED";
const CHECKSUM: &str = "EE_ERR_IMAGE_CHECKSUM";
const LAYOUT: &str = "EE_ERR_IMAGE_LAYOUT";
const CONFIG: &str = "EE_ERR_CONFIG";

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_bits(word(b, 0))).collect()
}

fn words(bytes: &[u8]) -> Vec<usize> {
    bytes.chunks_exact(4).map(|b| word(b, 0) as usize).collect()
}

fn halves(bytes: &[u8]) -> Vec<usize> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]).into()).collect()
}

impl Model {
    /// The first exits that are asked for; all that the bytes hold when none are. In the order of
    /// conformance.md, "Refusals".
    pub fn open(image: &[u8], asked: Option<usize>) -> Result<Model, Failure> {
        check(image.len() >= HEADER, TRUNCATED)?;
        let fields = words(&image[..HEADER]);
        #[rustfmt::skip]
        let [_, abi, header_crc32, header_bytes, _, architecture, dtype, all_exits, dim, heads, ff, kernel, vocab,
            mels, stem_kernel, stem_stride, max_frames, chunk, left, conv, positions, blank, frontend, rate, n_fft,
            win_length, hop_length, pad] = <[usize; 28]>::try_from(&fields[..28]).expect("28 fields");
        let (log_floor, norm_eps) = (f32::from_bits(word(image, 112)), f32::from_bits(word(image, 116)));
        let (count, layers) = (fields[30], &fields[31..95]);

        check(image.starts_with(b"EEIM"), "EE_ERR_IMAGE_MAGIC")?;
        check(abi == 3, "EE_ERR_IMAGE_ABI")?;
        let crc = |parts: &[&[u8]]| crc32(parts) as usize;
        check(crc(&[&image[..8], &[0; 4], &image[12..HEADER]]) == header_crc32, CHECKSUM)?;
        check(header_bytes == HEADER && count <= 104, LAYOUT)?;
        // Kind, offset, bytes and checksum of each section.
        let sections: Vec<&[usize]> = fields[95..95 + 4 * count].chunks(4).collect();
        let mut end = HEADER;
        for section in &sections {
            check(section[1] == end && section[2] > 0 && section[2] % 64 == 0, LAYOUT)?;
            end += section[2];
        }
        check(end <= u32::MAX as usize && (1..=64).contains(&all_exits) && all_exits <= count, LAYOUT)?;
        let (before, of_exits) = sections.split_at(count - all_exits);
        check(before.iter().all(|s| s[0] != 4) && of_exits.iter().all(|s| s[0] == 4), LAYOUT)?;
        check(layers[all_exits..].iter().chain(&fields[95 + 4 * count..]).all(|&n| n == 0), LAYOUT)?;
        check((1_000..=1_000_000).contains(&rate), CONFIG)?;

        // The exits asked for have to be there; if none are, the bytes end where an exit ends.
        let ends: Vec<usize> = of_exits.iter().map(|s| s[1] + s[2]).collect();
        let held = ends.iter().filter(|&&end| end <= image.len()).count();
        let ends_there = held > 0 && ends[held - 1] == image.len();
        let exits = match asked {
            None => check(ends_there, TRUNCATED).map(|()| held)?,
            Some(n) if n <= held => check(n > 0, TRUNCATED).map(|()| n)?,
            Some(n) if n > all_exits || ends_there => return Err(refused("EE_ERR_IMAGE_EXITS")),
            Some(_) => return Err(refused(TRUNCATED)),
        };
        let content = |section: &[usize]| &image[section[1]..section[1] + section[2]];
        for section in sections.iter().filter(|s| s[1] < ends[exits - 1]) {
            check(crc(&[content(section)]) == section[3], CHECKSUM)?;
        }

        let only = |kind| match before.iter().filter(|s| s[0] == kind).collect::<Vec<_>>()[..] {
            [section] => Ok(Reader { rest: content(section) }),
            _ => Err(refused(LAYOUT)),
        };
        let mut parallel = vec![0; exits];
        if architecture == 2 {
            let mut family = only(5)?;
            parallel = family.take(64)?[..exits].to_vec();
            family.end()?;
        }
        let (mut lstms, mut lstm_width) = (0, 0);
        if architecture == 6 {
            let mut family = only(5)?;
            let counts = words(family.take(8)?);
            family.end()?;
            (lstms, lstm_width) = (counts[0], counts[1]);
            check((1..=8).contains(&lstms) && (1..=8192).contains(&lstm_width), CONFIG)?;
        }
        check(architecture != 5 || layers[..exits].iter().sum::<usize>() <= 19, CONFIG)?;
        let mut speech = None;
        if architecture == 3 || architecture == 4 {
            let mut family = only(5)?;
            speech = Some(Speech::read(family.take(156)?));
            family.end()?;
        }
        check(architecture == 1 || matches!(architecture, 2..=6) && chunk == 0, CONFIG)?;
        let takes_samples = speech.is_some();
        if let Some(s) = &speech {
            let divides = |n: usize| (1..=1 << 16).contains(&n) && dim % n == 0;
            check(divides(s.groups) && (1..=1 << 16).contains(&s.channels) && mels == 1, CONFIG)?;
            check(!s.convs.is_empty() && s.convs.iter().all(|conv| conv.1 > 0), CONFIG)?;
            check((architecture == 4) == (s.buckets > 0) && (frontend == 2 || frontend == 3), CONFIG)?;
        }
        check(parallel.iter().all(|&n| n <= 1), CONFIG)?;
        let stem_sizes = if takes_samples { [1, 1] } else { [stem_kernel, stem_stride] };
        let sizes = [dim, heads, ff, kernel, vocab, mels, stem_sizes[0], stem_sizes[1], hop_length, pad + 1];
        check(dtype <= 1 && sizes.iter().all(|n| (1..=1 << 16).contains(n)), CONFIG)?;
        check(dim % heads == 0 && (takes_samples || kernel % 2 == 1 && stem_stride <= stem_kernel), CONFIG)?;
        check((2f32.powi(-40)..=1.0).contains(&norm_eps), CONFIG)?;
        check(chunk <= 1 << 16 && left <= 1 << 16 && (chunk > 0 || left == 0) && conv <= 2, CONFIG)?;
        check(if chunk > 0 { conv != 0 } else { conv != 2 }, CONFIG)?;
        check(positions <= 1 && max_frames <= 1 << 16 && (positions == 1) == (max_frames == 0), CONFIG)?;
        check(layers[..exits].iter().all(|n| (1..=64).contains(n)), CONFIG)?;
        let right_floor = match frontend {
            0 => log_floor == 0.0,
            _ => log_floor >= LEAST_FLOOR && log_floor.is_finite(),
        };
        check(takes_samples || frontend <= 1 && right_floor, CONFIG)?;
        check(takes_samples || n_fft.is_power_of_two() && (4..=1 << 16).contains(&n_fft) && win_length <= n_fft, CONFIG)?;
        check(blank < vocab, LAYOUT)?;

        let (mut texts, stem) = (only(2)?, only(3)?);
        let mut tables = if takes_samples { Reader { rest: &[] } } else { only(1)? };
        let (window, sines, filters) = if takes_samples { (0, 0, 0) } else { (win_length, n_fft, mels) };
        let window = floats(tables.take(4 * window)?);
        let sines = floats(tables.take(4 * sines)?);
        let mel_first = halves(tables.take(2 * filters)?);
        let mel_count = halves(tables.take(2 * filters)?);
        for (first, count) in mel_first.iter().zip(&mel_count) {
            check(first + count <= n_fft / 2 + 1, CONFIG)?;
        }
        let mel_weights = floats(tables.take(4 * mel_count.iter().sum::<usize>())?);
        let normalised = if frontend == 1 { 4 * mels } else { 0 };
        let (mean, scale) = (floats(tables.take(normalised)?), floats(tables.take(normalised)?));
        tables.end()?;
        let label_ends = words(texts.take(4 * vocab)?);
        let label_text = texts.take(label_ends[vocab - 1])?;
        texts.end()?;

        let (mut filters, mut from) = (Vec::new(), 0);
        for (&first, &count) in mel_first.iter().zip(&mel_count) {
            filters.push((first, mel_weights[from..from + count].to_vec()));
            from += count;
        }
        let (mut labels, mut from) = (Vec::new(), 0);
        for &end in &label_ends {
            labels.push(label_text.get(from..end).ok_or_else(|| refused(LAYOUT))?.to_vec());
            from = end;
        }
        let has_stacks = architecture == 5;
        #[rustfmt::skip]
        let shapes = Shapes { int8: dtype == 1, dim, ff, kernel, vocab, mels, stem_kernel, max_frames, has_stacks,
            lstms, lstm_width };
        let readers = of_exits[..exits].iter().map(|section| Reader { rest: content(section) });
        let lists = match &speech {
            Some(speech) => shapes.speech(speech, heads, &layers[..exits]),
            None => shapes.list(&layers[..exits], &parallel),
        };
        let mut tensors = Tensors::new();
        for (mut reader, list) in once(stem).chain(readers).zip(lists) {
            for (name, shape, dtype) in list {
                tensors.insert(name, reader.tensor(shape, dtype)?);
            }
            reader.end()?;
        }
        Ok(Model {
            int8: dtype == 1,
            heads,
            mels,
            stem_stride,
            dim,
            stem_kernel,
            max_frames,
            chunk,
            left,
            ahead: if conv == 1 { 0 } else { kernel / 2 },
            blank,
            n_fft,
            win_length,
            hop_length,
            pad,
            log_floor,
            norm_eps,
            layers: layers[..exits].to_vec(),
            parallel: parallel.iter().map(|&n| n == 1).collect(),
            has_stacks,
            lstms,
            window,
            sines,
            filters,
            speech,
            normalisation: mean.into_iter().zip(scale).collect(),
            labels,
            tensors,
        })
    }
}

/// What is left of a section, whose parts begin at multiples of 64.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Failure> {
        let whole = multiple(bytes, 64);
        check(whole <= self.rest.len(), LAYOUT)?;
        let (taken, rest) = self.rest.split_at(whole);
        self.rest = rest;
        Ok(&taken[..bytes])
    }

    /// Nothing may be left.
    fn end(&self) -> Result<(), Failure> {
        check(self.rest.is_empty(), LAYOUT)
    }

    /// A tensor without the padding of its rows.
    fn tensor(&mut self, shape: Vec<usize>, dtype: u8) -> Result<Tensor, Failure> {
        let rows = shape[..shape.len() - 1].iter().product::<usize>();
        let row_bytes = shape[shape.len() - 1] * Data::size(dtype).expect("a dtype of Shapes");
        let padded = multiple(row_bytes, 16);
        let bytes = self.take(rows * padded)?;
        let values: Vec<u8> = bytes.chunks(padded).flat_map(|row| &row[..row_bytes]).copied().collect();
        let data = Data::parse(dtype, &values).expect("a dtype of Shapes");
        Ok(Tensor { shape, data })
    }
}

struct Shapes {
    int8: bool,
    dim: usize,
    ff: usize,
    kernel: usize,
    vocab: usize,
    mels: usize,
    stem_kernel: usize,
    max_frames: usize,
    has_stacks: bool,
    lstms: usize,
    lstm_width: usize,
}

type Described = (String, Vec<usize>, u8);

impl Shapes {
    /// Name, shape and dtype of the tensors of the stem, of exit 1, and so on, in canonical order: the
    /// table of FORMAT.md.
    fn list(&self, layers: &[usize], parallel: &[u8]) -> Vec<Vec<Described>> {
        let (d, ff) = (self.dim, self.ff);
        // Parts of a layer: rows and columns of the weight, no columns for a norm.
        let parts = [
            ("ff1.norm", d, 0),
            ("ff1.up", ff, d),
            ("ff1.down", d, ff),
            ("attn.norm", d, 0),
            ("attn.in", 3 * d, d),
            ("attn.out", d, d),
            ("conv.norm", d, 0),
            ("conv.in", 2 * d, d),
            ("conv.depthwise", self.kernel, d),
            ("conv.out", d, d),
            ("ff2.norm", d, 0),
            ("ff2.up", ff, d),
            ("ff2.down", d, ff),
            ("norm", d, 0),
        ];
        let mut list = Vec::new();
        if self.max_frames > 0 {
            let rows = if self.has_stacks { 2 * self.max_frames } else { self.max_frames };
            self.matrix(&mut list, "stem.positions", rows, d);
        }
        if self.has_stacks {
            self.part(&mut list, "stem.conv", d, self.stem_kernel * self.mels);
        } else {
            self.part(&mut list, "stem.conv1", d, self.stem_kernel * self.mels);
            self.part(&mut list, "stem.conv2", d, self.stem_kernel * d);
        }
        let mut lists = vec![list];
        for (g, &count) in layers.iter().enumerate() {
            let mut list = Vec::new();
            let layers = (1..=count).map(|l| format!("layer.{}", l));
            for layer in layers.chain((0..parallel[g]).map(|_| "parallel".into())) {
                for (name, rows, cols) in parts {
                    self.part(&mut list, &format!("group.{}.{}.{}", g + 1, layer, name), rows, cols);
                }
            }
            let (head, w) = (format!("head.{}", g + 1), self.lstm_width);
            for n in 1..=self.lstms {
                let lstm = format!("{}.lstm.{}", head, n);
                self.part(&mut list, &format!("{}.in", lstm), 8 * w, if n == 1 { d } else { 2 * w });
                self.matrix(&mut list, &format!("{}.forward.weight", lstm), 4 * w, w);
                self.matrix(&mut list, &format!("{}.backward.weight", lstm), 4 * w, w);
            }
            self.part(&mut list, &head, self.vocab, if self.lstms > 0 { 2 * w } else { d });
            lists.push(list);
        }
        lists
    }

    /// The same of a model that takes samples.
    fn speech(&self, s: &Speech, heads: usize, layers: &[usize]) -> Vec<Vec<Described>> {
        let (d, ff, c) = (self.dim, self.ff, s.channels);
        let mut list = Vec::new();
        for (n, &(kernel, _)) in s.convs.iter().enumerate() {
            let name = format!("stem.conv{}", n + 1);
            self.part(&mut list, &name, c, kernel * if n > 0 { c } else { 1 });
            if !s.conv_bias {
                list.pop();
            }
            if s.layer_norms || n == 0 {
                self.part(&mut list, &format!("{}.norm", name), c, 0);
            }
        }
        self.part(&mut list, "stem.proj.norm", c, 0);
        self.part(&mut list, "stem.proj", d, c);
        self.part(&mut list, "stem.positional", d, self.kernel * (d / s.groups));
        if !s.is_pre {
            self.part(&mut list, "stem.norm", d, 0);
        }
        if s.buckets > 0 {
            list.push(("stem.distances".into(), vec![s.buckets, heads], b'f'));
        }
        let parts = [
            ("attn.in", 3 * d, d),
            ("attn.out", d, d),
            ("attn.norm", d, 0),
            ("ff.up", ff, d),
            ("ff.down", d, ff),
            ("ff.norm", d, 0),
        ];
        let mut lists = vec![list];
        for (g, &count) in layers.iter().enumerate() {
            let mut list = Vec::new();
            for l in 1..=count {
                let layer = format!("group.{}.layer.{}", g + 1, l);
                for (name, rows, cols) in parts {
                    self.part(&mut list, &format!("{}.{}", layer, name), rows, cols);
                }
                if s.buckets > 0 {
                    self.part(&mut list, &format!("{}.attn.gate", layer), 8, d / heads);
                    list.push((format!("{}.attn.gate.scale", layer), vec![heads], b'f'));
                }
            }
            let head = format!("head.{}", g + 1);
            if s.head_norm[g] {
                self.part(&mut list, &format!("{}.norm", head), d, 0);
            }
            self.part(&mut list, &head, self.vocab, d);
            lists.push(list);
        }
        lists
    }

    fn part(&self, list: &mut Vec<Described>, name: &str, rows: usize, cols: usize) {
        let weight = format!("{}.weight", name);
        let depthwise = name.ends_with("depthwise");
        match cols {
            0 => list.push((weight, vec![rows], b'f')),
            _ if depthwise => list.push((weight, vec![rows, cols], b'f')),
            _ => self.matrix(list, &weight, rows, cols),
        }
        list.push((format!("{}.bias", name), vec![if depthwise { cols } else { rows }], b'f'));
    }

    fn matrix(&self, list: &mut Vec<Described>, name: &str, rows: usize, cols: usize) {
        list.push((name.into(), vec![rows, cols], if self.int8 { b'b' } else { b'f' }));
        if self.int8 {
            list.push((format!("{}_scale", name), vec![rows], b'f'));
        }
    }
}
