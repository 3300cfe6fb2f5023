//! Which jobs a command line means.

use crate::config::{Config, Restore, instead};
use crate::verdict::{Failed, Outcome, Verdict};

/// The jobs that a command works on: the named ones in their order, else every one.
///
/// # Errors
/// `usage`: a name that the configuration doesn't have.
pub fn jobs<'a>(config: &'a Config, named: &[String]) -> Outcome<Vec<&'a Restore>> {
    if named.is_empty() && config.restores.is_empty() {
        return Err(Failed::new(
            Verdict::Config,
            format!("{} has no [restores.NAME]", config.file.display()),
        ));
    }
    if named.is_empty() {
        return Ok(config.restores.iter().collect());
    }
    named.iter().map(|name| find(config, name)).collect()
}

/// The one job that a command works on.
///
/// # Errors
/// `usage`: unknown, or not named where there are several.
pub fn job<'a>(config: &'a Config, named: Option<&str>) -> Outcome<&'a Restore> {
    match (named, config.restores.as_slice()) {
        (Some(name), _) => find(config, name),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failed::new(Verdict::Usage, "which job? there are several")
            .hint(format!("name one of: {}", names(config).join(", ")))),
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Outcome<&'a Restore> {
    config
        .restores
        .iter()
        .find(|restore| restore.name == name)
        .ok_or_else(|| {
            Failed::new(
                Verdict::Usage,
                format!("there is no job `{name}` in {}", config.file.display()),
            )
            .hint(instead(name, &names(config), "jobs"))
        })
}

fn names(config: &Config) -> Vec<&str> {
    let names = config.restores.iter().map(|restore| restore.name.as_str());
    names.collect()
}
