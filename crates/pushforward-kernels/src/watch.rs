//! Gradients of parameters while the backward pass still runs.
//!
//! burn hands out all gradients when a pass has ended. Here a gradient is shown as soon as nothing is left that would add to it:
//!
//! ```text
//! references to the node of a parameter = tensors + steps of the pass that are left and add to its gradient
//! ```
//!
//! burn drops a step when it has run, so that a parameter of one tensor is done when that is the only reference. References are
//! counted after every step of a kernel of this crate that has the parameter as an input: a gradient whose last step is burn's own
//! is not shown, and is found at the end of the pass, as usual. Neither the graph nor the order of its steps changes.
//!
//! # Examples
//! ```
//! use std::{cell::RefCell, rc::Rc};
//! use burn::tensor::{Device, Tensor};
//! use pushforward_kernels::{linear, watch::{Parameter, Roots, watch}};
//!
//! let device = Device::flex().autodiff();
//! let weight = Tensor::<2>::eye(2, &device).require_grad();
//! let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
//! let loss = linear((x, None), weight.clone(), None, None).0.sum();
//! let seen = Rc::new(RefCell::new(Vec::new()));
//! let found = seen.clone();
//! watch(Roots::Fresh, Box::new(move |complete| found.borrow_mut().push(complete)), || loss.backward());
//! let [complete] = &seen.borrow()[..] else { panic!("there is one parameter") };
//! assert_eq!(Some(complete.parameter()), Parameter::of(&weight));
//! assert_eq!(complete.numbers(), [1.0, 1.0, 2.0, 2.0]);
//! ```

use std::cell::RefCell;

use burn::backend::autodiff::NodeId;
use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;

use super::slice;

/// Which parameter it is: leaves of the graph have an identity, which copies of the tensor share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameter(NodeId);

impl Parameter {
    /// Of a tensor with autodiff on the CPU; of no other.
    pub fn of<const D: usize>(x: &Tensor<D>) -> Option<Self> {
        let DispatchTensorKind::Autodiff(inner) = x.clone().into_dispatch().kind else { return None };
        match *inner {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(x)) => Some(Self(x.id())),
            #[allow(unreachable_patterns, reason = "other variants exist where other backends are built in")]
            _ => None,
        }
    }
}

/// A gradient to which nothing more is added.
#[derive(Clone, Debug)]
pub struct Complete {
    parameter: Parameter,
    /// Contiguous.
    gradient: FlexTensor,
}

impl Complete {
    /// Whose gradient it is.
    pub fn parameter(&self) -> Parameter {
        self.parameter
    }

    /// Its numbers.
    pub fn numbers(&self) -> &[f32] {
        slice(&self.gradient)
    }

    /// Whether a gradient at the end of the pass is this one, the same numbers in memory: whatever is added to a gradient, makes
    /// another one.
    pub fn is<const D: usize>(&self, gradient: &Tensor<D>) -> bool {
        let DispatchTensorKind::Flex(BackendTensor::Float(found)) = gradient.clone().into_dispatch().kind else {
            return false;
        };
        found.as_slice::<f32>().is_some_and(|numbers| std::ptr::eq(numbers, self.numbers()))
    }
}

/// What burn keeps of the parameters of a graph, beside the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// No pass has used them yet: burn has a step for each, without effect, at the end of the pass.
    Fresh,
    /// A pass has used them, and dropped those steps.
    Used,
}

type Found = Box<dyn FnMut(Complete)>;

thread_local! {
    static WATCH: RefCell<Option<(Roots, Found)>> = const { RefCell::new(None) };
}

/// Shows `found` every gradient when it is complete, while `work` runs a backward pass on this thread.
///
/// The parameters are those of one tensor each. One of more is not shown, and neither is one whose graph is used in
/// part. If `roots` is [`Roots::Fresh`] for parameters that were used, a gradient may be shown too early, which
/// [`Complete::is`] tells.
pub fn watch<T>(roots: Roots, found: Found, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<(Roots, Found)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            WATCH.replace(self.0.take());
        }
    }
    let _restore = Restore(WATCH.replace(Some((roots, found))));
    work()
}

