//! Tests of the training loop: learning, resuming, stopping, reporting and error messages.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::ema::EmaConfig;
use super::gradients::Gradients;
use super::optim::{MuonSettings, OptimizerConfig};
use super::report::host;
use super::*;
use crate::params::{self, ParamsError, StateDict};
use crate::ranks;
use crate::train::checkpoint::{self, BEST, Checkpoint, LAST, RESUME, Resume};
use crate::train::objective::{Objective, TrainStep};
use crate::train::toy::{self, Mlp, Toy, Trouble, batch, mlp};

use burn::module::Module;
use burn::tensor::Tensor;

fn config(steps: u64) -> TrainConfig {
    TrainConfig {
        steps,
        batch: 16,
        accumulate: 2,
        lr: 0.02,
        warmup: 3,
        weight_decay: 0.01,
        ema: Some(EmaConfig { decay: 0.95, warmup: true }),
        log_every: 5,
        validate_every: 4,
        checkpoint_every: 0,
        ..TrainConfig::default()
    }
}

fn request<'a>(objective: &'a Toy, config: TrainConfig) -> TrainRequest<'a, Mlp, Toy> {
    TrainRequest { seed: 7, ..TrainRequest::new(mlp(1), objective, &batch, config) }
}

fn in_folder(path: &Path) -> Option<RunFolder> {
    let provenance = BTreeMap::from([("data".to_owned(), "toy".to_owned())]);
    Some(RunFolder { path: path.into(), recipe: "family = \"toy\"\n".into(), provenance })
}

fn weights(model: &Mlp) -> StateDict {
    params::collect(model).into_iter().collect()
}

/// Bits, so that 0 and -0 differ.
fn bits(weights: &StateDict) -> Vec<(&String, &[u8])> {
    weights.iter().map(|(name, data)| (name, data.as_bytes())).collect()
}

fn mean_squared_error(model: &Mlp) -> Vec<(String, f64)> {
    let (x, y) = batch(1_000_000);
    let error = model.forward(x.clone().without_autodiff()).sub(y.clone().without_autodiff());
    vec![("loss".into(), error.square().mean().into_scalar::<f64>())]
}

fn quiet(_: Event<'_, Mlp>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn learns_the_toy() {
    let toy = Toy::default();
    let settings = TrainConfig { accumulate: 1, ema: None, weight_decay: 0.0, ..config(400) };
    let before = mean_squared_error(&mlp(1).valid())[0].1;
    let outcome = train(request(&toy, settings), &mut quiet).expect("nothing can go wrong here");
    let after = mean_squared_error(&outcome.ema)[0].1;
    assert_eq!((outcome.step, outcome.reason), (400, EndReason::Finished));
    assert!(after < 0.02 && after < 0.1 * before, "{before} -> {after}");
    assert!(outcome.model.layers[0].weight.val().is_require_grad());
}

#[test]
fn every_parameter_gets_a_gradient() {
    let toy = Toy::default();
    let model = mlp(1);
    let valid = model.valid();
    let step = TrainStep { model: &model, ema: &valid, seed: 0, index: 0, step: 0, steps: 1 };
    for term in toy.loss(&step, &batch(0)).terms.iter().take(1) {
        let gradients = Gradients::of(&term.loss, &model);
        assert_eq!(gradients.0.len(), 4);
        for gradient in &gradients.0 {
            let gradient = gradient.as_ref().expect("the loss depends on every parameter");
            assert!(host(gradient).iter().any(|value| *value != 0.0));
        }
    }
}

