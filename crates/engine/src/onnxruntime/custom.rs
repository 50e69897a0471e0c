//! Block formats as operators of ONNX Runtime: the same kernels as in the embedded engine, so the same bits.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;
use shiftwise_graph::{Graph, Node};

use crate::args::Outcome;
use crate::ops::block::{Attributes, BFP, Block, MX, QUARK};

/// The operators that sessions get beside those of ONNX Runtime.
///
/// Fails when the library does not take them.
#[allow(clippy::arc_with_non_send_sync, reason = "sessions take them in no other form")]
pub(crate) fn custom_operators() -> ort::Result<Arc<OperatorDomain>> {
    let domain = OperatorDomain::new(QUARK)?;
    let domain = domain.add(BlockOperator { name: BFP, read: Block::bfp })?;
    let domain = domain.add(BlockOperator { name: MX, read: Block::mx })?;
    Ok(Arc::new(domain))
}

/// Whether a node is one of [`custom_operators`].
pub(crate) fn is_custom(node: &Node) -> bool {
    node.domain == QUARK && (node.op_type == BFP || node.op_type == MX)
}

/// Whether there is one in a graph.
pub(crate) fn stands_in(graph: &Graph) -> bool {
    graph.nodes().any(|(_, n)| is_custom(n) || n.subgraphs().any(|(_, body)| stands_in(body)))
}

struct BlockOperator {
    name: &'static str,
    read: fn(&dyn Attributes) -> Outcome<Block>,
}

struct BlockKernel(Block);

/// Types of attributes were checked when the model was lowered: here, what is not of the type asked for is not there.
struct Given<'c, 'a>(&'c KernelContext<'a>);

impl Attributes for Given<'_, '_> {
    fn int(&self, name: &str) -> Outcome<Option<i64>> {
        Ok(self.0.get(name))
    }

    fn text(&self, name: &str) -> Outcome<Option<String>> {
        Ok(self.0.get(name))
    }
}

impl Operator for BlockOperator {
    type Kernel<'attr> = BlockKernel;

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, context: &KernelContext<'_>) -> ort::Result<BlockKernel> {
        (self.read)(&Given(context)).map(BlockKernel).map_err(ort::Error::new)
    }
}

impl Kernel for BlockKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = |what: &str| ort::Error::new(format!("its {what} is missing"));
        let input = context.input(0)?.ok_or_else(|| missing("input"))?;
        let (dims, x) = input.try_extract_tensor::<f32>()?;
        let mut output = context.output(0, dims.to_vec())?.ok_or_else(|| missing("output"))?;
        let (_, y) = output.try_extract_tensor_mut::<f32>()?;
        y.copy_from_slice(x);
        let shape: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
        self.0.apply(y, &shape.ok_or_else(|| missing("shape"))?).map_err(ort::Error::new)
    }
}
