//! Prometheus's text exposition format, version 0.0.4, in a file for node_exporter's textfile collector.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::durable;

/// Labels with their values, and the value.
type Sample = (Vec<(&'static str, String)>, f64);

/// Gauges of one name.
#[derive(Debug, Clone)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<Sample>,
}

impl Family {
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            samples: Vec::new(),
        }
    }

    /// No two samples of a family have the same labels.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let owned = labels
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        self.samples.push((owned.collect(), value));
    }
}

/// Families without samples are left out.
#[must_use]
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let Family {
            name,
            help,
            samples,
        } = family;
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a String can't fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
    out
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    value.replace('\n', r"\n")
}

/// Writes the file whole, for everybody to read: node_exporter is another user, and would take a half-written one.
///
/// # Errors
/// Whatever the file system says; the old file is then untouched.
pub fn write(path: &Path, families: &[Family]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // node_exporter reads what ends with `.prom`.
    let temp = path.with_file_name(format!(".{name}.tmp"));
    durable::write_public(&temp, path, text(families).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_behind_their_help_and_type() {
        let mut seconds = Family::gauge("a_seconds", "How long\\it took.");
        seconds.add(&[("job", "e\"r\\p\n"), ("step", "fetch")], 1.5);
        seconds.add(&[], 1_763_697_600.123);
        let text = text(&[Family::gauge("b", "Nothing."), seconds]);
        assert_eq!(
            text,
            "# HELP a_seconds How long\\\\it took.\n# TYPE a_seconds gauge\n\
             a_seconds{job=\"e\\\"r\\\\p\\n\",step=\"fetch\"} 1.5\na_seconds 1763697600.123\n"
        );
    }
}
