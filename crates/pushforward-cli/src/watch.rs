//! Watches the losses of a training for a jump when distillation starts.

use pushforward::metrics::interval;
use pushforward::train::Details;

/// Logged steps before the start of distillation whose mean is the level to compare with.
const BEFORE: usize = 20;
/// Logged steps after it, whose mean is compared.
const AFTER: usize = 5;
/// The remark is made above this ratio of the two.
const JUMP: f64 = 1.5;

/// The diagonal losses around the first step with an off-diagonal loss.
#[derive(Debug, Default)]
pub(crate) struct LossWatch {
    before: Vec<f64>,
    after: Vec<f64>,
    done: bool,
}

impl LossWatch {
    /// Takes a logged step; returns a remark once, if the diagonal loss has jumped.
    pub(crate) fn step(&mut self, step: u64, details: &Details) -> Option<String> {
        let term = |name: &str| details.terms.iter().find(|(term, _)| term == name).map(|(_, loss)| *loss);
        let diagonal = term("diagonal").filter(|_| !self.done)?;
        if term("distillation").is_none() && self.after.is_empty() {
            self.before.push(diagonal);
            if self.before.len() > BEFORE {
                self.before.remove(0);
            }
            return None;
        }
        self.after.push(diagonal);
        self.done = self.before.is_empty() || self.after.len() == AFTER;
        if self.before.is_empty() || self.after.len() < AFTER {
            return None;
        }
        let (was, is) = (interval::mean(&self.before).value, interval::mean(&self.after).value);
        (is > JUMP * was).then(|| {
            format!(
                "the diagonal loss went from {was:.3} to {is:.3} when distillation began, at about step {step}: raise \
                 model.objective.start, or lower model.objective.lambda or train.lr"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(before: f64, after: f64) -> Vec<String> {
        let mut watch = LossWatch::default();
        let terms = |loss: f64, both: bool| {
            let diagonal = ("diagonal".to_owned(), loss);
            Details {
                terms: std::iter::once(diagonal).chain(both.then(|| ("distillation".into(), 1.0))).collect(),
                ..Details::default()
            }
        };
        let steps = (0..60).map(|step| (step, if step < 30 { terms(before, false) } else { terms(after, true) }));
        steps.filter_map(|(step, details)| watch.step(step, &details)).collect()
    }

    #[test]
    fn a_jump_is_remarked_on_once() {
        assert_eq!(remarks(0.4, 0.9).len(), 1);
        assert!(remarks(0.4, 0.9)[0].contains("from 0.400 to 0.900"));
        assert!(remarks(0.4, 0.5).is_empty() && remarks(0.4, 0.3).is_empty());
    }

    #[test]
    fn runs_that_distil_from_the_start_have_nothing_to_compare_with() {
        let mut watch = LossWatch::default();
        let terms = vec![("diagonal".to_owned(), 1.0), ("distillation".to_owned(), 1.0)];
        assert!(
            (0..40).all(|step| watch.step(step, &Details { terms: terms.clone(), ..Details::default() }).is_none())
        );
    }
}
