//! What is known about a tensor where a node reads it.

use std::cell::OnceCell;

use shiftwise_graph::{DataType, Graph, Model, Tensor, TensorType, infer_shapes};

/// A graph and the graphs around it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) model: &'a Model,
    pub(super) graph: &'a Graph,
    pub(super) outer: Option<&'a Scope<'a>>,
    /// The model with inferred types, once they are asked for.
    pub(super) inferred: &'a OnceCell<Model>,
}

impl<'a> Scope<'a> {
    /// The graph that gives `tensor` its meaning.
    fn home(&self, tensor: &str) -> &Scope<'a> {
        let graph = self.graph;
        let here =
            graph.initializer(tensor).is_some() || graph.producer(tensor).is_some() || graph.is_input(tensor);
        match self.outer {
            Some(outer) if !here => outer.home(tensor),
            _ => self,
        }
    }

    /// The constant behind a name.
    pub(super) fn constant(&self, tensor: &str) -> Option<&'a Tensor> {
        self.home(tensor).graph.constant(tensor)
    }

    /// The element type, where it is known.
    pub(super) fn dtype(&self, tensor: &str) -> Option<DataType> {
        Some(self.tensor_type(tensor, |_| true)?.dtype)
    }

    /// The number of dimensions, where it is known.
    pub(super) fn rank(&self, tensor: &str) -> Option<usize> {
        self.tensor_type(tensor, |t| t.shape.is_some())?.rank()
    }

    /// The number of elements, where it is known.
    pub(super) fn len(&self, tensor: &str) -> Option<usize> {
        let dims = self.tensor_type(tensor, |t| t.fixed_dims().is_some())?.fixed_dims()?;
        dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
    }

    /// The type, when it has what is asked for. Types are inferred only where the model does not declare enough.
    fn tensor_type(&self, tensor: &str, enough: impl Fn(&TensorType) -> bool) -> Option<TensorType> {
        let home = self.home(tensor);
        let constant = home.graph.constant(tensor).map(|t| TensorType::fixed(t.dtype(), t.dims()));
        if let Some(ty) = constant.or_else(|| home.graph.tensor_type(tensor)).filter(&enough) {
            return Some(ty);
        }
        // Types are inferred for the main graph.
        if home.outer.is_some() {
            return None;
        }
        let inferred = self.inferred.get_or_init(|| {
            let mut model = self.model.clone();
            infer_shapes(&mut model);
            model
        });
        inferred.graph.tensor_type(tensor).filter(enough)
    }
}