fn resumed_equals_uninterrupted(pcgrad: bool, kept: Option<f64>, optimizer: OptimizerConfig) {
    let toy = Toy { kept, ..Toy::default() };
    let whole = tempfile::tempdir().expect("a temporary folder");
    let parts = tempfile::tempdir().expect("a temporary folder");
    let settings = TrainConfig { pcgrad, optimizer, patience: Some(100), ..config(20) };
    // A loss that increases as the model learns, so that the best validation lies before the interruption.
    let validate: &Validate<'_, Mlp> = &|model| vec![("loss".into(), -mean_squared_error(model)[0].1)];
    let part = |run: &Path, resume: Option<Resume>, model: Mlp, stop_at: u64| {
        let request = TrainRequest {
            model,
            validate: Some(validate),
            run: in_folder(run),
            resume,
            ..request(&toy, settings.clone())
        };
        let mut losses = Vec::new();
        let outcome = train(request, &mut |event| match event {
            Event::Progress(Progress::Step(report)) => {
                losses.push((report.step, report.loss.to_bits(), report.grad_norm.to_bits(), report.lr.to_bits()));
                if report.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            _ => ControlFlow::Continue(()),
        })
        .expect("nothing can go wrong here");
        let resume = Resume::load(&checkpoint::folder(run).join(RESUME)).expect("it was just written");
        (outcome, resume, losses)
    };
    let (expected, expected_state, expected_losses) = part(whole.path(), None, mlp(1), 0);
    let (first, state, mut losses) = part(parts.path(), None, mlp(1), 9);
    assert_eq!((first.reason, first.step, state.step, state.micro_batch), (EndReason::Stopped, 9, 9, 18));
    assert_eq!((state.kept.is_some(), expected_state.kept == state.kept), (kept.is_some(), true));
    // A module with other weights, so that everything must come from the file.
    let (second, mut state, rest) = part(parts.path(), Some(state), mlp(99), 0);
    losses.extend(rest);
    assert_eq!(losses, expected_losses);
    assert_eq!(bits(&weights(&second.model)), bits(&weights(&expected.model)));
    assert_eq!(bits(&weights(&second.ema)), bits(&weights(&expected.ema)));
    assert_eq!(bits(&state.moments.first), bits(&expected_state.moments.first));
    assert_eq!(bits(&state.moments.second), bits(&expected_state.moments.second));
    state.elapsed_seconds = expected_state.elapsed_seconds;
    assert_eq!(state, expected_state);
    for file in [LAST, BEST] {
        let read = |run: &Path| std::fs::read(checkpoint::folder(run).join(file)).expect("the run wrote it");
        assert!(read(parts.path()) == read(whole.path()), "{file} differs");
    }
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    resumed_equals_uninterrupted(false, None, OptimizerConfig::AdamW {});
    resumed_equals_uninterrupted(true, None, OptimizerConfig::AdamW {});
    resumed_equals_uninterrupted(false, Some(0.3), OptimizerConfig::AdamW {});
    resumed_equals_uninterrupted(false, None, OptimizerConfig::Muon(MuonSettings::default()));
}

#[test]
fn a_kept_average_is_that_of_its_step() {
    let saved = |kept: Option<f64>, steps: u64| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let toy = Toy { kept, ..Toy::default() };
        let request = TrainRequest { run: in_folder(folder.path()), ..request(&toy, config(20)) };
        train(request, &mut |event| match event {
            Event::Progress(Progress::Step(report)) if report.step == steps => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .expect("nothing can go wrong here");
        Resume::load(&checkpoint::folder(folder.path()).join(RESUME)).expect("it was just written")
    };
    // Six of twenty steps are three tenths: until then the average moves, and what it was then is kept.
    let before = saved(Some(0.3), 6);
    assert_eq!(before.kept, None);
    for steps in [7, 15] {
        let after = saved(Some(0.3), steps);
        assert_eq!(after.kept, before.ema);
        assert_ne!(after.kept, after.ema);
    }
    // A target that moves with the average gives other weights than one that stays.
    assert_ne!(saved(Some(1.0), 15).raw, saved(Some(0.3), 15).raw);
}

#[test]
fn any_number_of_workers_gives_the_same_bits() {
    let settings = TrainConfig { accumulate: 3, ema: Some(EmaConfig::default()), ..config(6) };
    let mut runs = [1, 2, 3, 5].map(|workers| {
        let toy = Toy::default();
        let outcome =
            train(TrainRequest { workers, ..request(&toy, settings.clone()) }, &mut |_| ControlFlow::Continue(()));
        let outcome = outcome.expect("a sound run");
        (weights(&outcome.model), weights(&outcome.ema))
    });
    let first = runs[0].clone();
    assert!(runs.iter_mut().all(|run| *run == first));
}

#[test]
fn accumulation_equals_a_larger_batch() {
    // The toy's batch 2k and 2k + 1 together are batch k of twice the size, without noise.
    let toy = Toy { noise: 0.0, ..Toy::default() };
    let settings = TrainConfig { clip: None, ..config(10) };
    let halves = train(request(&toy, settings.clone()), &mut quiet).expect("nothing can go wrong here");
    let joined = |k: u64| {
        let ((x0, y0), (x1, y1)) = (batch(2 * k), batch(2 * k + 1));
        (Tensor::cat(vec![x0, x1], 0), Tensor::cat(vec![y0, y1], 0))
    };
    let whole = TrainConfig { accumulate: 1, ..settings };
    let whole = train(TrainRequest { batch: &joined, ..request(&toy, whole) }, &mut quiet).expect("the same");
    let (halves, whole) = (weights(&halves.model), weights(&whole.model));
    for (a, b) in halves.values().zip(whole.values()) {
        for (a, b) in a.iter::<f64>().zip(b.iter::<f64>()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn projection_changes_training_only_where_terms_conflict() {
    let run = |toy: &Toy, pcgrad| {
        let settings = TrainConfig { pcgrad, clip: None, ..config(6) };
        weights(&train(request(toy, settings), &mut quiet).expect("nothing can go wrong here").model)
    };
    let close = |a: &StateDict, b: &StateDict| {
        a.values().zip(b.values()).all(|(a, b)| a.iter::<f64>().zip(b.iter::<f64>()).all(|(a, b)| (a - b).abs() < 1e-4))
    };
    // The second term fits the same targets, or their opposites.
    let agreeing = Toy { second: 1.0, ..Toy::default() };
    assert!(close(&run(&agreeing, true), &run(&agreeing, false)));
    let conflicting = Toy { second: -30.0, ..Toy::default() };
    assert!(!close(&run(&conflicting, true), &run(&conflicting, false)));
}

#[test]
fn a_non_finite_loss_names_term_example_and_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Micro-batch 7 is in step 4, after the checkpoint of step 2. The example lies at time 11.5 / 16 = 0.72.
    let toy = Toy { trouble: Trouble::Example { micro_batch: 7, example: 11 }, ..Toy::default() };
    let settings = TrainConfig { checkpoint_every: 2, ..config(10) };
    let request = TrainRequest { run: in_folder(folder.path()), ..request(&toy, settings) };
    let mut steps = 0;
    let error = train(request, &mut |event| {
        steps += u64::from(matches!(event, Event::Progress(Progress::Step(_))));
        ControlFlow::Continue(())
    })
    .expect_err("the loss of micro-batch 7 is NaN");
    let path = checkpoint::folder(folder.path()).join(RESUME);
    let TrainError::NonFinite { step: 4, place, checkpoint: Some(good) } = &error else { panic!("{error}") };
    assert_eq!(
        *place,
        NonFinite::Term { term: "fit".into(), micro_batch: 7, example: Some(11), bucket: Some("t0.6-0.8".into()) }
    );
    assert_eq!((steps, good), (3, &path));
    assert_eq!(Resume::load(&path).expect("the last good checkpoint").step, 2);
    let message = error.to_string();
    for part in ["step 4", "`fit`", "micro-batch 7", "example 11", "t0.6-0.8", "resume.safetensors"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_non_finite_gradient_names_the_parameter() {
    let toy = Toy { trouble: Trouble::Gradient { micro_batch: 2 }, ..Toy::default() };
    let error = train(request(&toy, config(10)), &mut quiet).expect_err("the gradient of micro-batch 2 is NaN");
    let TrainError::NonFinite { step: 2, place, checkpoint: None } = &error else { panic!("{error}") };
    assert_eq!(*place, NonFinite::Gradient { parameter: Some("layers.1.bias".into()) });
    assert!(error.to_string().contains("no checkpoint was written yet"), "{error}");
}

#[test]
fn logging_steps_report_terms_buckets_and_stats() {
    let toy = Toy::default();
    let mut logged = Vec::new();
    train(request(&toy, config(11)), &mut |event| {
        if let Event::Progress(Progress::Step(StepReport { step, loss, details: Some(details), .. })) = event {
            logged.push(*step);
            let names = |list: &[(String, f64)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&details.terms), ["fit", "second"]);
            let buckets = ["fit/t0.0-0.2", "fit/t0.2-0.4", "fit/t0.4-0.6", "fit/t0.6-0.8", "fit/t0.8-1.0"];
            assert_eq!(names(&details.buckets), buckets);
            assert_eq!(details.stats.len(), 1);
            // 16 examples at times (i + 0.5) / 16 fall into buckets of 3, 3, 4, 3, 3.
            let mean = details.buckets.iter().zip([3.0, 3.0, 4.0, 3.0, 3.0]).map(|((_, v), n)| v * n).sum::<f64>();
            assert!((mean / 16.0 - details.terms[0].1).abs() < 1e-5);
            assert!((details.terms.iter().map(|(_, v)| v).sum::<f64>() - loss).abs() < 1e-5);
        }
        ControlFlow::Continue(())
    })
    .expect("nothing can go wrong here");
    assert_eq!(logged, [1, 5, 10]);
}

#[test]
fn stops_for_patience_and_for_the_clock() {
    let toy = Toy::default();
    let worse = std::cell::Cell::new(0.0);
    let validate = |_: &Mlp| {
        worse.set(worse.get() + 1.0);
        vec![("loss".into(), worse.get())]
    };
    let settings = TrainConfig { patience: Some(2), ..config(100) };
    let outcome = train(TrainRequest { validate: Some(&validate), ..request(&toy, settings) }, &mut quiet);
    let outcome = outcome.expect("nothing can go wrong here");
    assert_eq!((outcome.reason, outcome.step, outcome.best_validation), (EndReason::Patience, 12, Some(1.0)));

    let limited = TrainRequest { max_minutes: Some(0.002), ..request(&toy, config(1_000_000)) };
    let outcome = train(limited, &mut quiet).expect("nothing can go wrong here");
    assert!(outcome.reason == EndReason::TimeLimit && outcome.seconds < 2.0);

    let mut rates = Vec::new();
    let budget = TrainConfig { minutes: Some(0.003), steps: 1, warmup: 0, ..config(1) };
    let outcome = train(request(&toy, budget), &mut |event| {
        if let Event::Progress(Progress::Step(report)) = event {
            rates.push(report.lr);
        }
        ControlFlow::Continue(())
    });
    let outcome = outcome.expect("nothing can go wrong here");
    assert!(outcome.reason == EndReason::Finished && outcome.step > 1 && outcome.seconds < 2.0);
    // The cosine follows the clock all the way down.
    assert!(rates.is_sorted_by(|a, b| a >= b) && rates[rates.len() - 1] < 0.3 * rates[0]);
}

#[test]
fn resuming_with_another_recipe_is_refused() {
    let toy = Toy::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    train(TrainRequest { run: in_folder(folder.path()), ..request(&toy, config(2)) }, &mut quiet).expect("fine");
    let resume = || Some(Resume::load(&checkpoint::folder(folder.path()).join(RESUME)).expect("just written"));
    let refused = |request| train(request, &mut quiet).expect_err("the recipe differs");
    let other_seed = TrainRequest { resume: resume(), seed: 8, ..request(&toy, config(4)) };
    assert!(matches!(refused(other_seed), TrainError::Seed { expected: 8, found: 7 }));
    let no_ema = TrainRequest { resume: resume(), ..request(&toy, TrainConfig { ema: None, ..config(4) }) };
    assert!(matches!(refused(no_ema), TrainError::EmaMismatch));
    let wider = TrainRequest { resume: resume(), model: toy::mlp_of(1, 9), ..request(&toy, config(4)) };
    assert!(matches!(refused(wider), TrainError::Resume(ParamsError::Shape { .. })));
}

#[test]
fn files_are_written_when_due() {
    let toy = Toy::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = TrainConfig { checkpoint_every: 4, keep_every: 3, sample_every: 5, ..config(6) };
    let mut written = Vec::new();
    let mut samples = Vec::new();
    let request = TrainRequest { run: in_folder(folder.path()), ..request(&toy, settings) };
    let outcome = train(request, &mut |event| {
        match event {
            Event::Progress(Progress::Checkpoint { step, path }) => {
                written.push((step, path.file_name().expect("a file").to_string_lossy().into_owned()));
            }
            Event::Sample { step, ema } => {
                assert!(!ema.layers[0].weight.val().is_autodiff());
                samples.push(step);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .expect("nothing can go wrong here");
    let expected = [(3, "step-00000003.safetensors"), (4, LAST), (4, RESUME), (6, "step-00000006.safetensors")];
    let expected = expected.into_iter().chain([(6, LAST), (6, RESUME)]).map(|(step, name)| (step, name.to_owned()));
    assert_eq!(written, expected.collect::<Vec<_>>());
    assert_eq!(samples, [5]);
    let last = Checkpoint::load(&checkpoint::folder(folder.path()).join(LAST)).expect("just written");
    assert_eq!((last.step, last.recipe.as_str()), (6, "family = \"toy\"\n"));
    assert_eq!(last.ema, weights(&outcome.ema));
    assert_eq!(last.raw, weights(&outcome.model));
}

/// How a run has ended, and its steps without times.
type Found = (Outcome<Mlp>, Vec<StepReport>);

/// What every rank finds of a run on so many.
fn on_ranks(
    ranks: usize,
    settings: &TrainConfig,
    reduction: Reduction,
    toy: &Toy,
    (folder, resume): (Option<&Path>, Option<&Resume>),
    stop_at: (usize, u64),
) -> Vec<Result<Found, TrainError>> {
    ranks::tests::together(ranks, |team| {
        let validate: &Validate<'_, Mlp> = &|model| mean_squared_error(model);
        let request = TrainRequest {
            model: mlp(if resume.is_some() { 99 } else { 1 }),
            validate: Some(validate),
            run: folder.filter(|_| team.is_first()).and_then(in_folder),
            resume: resume.cloned(),
            ranks: team.clone(),
            reduction,
            ..request(toy, settings.clone())
        };
        let mut reports = Vec::new();
        let outcome = train(request, &mut |event| {
            let Event::Progress(Progress::Step(report)) = event else { return ControlFlow::Continue(()) };
            reports.push(StepReport { seconds: 0.0, examples_per_second: 0.0, ..report.clone() });
            if (team.rank(), report.step) == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((outcome, reports))
    })
}

fn reproducible() -> Reduction {
    Reduction { reproducible: true, bucket: 7, check_every: 2, ..Reduction::default() }
}

const NEVER: (usize, u64) = (usize::MAX, 0);

#[test]
fn ranks_equal_one_process_bit_for_bit() {
    for (accumulate, pcgrad) in [(2, false), (4, true), (5, false)] {
        let toy = Toy { second: -3.0, ..Toy::default() };
        let settings = TrainConfig { accumulate, pcgrad, ..config(9) };
        let run = |ranks| on_ranks(ranks, &settings, reproducible(), &toy, (None, None), NEVER);
        let (one, reports) = run(1).remove(0).expect("a sound run");
        for ranks in 2..=accumulate as usize {
            for (rank, found) in run(ranks).into_iter().enumerate() {
                let (found, others) = found.expect("a sound run");
                assert_eq!(bits(&weights(&found.model)), bits(&weights(&one.model)), "{rank} of {ranks}");
                assert_eq!(bits(&weights(&found.ema)), bits(&weights(&one.ema)), "{rank} of {ranks}");
                assert_eq!((found.best_validation, &others), (one.best_validation, &reports), "{rank} of {ranks}");
            }
        }
    }
}

#[test]
fn other_orders_and_half_precision_are_close() {
    let toy = Toy::default();
    let settings = TrainConfig { accumulate: 4, ..config(9) };
    let run = |ranks, reduction| on_ranks(ranks, &settings, reduction, &toy, (None, None), NEVER).remove(0);
    let one = weights(&run(1, Reduction::default()).expect("a sound run").0.model);
    for (half, limit) in [(false, 1e-5), (true, 2e-2)] {
        let reduction = Reduction { half, bucket: 10, ..Reduction::default() };
        let found = weights(&run(2, reduction).expect("a sound run").0.model);
        let pairs = one.values().zip(found.values()).flat_map(|(a, b)| a.iter::<f64>().zip(b.iter::<f64>()));
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < limit, "{half}: {largest}");
    }
}

#[test]
fn a_run_of_four_ranks_goes_on_with_two() {
    let toy = Toy::default();
    let settings = TrainConfig { accumulate: 4, ..config(10) };
    let one = on_ranks(1, &settings, reproducible(), &toy, (None, None), NEVER).remove(0).expect("a sound run").0;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = Some(folder.path());
    // Any rank may ask to stop.
    let first = on_ranks(4, &settings, reproducible(), &toy, (path, None), (2, 6));
    for found in first {
        let found = found.expect("a sound run").0;
        assert_eq!((found.step, found.reason), (6, EndReason::Stopped));
    }
    let state = Resume::load(&checkpoint::folder(folder.path()).join(RESUME)).expect("the first rank wrote it");
    assert_eq!((state.step, state.micro_batch), (6, 24));
    let second = on_ranks(2, &settings, reproducible(), &toy, (path, Some(&state)), NEVER).remove(1);
    assert_eq!(bits(&weights(&second.expect("a sound run").0.model)), bits(&weights(&one.model)));
}

#[test]
fn ranks_fail_together_and_say_why() {
    let toy = Toy { trouble: Trouble::Example { micro_batch: 7, example: 11 }, ..Toy::default() };
    let place =
        NonFinite::Term { term: "fit".into(), micro_batch: 7, example: Some(11), bucket: Some("t0.6-0.8".into()) };
    for found in on_ranks(2, &config(10), reproducible(), &toy, (None, None), NEVER) {
        let error = found.expect_err("the loss of micro-batch 7 is NaN");
        assert!(matches!(&error, TrainError::NonFinite { step: 4, place: found, .. } if *found == place), "{error}");
    }
    let toy = Toy::default();
    for found in on_ranks(3, &config(10), reproducible(), &toy, (None, None), NEVER) {
        assert!(matches!(found, Err(TrainError::Idle { ranks: 3, accumulate: 2 })));
    }
    // A rank that begins with other weights.
    let found = ranks::tests::together(3, |team| {
        let settings = TrainConfig { accumulate: 3, ..config(10) };
        let model = mlp(1 + u64::from(team.rank() == 1));
        let request = TrainRequest { model, ranks: team.clone(), ..request(&toy, settings) };
        train(request, &mut quiet).expect_err("the weights differ").to_string()
    });
    assert!(
        found.iter().all(|message| message.starts_with("rank 1 differs in its parameters after step 0")),
        "{found:?}"
    );
}

#[test]
fn a_rank_that_ends_takes_the_others_down() {
    let toy = Toy::default();
    let found = ranks::tests::together(2, |team| {
        let request = TrainRequest { ranks: team.clone(), ..request(&toy, config(1_000_000)) };
        if team.rank() == 1 {
            return String::new();
        }
        train(request, &mut quiet).expect_err("rank 1 is gone").to_string()
    });
    assert_eq!(found[0], "rank 1 has ended before the others: its own message says why; no checkpoint was written yet");
}
