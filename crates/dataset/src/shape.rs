//! Whether data fits an input.

use shiftwise_graph::Value;

use crate::InputSpec;
use crate::error::Misfit;

/// The shape under which data of shape `found` goes into `input`: as it is, with a leading 1 added, or, for flat data,
/// reshaped. A sample is a batch of one, so a dynamic first dimension becomes 1.
///
/// For an input that was channels-first it may be the shape from before, which also is that of flat data: see [`arranged`].
pub(crate) fn fit(found: &[usize], input: &InputSpec) -> Option<Vec<usize>> {
    if let Some(before) = input.before() {
        let now = InputSpec { was_channels_first: false, ..input.clone() };
        let either = if found.len() == 1 { [&before, &now] } else { [&now, &before] };
        return either.into_iter().find_map(|input| fit(found, input));
    }
    if agrees(found, input) {
        return Some(found.to_vec());
    }
    let batched: Vec<usize> = std::iter::once(1).chain(found.iter().copied()).collect();
    if agrees(&batched, input) {
        return Some(batched);
    }
    let [flat] = *found else { return None };
    let full: Vec<usize> = input
        .shape
        .iter()
        .enumerate()
        .map(|(axis, dim)| dim.or((axis == 0).then_some(1)))
        .collect::<Option<_>>()?;
    let elements = full.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
    (elements == flat && !full.is_empty()).then_some(full)
}

/// A value that [`fit`] gave its shape, in the layout of the input.
pub(crate) fn arranged(value: Value, input: &InputSpec) -> Value {
    match input.before() {
        Some(before) if !agrees(value.shape(), input) && agrees(value.shape(), &before) => {
            value.permuted(&[0, 2, 3, 1])
        }
        _ => value,
    }
}

fn agrees(found: &[usize], input: &InputSpec) -> bool {
    found.len() == input.shape.len()
        && input.shape.iter().zip(found).enumerate().all(|(axis, (wanted, found))| match wanted {
            Some(wanted) => wanted == found,
            // One dynamic dimension alone may be a length as well as a batch.
            None => axis > 0 || *found == 1 || input.shape.len() == 1,
        })
}

/// The two shapes for an error; `advice` overrides what can be said in general.
pub(crate) fn misfit(found: &[usize], input: &InputSpec, advice: Option<String>) -> Misfit {
    let advice = advice.or_else(|| self::advice(found, input));
    Misfit { wanted: input.shape_text(), found: format!("{found:?}"), advice }
}

/// What can be said about a shape that does not fit.
fn advice(found: &[usize], input: &InputSpec) -> Option<String> {
    if let Some(batch) = fixed_batch(input) {
        return Some(format!("the model has a fixed batch of {batch}, make it 1 or dynamic"));
    }
    let rows = found.len() == input.shape.len() && found.first().is_some_and(|rows| *rows > 1);
    rows.then(|| "to use the first axis as samples, give the path of this one file".to_owned())
}

/// The batch of a model that takes more than one sample at a time.
pub(crate) fn fixed_batch(input: &InputSpec) -> Option<usize> {
    let first = input.shape.first().copied().flatten();
    first.filter(|batch| *batch > 1 && input.shape.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::DataType;

    fn input(shape: &[i64]) -> InputSpec {
        InputSpec {
            name: "x".to_owned(),
            dtype: DataType::Float,
            shape: shape.iter().map(|d| usize::try_from(*d).ok()).collect(),
            was_channels_first: false,
        }
    }

    #[test]
    fn a_sample_is_a_batch_of_one() {
        for spec in [input(&[1, 3, 4]), input(&[-1, 3, 4]), input(&[-1, -1, 4])] {
            assert_eq!(fit(&[3, 4], &spec), Some(vec![1, 3, 4]));
            assert_eq!(fit(&[1, 3, 4], &spec), Some(vec![1, 3, 4]));
            assert_eq!(fit(&[2, 3, 4], &spec), None);
            assert_eq!(fit(&[3, 5], &spec), None);
        }
        assert_eq!(fit(&[], &input(&[-1])), Some(vec![1]));
        assert_eq!(fit(&[7], &input(&[-1])), Some(vec![7]));
    }

    #[test]
    fn flat_data_is_reshaped_when_the_counts_match() {
        assert_eq!(fit(&[12], &input(&[-1, 3, 4])), Some(vec![1, 3, 4]));
        assert_eq!(fit(&[13], &input(&[-1, 3, 4])), None);
        assert_eq!(fit(&[12], &input(&[-1, 3, -1])), None);
        assert_eq!(fit(&[12], &input(&[-1, -1])), Some(vec![1, 12]));
    }

    #[test]
    fn samples_from_before_a_conversion_are_turned() {
        let spec = InputSpec { was_channels_first: true, ..input(&[-1, 2, 3, 1]) };
        let channels_first = InputSpec { was_channels_first: true, ..input(&[1, 4, 5, 3]) };
        assert_eq!(fit(&[3, 4, 5], &channels_first), Some(vec![1, 3, 4, 5]));
        assert_eq!(fit(&[4, 5, 3], &channels_first), Some(vec![1, 4, 5, 3]));
        assert_eq!(fit(&[60], &channels_first), Some(vec![1, 3, 4, 5]));
        assert_eq!(fit(&[5, 4, 3], &channels_first), None);
        assert_eq!(fit(&[1, 2, 3], &spec), Some(vec![1, 1, 2, 3]));
        let value = Value::f32(&[1, 3, 4, 5], (0..60u8).map(f32::from).collect());
        let turned = arranged(value.clone(), &channels_first);
        assert_eq!(turned.shape(), [1, 4, 5, 3]);
        assert_eq!(turned.as_f32().unwrap()[..4], [0.0, 20.0, 40.0, 1.0]);
        assert_eq!(arranged(turned.clone(), &channels_first), turned);
    }

    #[test]
    fn a_fixed_batch_cannot_be_filled_with_one_sample() {
        let spec = input(&[8, 3]);
        assert_eq!(fit(&[3], &spec), None);
        assert!(misfit(&[3], &spec, None).to_string().contains("batch of 8"));
    }
}
