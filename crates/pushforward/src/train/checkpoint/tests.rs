//! Files of checkpoints: round trips, damage, misfits, interrupted writes.

use super::file::temporary;
use super::*;
use burn::tensor::TensorData;
use proptest::prelude::*;
use std::fs;

fn weights(values: &[f32]) -> StateDict {
    BTreeMap::from([
        ("a.weight".to_owned(), TensorData::new(values.to_vec(), [values.len(), 1])),
        ("a.bias".to_owned(), TensorData::new(vec![1.5f32], [1])),
        ("steps".to_owned(), TensorData::new(vec![3i64, 4], [2])),
    ])
}

fn checkpoint(values: &[f32]) -> Checkpoint {
    Checkpoint {
        format: FORMAT,
        step: 12,
        recipe: "seed = 1\n\"quoted\" = 'ü'\n".into(),
        provenance: BTreeMap::from([("data".into(), "toy".into()), ("device".into(), "cpu".into())]),
        ema: weights(values),
        raw: weights(values),
    }
}

fn resume(values: &[f32], elapsed: f64, best: Option<f64>) -> Resume {
    let mut moments = weights(values);
    moments.remove("steps");
    Resume {
        format: FORMAT,
        recipe: String::new(),
        provenance: BTreeMap::new(),
        seed: u64::MAX,
        step: 12,
        micro_batch: 24,
        ema_updates: 12,
        best_validation: best,
        stale_validations: 2,
        elapsed_seconds: elapsed,
        raw: weights(values),
        ema: Some(weights(values)),
        kept: Some(weights(values)),
        moments: Moments {
            steps: moments.keys().map(|name| (name.clone(), 12)).collect(),
            first: moments.clone(),
            second: moments,
        },
    }
}

/// A safetensors file with the given header and data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn load_bytes(bytes: &[u8]) -> CheckpointError {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(LAST);
    fs::write(&path, bytes).expect("the folder is writable");
    let error = Checkpoint::load(&path).expect_err("the file is damaged");
    assert!(error.to_string().contains(LAST), "{error}");
    error
}

fn saved(checkpoint: &Checkpoint) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(LAST);
    checkpoint.save(&path).expect("the folder is writable");
    fs::read(path).expect("it was just written")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn round_trip(
        values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..9),
        recipe in ".*",
        elapsed in 0.0f64..1e9,
        best in prop::option::of(prop::num::f64::NORMAL),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new/checkpoints").join(LAST);
        let mut written = checkpoint(&values);
        written.recipe = recipe;
        written.save(&path).expect("the folder is writable");
        prop_assert_eq!(Checkpoint::load(&path).expect("it was just written"), written);
        let mut written = resume(&values, elapsed, best);
        for ema in [written.ema.clone(), None] {
            written.ema = ema;
            written.save(&path).expect("the folder is writable");
            prop_assert_eq!(Resume::load(&path).expect("it was just written"), written.clone());
        }
    }
}

#[test]
fn equal_checkpoints_are_equal_files() {
    assert_eq!(saved(&checkpoint(&[1.0, 2.0])), saved(&checkpoint(&[1.0, 2.0])));
}

#[test]
fn every_corruption_has_its_error() {
    use super::CheckpointError as E;
    let nowhere = tempfile::tempdir().expect("a temporary folder");
    assert!(matches!(Checkpoint::load(&nowhere.path().join("x.safetensors")), Err(E::NotFound { .. })));
    assert!(matches!(Checkpoint::load(nowhere.path()), Err(E::Read { .. })));
    assert!(matches!(load_bytes(b""), E::Empty { .. }));
    assert!(matches!(load_bytes(b"1234"), E::Truncated { expected: 8, found: 4, .. }));
    let good = saved(&checkpoint(&[1.0, 2.0]));
    let header = u64::from_le_bytes(good[..8].try_into().expect("eight bytes")) as usize;
    for length in 8 + header..good.len() {
        assert!(matches!(load_bytes(&good[..length]), E::Truncated { .. }), "{length}");
    }
    for length in 8..8 + header {
        assert!(matches!(load_bytes(&good[..length]), E::HeaderBeyondFile { .. }), "{length}");
    }
    assert!(matches!(load_bytes(&[good.as_slice(), b"more"].concat()), E::Header { .. }));
    assert!(matches!(load_bytes(&[&u64::MAX.to_le_bytes(), &good[8..]].concat()), E::HeaderTooLarge { .. }));
    assert!(matches!(load_bytes(&file("{\"a\": ", b"")), E::NotJson { .. }));
    assert!(matches!(load_bytes(&file("[1, 2]", b"")), E::NotJson { .. }));
    for foreign in ["{}", r#"{"__metadata__":{"format":"pt"}}"#, r#"{"__metadata__":{"pushforward":"hello"}}"#] {
        assert!(matches!(load_bytes(&file(foreign, b"")), E::Foreign { .. }), "{foreign}");
    }
    let newer = r#"{"__metadata__":{"pushforward":"{\"format\":2,\"kind\":\"unheard of\"}"}}"#;
    assert!(matches!(load_bytes(&file(newer, b"")), E::Newer { format: 2, .. }));
    let odd = r#"{"__metadata__":{"pushforward":"{\"format\":1}"}}"#;
    assert!(matches!(load_bytes(&file(odd, b"")), E::Header { .. }));
    // Offsets that overlap, run backwards or disagree with the shape.
    let ours = r#""__metadata__":{"pushforward":"{\"format\":1,\"kind\":\"weights\",\"step\":1,\"recipe\":\"\",\"provenance\":{}}"}"#;
    for tensor in [
        r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#,
        r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#,
        r#"{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}"#,
        r#"{"dtype":"what","shape":[1],"data_offsets":[0,4]}"#,
        r#"{"dtype":"I16","shape":[2],"data_offsets":[0,4]}"#,
        r#"{}"#,
        r#"7"#,
    ] {
        let error = load_bytes(&file(&format!("{{{ours},\"raw.a\":{tensor}}}"), &[0; 4]));
        assert!(matches!(error, E::Header { .. }), "{tensor}: {error}");
    }
}

