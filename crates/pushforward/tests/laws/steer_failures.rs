//! Errors of steering.

use pushforward::flow_map::config::OffDiagonal;
use pushforward::flow_map::sample::Generator;
use pushforward::flow_map::steer::{Method, RenoiseTarget, Reward, RewardError, SmcSettings, SteerError, Twist, steer};

use super::sampler::config;
use super::steer::{COINS, Coins, Odd, request};
use crate::support::device;

/// A reward given by a function of all items.
struct Rule<F>(F);

impl<F: Fn(usize) -> Result<Vec<f64>, RewardError>> Reward for Rule<F> {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        (self.0)(ids.len() / 3)
    }
}

fn fail(method: Method, reward: &dyn Reward) -> SteerError {
    let (config, wanted) = (config(OffDiagonal::default()), request(method, 2, 5, 0));
    steer(&Generator::new(&Coins, COINS, &device()).with_noise(config.noise()), &wanted, reward, &mut |_| true)
        .expect_err("it cannot be steered")
}

const SMC: Method = Method::Smc(SmcSettings {
    twist: Twist::Draws,
    renoise: RenoiseTarget::Drawn,
    draws: 2,
    tempering: 1.0,
    threshold: 0.5,
});

#[test]
fn rewards_that_are_no_numbers_are_named() {
    for method in [Method::BestOf, Method::Resample, SMC] {
        let nan = fail(method, &Rule(|n| Ok((0..n).map(|i| if i == 3 { f64::NAN } else { 0.0 }).collect())));
        assert!(nan.to_string().contains("the reward of item 3 is NaN"), "{nan}");
        let infinite = fail(method, &Rule(|n| Ok(vec![f64::INFINITY; n])));
        assert!(infinite.to_string().contains("item 0 is inf"), "{infinite}");
        let short = fail(method, &Rule(|n| Ok(vec![0.0; n - 1])));
        assert!(matches!(short, SteerError::Reward(RewardError::Count { .. })), "{short}");
        let dead = fail(method, &Rule(|_| Err(RewardError::Failed("the program ended with code 3".into()))));
        assert_eq!(dead.to_string(), "the program ended with code 3");
        let nothing = fail(method, &Rule(|n| Ok(vec![f64::NEG_INFINITY; n])));
        assert_eq!(nothing, SteerError::NoWeight, "{method:?}");
    }
}

#[test]
fn what_was_finished_survives_a_reward_that_dies() {
    let calls = std::cell::Cell::new(0);
    let reward = Rule(|n| {
        calls.set(calls.get() + 1);
        if calls.get() > 3 { Err(RewardError::Failed("gone".into())) } else { Ok(vec![1.0; n]) }
    });
    let mut wanted = request(Method::BestOf, 2, 5, 0);
    (wanted.keep, wanted.sample.count, wanted.sample.batch) = (1, 8, 5);
    let config = config(OffDiagonal::default());
    let found =
        steer(&Generator::new(&Coins, COINS, &device()).with_noise(config.noise()), &wanted, &reward, &mut |_| true)
            .expect("three are finished");
    assert_eq!(found.rewards, [1.0; 3]);
    assert_eq!(found.stopped, Some(SteerError::Reward(RewardError::Failed("gone".into()))));
    let mut reported = Vec::new();
    let halted =
        steer(&Generator::new(&Coins, COINS, &device()).with_noise(config.noise()), &wanted, &Odd, &mut |done| {
            reported.push(done);
            done < 2
        });
    assert_eq!((halted.expect("two are finished").stopped, reported), (Some(SteerError::Interrupted), vec![1, 2]));
}

#[test]
fn requests_out_of_range_are_refused() {
    let hard = Rule(|n| Ok(vec![0.0; n]));
    let soft = SmcSettings { twist: Twist::Soft, ..SmcSettings::default() };
    assert_eq!(fail(Method::Gradient { step: 1.0, rounds: 1 }, &hard), SteerError::NoGradient);
    assert_eq!(fail(Method::Smc(soft), &hard), SteerError::NoGradient);
    for method in [
        Method::Gradient { step: f64::NAN, rounds: 1 },
        Method::Gradient { step: 1.0, rounds: 0 },
        Method::Smc(SmcSettings { draws: 0, ..soft }),
        Method::Smc(SmcSettings { threshold: 1.5, ..soft }),
        Method::Tilt { churn: 0.0, pull: 1.0, settings: soft },
    ] {
        assert!(matches!(fail(method, &Odd), SteerError::Request(_)), "{method:?}");
    }
    let config = config(OffDiagonal::default());
    let mut wanted = request(Method::BestOf, 2, 5, 0);
    wanted.keep = 6;
    let message =
        steer(&Generator::new(&Coins, COINS, &device()).with_noise(config.noise()), &wanted, &Odd, &mut |_| true)
            .unwrap_err()
            .to_string();
    assert!(message.contains("5 particles cannot give 6 samples"), "{message}");
}
