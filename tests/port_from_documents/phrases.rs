//! What may be said: FORMAT.md, "Phrases", and numerics.md, "Phrase search".

use crate::exact::flush;
use crate::protocol::{argument, word, Body, Data, Failure, Tensor};
use crate::tensors::{Matrix, Weights};

const FLAG: usize = 0x8000;
const NONE: usize = 0xFFFF;
const COUNTS: usize = 18;
const HEADER: usize = 4 * (COUNTS + 4);
const SPREAD: f32 = 10.0;
const BLANK_WEIGHT: f32 = 3.0;
const BLANK_COST: f32 = 2.0;
const LAG: f32 = 32.0;
const LAG_PER_FRAME: f32 = 0.75;

/// An arc of the graph, or of words.
struct Arc {
    target: usize,
    label: usize,
    weight: u64,
    after_blank: bool,
}

/// Automata of words and the grammar have the same tables: where the arcs of a state begin.
struct Phrases {
    vocab: usize,
    blank: usize,
    graph: Vec<Vec<Arc>>,
    ends: Vec<usize>,
    words: Vec<Vec<Arc>>,
    word_final: Vec<bool>,
    list_state: Vec<usize>,
    list_first: Vec<usize>,
    value: Vec<usize>,
    /// Target and symbol.
    links: Vec<Vec<(usize, usize)>>,
    node_final: Vec<bool>,
    calls: Vec<(usize, usize)>,
    templates: Vec<(usize, usize, Vec<(usize, usize)>)>,
    strings: Vec<Vec<u8>>,
}

/// The tables of a section, one after another.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize, size: usize) -> Result<Vec<usize>, Failure> {
        let end = self.at + count * size;
        let table = self.bytes.get(self.at..end).ok_or_else(|| argument("section"))?;
        self.at = end;
        let number = |b: &[u8]| b.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)) as usize;
        Ok(table.chunks_exact(size).map(number).collect())
    }

    /// Numbers that name one of `limit` things.
    fn named(&mut self, count: usize, limit: usize) -> Result<Vec<usize>, Failure> {
        if limit > 256 {
            return self.take(count, 2);
        }
        let found = self.take(count, 1)?;
        self.at += count % 2;
        Ok(found)
    }

    fn bits(&mut self, count: usize) -> Result<Vec<bool>, Failure> {
        let bytes = self.take((count + 7) / 8, 1)?;
        Ok((0..count).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
    }
}

/// The parts of what lies side by side.
fn parts<T>(first: &[usize], items: Vec<T>) -> Vec<Vec<T>> {
    let mut items = items.into_iter();
    first.windows(2).map(|w| items.by_ref().take(w[1] - w[0]).collect()).collect()
}

fn zip(a: Vec<usize>, b: Vec<usize>) -> Vec<(usize, usize)> {
    a.into_iter().zip(b).collect()
}

impl Phrases {
    /// The suite's sections are right, so that nothing but their size is looked at.
    fn open(bytes: &[u8]) -> Result<Phrases, Failure> {
        if bytes.len() < HEADER {
            return Err(argument("section"));
        }
        let n: Vec<usize> = (0..COUNTS).map(|i| word(bytes, 4 * i) as usize).collect();
        let [vocab, blank, states, arcs, finals, weights, word_states, word_arcs, lists, values, nodes, links, calls, templates, fixed, words, ..] =
            n[..]
        else {
            unreachable!()
        };
        let mut reader = Reader { bytes, at: HEADER };
        let r = &mut reader;
        let weight_of: Vec<u64> = r.take(weights, 8)?.into_iter().map(|w| w as u64).collect();
        let (first, target, ends) = (r.take(states + 1, 2)?, r.take(arcs, 2)?, r.take(finals, 2)?);
        let (word_first, word_target) = (r.take(word_states + 1, 2)?, r.take(word_arcs, 2)?);
        let (list_state, list_first) = (r.take(lists, 2)?, r.take(lists + 1, 2)?);
        let (value, node_first) = (r.take(values, 2)?, r.take(nodes + 1, 2)?);
        let links = zip(r.take(links, 2)?, r.take(links, 2)?);
        let calls = zip(r.take(calls, 2)?, r.take(calls, 2)?);
        let begins = zip(r.take(templates, 2)?, r.take(templates, 2)?);
        let fixed_first = r.take(templates + 1, 2)?;
        let always = parts(&fixed_first, zip(r.take(fixed, 2)?, r.take(fixed, 2)?));
        let (label, weight) = (r.named(arcs, vocab)?, r.named(arcs, weights)?);
        let (spoken, skip) = (r.named(word_arcs, words)?, r.named(word_arcs, weights)?);
        let (after_blank, word_final) = (r.bits(arcs)?, r.bits(word_states)?);
        let node_final = r.bits(nodes)?;
        let text = bytes.get(r.at..r.at + n[17]).ok_or_else(|| argument("section"))?;
        let arc = |target, label, weight: usize, after_blank| Arc {
            target,
            label,
            weight: weight_of[weight],
            after_blank,
        };
        let graph = (0..arcs).map(|a| arc(target[a], label[a], weight[a], after_blank[a])).collect();
        let said = (0..word_arcs).map(|a| arc(word_target[a], spoken[a], skip[a], false)).collect();
        Ok(Phrases {
            vocab,
            blank,
            graph: parts(&first, graph),
            ends,
            words: parts(&word_first, said),
            word_final,
            list_state,
            list_first,
            value,
            links: parts(&node_first, links),
            node_final,
            calls,
            templates: begins.into_iter().zip(always).map(|((s, i), f)| (s, i, f)).collect(),
            strings: text.split(|&b| b == 0).map(<[u8]>::to_vec).collect(),
        })
    }

