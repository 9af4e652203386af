//! The loop of the engine: takes requests of equal settings from the queue, and computes a batch of them.
//!
//! A request for more items than a batch goes back to the end of the queue after each, so that small ones do not wait
//! for large ones, and one that nobody waits for any more, or whose time is over, is dropped before the next.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;

use pushforward::flow_map::sample::SampleRequest;
use pushforward::run::{Loaded, Model, TrainedFlowMap};

use super::job::{Event, Job, Refusal, Task};
use super::single;
use crate::metrics::Metrics;

/// A request for samples of a flow map, and the part of it that is still to be computed.
struct Sampling {
    job: Job,
    rest: SampleRequest,
}

/// Computes requests until all senders of `jobs` are gone and everything is answered. Calls of the library are made on
/// this thread; at most `batch` items are computed together.
pub(crate) fn run(models: &[Loaded], jobs: &Receiver<Job>, batch: usize, metrics: &Metrics) {
    let mut samplings: VecDeque<Sampling> = VecDeque::new();
    let mut others: VecDeque<Job> = VecDeque::new();
    loop {
        if samplings.is_empty() && others.is_empty() {
            match jobs.recv() {
                Ok(job) => admit(job, models, &mut samplings, &mut others),
                Err(_) => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            admit(job, models, &mut samplings, &mut others);
        }
        // In turn, so that neither kind waits for the other's queue to be empty.
        step(models, &mut samplings, batch, metrics);
        if let Some(job) = others.pop_front() {
            single_step(models, job);
        }
    }
}

/// Checks a request against its model and puts it into its queue.
fn admit(job: Job, models: &[Loaded], samplings: &mut VecDeque<Sampling>, others: &mut VecDeque<Job>) {
    let (Task::Sample(request), Model::FlowMap(model)) = (&job.task, &models[job.model].model) else {
        others.push_back(job);
        return;
    };
    match caught(|| model.checked(request)) {
        Ok(Ok(rest)) => samplings.push_back(Sampling { job, rest }),
        Ok(Err(error)) => job.end(Err(Refusal::Request(error.to_string()))),
        Err(refusal) => job.end(Err(refusal)),
    }
}

/// Computes one batch.
fn step(models: &[Loaded], queue: &mut VecDeque<Sampling>, batch: usize, metrics: &Metrics) {
    let mut waiting = VecDeque::with_capacity(queue.len());
    let mut chosen: Vec<Sampling> = Vec::new();
    let mut room = batch;
    for sampling in queue.drain(..) {
        if !sampling.job.wanted() {
            sampling.job.end(Ok(()));
        } else if sampling.job.late() {
            sampling.job.end(Err(Refusal::Late));
        } else {
            let fits = chosen.first().is_none_or(|first| {
                first.job.model == sampling.job.model && first.rest.shares_a_batch_with(&sampling.rest)
            });
            if fits && room > 0 {
                room -= room.min(sampling.rest.count);
                chosen.push(sampling);
            } else {
                waiting.push_back(sampling);
            }
        }
    }
    *queue = waiting;
    let Some(first) = chosen.first() else { return };
    let Model::FlowMap(model) = &models[first.job.model].model else { unreachable!("it was admitted") };
    let requests = shares(&chosen, batch);
    metrics.batch(requests.iter().map(|request| request.count).sum(), requests.len());
    let found = caught(|| compute(model, &requests, &chosen));
    let results = match found {
        Ok(results) => results,
        Err(refusal) => {
            chosen.into_iter().for_each(|sampling| sampling.job.end(Err(refusal.clone())));
            return;
        }
    };
    for (mut sampling, (ids, nfe)) in chosen.into_iter().zip(results) {
        let done = nfe.len();
        sampling.job.send(Event::Items { ids, nfe });
        sampling.rest.first += done as u64;
        sampling.rest.count -= done;
        if sampling.rest.count == 0 {
            sampling.job.end(Ok(()));
        } else {
            queue.push_back(sampling);
        }
    }
}

/// The part of every request that is computed now, `batch` items in all.
fn shares(chosen: &[Sampling], batch: usize) -> Vec<SampleRequest> {
    let mut room = batch;
    let share = |sampling: &Sampling| {
        let count = sampling.rest.count.min(room);
        room -= count;
        SampleRequest { count, batch, ..sampling.rest.clone() }
    };
    chosen.iter().map(share).collect()
}

/// Items and evaluations of every request.
fn compute(model: &TrainedFlowMap, requests: &[SampleRequest], chosen: &[Sampling]) -> Vec<(Vec<u32>, Vec<u64>)> {
    let wanted = || chosen.iter().any(|sampling| sampling.job.wanted());
    let samples = model.sample_together(requests, &mut |_| wanted());
    samples.into_iter().map(|samples| (samples.ids, samples.nfe)).collect()
}

/// Computes one request that shares no batch.
fn single_step(models: &[Loaded], job: Job) {
    if !job.wanted() {
        return job.end(Ok(()));
    }
    if job.late() {
        return job.end(Err(Refusal::Late));
    }
    let result = caught(|| single::compute(&models[job.model], &job));
    job.end(result.and_then(|result| result));
}

/// What a computation gives; a panic ends the request and not the server.
fn caught<T>(compute: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(compute)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "the computation failed".to_owned());
        tracing::error!(panic = text, "a computation failed");
        Refusal::Failed("the computation failed; this is a mistake of the program, not of the request".to_owned())
    })
}
