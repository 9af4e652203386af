//! A report as one page of HTML that needs no other file: samples, curves of the training, figures, the recipe, and where
//! all of it comes from.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushforward::metrics::report::{Report, Row};
use pushforward::run::RunInfo;

use crate::charts::curves;
use crate::figures::{Content, Figure};
use crate::files::RUN_RECIPE;
use crate::svg::escaped;

const STYLE: &str = include_str!("report_page.css");
/// Characters of a value of the provenance.
const LONGEST: usize = 120;
/// Values of a step that are no losses.
const NO_LOSSES: [&str; 6] = ["step", "lr", "grad_norm", "derivative_norm", "seconds", "examples_per_second"];

/// The page of a report. `figures` are samples and other pictures, in order.
pub(crate) fn page(run: &RunInfo, report: &Report, figures: &[Figure]) -> String {
    let name = escaped(&run.name);
    let mut body = format!("<h1>{name}</h1><p>{}</p>", escaped(&run.description));
    section(&mut body, "Samples", &figures.iter().map(figure).collect::<String>());
    // The log lies in the folder of the run, the checkpoint there or in a folder below; other runs lie there too.
    let own = |folder: &&Path| std::fs::read_to_string(folder.join(RUN_RECIPE)).is_ok_and(|text| text == run.recipe);
    let folder = run.path.ancestors().skip(1).take(2).find(own);
    let log = folder.and_then(|folder| std::fs::read_to_string(folder.join("metrics.jsonl")).ok()).unwrap_or_default();
    section(&mut body, "Training", &training(&log));
    section(&mut body, "Figures", &figures_table(report));
    section(&mut body, "Recipe", &format!("<pre>{}</pre>", escaped(run.recipe.trim_end())));
    section(&mut body, "Provenance", &provenance(run, &log));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{name}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n"
    )
}

/// A section, if it holds anything.
fn section(out: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        write!(out, "<section><h2>{title}</h2>{content}</section>").expect("a string takes everything");
    }
}

fn figure(of: &Figure) -> String {
    let title = escaped(&of.title);
    let content = match &of.content {
        Content::Svg(text) => text.clone(),
        Content::Png(bytes) => {
            format!("<img alt=\"{title}\" src=\"data:image/png;base64,{}\">", STANDARD.encode(bytes))
        }
        Content::Text(text) => format!("<pre>{}</pre>", escaped(text.trim_end())),
    };
    format!("<figure><figcaption>{title}</figcaption><div class=\"scroll\">{content}</div></figure>")
}

/// Curves of the losses and of the validation, from the lines of the log.
fn training(log: &str) -> String {
    let (mut losses, mut held_out): (Curves, Curves) = (Vec::new(), Vec::new());
    for line in log.lines() {
        let Ok(serde_json::Value::Object(values)) = serde_json::from_str(line) else { continue };
        let Some(step) = values.get("step").and_then(serde_json::Value::as_f64) else { continue };
        for (name, value) in &values {
            let (curves, name) = match name.strip_prefix("validation/") {
                Some(name) => (&mut held_out, name),
                // Parts by time, such as `diagonal/t0.2-0.4`, and what is no loss.
                None if name.contains('/') || NO_LOSSES.contains(&name.as_str()) => continue,
                None => (&mut losses, name.as_str()),
            };
            let Some(value) = value.as_f64() else { continue };
            match curves.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push([step, value]),
                None => curves.push((name.to_owned(), vec![[step, value]])),
            }
        }
    }
    let chart = |title: &str, lines: &Curves| if lines.is_empty() { String::new() } else { curves(title, lines) };
    let both = chart("training losses by step", &losses) + &chart("validation by step", &held_out);
    if both.is_empty() { both } else { format!("<div class=\"scroll\">{both}</div>") }
}

/// Named lines.
type Curves = Vec<(String, Vec<[f64; 2]>)>;

