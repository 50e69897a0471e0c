//! Whether data fits an input.

use crate::InputSpec;
use crate::error::Misfit;

/// The shape under which data of shape `found` goes into `input`: as it is, with a leading 1 added, or, for flat data,
/// reshaped. A sample is a batch of one, so a dynamic first dimension becomes 1.
pub(crate) fn fit(found: &[usize], input: &InputSpec) -> Option<Vec<usize>> {
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
    fn a_fixed_batch_cannot_be_filled_with_one_sample() {
        let spec = input(&[8, 3]);
        assert_eq!(fit(&[3], &spec), None);
        assert!(misfit(&[3], &spec, None).to_string().contains("batch of 8"));
    }
}