#[test]
fn every_misfit_of_the_tensors_has_its_error() {
    let fails = |edit: &dyn Fn(&mut Checkpoint)| {
        let mut bad = checkpoint(&[1.0, 2.0]);
        edit(&mut bad);
        load_bytes(&saved(&bad)).to_string()
    };
    let missing = fails(&|c| drop(c.ema.remove("a.bias")));
    assert!(missing.contains("`ema.a.bias` is missing"), "{missing}");
    let shape = fails(&|c| drop(c.ema.insert("a.bias".into(), TensorData::zeros::<f32, _>([2]))));
    assert!(shape.contains("shape [1]") && shape.contains("[2]"), "{shape}");
    let dtype = fails(&|c| drop(c.ema.insert("a.bias".into(), TensorData::zeros::<f64, _>([1]))));
    assert!(dtype.contains("F64") && dtype.contains("F32"), "{dtype}");
    let ours = r#""__metadata__":{"pushforward":"{\"format\":1,\"kind\":\"weights\",\"step\":1,\"recipe\":\"\",\"provenance\":{}}"}"#;
    let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let extra = load_bytes(&file(&format!("{{{ours},\"other.a\":{tensor}}}"), &[0; 4])).to_string();
    assert!(extra.contains("`other.a`") && extra.contains("not part"), "{extra}");
    let nan = load_bytes(&file(&format!("{{{ours},\"raw.a\":{tensor}}}"), &f32::NAN.to_le_bytes())).to_string();
    assert!(nan.contains("`raw.a` holds NaN at element 0"), "{nan}");
}

#[test]
fn weights_and_resume_files_are_not_mixed_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(LAST);
    checkpoint(&[1.0]).save(&path).expect("the folder is writable");
    assert!(matches!(Resume::load(&path), Err(CheckpointError::Kind { expected: "resume", found: "weights", .. })));
    resume(&[1.0], 1.0, None).save(&path).expect("the folder is writable");
    assert!(matches!(Checkpoint::load(&path), Err(CheckpointError::Kind { expected: "weights", .. })));
}

#[test]
fn counters_that_no_run_reaches_are_damage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RESUME);
    let edits: [&dyn Fn(&mut Resume); 8] = [
        &|r| r.step = 1 << 63,
        &|r| r.micro_batch = u64::MAX,
        &|r| r.ema_updates = 1 << 53,
        &|r| r.stale_validations = u64::MAX,
        &|r| r.moments.steps.values_mut().for_each(|steps| *steps = u64::MAX),
        &|r| r.elapsed_seconds = -1.0,
        &|r| r.elapsed_seconds = f64::NAN,
        &|r| r.elapsed_seconds = f64::INFINITY,
    ];
    for (number, edit) in edits.iter().enumerate() {
        let mut bad = resume(&[1.0], 1.0, None);
        edit(&mut bad);
        bad.save(&path).expect("the folder is writable");
        let error = Resume::load(&path).expect_err("damaged");
        assert!(matches!(error, CheckpointError::Header { .. }), "{number}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn devices_are_refused() {
    let error = Checkpoint::load(Path::new("/dev/zero")).expect_err("it never ends").to_string();
    assert!(error.contains("not a file"), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(LAST);
    let old = checkpoint(&[1.0]);
    old.save(&path).expect("the folder is writable");
    // Values that are not finite never reach the disk.
    let error = checkpoint(&[f32::INFINITY]).save(&path).expect_err("the weights are infinite");
    assert!(error.to_string().contains("`ema.a.weight` holds inf at element 0"), "{error}");
    assert_eq!(Checkpoint::load(&path).expect("untouched"), old);
    // A folder in the place of the temporary file makes the write itself fail.
    fs::create_dir(temporary(&path)).expect("the folder is writable");
    assert!(matches!(checkpoint(&[2.0]).save(&path), Err(CheckpointError::Write { .. })));
    assert_eq!(Checkpoint::load(&path).expect("untouched"), old);
    fs::remove_dir(temporary(&path)).expect("it is empty");
    // The remains of a killed process are ignored by readers and overwritten by the next write.
    fs::write(temporary(&path), &saved(&old)[..50]).expect("the folder is writable");
    assert_eq!(Checkpoint::load(&path).expect("untouched"), old);
    checkpoint(&[2.0]).save(&path).expect("the folder is writable");
    assert_eq!(Checkpoint::load(&path).expect("just written"), checkpoint(&[2.0]));
    assert!(!temporary(&path).exists());
}

#[test]
fn an_interrupted_write_never_shows() {
    // A reader that runs beside a writer sees whole files only.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(LAST);
    let values = |k: usize| vec![k as f32; 2000];
    checkpoint(&values(0)).save(&path).expect("the folder is writable");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for k in 1..40 {
                checkpoint(&values(k)).save(&path).expect("the folder is writable");
            }
        });
        while !writer.is_finished() {
            let seen = Checkpoint::load(&path).expect("a whole file");
            assert_eq!(seen.ema, seen.raw);
        }
    });
}
