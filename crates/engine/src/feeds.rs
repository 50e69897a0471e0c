//! Checks of what is fed against what the model declares.

use shiftwise_graph::{Value, ValueInfo};

use crate::EngineError;

/// The feed of each input, in the order of `inputs`.
pub(crate) fn matched<'a>(
    inputs: &[ValueInfo],
    feeds: &'a [(String, Value)],
) -> Result<Vec<&'a Value>, EngineError> {
    let fail = |name: &str, reason: String| Err(EngineError::Feed { name: name.into(), reason });
    let names = || inputs.iter().map(|i| format!("{:?}", i.name)).collect::<Vec<_>>().join(", ");
    for (i, (name, _)) in feeds.iter().enumerate() {
        if !inputs.iter().any(|input| input.name == *name) {
            return fail(name, format!("the model has no such input; its inputs are {}", names()));
        }
        if feeds[..i].iter().any(|(earlier, _)| earlier == name) {
            return fail(name, "it is fed twice".into());
        }
    }
    let mut values = Vec::with_capacity(inputs.len());
    for input in inputs {
        let Some((_, value)) = feeds.iter().find(|(name, _)| *name == input.name) else {
            return fail(&input.name, format!("nothing is fed to it; the model needs {}", names()));
        };
        if let Some(reason) = mismatch(input, value) {
            return fail(&input.name, reason);
        }
        values.push(value);
    }
    Ok(values)
}

fn mismatch(input: &ValueInfo, value: &Value) -> Option<String> {
    let declared = input.ty.tensor()?;
    if declared.dtype != value.dtype() {
        return Some(format!("it is declared {declared}, but {} was given", value.dtype()));
    }
    let dims = declared.shape.as_ref()?;
    let fits = dims.len() == value.shape().len()
        && dims.iter().zip(value.shape()).all(|(d, n)| d.known().is_none_or(|d| d == *n));
    (!fits).then(|| format!("it is declared {declared}, but a value of shape {:?} was given", value.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::{DataType, Dim, TensorType, ValueType};

    fn input() -> ValueInfo {
        let shape = Some(vec![Dim::Symbol("N".into()), Dim::Known(3)]);
        ValueInfo { name: "x".into(), ty: ValueType::Tensor(TensorType { dtype: DataType::Float, shape }) }
    }

    fn message(feeds: &[(String, Value)]) -> String {
        matched(&[input()], feeds).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_wrong_feed_is_named() {
        assert!(matched(&[input()], &[("x".into(), Value::f32(&[7, 3], vec![0.0; 21]))]).is_ok());
        let wrong = message(&[("x".into(), Value::f32(&[7, 2], vec![0.0; 14]))]);
        assert!(wrong.contains("float[N,3]") && wrong.contains("[7, 2]"), "{wrong}");
        let wrong = message(&[("x".into(), Value::i64(&[1, 3], vec![0; 3]))]);
        assert!(wrong.contains("int64"), "{wrong}");
        let wrong = message(&[("y".into(), Value::i64(&[1, 3], vec![0; 3]))]);
        assert!(wrong.contains("\"y\"") && wrong.contains("\"x\""), "{wrong}");
        assert!(message(&[]).contains("nothing is fed"));
        let x = ("x".to_string(), Value::f32(&[1, 3], vec![0.0; 3]));
        assert!(message(&[x.clone(), x]).contains("twice"));
    }
}
