//! Options that every command takes, resolved once from flags and `FLEET_*` variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Fleet directory: where clients.toml, secrets/ and keys/ are [default: here, or the nearest
    /// folder above that has a clients.toml]
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true, env = "FLEET_DIR")]
    pub directory: Option<PathBuf>,

    /// Registry file, when it is not DIR/clients.toml
    #[arg(long, value_name = "FILE", global = true, env = "FLEET_CONFIG")]
    pub config: Option<PathBuf>,

    /// Print one JSON object a line on stdout
    #[arg(long, global = true, env = "FLEET_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,

    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are honoured too
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        env = "FLEET_COLOR",
        default_value = "auto",
        hide_possible_values = false
    )]
    pub color: ColorWhen,

    /// No bars, no symbols, no redrawing: for screen readers and logs
    #[arg(long, global = true, env = "FLEET_PLAIN", value_parser = clap::builder::FalseyValueParser::new())]
    pub plain: bool,

    /// Also show what the hosts print
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// age identity or ed25519 SSH key that opens the secrets [default: .fleet/identity.txt]
    #[arg(long, value_name = "FILE", global = true, env = "FLEET_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// How many hosts at once, and for how long.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Limits {
    /// Hosts worked on at once, such as 20 [default: 256 to ask, 16 a processor to change]
    #[arg(long, value_name = "N", env = "FLEET_PARALLEL", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub parallel: Option<u32>,

    /// Longest time for one host, such as 90s, 15m or 1h [default: no limit but each step's own]
    #[arg(long, value_name = "TIME", env = "FLEET_TIMEOUT", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// A duration such as `90s`, `15m`, `2h`, or a plain number of seconds.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    match number.parse::<u64>() {
        Ok(number) if factor > 0 && number > 0 => Ok(Duration::from_secs(number.saturating_mul(factor))),
        _ => Err("expected a time such as 90s, 15m or 1h".to_owned()),
    }
}

/// How long ago: the same, or days such as `2d`.
///
/// # Errors
/// What was expected.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).filter(|days| *days > 0);
    match days {
        Some(days) => Ok(Duration::from_secs(days.saturating_mul(86_400))),
        None => parse_duration(text).map_err(|_| "expected a time such as 90s, 15m, 12h or 2d".to_owned()),
    }
}

impl Global {
    /// The fleet directory and the registry file in it.
    ///
    /// # Errors
    /// When no registry is found, with what to do.
    pub fn locate(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        if let Some(file) = &self.config {
            let base = self.directory.clone().unwrap_or_default();
            let file = base.join(file);
            if !file.is_file() {
                bail!("there is no registry file {}", file.display());
            }
            let dir = match &self.directory {
                Some(dir) => dir.clone(),
                None => file.parent().map(Path::to_owned).unwrap_or_default(),
            };
            return Ok((or_here(dir), file));
        }
        if let Some(dir) = &self.directory {
            let file = dir.join("clients.toml");
            if !file.is_file() {
                bail!("there is no clients.toml in {}", dir.display());
            }
            return Ok((dir.clone(), file));
        }
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        for (depth, dir) in here.ancestors().enumerate() {
            if dir.join("clients.toml").is_file() {
                // A short relative name reads better in messages than an absolute one.
                return Ok(if depth == 0 {
                    (PathBuf::from("."), PathBuf::from("clients.toml"))
                } else {
                    (dir.to_owned(), dir.join("clients.toml"))
                });
            }
        }
        bail!("there is no clients.toml here or in any folder above")
    }
}

fn or_here(dir: PathBuf) -> PathBuf {
    if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_age("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_age("2d"), Ok(Duration::from_secs(172_800)));
        for bad in ["0d", "d", "-1d", "1w"] {
            assert_eq!(
                parse_age(bad),
                Err("expected a time such as 90s, 15m, 12h or 2d".to_owned()),
                "{bad}"
            );
        }
        for bad in ["", "0", "m", "1d", "-5s", "1.5h", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
