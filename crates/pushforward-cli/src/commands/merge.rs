//! `pushforward merge`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pushforward::data::DataConfig;
use safetensors::tensor::{SafeTensors, TensorView};
use safetensors::{Dtype, serialize};

use super::data::{ITEMS, join};
use crate::args::MergeArgs;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::output::check_target;
use crate::printer::Printer;
use crate::shards::{Part, ordered};
use crate::steered::{Outcome, STEER, has_endpoints};

pub(crate) fn run(args: &MergeArgs, printer: Printer) -> Result<(), Failure> {
    let ending = |path: &Path| path.extension().map(|ending| ending.to_ascii_lowercase());
    if args.parts.iter().all(|path| ending(path).is_some_and(|ending| ending == ITEMS)) {
        return prepared(args, printer);
    }
    let read = |path: &PathBuf| Part::read(path).map(|(part, bytes)| (path.clone(), part, bytes));
    let parts = ordered(args.parts.iter().map(read).collect::<Result<_, _>>()?)?;
    if ending(&parts[0].0).is_some_and(|ending| ending == STEER) {
        return steered(args, &parts, printer);
    }
    refuse_more(args)?;
    if let Some((other, ..)) = parts.iter().find(|(path, ..)| ending(path) != ending(&args.out)) {
        let (out, other) = (args.out.display(), other.display());
        return Err(Failure::request(format!("{out} is to be of the format of its parts, such as {other}")));
    }
    let whole = if ending(&args.out).is_some_and(|ending| ending == "safetensors") {
        let bytes: Vec<(&Path, &[u8])> = parts.iter().map(|(path, _, bytes)| (path.as_path(), &bytes[..])).collect();
        tensors(&bytes)?
    } else {
        lines(&parts)
    };
    write_atomic(&args.out, &whole).or_run()?;
    printer.result(&args.out.display().to_string());
    printer.note(&format!("{} items of {} parts", parts[0].1.count, parts.len()));
    Ok(())
}

/// Refuses what only parts of `steer` have.
fn refuse_more(args: &MergeArgs) -> Result<(), Failure> {
    if args.json || args.pictures.is_some() {
        return Err(Failure::request("--json and --pictures are for parts of steer"));
    }
    Ok(())
}

/// Writes and prints what `steer` does.
fn steered(args: &MergeArgs, parts: &[(PathBuf, Part, Vec<u8>)], printer: Printer) -> Result<(), Failure> {
    let whole = Outcome::joined(parts)?;
    check_target(&args.out, &whole.asked.schema)?;
    if has_endpoints(&args.out) && !whole.asked.endpoints {
        return Err(Failure::request("the parts have no endpoints, which a .safetensors file has")
            .hint("draw them with --out FILE.safetensors, or name another format here"));
    }
    whole.print(Some(&args.out), args.pictures.as_deref(), printer)
}

/// Writes the set that processes have prepared in parts, whose files may be larger than memory.
fn prepared(args: &MergeArgs, printer: Printer) -> Result<(), Failure> {
    refuse_more(args)?;
    let read = |path: &PathBuf| Part::of_file(path).map(|part| (path.clone(), part, Vec::new()));
    let parts = ordered(args.parts.iter().map(read).collect::<Result<_, _>>()?)?;
    let config = serde_json::from_str(&parts[0].1.settings);
    let config: DataConfig = config
        .map_err(|e| Failure::request(format!("{}: its settings are not those of data: {e}", parts[0].0.display())))?;
    let files: Vec<PathBuf> = parts.into_iter().map(|(path, ..)| path).collect();
    join(&config, &files, &args.out, &args.data, printer)
}

/// Lines of text, one part after the other; names of columns stay at the beginning alone.
fn lines(parts: &[(PathBuf, Part, Vec<u8>)]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(parts.iter().map(|(.., bytes)| bytes.len()).sum());
    for (_, part, bytes) in parts {
        let skipped = if whole.is_empty() { 0 } else { part.heading.min(bytes.len()) };
        whole.extend_from_slice(&bytes[skipped..]);
    }
    whole
}

/// Tensors of the same names, joined along their first axis.
fn tensors(parts: &[(&Path, &[u8])]) -> Result<Vec<u8>, Failure> {
    let mut joined: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (place, (path, bytes)) in parts.iter().enumerate() {
        let refuse = |problem: String| Failure::request(format!("{}: {problem}", path.display()));
        let read = SafeTensors::deserialize(bytes).map_err(|e| refuse(e.to_string()))?;
        if place > 0 && read.len() != joined.len() {
            return Err(refuse(format!("it has {} tensors, the part before {}", read.len(), joined.len())));
        }
        for (name, tensor) in read.tensors() {
            let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
            if place == 0 {
                joined.insert(name, (dtype, shape, tensor.data().to_vec()));
                continue;
            }
            match joined.get_mut(&name) {
                Some((known, whole, data))
                    if *known == dtype && whole.get(1..) == shape.get(1..) && !shape.is_empty() =>
                {
                    whole[0] += shape[0];
                    data.extend_from_slice(tensor.data());
                }
                _ => return Err(refuse(format!("the tensor `{name}` is not of the shape that it has in other parts"))),
            }
        }
    }
    let views: Result<Vec<(&str, TensorView<'_>)>, _> = joined
        .iter()
        .map(|(name, (dtype, shape, data))| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?)))
        .collect();
    let views = views.map_err(|e: safetensors::SafeTensorError| Failure::Run(e.into()))?;
    serialize(views, None).or_run()
}
