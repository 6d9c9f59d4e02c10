//! `fleet notify`: where messages go, and whether they arrive.

use serde_json::json;

use super::App;
use super::context::Fleet;
use super::exit::refused;
use crate::diagnostic::{nearest, shown};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::notify::{Delivery, Entry, Level, Message, Notifier};
use crate::registry::{Channel, ChannelKind, Topic};
use crate::ui::{Cell, Column, Role, Table};

/// List the channels that messages go to, and test them
///
/// Channels are the tables [notify.NAME] of clients.toml; `fleet check`, `update` and `backup` tell
/// them what went wrong. Their addresses and passwords are secrets of the fleet.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet notify list
  fleet secrets set --fleet SLACK_URL
  fleet notify test
  fleet notify test team")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    List(ListArgs),
    Test(TestArgs),
}

/// List the channels: kind, what each wants to hear of, whether its secrets are set
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet notify list
  fleet notify list --json")]
pub struct ListArgs {}

/// Send a message to every channel, or to one, and say what came of it
///
/// Quiet hours and the list of topics do not count here. The exit code is 0 when all went out and
/// 1 when one did not.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet notify test
  fleet notify test team")]
pub struct TestArgs {
    /// Only this channel, such as team
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    match &args.command {
        Command::List(_) => list(app, &fleet),
        Command::Test(args) => test(app, &fleet, args.name.as_deref()),
    }
}

fn list(app: &App, fleet: &Fleet) -> anyhow::Result<ExitKind> {
    let (_, lacking) = fleet.channels(|_| true);
    let mut table = Table::new([
        Column::new("channel").at_least(8),
        Column::new("kind"),
        Column::new("to").at_least(8),
        Column::new("on").droppable(2),
        Column::new("quiet").droppable(1),
        Column::new("state").at_least(8),
    ]);
    for channel in &fleet.registry.notify {
        let why = lacking.iter().find(|(name, _)| *name == *channel.name).map(|(_, why)| why);
        if app.global.json {
            let mut record = channel.to_json();
            record["usable"] = json!(why.is_none());
            record["problem"] = json!(why.map(ToString::to_string));
            record["hint"] = json!(why.map(|why| why.hint()));
            app.out(&record.to_string())?;
            continue;
        }
        let topics: Vec<&str> = channel.topics.iter().map(|topic| topic.word()).collect();
        table.row([
            Cell::new(Role::Strong, &channel.name),
            channel.kind.word().into(),
            to(channel).into(),
            topics.join(", ").into(),
            channel.quiet.as_ref().map_or(String::new(), ToString::to_string).into(),
            match why {
                None => Cell::new(Role::Good, "ready"),
                Some(why) => Cell::new(Role::Bad, &why.to_string()),
            },
        ]);
    }
    if !app.global.json {
        app.table(&table)?;
        if fleet.registry.notify.is_empty() {
            app.tell("no channel; docs/monitoring.md says how to write a [notify.NAME]\n");
        }
        for (name, why) in &lacking {
            app.tell(&format!("{name}: {why}\n  hint: {}\n", why.hint()));
        }
    }
    Ok(ExitKind::Ok)
}

/// Where a channel leads, as far as that is no secret.
fn to(channel: &Channel) -> String {
    match &channel.kind {
        ChannelKind::Email(mail) => mail.to.iter().map(|to| to.as_str()).collect::<Vec<_>>().join(", "),
        ChannelKind::Command { command } => command.first().cloned().unwrap_or_default(),
        ChannelKind::Slack { url } | ChannelKind::Ping { url } | ChannelKind::Webhook { url, .. } => {
            url.name().to_owned()
        }
    }
}

fn test(app: &App, fleet: &Fleet, name: Option<&str>) -> anyhow::Result<ExitKind> {
    let known = || fleet.registry.notify.iter().map(|channel| channel.name.as_str());
    if fleet.registry.notify.is_empty() {
        return Err(refused("clients.toml has no channel")
            .hint("write a table [notify.NAME]; docs/monitoring.md has examples"));
    }
    if let Some(name) = name.filter(|name| known().all(|known| known != *name)) {
        let error = refused(format!("there is no channel {}", shown(name)));
        return Err(match nearest(name, known()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
        });
    }
    let (opened, lacking) = fleet.channels(|channel| name.is_none_or(|name| channel.name == *name));
    let notifier = Notifier::new(opened, &fleet.state_dir(), jiff::Timestamp::now);
    let message = Message {
        fleet: fleet.registry.fleet.name.to_string(),
        topic: Topic::Check,
        title: "test message".to_owned(),
        entries: vec![Entry {
            level: Level::Info,
            client: None,
            text: format!("sent by {} with `fleet notify test`", crate::fs_atomic::operator()),
        }],
        at: jiff::Timestamp::now(),
    };
    let mut done = notifier.test(name, &message);
    let hints: Vec<(String, String)> = lacking.iter().map(|(name, why)| (name.clone(), why.hint())).collect();
    done.extend(lacking.into_iter().map(|(channel, why)| Delivery {
        channel,
        result: Err(why.to_string()),
        seconds: 0.0,
        messages: 1,
    }));
    let mut table = Table::new([
        Column::new("channel").at_least(8),
        Column::new("result").at_least(6),
        Column::new("detail").at_least(10),
    ]);
    for delivery in &done {
        let error = delivery.result.as_ref().err();
        if app.global.json {
            app.out(
                &json!({ "schema": "fleet.notify-test/1", "channel": delivery.channel, "ok": error.is_none(),
                    "error": error, "seconds": delivery.seconds })
                .to_string(),
            )?;
        }
        table.row([
            Cell::new(Role::Strong, &delivery.channel),
            match error {
                None => Cell::new(Role::Good, "sent"),
                Some(_) => Cell::new(Role::Bad, "failed"),
            },
            match error {
                None => format!("{:.0} ms", delivery.seconds * 1000.0).into(),
                Some(error) => Cell::new(Role::Bad, error),
            },
        ]);
    }
    if !app.global.json {
        app.table(&table)?;
    }
    for (name, hint) in hints {
        app.tell(&format!("{name}\n  hint: {hint}\n"));
    }
    let failed = done.iter().any(|delivery| delivery.result.is_err());
    Ok(if failed { ExitKind::ClientFailed } else { ExitKind::Ok })
}
