//! Which of fleet's own errors are reported, from when on, and where to. docs/sentry.md says it to operators.

use std::io::ErrorKind;

use super::context::Fleet;
use super::exit::CliError;
use super::explain;
use crate::diagnostic::Diagnostics;
use crate::held;
use crate::hint::{find, hints};
use crate::registry::SecretRef;
use crate::registry::values::Dsn;
use crate::secret::Secret;
use crate::sentry::own;
use crate::ui;
use crate::vault::Vault;

/// Names the DSN before any registry is read.
const VARIABLE: &str = "FLEET_SENTRY_DSN";

/// The command in words: `update`, or `backups prove`.
pub fn verb(matches: &clap::ArgMatches) -> String {
    let (mut words, mut inner) = (Vec::new(), matches);
    while let Some((name, below)) = inner.subcommand() {
        words.push(name);
        inner = below;
    }
    words.join(" ")
}

/// Reports at its end, however that comes.
pub struct Reporting(());

impl Reporting {
    /// Without the variable nothing is done here; [`opened`] may begin it later.
    #[must_use]
    pub fn begin(verb: &str) -> Reporting {
        own::command(verb);
        let text = std::env::var(VARIABLE).unwrap_or_default();
        if !text.is_empty() {
            match Dsn::parse(&text) {
                Ok(dsn) => {
                    let key = Secret::from(dsn.key());
                    own::begin(Box::new(move || Ok(dsn)));
                    held::note([(VARIABLE, &key), (VARIABLE, &Secret::new(text))]);
                }
                Err(fault) => {
                    ui::tell(&format!("warning: {VARIABLE}: {fault}; errors of fleet are not reported\n"));
                }
            }
        }
        Reporting(())
    }

    /// The command ended with this error.
    pub fn ended(&self, error: &anyhow::Error) {
        if unexpected(error) {
            own::error(&ui::error::messages(error));
        }
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        let Some((count, done)) = own::end() else { return };
        if let Some(why) = done.why {
            let lost = count - done.sent.len();
            let noun = if lost == 1 { "error" } else { "errors" };
            ui::tell(&format!(
                "warning: Sentry was not told of {lost} {noun} of fleet: {}\n",
                ui::flat(&why)
            ));
        }
    }
}

/// A registry was read: `[fleet.sentry]` may ask for reports, and what is secret in it is known from here on.
pub fn opened(fleet: &Fleet) {
    let settings = &fleet.registry.fleet.sentry;
    if let Some(reference) = settings.dsn.as_ref().filter(|_| settings.errors && !own::is_on()) {
        let (reference, dir, identity) = (reference.clone(), fleet.dir.clone(), fleet.identity.clone());
        let extra: Vec<String> = fleet.registry.fleet.recipients.iter().map(ToString::to_string).collect();
        own::begin(Box::new(move || {
            let value = match &reference {
                SecretRef::Env(name) => std::env::var(name).ok().map(Secret::new),
                SecretRef::Vault(name) => Vault::open(&dir, &extra, identity)
                    .and_then(|vault| vault.read_optional(crate::vault::FLEET))
                    .map_err(|error| format!("the DSN of [fleet.sentry] cannot be read: {error}"))?
                    .and_then(|secrets| secrets.get(name).cloned()),
            };
            let name = reference.name();
            let value = value.ok_or_else(|| format!("{name}, the DSN of [fleet.sentry], is not set"))?;
            Dsn::parse(value.reveal()).map_err(|fault| format!("{name}: {fault}"))
        }));
    }
    if settings.token.is_some() {
        // What git says of a release may hold one too.
        held::keep();
    }
    if !own::is_on() {
        return;
    }
    own::about(&fleet.registry.fleet.name);
    for client in &fleet.registry.clients {
        if let Some(dsn) = &client.sentry.dsn {
            held::note([("DSN", &Secret::from(dsn.key()))]);
        }
    }
    let channels = fleet.registry.notify.iter().flat_map(|channel| channel.secrets());
    let pings = fleet.registry.clients.iter().filter_map(|client| client.checks.ping.as_ref());
    for reference in channels.chain(pings) {
        if let SecretRef::Env(name) = reference
            && let Ok(value) = std::env::var(name)
        {
            held::note([(name.as_str(), &Secret::new(value))]);
        }
    }
}

/// Whether fleet has no advice for it. What it has advice for is the operator's to mend, and a reader that went
/// away is nobody's fault.
fn unexpected(error: &anyhow::Error) -> bool {
    let pipe = find::<std::io::Error>(error).is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
    let known = find::<CliError>(error).is_some() || find::<Diagnostics>(error).is_some();
    !pipe && !known && !explain::is_held(error) && hints(error).is_empty()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;
    use crate::cli::exit::{refused, usage};
    use crate::event::ExitKind;
    use crate::hint::HintExt as _;

    #[test]
    fn what_has_a_remedy_is_not_reported() {
        let io = |kind| anyhow::Error::new(std::io::Error::from(kind));
        for known in [
            usage("which client?"),
            refused("no such release"),
            crate::cli::exit::ended(ExitKind::ClientFailed, "it did not go well").context("outer"),
            anyhow!("no clients.toml").hint("run `fleet init`"),
            anyhow::Error::new(Diagnostics(Vec::new())).context("clients.toml"),
            io(ErrorKind::BrokenPipe).context("standard output"),
        ] {
            assert!(!unexpected(&known), "{known:?}");
        }
        for unknown in [
            anyhow!("the runtime could not be started"),
            io(ErrorKind::StorageFull),
            Err::<(), _>(io(ErrorKind::PermissionDenied)).context("cannot write").unwrap_err(),
        ] {
            assert!(unexpected(&unknown), "{unknown:?}");
        }
    }

    #[test]
    fn the_verb_has_all_its_words_and_no_argument() {
        let of = |line: &str| verb(&crate::cli::command().get_matches_from(line.split(' ')));
        assert_eq!(of("fleet backups prove --oldest 3 --quiet"), "backups prove");
        assert_eq!(of("fleet -C /x list --json"), "list");
    }
}
