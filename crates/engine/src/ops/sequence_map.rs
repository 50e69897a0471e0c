//! SequenceMap: a body run for each place of its sequences.

use smallvec::SmallVec;

use super::{Cx, Op, control};
use crate::args::{Arg, Datum, Kernel, Outcome, Results};

pub(super) const OPS: &[Op] = &[Op::any("SequenceMap", compile)];

/// Tensors among the inputs are the same for every place.
fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let (graph, plan) = control::body(cx, "body")?;
    let own = cx.node.inputs.len();
    if graph.inputs().len() != own {
        return Err(format!("its body takes {} inputs, and {own} are given", graph.inputs().len()));
    }
    let outputs = graph.outputs().len();
    Ok(Box::new(move |args, ws| {
        let length = match args.0.first() {
            Some(Arg::Sequence(s)) => s.len(),
            _ => return Err("its first input is not a sequence".into()),
        };
        let mut collected: Vec<Vec<shiftwise_graph::Value>> = vec![Vec::with_capacity(length); outputs];
        for i in 0..length {
            let mut inputs: SmallVec<[Arg<'_>; 9]> = SmallVec::new();
            for (k, arg) in args.0.iter().enumerate() {
                inputs.push(match arg {
                    Arg::Sequence(s) if k < own => match s.get(i) {
                        Some(v) => Arg::Shared(v),
                        None => return Err("its sequences have different lengths".into()),
                    },
                    other => other.borrowed(),
                });
            }
            for (list, datum) in collected.iter_mut().zip(control::run(&plan, inputs, ws)?) {
                match datum {
                    Datum::Tensor(v) => list.push(v),
                    _ => return Err("its body gives something other than tensors".into()),
                }
            }
        }
        Ok(collected.into_iter().map(Datum::from).collect::<Results>())
    }))
}