    /// The words of a sentence.
    fn sentence(&self, mut key: u64) -> Vec<usize> {
        let (mut state, mut words) = (0, vec![]);
        while key > 0 || !self.word_final[state] {
            let arc = self.words[state].iter().rev().find(|arc| arc.weight <= key).unwrap();
            words.push(arc.label);
            key -= arc.weight;
            state = arc.target;
        }
        words
    }

    /// Places behind the values of a list that begin at `at`, with their numbers, longest first.
    fn values(&self, list: usize, words: &[usize], at: usize) -> Vec<(usize, usize)> {
        let (mut state, mut number, mut found) = (self.list_state[list], 0, vec![]);
        for end in at..words.len() {
            match self.words[state].iter().find(|arc| arc.label == words[end]) {
                None => break,
                Some(arc) => {
                    state = arc.target;
                    number += arc.weight as usize;
                }
            }
            if self.word_final[state] {
                found.insert(0, (end + 1, number));
            }
        }
        found
    }

    /// The slots of words from a place on, if a node reads them.
    fn slots(&self, node: usize, words: &[usize], at: usize) -> Option<Vec<(usize, usize)>> {
        if at == words.len() {
            return self.node_final[node].then(Vec::new);
        }
        for &(target, symbol) in &self.links[node] {
            if symbol == words[at] {
                if let Some(rest) = self.slots(target, words, at + 1) {
                    return Some(rest);
                }
            } else if symbol >= FLAG {
                let (list, slot) = self.calls[symbol - FLAG];
                for (end, number) in self.values(list, words, at) {
                    if let Some(mut rest) = self.slots(target, words, end) {
                        rest.insert(0, (slot, self.value[self.list_first[list] + number]));
                        return Some(rest);
                    }
                }
            }
        }
        None
    }

    /// A line of the intent, and one of each slot: conformance.md, "Phrases".
    fn meaning(&self, words: &[usize]) -> Vec<u8> {
        let mut read = self.templates.iter().filter_map(|(start, intent, fixed)| {
            self.slots(*start, words, 0).map(|slots| (*intent, [&fixed[..], &slots].concat()))
        });
        let (intent, slots) = read.next().unwrap();
        let mut lines = vec![if intent == NONE { vec![] } else { self.strings[intent].clone() }];
        let mut set: Vec<(usize, usize)> = vec![];
        for (name, value) in slots {
            match set.iter_mut().find(|slot| slot.0 == name) {
                Some(slot) => slot.1 = value,
                None => set.push((name, value)),
            }
        }
        lines.extend(set.iter().map(|&(name, value)| {
            [&self.strings[name][..], b"=", &self.strings[value & (FLAG - 1)]].concat()
        }));
        lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect()
    }
}

type Token = (f32, u64);

/// Of two with the same key the better one stays; then the n best.
fn best(n: usize, mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.retain(|token| token.0 > f32::NEG_INFINITY);
    tokens.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept: Vec<Token> = vec![];
    for token in tokens {
        if kept.len() < n && kept.iter().all(|other| other.1 != token.1) {
            kept.push(token);
        }
    }
    kept
}

