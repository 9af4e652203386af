//! Several processes do what one does. With the feature `mpi` and where `mpirun` is; else there is nothing to test, which `.ci/run` says.

use super::*;

/// A launcher of so many processes; `None` without one.
fn launch(folder: &Path, processes: usize, args: &[&str]) -> Option<Output> {
    if !cfg!(feature = "mpi") || Command::new("mpirun").arg("--version").output().is_err() {
        return None;
    }
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &processes.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_pushforward")).args(args).current_dir(folder).stdin(Stdio::null());
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("XDG_CACHE_HOME", folder.join("cache")).env("PUSHFORWARD_RANK_TIMEOUT", "60");
    Some(command.output().expect("the launcher starts"))
}

/// Tensors of a checkpoint, without what is written beside them.
fn tensors(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("the run wrote it");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    bytes[8 + header..].to_vec()
}

const RUN: [&str; 18] = [
    "train",
    "checker",
    "--set",
    "model.network.width=16",
    "--set",
    "model.network.blocks=1",
    "--set",
    "train.batch=16",
    "--set",
    "train.validate_every=4",
    "--set",
    "train.checkpoint_every=3",
    "--set",
    "train.log_every=2",
    "--no-eval",
    "--threads",
    "1",
    "--set",
];

#[test]
fn two_processes_are_one_and_one_goes_on_where_two_have_stopped() {
    let work = workplace();
    let folder = work.path();
    let with = |more: &[&'static str]| [&RUN[..], more].concat();
    let two = with(&["train.steps=8", "--set", "train.accumulate=1", "--reproducible", "--out", "two"]);
    let Some(out) = launch(folder, 2, &two) else { return };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    succeed(folder, &with(&["train.steps=8", "--set", "train.accumulate=2", "--out", "one"]));
    let file = |run: &str, name: &str| tensors(&folder.join(run).join("checkpoints").join(name));
    for name in ["last.safetensors", "best.safetensors", "resume.safetensors"] {
        assert!(file("one", name) == file("two", name), "{name} differs");
    }
    // What is printed and written is the first one's alone.
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(said.matches("trained 8 steps").count(), 1, "{said}");

    // Another number of processes goes on.
    let out =
        launch(folder, 2, &["train", "--resume", "one", "--set", "train.steps=12", "--reproducible", "--no-eval"]);
    assert!(out.is_some_and(|out| out.status.success()));
    succeed(folder, &["train", "--resume", "two", "--set", "train.steps=12", "--no-eval"]);
    assert!(file("one", "last.safetensors") == file("two", "last.safetensors"));

    // Items, scores and weights of particles.
    for args in [
        &["sample", "one", "-n", "300", "--batch", "32", "--nfe", "2", "--out", "-"][..],
        &["score", "one", "-n", "100", "--json"],
        &["eval", "one", "-n", "300", "--nfe", "1", "--bound-items", "100", "--json"],
        &["steer", "one", "--reward", "2*site(0, 1)", "-n", "20", "--json"],
        &["steer", "one", "--reward", "2*site(0, 1)", "-n", "32", "--particles", "32", "--keep", "32", "--json"],
    ] {
        let out = launch(folder, 2, args).expect("there is a launcher");
        assert!(out.status.success(), "{args:?} {}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(String::from_utf8_lossy(&out.stdout), succeed(folder, args), "{args:?}");
    }
}

#[test]
fn a_set_prepared_by_several_processes_is_that_of_one() {
    let work = workplace();
    let folder = work.path();
    super::shards::long_text(folder);
    let prepare = ["data", "prepare", "a.txt", "--set", "data.set=text", "--set", "data.length=48", "--out"];
    for (processes, out) in [(2, "two"), (3, "three")] {
        let Some(done) = launch(folder, processes, &[&prepare[..], &[out]].concat()) else { return };
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        if !folder.join("one").exists() {
            succeed(folder, &[&prepare[..], &["one"]].concat());
        }
        assert!(super::shards::files(&folder.join("one")) == super::shards::files(&folder.join(out)), "{processes}");
        assert_eq!(String::from_utf8_lossy(&done.stdout), succeed(folder, &["data", "info", "one"]));
    }
    // A process that cannot write its share is named, and nothing is left.
    fs::create_dir_all(folder.join(".four-2-of-2.items/full")).expect("a folder in its way");
    let out = launch(folder, 2, &[&prepare[..], &["four"]].concat()).expect("there is a launcher");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("rank 1: error: cannot write"), "{said}");
    assert!(said.contains("rank 1 has stopped: cannot write"), "{said}");
    fs::remove_dir_all(folder.join(".four-2-of-2.items")).expect("it is there");
    let left = || fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = left().collect();
    names.retain(|name| name != "cache" && name != "data");
    names.sort();
    assert_eq!(names, ["a.txt", "one", "three", "two"]);
}

#[test]
fn a_failure_of_all_is_told_and_ends_the_job() {
    let work = workplace();
    let folder = work.path();
    let Some(out) = launch(folder, 2, &["train", "checker", "--set", "train.lr=-1"]) else { return };
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("train.lr = -1"), "{said}");
    let out = launch(folder, 2, &["presets"]).expect("there is a launcher");
    assert!(String::from_utf8_lossy(&out.stderr).contains("for one process"));
}

#[test]
fn without_mpi_several_processes_are_refused() {
    if cfg!(feature = "mpi") {
        return;
    }
    let work = workplace();
    let mut command = command(work.path(), &["train", "checker"]);
    let out = command.env("OMPI_COMM_WORLD_SIZE", "2").output().expect("the program starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("built without MPI"), "{said}");
    // A part needs no others.
    let echo = super::serve::stored("echo");
    let part = ["sample", echo.to_str().expect("UTF-8"), "-n", "8", "--batch", "4", "--shard", "1/2", "--out", "a.txt"];
    let mut command = super::command(work.path(), &part);
    assert!(command.env("OMPI_COMM_WORLD_SIZE", "2").status().expect("the program starts").success());
    std::fs::write(work.path().join("a.csv"), "a,b\n1,x\n2,y\n").expect("a file");
    let mut command = super::command(work.path(), &["data", "prepare", "a.csv", "--out", "set"]);
    let out = command.env("OMPI_COMM_WORLD_SIZE", "2").output().expect("the program starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("--shard I/N"), "{said}");
}

#[test]
fn a_dry_run_tells_what_processes_need_and_leaves_nothing() {
    let work = workplace();
    let folder = work.path();
    let args = |more: &[&'static str]| [&RUN[..], &["train.accumulate=2", "--dry-run"], more].concat();
    let told = succeed(folder, &args(&["--link", "1"]));
    let column = |text: &str, place: usize| -> Vec<f64> {
        let rows = text.lines().skip_while(|line| !line.contains("MiB sent")).skip(1);
        rows.map(|line| line.split_whitespace().nth(place).expect("a column").parse().expect("a number")).collect()
    };
    assert_eq!(column(&told, 0), (1..=10).map(|power| f64::from(1 << power)).collect::<Vec<_>>());
    assert!(told.contains("parameters; each process has 2 micro-batches of 16"), "{told}");
    // Two processes send a whole gradient each, and more send up to twice as much.
    let sent = column(&told, 1);
    assert!(sent.is_sorted() && sent[9] <= 2.0 * sent[0] + 0.02, "{sent:?}");
    let half = column(&succeed(folder, &args(&["--ranks", "2", "--wire", "bf16"])), 1);
    assert!((half[0] - sent[0] / 2.0).abs() < 0.011, "{half:?} {sent:?}");
    assert!(!folder.join("runs").exists());
}
