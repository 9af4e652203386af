//! A backward pass whose gradients leave while it runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::rows::{Numbers, Row};
use super::summation::Summation;
use crate::kernels::watch::{Complete, Parameter, Roots, watch};
use crate::ranks::RankError;
use crate::train::gradients::Gradients;

/// Rows of a round, of which the gradient of one is still to come.
pub(in crate::train) struct Growing {
    pub(in crate::train) rows: Vec<Row>,
    /// The term that the gradient belongs to; it is added to its row, if there is one.
    pub(in crate::train) name: String,
    /// The micro-batch of a new row.
    pub(in crate::train) index: u64,
}

/// Differentiates `loss` with respect to the parameters of `model`, and sends rows to which that gradient is added; every bucket
/// leaves when the gradients of its parameters are complete. Returns the parameters in the order in which they were.
///
/// The parameters must be tensors of their own, which nobody shares; `roots` is what earlier passes have left of them.
///
/// # Errors
/// If a gradient changed after it was sent: the objective uses the parameters in a backward pass of its own.
pub(in crate::train) fn backward<M: Module>(
    summation: Summation,
    growing: Growing,
    loss: &Tensor<1>,
    model: &M,
    roots: Roots,
) -> Result<(Summation, Vec<usize>), RankError> {
    let mut leaves = Leaves(Vec::new());
    model.visit(&mut leaves);
    let count = leaves.0.len();
    let known = leaves.0.into_iter().enumerate().filter_map(|(i, leaf)| Some((leaf?, i))).collect();
    let live = Rc::new(RefCell::new(Live::new(summation, growing, known, count)));
    let watcher = live.clone();
    let gradients =
        watch(roots, Box::new(move |complete| watcher.borrow_mut().arrive(complete)), || Gradients::of(loss, model));
    let live = Rc::into_inner(live).expect("the watch has ended");
    live.into_inner().end(&gradients)
}

struct Live {
    summation: Summation,
    rows: Vec<Row>,
    /// Position of the row that grows.
    row: usize,
    known: HashMap<Parameter, usize>,
    /// What has arrived, by parameter.
    arrived: Vec<Option<Complete>>,
    order: Vec<usize>,
    /// Parameters that every bucket waits for.
    missing: Vec<usize>,
    /// Buckets that are full and have none before them that is not.
    full: usize,
}

impl Live {
    fn new(summation: Summation, growing: Growing, known: HashMap<Parameter, usize>, count: usize) -> Self {
        let Growing { mut rows, name, index } = growing;
        let row = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            rows.push(Row { index, name, numbers: (0..count).map(|_| None).collect() });
            rows.len() - 1
        });
        let mut missing = vec![0; summation.layout().buckets()];
        (0..count).flat_map(|parameter| summation.layout().of(parameter)).for_each(|bucket| missing[bucket] += 1);
        let arrived = (0..count).map(|_| None).collect();
        Self { summation, rows, row, known, arrived, order: Vec::new(), missing, full: 0 }
    }

    fn arrive(&mut self, complete: Complete) {
        // Of the parameters of other models, and what is shown twice, the end of the pass knows.
        let Some(&parameter) = self.known.get(&complete.parameter()) else { return };
        if self.arrived[parameter].is_some() {
            return;
        }
        self.add(parameter, Numbers::Complete(complete.clone()));
        self.arrived[parameter] = Some(complete);
        self.order.push(parameter);
        self.leave(parameter);
    }

    fn add(&mut self, parameter: usize, numbers: Numbers) {
        let sum = &mut self.rows[self.row].numbers[parameter];
        *sum = Some(match sum.take() {
            Some(earlier) => earlier.plus(&numbers),
            None => numbers,
        });
    }

    /// A parameter has all that comes; sends the buckets that waited for it.
    fn leave(&mut self, parameter: usize) {
        self.summation.layout().of(parameter).for_each(|bucket| self.missing[bucket] -= 1);
        self.full += self.missing[self.full..].iter().take_while(|&&missing| missing == 0).count();
        self.summation.send(&self.rows, self.full);
    }

    /// Takes the gradients that were not shown, and sends what is left.
    fn end(mut self, gradients: &Gradients) -> Result<(Summation, Vec<usize>), RankError> {
        for (parameter, gradient) in gradients.0.iter().enumerate() {
            if let Some(sent) = self.arrived[parameter].take() {
                if !gradient.as_ref().is_some_and(|gradient| sent.is(gradient)) {
                    return Err(RankError::Failed(
                        "a gradient changed after it was sent, because the objective differentiates the model by itself: do not overlap"
                            .into(),
                    ));
                }
                continue;
            }
            if let Some(gradient) = gradient {
                self.add(parameter, Numbers::of(gradient));
            }
            self.leave(parameter);
        }
        self.summation.send(&self.rows, self.missing.len());
        self.summation.end_round();
        Ok((self.summation, self.order))
    }
}

/// The identities of float parameters, in the order of [`crate::params::flat`].
struct Leaves(Vec<Option<Parameter>>);

impl ModuleVisitor for Leaves {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        self.0.push(if value.is_require_grad() { Parameter::of(&value) } else { None });
    }
}
