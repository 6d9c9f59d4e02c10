//! `fleet logs`: what the services of clients said.

use std::io::Write as _;

use super::App;
use super::context::Fleet;
use super::global::Limits;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::ops::compose;

/// Show the last log lines of a client's services
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet logs ville-lyon
  fleet logs ville-lyon --service api --tail 500
  fleet logs --tag canary --service api --since 1h")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// Only this service, such as api; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,

    /// Lines of each service
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tail: u32,

    /// Not older than this, such as 90s, 15m or 2h
    #[arg(long, value_name = "TIME", value_parser = super::global::parse_duration)]
    pub since: Option<std::time::Duration>,

    /// Start each line with the time it was written
    #[arg(long)]
    pub timestamps: bool,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let mut questions = Vec::new();
    for client in &clients {
        let stack = fleet.stack(client)?;
        for name in &args.service {
            fleet.stack_with(client, name)?;
        }
        let cmd = compose::logs(&stack.name, &args.service, args.tail, args.since, args.timestamps);
        questions.push((fleet.target(client), cmd));
    }
    let answers = app.ask(&fleet, "logs", questions, &args.limits)?;
    let width = clients.iter().map(|client| client.name.as_str().len()).max().unwrap_or(0);
    let (mut failed, mut reached) = (0, 0);
    for answer in answers.answers {
        match answer.result {
            Ok(output) => {
                reached += 1;
                let text = crate::secret::clean_bytes(&output.stdout);
                for line in text.lines() {
                    show(app, &answer.client, line, clients.len() > 1, width)?;
                }
                if !output.exit.success() {
                    failed += 1;
                    app.tell(&format!(
                        "{}: {}\n",
                        answer.client,
                        crate::secret::clean_bytes(&output.stderr).trim()
                    ));
                }
            }
            Err(outcome) => {
                failed += 1;
                if let Some(fault) = outcome.fault() {
                    app.tell(&format!("{}: {}\n", answer.client, fault.message));
                    if let Some(hint) = &fault.hint {
                        app.tell(&format!("  hint: {hint}\n"));
                    }
                }
            }
        }
    }
    Ok(match (answers.interrupted, failed, reached) {
        (true, _, _) => ExitKind::Interrupted,
        (false, 0, _) => ExitKind::Ok,
        (false, _, 0) => ExitKind::NoneReachable,
        (false, _, _) => ExitKind::ClientFailed,
    })
}

fn show(app: &App, client: &str, line: &str, many: bool, width: usize) -> anyhow::Result<()> {
    let (service, text) = line.split_once('\t').unwrap_or(("", line));
    if app.global.json {
        return app.out(
            &serde_json::json!({ "schema": "fleet.log/1", "client": client, "service": service, "line": text })
                .to_string(),
        );
    }
    let mut out = crate::ui::Out::stdout();
    if many {
        write!(out, "{client:width$} ")?;
    }
    writeln!(out, "{service:10} | {text}")?;
    Ok(())
}
