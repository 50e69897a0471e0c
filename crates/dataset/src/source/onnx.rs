//! ONNX test data: a folder for each sample with one serialized tensor for each input, `test_data_set_0/input_0.pb`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, decode_key, skip_field};
use shiftwise_artifact::Fingerprint;
use shiftwise_graph::proto::TensorProto;
use shiftwise_graph::{DataType, Tensor, Value};

use super::Samples;
use super::folder::{Found, fingerprint_of};
use crate::array::{Element, Header, value};
use crate::{DataError, InputSpec, Result, shape};

/// What the name of a folder with a sample starts with.
const SET: &str = "test_data_set_";

/// Fields of a TensorProto.
mod field {
    /// Part of a tensor that is cut into segments, which nobody writes; the elements of a SequenceProto and the element of an
    /// OptionalProto have the same number.
    pub(super) const SEGMENT: u32 = 3;
    /// What a tensor has and an empty sequence or optional has not: data of any kind.
    pub(super) const DATA: [u32; 7] = [4, 5, 6, 7, 9, 10, 11];
}

/// The number in `input_N.pb` of a file that belongs to test data, given its name below the source.
pub(super) fn input_number(id: &str) -> Option<usize> {
    let file = match id.split_once('/') {
        Some((set, file)) if set.starts_with(SET) => file,
        Some(_) => return None,
        None => id,
    };
    let digits = file.strip_prefix("input_")?.strip_suffix(".pb")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[derive(Debug)]
struct Sets {
    inputs: Vec<InputSpec>,
    /// For each sample its files, by their numbers.
    samples: Vec<Vec<PathBuf>>,
}

pub(super) fn open(
    dir: &Path,
    files: Vec<Found>,
    inputs: &[InputSpec],
) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let mut sets: BTreeMap<String, BTreeMap<usize, PathBuf>> = BTreeMap::new();
    let own = dir.canonicalize().ok().and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned()));
    for file in files {
        let Some(number) = input_number(&file.id) else { continue };
        let set = file.id.split_once('/').map_or("", |(set, _)| set).to_owned();
        if let Some(other) = sets.entry(set).or_default().insert(number, file.path.clone()) {
            let (a, b) = (other.display(), file.path.display());
            return Err(DataError::source(dir, format!("{a} and {b} have the same number")));
        }
    }
    if sets.len() > 1 && sets.contains_key("") {
        return Err(DataError::source(
            dir,
            format!("it holds input_*.pb beside folders {SET}*; keep one of them"),
        ));
    }
    let mut sets: Vec<_> = sets.into_iter().collect();
    sets.sort_by(|(a, _), (b, _)| natural(a, b));
    let (mut ids, mut samples) = (Vec::new(), Vec::new());
    for (set, files) in sets {
        let id = if set.is_empty() { own.clone().unwrap_or_else(|| SET.to_owned() + "0") } else { set };
        if let Some((number, input)) = inputs.iter().enumerate().find(|(i, _)| !files.contains_key(i)) {
            return Err(DataError::source(
                dir,
                format!("{id} has no input_{number}.pb, for input {:?} of the model", input.name),
            ));
        }
        if let Some(number) = files.keys().find(|n| **n >= inputs.len()) {
            let names: Vec<String> = inputs.iter().map(|i| i.name.clone()).collect();
            return Err(DataError::source(
                dir,
                format!(
                    "{id} has input_{number}.pb, and the model's inputs are only {}, which are numbered from 0",
                    crate::error::listed(&names)
                ),
            ));
        }
        ids.push(id);
        samples.push(files.into_values().collect());
    }
    Ok((ids, Box::new(Sets { inputs: inputs.to_vec(), samples })))
}

/// Compares names so that numbers in them count as numbers: `set_2` comes before `set_10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a, b);
    loop {
        let (text_x, text_y) = (run(&mut x, false), run(&mut y, false));
        let (digits_x, digits_y) = (run(&mut x, true), run(&mut y, true));
        let (short_x, short_y) = (digits_x.trim_start_matches('0'), digits_y.trim_start_matches('0'));
        let order =
            text_x.cmp(text_y).then(short_x.len().cmp(&short_y.len())).then_with(|| short_x.cmp(short_y));
        if order.is_ne() {
            return order;
        }
        if x.is_empty() && y.is_empty() {
            return a.cmp(b);
        }
    }
}

/// Cuts the digits, or what is no digit, from the front of a text.
fn run<'a>(text: &mut &'a str, digits: bool) -> &'a str {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (front, rest) = text.split_at(end);
    *text = rest;
    front
}