/// References to a complete parameter beside that of the caller, where somebody watches.
pub(super) fn watched() -> Option<usize> {
    WATCH.with_borrow(|watch| {
        watch.as_ref().map(|(roots, _)| match roots {
            Roots::Fresh => 2,
            Roots::Used => 1,
        })
    })
}

/// Shows a complete gradient.
pub(super) fn show(parameter: NodeId, gradient: FlexTensor) {
    if gradient.dtype() != DType::F32 || gradient.layout().contiguous_offsets().is_none() {
        return;
    }
    // Taken out meanwhile, since it may call kernels itself.
    let Some((roots, mut found)) = WATCH.take() else { return };
    found(Complete { parameter: Parameter(parameter), gradient });
    WATCH.set(Some((roots, found)));
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use burn::tensor::Device;

    use super::super::linear;
    use super::*;

    type Seen = Rc<RefCell<Vec<Complete>>>;

    fn see(roots: Roots, work: impl FnOnce() -> burn::tensor::Gradients) -> (Seen, burn::tensor::Gradients) {
        let seen = Seen::default();
        let found = seen.clone();
        let gradients = watch(roots, Box::new(move |complete| found.borrow_mut().push(complete)), work);
        (seen, gradients)
    }

    fn weight(device: &Device) -> Tensor<2> {
        Tensor::<2>::from_floats([[0.5, -1.0], [2.0, 0.25]], device).require_grad()
    }

    fn apply(x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        linear((x, None), weight.clone(), None, None).0
    }

    #[test]
    fn gradients_come_in_the_order_of_the_pass_and_are_those_of_its_end() {
        let device = Device::flex().autodiff();
        let (first, second, shared) = (weight(&device), weight(&device), weight(&device));
        let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        // `shared` is the last layer and also the first, where burn's own product uses it as well.
        let h = apply(x.clone(), &shared) + x.matmul(shared.clone());
        let loss = apply(apply(apply(h, &first), &second), &shared).sum();
        let (seen, gradients) = see(Roots::Fresh, || loss.backward());
        let seen = seen.borrow();
        let order: Vec<_> = seen.iter().map(Complete::parameter).collect();
        let known = |x: &Tensor<2>| Parameter::of(x).expect("it is on the CPU");
        assert_eq!(order[..2], [known(&second), known(&first)]);
        // Shown last, if the step of the kernel runs after that of burn's product, and not at all otherwise; never before.
        assert!(order.len() == 2 || order[2] == known(&shared));
        for (complete, x) in seen.iter().zip([&second, &first, &shared]) {
            assert!(complete.is(&x.grad(&gradients).expect("it has a gradient")));
        }
    }

    #[test]
    fn a_parameter_of_two_tensors_or_of_burn_alone_is_not_shown() {
        let device = Device::flex().autodiff();
        let (twice, burns) = (weight(&device), weight(&device));
        let again = twice.clone();
        let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        let loss = apply(x, &twice).matmul(burns).sum();
        let (seen, _) = see(Roots::Fresh, || loss.backward());
        assert!(seen.borrow().is_empty());
        drop(again);
    }

    #[test]
    fn a_gradient_that_was_shown_too_early_is_another_at_the_end() {
        let device = Device::flex().autodiff();
        let weight = weight(&device);
        let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        let _ = apply(x.clone(), &weight).sum().backward();
        let loss = || apply(apply(x.clone(), &weight), &weight).sum();
        let (seen, gradients) = see(Roots::Used, || loss().backward());
        let end = weight.grad(&gradients).expect("it has a gradient");
        assert!(seen.borrow().len() == 1 && seen.borrow()[0].is(&end));
        let (seen, gradients) = see(Roots::Fresh, || loss().backward());
        let end = weight.grad(&gradients).expect("it has a gradient");
        assert!(!seen.borrow().is_empty() && !seen.borrow()[0].is(&end));
    }
}