/// One line for each metric, with a column for each number of evaluations; baselines and floors have lines of their own.
fn figures_table(report: &Report) -> String {
    let mut columns: Vec<Option<u32>> = report.rows.iter().map(|row| row.nfe).collect();
    columns.sort_unstable();
    columns.dedup();
    let key = |row: &Row| {
        let source = row.reference.as_ref().map(|source| source.name.clone()).unwrap_or_default();
        let about = [row.sampler.clone(), row.estimator.clone(), row.scorer.as_ref().map(|s| s.name.clone())];
        (row.metric.clone(), row.unit.clone(), source, about.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    let mut lines: Vec<_> = Vec::new();
    for row in &report.rows {
        let key = key(row);
        if !lines.contains(&key) {
            lines.push(key);
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    // Baselines stand below what they are compared with.
    let order = |metric: &str| report.rows.iter().position(|row| row.metric == metric);
    lines.sort_by_key(|line| order(&line.0));
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr><th>metric</th><th>of</th><th>against</th>");
    for nfe in &columns {
        let heading = nfe.map_or_else(|| "value".to_owned(), |nfe| format!("NFE {nfe}"));
        write!(out, "<th class=\"number\">{heading}</th>").expect("a string takes everything");
    }
    out += "<th>unit</th></tr></thead><tbody>";
    for line in &lines {
        let (metric, unit, source, about) = line;
        write!(out, "<tr><td>{}</td><td>{}</td><td>{}</td>", escaped(metric), escaped(about), escaped(source))
            .expect("a string takes everything");
        for nfe in &columns {
            let found = report.rows.iter().find(|row| row.nfe == *nfe && key(row) == *line);
            write!(out, "<td class=\"number\">{}</td>", found.map_or_else(String::new, value))
                .expect("a string takes everything");
        }
        write!(out, "<td>{}</td></tr>", escaped(unit)).expect("a string takes everything");
    }
    out += "</tbody></table></div>";
    for remark in &report.remarks {
        write!(out, "<p>{}</p>", escaped(remark)).expect("a string takes everything");
    }
    out
}

/// A value with its interval and the number of items, or why there is none.
fn value(row: &Row) -> String {
    if !row.value.is_finite() {
        return escaped(row.reason.as_deref().unwrap_or("none"));
    }
    let digits = |v: f64| {
        let places = (3 - v.abs().max(1e-12).log10().floor() as i32).clamp(0, 6) as usize;
        format!("{v:.places$}")
    };
    let mut text = format!("<b>{}</b>", digits(row.value));
    if let Some([low, high]) = row.ci95 {
        write!(text, "<br><small>{} to {}</small>", digits(low), digits(high)).expect("a string takes everything");
    }
    if let Some(n) = row.n {
        write!(text, "<br><small>n {n}</small>").expect("a string takes everything");
    }
    text
}

/// Where the model comes from: run, machine and times.
fn provenance(run: &RunInfo, log: &str) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><tbody>");
    let mut add = |name: &str, value: &str| {
        let short: String = value.chars().take(LONGEST).collect();
        let more = if short.len() < value.len() { " …" } else { "" };
        write!(out, "<tr><th>{}</th><td>{}{more}</td></tr>", escaped(name), escaped(&short))
            .expect("a string takes everything");
    };
    add("steps", &run.step.to_string());
    add("seed", &run.seed.to_string());
    let seconds = log.lines().rev().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value["seconds"].as_f64()
    });
    if let Some(seconds) = seconds {
        add("minutes of training", &format!("{:.1}", seconds / 60.0));
    }
    add("machine of this report", &machine());
    if !run.sha256.is_empty() {
        add("checkpoint, sha256", &run.sha256);
    }
    for (name, value) in &run.provenance {
        add(&name.replace('_', " "), value);
    }
    out + "</tbody></table></div>"
}

/// The processor, where the system tells, and the number of threads.
fn machine() -> String {
    let text = std::fs::read_to_string(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let model =
        text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {threads} threads", model.unwrap_or(std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_those_of_losses_and_validation() {
        let log = "{\"step\":1,\"loss\":2.0,\"diagonal\":1.5,\"diagonal/t0.0-0.2\":9.0,\"lr\":7.0,\"seconds\":1}\n\
                   {\"step\":5,\"validation/bound <b>\":0.5}\nnot a line\n{\"step\":9,\"loss\":1.0,\"seconds\":90}\n";
        let text = training(log);
        assert!(text.contains("diagonal") && text.contains("bound &lt;b&gt;"), "{text}");
        assert!(!text.contains("t0.0") && !text.contains(">lr<"));
        assert_eq!(text.matches("<svg").count(), 2);
        assert_eq!(training(""), "");
    }

    #[test]
    fn a_line_a_metric_with_its_evaluations_beside() {
        let mut report = Report::default();
        for nfe in [1, 4] {
            report.push(Row::new("valid", "fraction", 0.5).sampled("map", nfe).ci95([0.4, 0.6]).n(100));
        }
        report.push(Row::new("valid", "fraction", 0.9));
        report.push(Row::new("bound", "nats", f64::NAN));
        let text = figures_table(&report);
        assert_eq!(text.matches("<tr>").count(), 4);
        assert!(text.contains("NFE 1") && text.contains("NFE 4") && text.contains("<b>0.5000</b>"), "{text}");
        assert!(text.contains("0.4000 to 0.6000") && text.contains("n 100") && text.contains(">none<"));
    }
}