impl Samples for Sets {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        let mut files = Vec::new();
        for path in &self.samples[index] {
            let bytes = std::fs::read(path).map_err(DataError::read(path))?;
            let (name, tensor) = decode(bytes.into()).map_err(|reason| DataError::decode(path, reason))?;
            files.push((path, name, tensor));
        }
        // Files whose name is that of an input go there, the others to what is left, in order.
        let mut places: Vec<Option<usize>> = vec![None; self.inputs.len()];
        for (i, (path, name, _)) in files.iter().enumerate() {
            let Some(at) = self.inputs.iter().position(|input| input.name == *name) else { continue };
            if let Some(other) = places[at].replace(i) {
                let reason = format!("its name is {name:?}, as that of {} is", files[other].0.display());
                return Err(DataError::decode(path, reason));
            }
        }
        let mut rest =
            (0..files.len()).filter(|i| !places.contains(&Some(*i))).collect::<Vec<_>>().into_iter();
        let mut values = Vec::new();
        for (input, place) in self.inputs.iter().zip(&places) {
            let Some(at) = place.or_else(|| rest.next()) else {
                return Err(DataError::Index { index, len: self.samples.len() });
            };
            let found = files[at].2.dims();
            let Some(shape) = shape::fit(found, input) else {
                let advice = shape::fixed_batch(input).is_none().then(|| {
                    "a sample is a batch of one; with a fixed shape (--fix-dim when the model is prepared) it may be larger"
                        .to_owned()
                });
                let batch = found.len() == input.shape.len() && found.first().is_some_and(|n| *n > 1);
                return Err(DataError::Shape {
                    sample: id.to_owned(),
                    input: input.name.clone(),
                    misfit: Box::new(shape::misfit(found, input, advice.filter(|_| batch))),
                });
            };
            let value = converted(&files[at].2, input.dtype)
                .and_then(|v| v.reshaped(&shape).ok_or_else(|| "its shape does not fit".to_owned()))
                .map(|v| shape::arranged(v, input))
                .map_err(|reason| DataError::Convert {
                    sample: id.to_owned(),
                    input: input.name.clone(),
                    reason,
                })?;
            values.push((input.name.clone(), value));
        }
        Ok(values)
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let numbers: Vec<String> = (0..self.inputs.len()).map(|i| i.to_string()).collect();
        let mut hashes = Vec::new();
        for (number, path) in numbers.iter().zip(&self.samples[index]) {
            hashes.push((number.as_str(), fingerprint_of(path)?));
        }
        Ok(super::joint(hashes.into_iter()))
    }
}

/// The name and the content of a serialized tensor.
fn decode(bytes: Bytes) -> Result<(String, Tensor), String> {
    let fields = fields(bytes.clone());
    let sequence = || {
        "it holds a sequence or an optional value; the inputs of models that can be calibrated are tensors"
            .to_owned()
    };
    if fields.as_ref().is_some_and(|fields| fields.contains(&field::SEGMENT)) {
        return Err(sequence());
    }
    let message = TensorProto::decode(bytes).map_err(|e| format!("it is no serialized tensor: {e}"))?;
    if message.data_location.is_some_and(|l| l != 0) || !message.external_data.is_empty() {
        return Err("its data are in another file; save the tensor with its data".to_owned());
    }
    let empty = fields.is_some_and(|f| !f.is_empty() && !f.iter().any(|f| field::DATA.contains(f)));
    let tensor = Tensor::from_proto(&message).map_err(|e| match e {
        _ if empty && message.dims.is_empty() => format!("{} (it has no data)", sequence()),
        e => e.to_string(),
    })?;
    Ok((message.name, tensor))
}

/// The numbers of the fields of a message; nothing where it is malformed.
fn fields(mut bytes: Bytes) -> Option<Vec<u32>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        if matches!(wire, WireType::StartGroup | WireType::EndGroup) {
            return None;
        }
        skip_field(wire, tag, &mut bytes, prost::encoding::DecodeContext::default()).ok()?;
        fields.push(tag);
    }
    Some(fields)
}

/// A tensor in the type of an input, under the rules for arrays.
fn converted(tensor: &Tensor, target: DataType) -> Result<Value, String> {
    if tensor.dtype() == target {
        return Value::from_tensor(tensor)
            .map_err(|_| format!("values of type {target} cannot be computed with"));
    }
    let element = match tensor.dtype() {
        DataType::Float => Element::F32,
        DataType::Double => Element::F64,
        DataType::Float16 => Element::F16,
        DataType::Bfloat16 => Element::Bf16,
        DataType::Int64 => Element::I64,
        DataType::Int32 => Element::I32,
        DataType::Int16 => Element::I16,
        DataType::Int8 => Element::I8,
        DataType::Uint64 => Element::U64,
        DataType::Uint32 => Element::U32,
        DataType::Uint16 => Element::U16,
        DataType::Uint8 => Element::U8,
        DataType::Bool => Element::Bool,
        other => return Err(format!("the tensor is {other}, the input takes {target}")),
    };
    let header = Header { element, big_endian: false, fortran: false, shape: tensor.dims().to_vec() };
    let bytes = tensor.raw().ok_or("the tensor has no raw form")?;
    value(bytes, &header, &header.shape, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["s_10", "s_2", "s_02", "s_1b", "s_1a9", "s_1a10", "s", "r_99"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["r_99", "s", "s_1a9", "s_1a10", "s_1b", "s_02", "s_2", "s_10"]);
    }

    #[test]
    fn files_of_test_data_are_known_by_their_names() {
        let numbers = ["input_0.pb", "test_data_set_3/input_12.pb"].map(input_number);
        assert_eq!(numbers, [Some(0), Some(12)]);
        for other in
            ["output_0.pb", "input_.pb", "input_0.npy", "x/input_0.pb", "test_data_set_0/a/input_0.pb"]
        {
            assert_eq!(input_number(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(bytes.into());
        }

        #[test]
        fn damaged_tensors_are_refused_or_read(
            at in any::<prop::sample::Index>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let mut message = Tensor::f32(&[2, 3], &[1.5; 6]).to_proto("x").encode_to_vec();
            let at = at.index(message.len());
            message.splice(at..(at + bytes.len()).min(at), bytes);
            if let Ok((_, tensor)) = decode(message.into()) {
                let _ = converted(&tensor, DataType::Float);
            }
        }
    }
}
