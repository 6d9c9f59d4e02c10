//! `fleet test-ssh`: is each host reachable, and if not, what is wrong and how to mend it.

use std::time::Duration;

use serde_json::json;

use super::App;
use super::context::Fleet;
use super::global::Limits;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::shell::Cmd;
use crate::ui::{Cell, Column, Role, Table};

/// Test the connection to clients: address, port, host key, login, sudo, clock
///
/// Every failure is named with its remedy.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet test-ssh ville-lyon
  fleet test-ssh --all")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    #[command(flatten)]
    pub limits: Limits,
}

/// Largest difference of clocks that certificates and logs bear.
const CLOCK_SKEW: u64 = 30;

const LOOK: &str = "printf 'clock %s\\n' \"$(date +%s)\"
if [ \"$(id -u)\" -eq 0 ] || sudo -n true 2>/dev/null; then echo 'sudo yes'; else echo 'sudo no'; fi
. /etc/os-release 2>/dev/null && printf 'os %s\\n' \"$PRETTY_NAME\"
command -v rsync >/dev/null 2>&1 && echo 'rsync yes' || echo 'rsync no'";

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let cmd = Cmd::script(LOOK, Vec::<String>::new()).timeout(Duration::from_secs(20));
    let questions = clients.iter().map(|client| (fleet.target(client), cmd.clone())).collect();
    let answers = app.ask(&fleet, "test-ssh", questions, &args.limits)?;
    let (mut table, mut remedies) = (
        Table::new([
            Column::new("client").at_least(8),
            Column::new("result").at_least(6),
            Column::new("detail"),
        ]),
        String::new(),
    );
    let (mut bad, mut reached) = (0, 0);
    for (client, answer) in clients.iter().zip(&answers.answers) {
        let found = match &answer.result {
            Ok(output) => {
                reached += 1;
                judge(client.user.as_str(), &crate::secret::clean_bytes(&output.stdout))
            }
            Err(outcome) => {
                let fault = outcome.fault();
                Err((
                    fault.map_or_else(|| outcome.word().to_owned(), |fault| fault.message.clone()),
                    fault.and_then(|fault| fault.hint.clone()).unwrap_or_default(),
                ))
            }
        };
        if app.global.json {
            let (detail, remedy) = match &found {
                Ok(detail) => (detail.clone(), None),
                Err((message, remedy)) => (message.clone(), Some(remedy)),
            };
            app.out(
                &json!({ "schema": "fleet.test-ssh/1", "client": answer.client, "ok": found.is_ok(),
                    "detail": detail, "remedy": remedy, "seconds": answer.seconds })
                .to_string(),
            )?;
        }
        match found {
            Ok(detail) => table.row([
                Cell::new(Role::Strong, &answer.client),
                Cell::new(Role::Good, "ok"),
                format!("{detail}, {:.0} ms", answer.seconds * 1000.0).into(),
            ]),
            Err((message, remedy)) => {
                bad += 1;
                remedies.push_str(&format!("{}: {message}\n  hint: {remedy}\n", answer.client));
                table.row([
                    Cell::new(Role::Strong, &answer.client),
                    Cell::new(Role::Bad, "failed"),
                    Cell::new(Role::Bad, &message),
                ]);
            }
        }
    }
    if !app.global.json {
        app.table(&table)?;
    }
    app.tell(&remedies);
    Ok(match (answers.interrupted, bad, reached) {
        (true, _, _) => ExitKind::Interrupted,
        (false, 0, _) => ExitKind::Ok,
        (false, _, 0) => ExitKind::NoneReachable,
        (false, _, _) => ExitKind::ClientFailed,
    })
}

/// Detail of a host that is fine, or what is wrong and its remedy.
fn judge(user: &str, said: &str) -> Result<String, (String, String)> {
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    if value("sudo") != Some("yes") {
        return Err((
            format!("logged in as {user}, who has no sudo without a password"),
            format!("on the host, as root: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-{user}"),
        ));
    }
    let here = jiff::Timestamp::now().as_second().unsigned_abs();
    let skew =
        value("clock").and_then(|text| text.parse::<u64>().ok()).map_or(0, |there| there.abs_diff(here));
    if skew > CLOCK_SKEW {
        return Err((
            format!("its clock is {skew} s off this machine's"),
            "on the host: sudo timedatectl set-ntp true (and check this machine's clock too)".into(),
        ));
    }
    let os = value("os").unwrap_or("unknown system");
    Ok(format!("{user}, sudo, {os}"))
}
