//! How much memory the program may take, and requests compared with it before the memory is asked for.

use std::fs;
use std::path::{Path, PathBuf};

use pushforward::data::Schema;

use crate::exit::Failure;

/// Bytes that the program may still take: what the system has free, what its control group allows and what its limit
/// of address space leaves, whichever is least. `None` where the system does not say, which is everywhere but on Linux.
pub(crate) fn available() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let free = read("/proc/meminfo").and_then(|text| kilobytes(&text, "MemAvailable:"));
    let taken = read("/proc/self/status").and_then(|text| kilobytes(&text, "VmSize:")).unwrap_or(0);
    let limit = read("/proc/self/limits").and_then(|text| address_space(&text));
    let group = read("/proc/self/cgroup").and_then(|text| control_group(&text, Path::new("/sys/fs/cgroup")));
    [free, limit.map(|limit| limit.saturating_sub(taken)), group].into_iter().flatten().min()
}

/// A value in bytes of a table such as `/proc/meminfo`, which has them in KiB.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of the address space in `/proc/self/limits`; `None` without a limit.
fn address_space(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What the control group of the process and those above it leave.
fn control_group(text: &str, root: &Path) -> Option<u64> {
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let place: PathBuf = root.join(own.trim().trim_start_matches('/'));
    let left = |folder: &Path| {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    };
    place.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

/// Refuses a request for samples that cannot be held: `count` items, `together` of them at a time.
///
/// # Errors
/// Names both numbers.
pub(crate) fn check_samples(count: usize, together: usize, points: bool, schema: &Schema) -> Result<(), Failure> {
    let Some(available) = available() else { return Ok(()) };
    let (sites, classes) = (schema.sites as u128, schema.classes as u128);
    // Four bytes for each class index of the results, and for each number of the noise, the points, the logits and the
    // endpoints of what is computed together.
    let point = if points { 4 * sites * classes } else { sites };
    let needed = 4 * (count as u128 * sites + together.min(count) as u128 * point);
    if needed <= u128::from(available) {
        return Ok(());
    }
    let gib = |bytes: u128| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let problem = format!(
        "{count} items, {together} at a time, take at least {} of memory, and {} are free",
        gib(needed),
        gib(u128::from(available))
    );
    Err(Failure::request(problem).hint("draw fewer at once: sample takes -n and --first for parts of a larger sample"))
}

#[cfg(test)]
mod tests {
    use pushforward::data::Layout;

    use super::*;

    #[test]
    fn tables_of_the_system_are_read() {
        let table = "MemTotal:  100 kB\nMemAvailable:      42 kB\n";
        assert_eq!((kilobytes(table, "MemAvailable:"), kilobytes(table, "Swap:")), (Some(42 * 1024), None));
        let limits =
            "Max cpu time unlimited unlimited seconds\nMax address space         6442450944  unlimited  bytes\n";
        assert_eq!(address_space(limits), Some(6 << 30));
        assert_eq!(address_space("Max address space         unlimited  unlimited  bytes\n"), None);
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, max: &str, current: &str| {
            fs::write(folder.join("memory.max"), max).unwrap();
            fs::write(folder.join("memory.current"), current).unwrap();
        };
        write(&inner, "max\n", "5\n");
        write(inner.parent().unwrap(), "100\n", "30\n");
        assert_eq!(control_group("0::/a/b\n", root.path()), Some(70));
        assert_eq!(control_group("0::/c\n", root.path()), None);
    }

    #[test]
    fn samples_that_cannot_be_held_are_refused() {
        let schema = Schema { sites: 1 << 20, classes: 1000, layout: Layout::Table };
        assert!(check_samples(1, 1, false, &schema).is_ok());
        if available().is_some() {
            let failure = check_samples(100_000_000, 256, false, &schema).unwrap_err();
            assert_eq!(failure.code(), 2);
        }
    }
}