fn added(tokens: &[Token], score: f32, key: u64) -> Vec<Token> {
    tokens.iter().map(|token| (token.0 + score, token.1.wrapping_add(key))).collect()
}

fn search(phrases: &Phrases, rows: &Matrix, n: usize, filler: Option<f32>) -> Vec<Token> {
    let states = phrases.graph.len();
    let mut blanks: Vec<Vec<Token>> = vec![vec![]; states];
    let mut arcs: Vec<Vec<Vec<Token>>> = phrases.graph.iter().map(|arcs| vec![vec![]; arcs.len()]).collect();
    let mut found: Vec<Token> = vec![];
    blanks[0].push((0.0, 0));
    let at_states = |blanks: &[Vec<Token>], arcs: &[Vec<Vec<Token>>]| {
        let mut all = blanks.to_vec();
        for (leaving, tokens) in phrases.graph.iter().zip(arcs) {
            leaving.iter().zip(tokens).for_each(|(arc, on)| all[arc.target].extend(on));
        }
        all.into_iter().map(|tokens| best(n, tokens)).collect::<Vec<_>>()
    };
    let ending = |at: &[Vec<Token>], after: f32| -> Vec<Token> {
        phrases.ends.iter().flat_map(|&s| added(&at[s], after, 0)).collect()
    };
    for t in 0..rows.rows {
        let mut row = rows.row(t).to_vec();
        row[phrases.blank] = BLANK_WEIGHT * row[phrases.blank] - BLANK_COST;
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f32> = row.iter().map(|&v| flush(v - highest)).collect();
        if let (Some(cost), true) = (filler, t > 0) {
            found.extend(ending(&at_states(&blanks, &arcs), 0.0 - cost));
            found = best(n, found);
            blanks[0].push((0.0 - cost, 0));
            blanks[0] = best(n, blanks[0].clone());
        }
        let at = at_states(&blanks, &arcs);
        for (s, leaving) in phrases.graph.iter().enumerate() {
            for (arc, on) in leaving.iter().zip(&mut arcs[s]) {
                let from = if arc.after_blank { &blanks[s] } else { &at[s] };
                let all = best(n, [on.clone(), added(from, 0.0, arc.weight)].concat());
                *on = best(n, added(&all, e[arc.label], 0));
            }
        }
        blanks = at.iter().map(|here| best(n, added(here, e[phrases.blank], 0))).collect();
        let lowest = -(LAG + LAG_PER_FRAME * (t + 1) as f32) - filler.unwrap_or(0.0);
        for tokens in blanks.iter_mut().chain(arcs.iter_mut().flatten()) {
            tokens.retain(|token| token.0 >= lowest);
        }
    }
    found.extend(ending(&at_states(&blanks, &arcs), 0.0));
    let mut found = best(n, found);
    if let Some(&(first, _)) = found.first() {
        found.retain(|token| token.0 >= first - SPREAD);
    }
    found
}

fn put_text(result: &mut Body, name: &'static str, text: &[u8]) {
    result.put(name, &[text.len()], Data::Int8(text.iter().map(|&b| b as i8).collect()));
}

/// conformance.md, "Phrases". Pieces make no difference.
pub fn case(case: &Body, result: &mut Body) -> Result<(), Failure> {
    let section: Vec<u8> = match case.tensors.get("section") {
        Some(Tensor { data: Data::Int8(bytes), .. }) => bytes.iter().map(|&b| b as u8).collect(),
        _ => return Err(argument("section")),
    };
    let phrases = Phrases::open(&section)?;
    let rows = Weights::new(&case.tensors).matrix("log_probs", phrases.vocab)?;
    let n = usize::try_from(case.int("n")?).map_err(|_| argument("n"))?;
    let has_filler = case.parameters.contains_key("filler");
    let filler = has_filler.then(|| case.float("filler")).transpose()?;
    let found = search(&phrases, &rows, n, filler);
    let keys = found.iter().flat_map(|token| [token.1 as i32, (token.1 >> 32) as i32]).collect();
    result.put("score", &[found.len()], Data::Float(found.iter().map(|token| token.0).collect()));
    result.put("key", &[found.len(), 2], Data::Int32(keys));
    if let Some(&(_, key)) = found.first() {
        let words = phrases.sentence(key);
        let texts: Vec<&[u8]> = words.iter().map(|&w| &phrases.strings[w][..]).collect();
        put_text(result, "text", &texts.join(&b' '));
        put_text(result, "meaning", &phrases.meaning(&words));
    }
    Ok(())
}
