//! The activation functions that recurrent operators name.

use shiftwise_kernels::elementwise::{UnaryOp, map_in_place};

use crate::args::Outcome;
use crate::ops::Cx;

/// A function of one element, applied to whole rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Kernel(UnaryOp),
    /// `alpha · x + beta`
    Affine(f32, f32),
    /// `alpha · tanh(beta · x)`
    ScaledTanh(f32, f32),
}

impl Activation {
    /// The function of a name, which is compared without regard to case; each that has parameters takes its own from
    /// the lists.
    fn named(
        name: &str,
        alpha: &mut impl Iterator<Item = f32>,
        beta: &mut impl Iterator<Item = f32>,
    ) -> Outcome<Self> {
        Ok(Self::Kernel(match name.to_ascii_lowercase().as_str() {
            "relu" => UnaryOp::Relu,
            "tanh" => UnaryOp::Tanh,
            "sigmoid" => UnaryOp::Sigmoid,
            "softsign" => UnaryOp::Softsign,
            "softplus" => UnaryOp::Softplus,
            "leakyrelu" => UnaryOp::LeakyRelu { alpha: alpha.next().unwrap_or(0.01) },
            "thresholdedrelu" => UnaryOp::ThresholdedRelu { alpha: alpha.next().unwrap_or(1.0) },
            "elu" => UnaryOp::Elu { alpha: alpha.next().unwrap_or(1.0) },
            "hardsigmoid" => {
                UnaryOp::HardSigmoid { alpha: alpha.next().unwrap_or(0.2), beta: beta.next().unwrap_or(0.5) }
            }
            "affine" => return Ok(Self::Affine(alpha.next().unwrap_or(1.0), beta.next().unwrap_or(0.0))),
            "scaledtanh" => {
                return Ok(Self::ScaledTanh(alpha.next().unwrap_or(1.0), beta.next().unwrap_or(1.0)));
            }
            _ => return Err(format!("its activation {name:?} is not defined")),
        }))
    }

    pub(super) fn apply(self, x: &mut [f32]) {
        match self {
            Self::Kernel(op) => map_in_place(op, x),
            Self::Affine(a, b) => x.iter_mut().for_each(|v| *v = a * *v + b),
            Self::ScaledTanh(a, b) => {
                for v in x.iter_mut() {
                    *v *= b;
                }
                map_in_place(UnaryOp::Tanh, x);
                for v in x.iter_mut() {
                    *v *= a;
                }
            }
        }
    }
}

/// The functions of all directions, `defaults.len()` for each.
pub(super) fn activations(cx: Cx<'_>, directions: usize, defaults: &[&str]) -> Outcome<Vec<Activation>> {
    let mut alpha = cx.floats("activation_alpha").into_iter();
    let mut beta = cx.floats("activation_beta").into_iter();
    let given = cx.texts("activations")?;
    let wanted = directions * defaults.len();
    let names = match given {
        Some(names) if names.len() == wanted => names,
        // ONNX Runtime, too, takes the functions of one direction for both.
        Some(names) if names.len() == defaults.len() => repeated(&names, directions),
        Some(names) => return Err(format!("it names {} activations, not {wanted}", names.len())),
        None => {
            let names: Vec<String> = defaults.iter().map(ToString::to_string).collect();
            repeated(&names, directions)
        }
    };
    names.iter().map(|name| Activation::named(name, &mut alpha, &mut beta)).collect()
}

fn repeated(names: &[String], times: usize) -> Vec<String> {
    names.iter().cycle().take(names.len() * times).cloned().collect()
}
