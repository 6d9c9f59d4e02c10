//! What clients.toml, the running application and the Sentry server each say of one client, and where they
//! disagree.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::check::sentry_is_on;
use crate::facts::Facts;
use crate::registry::{self, Client};
use crate::shell::hex;
use crate::stack::Stack;

/// Name and version of the JSON form.
pub const SCHEMA: &str = "fleet.sentry/1";

/// One client's Sentry.
#[derive(Clone, Debug, Serialize)]
pub struct Sentry {
    pub schema: &'static str,
    pub client: String,
    pub state: State,
    pub configured: Configured,
    /// What the host says; null where it was not reached or nothing runs there.
    pub application: Option<Application>,
    /// What the server says; null where it was not asked.
    pub server: Option<Server>,
    /// Where they disagree, and what to do.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The application reports, as clients.toml says.
    On,
    /// Nothing is sent, as clients.toml says.
    Off,
    /// The stack does not say where the application's state is told.
    Unknown,
    /// Something disagrees.
    Wrong,
    Unreachable,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Configured {
    /// Masked.
    pub dsn: Option<String>,
    pub environment: String,
    pub traces_rate: f64,
    #[serde(rename = "use")]
    pub uses: Option<String>,
    pub enabled: bool,
    pub org: Option<String>,
    pub project: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Application {
    /// The word of the health answer.
    pub status: Option<String>,
    pub environment: Option<String>,
    /// The release that it runs as.
    pub release: Option<String>,
    /// The newest line of its log that says that it reports.
    pub log: Option<String>,
    /// With which DSN it runs.
    pub dsn: Option<RunsWith>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunsWith {
    /// The one of clients.toml, or none where there is none.
    Same,
    Another,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its address without https://.
    pub name: String,
    pub project: Option<String>,
    /// The newest event of the client's environment.
    pub last: Option<Last>,
    /// Events that were looked through for it.
    pub looked_through: usize,
    /// Why it says nothing of this client, where that is no fault.
    pub note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Last {
    pub id: String,
    /// RFC 3339.
    pub at: String,
    pub release: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub text: String,
    pub remedy: String,
}

impl Problem {
    #[must_use]
    pub fn new(text: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem { text: text.into(), remedy: remedy.into() }
    }
}

impl State {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::On => "on",
            State::Off => "off",
            State::Unknown => "unknown",
            State::Wrong => "wrong",
            State::Unreachable => "unreachable",
        }
    }
}

impl Configured {
    #[must_use]
    pub fn of(sentry: &registry::Sentry) -> Configured {
        Configured {
            dsn: sentry.dsn.as_ref().map(registry::values::Dsn::masked),
            environment: sentry.environment.to_string(),
            traces_rate: sentry.traces_rate,
            uses: sentry.uses.as_ref().map(ToString::to_string),
            enabled: sentry.enabled,
            org: sentry.org.as_ref().map(ToString::to_string),
            project: sentry.project.as_ref().map(ToString::to_string),
        }
    }
}

impl Sentry {
    /// A client that was not reached.
    #[must_use]
    pub fn unreachable(client: &Client, problem: Problem) -> Sentry {
        let problems = vec![problem];
        Sentry { state: State::Unreachable, problems, ..Sentry::configured(client) }
    }

    /// What clients.toml says alone.
    #[must_use]
    pub fn configured(client: &Client) -> Sentry {
        Sentry {
            schema: SCHEMA,
            client: client.name.to_string(),
            state: if client.sentry.dsn.is_some() { State::Unknown } else { State::Off },
            configured: Configured::of(&client.sentry),
            application: None,
            server: None,
            problems: Vec::new(),
        }
    }

    /// From what the host answered.
    #[must_use]
    pub fn of(client: &Client, stack: &Stack, facts: &Facts) -> Sentry {
        let (application, problems) = compare(client, stack, facts);
        let on = application.as_ref().and_then(|app| app.status.as_deref()).map(sentry_is_on);
        let state = match (client.sentry.dsn.is_some(), on) {
            _ if !problems.is_empty() => State::Wrong,
            (false, _) => State::Off,
            (true, Some(true)) => State::On,
            (true, _) => State::Unknown,
        };
        Sentry { state, application, problems, ..Sentry::configured(client) }
    }

    /// The same with something that disagrees.
    pub fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
        if self.state != State::Unreachable {
            self.state = State::Wrong;
        }
    }
}

/// What the host says, and what of it is not as clients.toml has it.
fn compare(client: &Client, stack: &Stack, facts: &Facts) -> (Option<Application>, Vec<Problem>) {
    let (sentry, name) = (&client.sentry, client.name.as_str());
    let update = || format!("fleet update {name}");
    let mut problems = Vec::new();
    let Some(spec) = &stack.sentry else {
        if sentry.dsn.is_some() {
            problems.push(Problem::new(
                format!("clients.toml has a DSN, and stack {} has no place for one", stack.name),
                "name the variable that carries it under [sentry] of stack.toml",
            ));
        }
        return (None, problems);
    };
    if facts.state.is_none() {
        problems.push(Problem::new("nothing was ever provisioned there", format!("fleet provision {name}")));
        return (None, problems);
    }
    let told = spec.health.as_deref().and_then(|path| facts.sentry(path));
    let runs = facts.reporter();
    let dsn = runs.as_ref().map(|runs| runs_with(&runs.dsn_sha256, sentry));
    let application = Application {
        status: told.as_ref().map(|(status, _)| status.clone()),
        environment: told.as_ref().and_then(|(_, environment)| environment.clone()),
        release: runs.as_ref().and_then(|runs| runs.release.clone()),
        log: runs.as_ref().and_then(|runs| runs.log.clone()),
        dsn,
    };
    let service = spec.service.as_deref().unwrap_or("the application");
    let wants = sentry.dsn.is_some();
    match (dsn, &told) {
        (Some(RunsWith::None), _) if wants => problems.push(Problem::new(
            format!("clients.toml has a DSN, and {service} runs without one: it was not updated since"),
            update(),
        )),
        (Some(RunsWith::Another), _) => problems.push(Problem::new(
            match wants {
                true => {
                    format!("{service} runs with another DSN than clients.toml has: it was not updated since")
                }
                false => format!("clients.toml sends nothing, and {service} still runs with a DSN"),
            },
            update(),
        )),
        (_, Some((status, _))) if wants && !sentry_is_on(status) => problems.push(Problem::new(
            format!("{service} has the DSN of clients.toml, and says that its Sentry is {status}"),
            match &spec.service {
                Some(service) => {
                    format!("fleet logs {name} --service {service} --grep '(?i)sentry': its SDK says why")
                }
                None => format!("fleet logs {name}: its SDK says why"),
            },
        )),
        (None, Some((status, _))) if !wants && sentry_is_on(status) => problems.push(Problem::new(
            format!("clients.toml sends nothing, and {service} says that its Sentry is {status}"),
            update(),
        )),
        (_, Some((_, Some(environment)))) if wants && *environment != *sentry.environment => {
            problems.push(Problem::new(
                format!(
                    "{service} reports as environment {environment}, and clients.toml says {}",
                    sentry.environment
                ),
                update(),
            ));
        }
        (_, None) if wants && spec.health.is_some() => problems.push(match facts.http() {
            Some((200..300, _)) => Problem::new(
                format!("the health answer has no {}", spec.health.as_deref().unwrap_or_default()),
                "correct `health` under [sentry] of stack.toml, or the application",
            ),
            _ => Problem::new("its health answer cannot be had", format!("fleet status {name}")),
        }),
        _ => {}
    }
    (Some(application), problems)
}

fn runs_with(found: &str, sentry: &registry::Sentry) -> RunsWith {
    let digest = |text: &str| hex(&Sha256::digest(text));
    let wanted = digest(sentry.dsn.as_ref().map_or("", |dsn| dsn.reveal()));
    match found {
        same if same == wanted => RunsWith::Same,
        none if none == digest("") => RunsWith::None,
        _ => RunsWith::Another,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use insta::assert_snapshot;

    use super::*;
    use crate::registry::Registry;

    const DSN: &str = "https://poisonkey7Q2x@sentry.example.fr/42";

    fn client(sentry: &str) -> Client {
        let text = format!(
            "[fleet]\nname = 'f'\nstack = 's'\n[clients.lyon]\ndomain = 'lyon.example.fr'\nip = '192.0.2.1'\nsentry = \
             {{ {sentry} }}"
        );
        Registry::parse(&text, "x").unwrap().clients.remove(0)
    }

    /// What a host says: the DSN that the service runs with, and its health answer.
    fn facts(dsn: Option<&str>, health: Option<&str>) -> Facts {
        let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let state = r#"{"schema":"fleet.state/1","release":"r1","version":"v1","digest":"d","client":"lyon","domain":"x",
            "images":{},"env_digest":"e","who":"a","run":"1","at":"2026-11-20T10:00:00Z"}"#;
        let mut text = format!("os\tdebian\nengine\t26\nstate\t{}\n", b64(state));
        if let Some(dsn) = dsn {
            text.push_str(&format!("sentry_dsn\t{}\n", hex(&Sha256::digest(dsn))));
        }
        text.push_str(&match health {
            Some(body) => format!("http\t200 0.01\nhttp_body\t{}\n", b64(body)),
            None => "http\t502 0.01\n".to_owned(),
        });
        text.push_str("end\tok\n");
        let facts = Facts::parse(text.as_bytes()).unwrap();
        assert!(facts.state.is_some(), "the state is read");
        facts
    }

    fn judged(stack: &Stack, sentry: &str, facts: &Facts) -> String {
        let found = Sentry::of(&client(sentry), stack, facts);
        let problems = found.problems.iter().map(|one| format!("{} -> {}", one.text, one.remedy));
        let all: Vec<String> = std::iter::once(found.state.word().to_owned()).chain(problems).collect();
        assert!(!serde_json::to_string(&found).unwrap().contains("poisonkey"), "the key is nowhere");
        all.join("\n  ")
    }

    #[test]
    fn every_disagreement_is_told_with_what_to_do() {
        let stack = crate::stack_source::load_stack(std::path::Path::new("/"), "geoclic").unwrap();
        let dsn = format!("dsn = '{DSN}'");
        let on =
            |environment: &str| format!(r#"{{"sentry":{{"status":"ok","environment":"{environment}"}}}}"#);
        let off = r#"{"sentry":{"status":"disabled","environment":"lyon"}}"#;
        let mut all = String::new();
        for (title, sentry, facts) in [
            ("as it shall be", dsn.as_str(), facts(Some(DSN), Some(&on("lyon")))),
            ("off as it shall be", "", facts(Some(""), Some(off))),
            ("not updated since it was set", &dsn, facts(Some(""), Some(off))),
            ("not updated since it was changed", &dsn, facts(Some("https://k@x.fr/1"), Some(&on("lyon")))),
            ("not updated since it was disabled", "enabled = false", facts(Some(DSN), Some(&on("lyon")))),
            ("refused by the SDK", &dsn, facts(Some(DSN), Some(off))),
            ("another environment", &dsn, facts(Some(DSN), Some(&on("production")))),
            ("nothing in the answer", &dsn, facts(Some(DSN), Some("{}"))),
            ("no answer", &dsn, facts(Some(DSN), None)),
            ("a service that does not run, off", "", facts(None, Some(&on("lyon")))),
        ] {
            all.push_str(&format!("{title}: {}\n", judged(&stack, sentry, &facts)));
        }
        assert_snapshot!(all, @"
        as it shall be: on
        off as it shall be: off
        not updated since it was set: wrong
          clients.toml has a DSN, and api runs without one: it was not updated since -> fleet update lyon
        not updated since it was changed: wrong
          api runs with another DSN than clients.toml has: it was not updated since -> fleet update lyon
        not updated since it was disabled: wrong
          clients.toml sends nothing, and api still runs with a DSN -> fleet update lyon
        refused by the SDK: wrong
          api has the DSN of clients.toml, and says that its Sentry is disabled -> fleet logs lyon --service api --grep '(?i)sentry': its SDK says why
        another environment: wrong
          api reports as environment production, and clients.toml says lyon -> fleet update lyon
        nothing in the answer: wrong
          the health answer has no sentry -> correct `health` under [sentry] of stack.toml, or the application
        no answer: wrong
          its health answer cannot be had -> fleet status lyon
        a service that does not run, off: wrong
          clients.toml sends nothing, and api says that its Sentry is ok -> fleet update lyon
        ");
    }
}
