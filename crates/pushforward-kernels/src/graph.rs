//! Operations with several inputs and outputs in burn's graph.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, TensorMetadata};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

use super::watch::{show, watched};
use super::{contiguous, tensor};

/// A tensor that may be absent.
#[derive(ExtensionType)]
pub(super) enum Maybe<B: Backend> {
    /// Present.
    Given(FloatTensor<B>),
    /// Absent.
    Absent,
}

impl<B: Backend> Maybe<B> {
    pub(super) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(x) => Some(x),
            Self::Absent => None,
        }
    }
}

/// An argument of an operation that may be absent.
pub(super) fn maybe<const D: usize>(x: Option<Tensor<D>>) -> Maybe<Dispatch> {
    x.map_or(Maybe::Absent, |x| Maybe::Given(x.into_dispatch()))
}

/// A tensor of the graph; the strategy of `C` only matters where operations are prepared.
pub(super) type Node<C> = FloatTensor<Autodiff<Flex, C>>;

/// The derivative of an operation: from the saved state, the gradients of the outputs and which inputs need gradients,
/// to the gradients of the inputs; `None` is zero.
pub(super) type Derivative<S, const N: usize> = fn(S, Vec<Option<FlexTensor>>, [bool; N]) -> [Option<FlexTensor>; N];

/// An operation of `N` inputs with a hand-written derivative; the first input must be present.
///
/// `forward` gets contiguous inputs and whether the graph is tracked; it returns the outputs and the state that the
/// derivative needs. The gradient of an output that the loss does not depend on is `None`.
pub(super) fn operation<C: CheckpointStrategy, S: Clone + Send + Debug + 'static, const N: usize>(
    inputs: [Option<Node<C>>; N],
    forward: impl FnOnce([Option<FlexTensor>; N], bool) -> (Vec<FlexTensor>, S),
    derivative: Derivative<S, N>,
) -> Vec<Node<C>> {
    // The first input is the placeholder for absent ones; it gets no gradient through their places.
    let first = inputs[0].as_ref().expect("the first input is there");
    let nodes = inputs.each_ref().map(|input| input.as_ref().unwrap_or(first).node());
    let values = inputs.map(|input| input.map(|input| contiguous(input.into_primitive())));
    let shapes = values.each_ref().map(|x| x.as_ref().map(TensorMetadata::shape));
    match Whole::default().prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (mut outputs, state) = forward(values, true);
            if let [_] = outputs.as_slice() {
                let output = outputs.remove(0);
                return vec![prep.finish(Kept { state, derivative, shapes, outputs: None }, output)];
            }
            // A node of burn's graph has one output. Here the outputs are children of one empty node: each leaves its
            // gradient in the mailbox, and the empty node, which is visited after them, collects all of them.
            let mailbox: Mailbox = Arc::new(Mutex::new(vec![None; outputs.len()]));
            let kept = Kept { state, derivative, shapes, outputs: Some(mailbox.clone()) };
            let hub = prep.finish(kept, tensor(vec![0.0], [1].into()));
            let part = |(index, output)| match Part.prepare::<C>([hub.node()]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish((mailbox.clone(), index), output),
                OpsKind::UnTracked(prep) => prep.finish(output),
            };
            outputs.into_iter().enumerate().map(part).collect()
        }
        OpsKind::UnTracked(prep) => {
            let mut outputs = forward(values, false).0.into_iter();
            let first = prep.finish(outputs.next().expect("an operation has an output"));
            let rest: Vec<_> = outputs
                .map(|output| match Part.prepare::<C>([first.node()]).compute_bound().stateful() {
                    OpsKind::Tracked(_) => unreachable!("the first output is not tracked"),
                    OpsKind::UnTracked(prep) => prep.finish(output),
                })
                .collect();
            std::iter::once(first).chain(rest).collect()
        }
    }
}

type Mailbox = Arc<Mutex<Vec<Option<FlexTensor>>>>;

#[derive(Clone, Debug)]
struct Kept<S, const N: usize> {
    state: S,
    derivative: Derivative<S, N>,
    /// Shapes of the inputs; `None` if absent.
    shapes: [Option<Shape>; N],
    /// Gradients of the outputs if there are several.
    outputs: Option<Mailbox>,
}

/// The backward step of an operation.
#[derive(Debug)]
struct Whole<S>(std::marker::PhantomData<fn(S)>);

impl<S> Default for Whole<S> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<S: Clone + Send + Debug + 'static, const N: usize> Backward<Flex, N> for Whole<S> {
    type State = Kept<S, N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let Kept { state, derivative, shapes, outputs } = ops.state;
        let upstream = grads.consume::<Flex>(&ops.node);
        let gradients = match outputs {
            None => vec![Some(contiguous(upstream))],
            Some(mailbox) => std::mem::take(&mut *mailbox.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let wanted = std::array::from_fn(|i| shapes[i].is_some() && ops.parents[i].is_some());
        let found = derivative(state, gradients, wanted);
        let complete = watched();
        let mut leaves = Vec::new();
        for ((gradient, shape), parent) in found.into_iter().zip(shapes).zip(ops.parents) {
            if let (Some(shape), Some(parent)) = (shape, parent) {
                // burn needs a gradient for every visited parent, even a zero one.
                let gradient = gradient.unwrap_or_else(|| tensor(vec![0.0; shape.num_elements()], shape));
                grads.register::<Flex>(parent.id, gradient);
                if complete.is_some() && parent.order == 0 {
                    leaves.push(parent);
                }
            }
        }
        // One that is an input twice is counted when its last place is dropped.
        while let Some(leaf) = leaves.pop() {
            if complete.is_some_and(|others| Arc::strong_count(&leaf) == others + 1) {
                show(leaf.id, grads.consume::<Flex>(&leaf));
            }
        }
    }
}

/// The backward step of one of several outputs.
#[derive(Debug)]
struct Part;

impl Backward<Flex, 1> for Part {
    type State = (Mailbox, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (mailbox, index) = ops.state;
        let upstream = contiguous(grads.consume::<Flex>(&ops.node));
        mailbox.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(upstream);
        if let [Some(hub)] = ops.parents {
            grads.register::<Flex>(hub.id, tensor(vec![0.0], [1].into()));
        }
    }
}
