//! `fleet ssh-key rotate`: another key for the whole fleet, so that no server is ever without one that works.
//!
//! Rule of this file: the new key is beside the old one everywhere, and was logged in with everywhere, before
//! it takes its place here; only then the old one goes. What a cut leaves is told by the files: with
//! `KEY.next` the new key is on its way in, with `KEY.old` the old one is on its way out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::super::App;
use super::super::ask::Yes;
use super::super::context::Fleet;
use super::super::exit::refused;
use super::super::global::Limits;
use super::super::looking;
use crate::engine::Answer;
use crate::event::ExitKind;
use crate::fs_atomic::{self, FileLock};
use crate::hint::HintExt as _;
use crate::keys;
use crate::ops::login::{Key, let_in, let_out};
use crate::registry::Client;
use crate::shell::Cmd;
use crate::ssh::{Output, Target};

/// How long one rotation waits for another.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet ssh-key rotate --dry-run
  fleet ssh-key rotate")]
pub struct Args {
    #[command(flatten)]
    pub yes: Yes,

    /// Say what would be done and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub limits: Limits,
}

/// The three places of a key that is exchanged.
struct Files {
    key: PathBuf,
    next: PathBuf,
    old: PathBuf,
}

impl Files {
    fn of(key: PathBuf) -> Files {
        Files { next: keys::beside(&key, ".next"), old: keys::beside(&key, ".old"), key }
    }

    /// Both halves of the key at one place to another, the private one last: it alone says where a key is.
    fn give_way(from: &Path, to: &Path) -> anyhow::Result<()> {
        if keys::public_path(from).exists() {
            fs_atomic::move_new(&keys::public_path(from), &keys::public_path(to))?;
        }
        Ok(fs_atomic::move_new(from, to)?)
    }

    /// The new key takes its place; also the rest of that where it was cut.
    fn exchange(&self) -> anyhow::Result<()> {
        if self.key.exists() {
            Files::give_way(&self.key, &self.old)?;
        }
        Files::give_way(&self.next, &self.key)
    }
}

pub fn run(app: &App, fleet: &Fleet, args: &Args) -> anyhow::Result<ExitKind> {
    let files = Files::of(fleet.ssh_key());
    let _alone = FileLock::acquire(&fleet.state_dir().join("locks/ssh-key.lock"), PATIENCE)?;
    let clients: Vec<&Client> = fleet.registry.clients.iter().collect();
    if clients.is_empty() {
        return Err(refused("no client is there to let a new key in")
            .hint("move the key away and make another: `fleet ssh-key generate`"));
    }
    // Half of it was exchanged when it was cut; every server knows the new key by then.
    if !args.dry_run && files.old.exists() && files.next.exists() {
        files.exchange()?;
    }
    if !files.old.exists() {
        keys::check_permissions(&files.key)?;
        let begun = files.next.exists();
        let what = format!(
            "{} {}: let it in on {}, log in with it, then let {} in no longer",
            if begun { "go on with the new key" } else { "make a new key" },
            files.next.display(),
            if let [one] = clients.as_slice() {
                one.name.to_string()
            } else {
                format!("{} servers", clients.len())
            },
            keys::show(&files.key)?.fingerprint
        );
        if args.dry_run {
            app.tell(&format!("would {what}\n"));
            return Ok(ExitKind::Ok);
        }
        let question = format!("{what}? Copies of the old key elsewhere stop working.");
        args.yes.sure(app, "ssh-key rotate exchanges the key of every server", &question)?;
        if !begun {
            keys::generate(&files.next, &fleet.registry.fleet.name, &mut rand::rng())?;
        }
        let (old, new) = (keys::show(&files.key)?, keys::show(&files.next)?);
        let (old, new) = (body(&old.line)?, body(&new.line)?);
        let mut done = Told::ask(app, fleet, &clients, args, &fleet.ssh_key(), &let_in(old, new))?;
        if done.exit == ExitKind::Ok {
            let look = Cmd::new(["true"]).timeout(Duration::from_secs(20));
            done = Told::ask(app, fleet, &clients, args, &files.next, &look)?;
        }
        if done.exit != ExitKind::Ok {
            done.tell(app, "new-key-not-in")?;
            app.tell("the old key works on every server as before; run `fleet ssh-key rotate` again when this is mended, or take who is gone out of clients.toml\n");
            return Ok(done.exit);
        }
        files.exchange()?;
        app.tell(&format!("{} is the new key, and every server lets it in\n", files.key.display()));
    } else if args.dry_run {
        app.tell("would let the old key in no longer, which an earlier rotation left\n");
        return Ok(ExitKind::Ok);
    }
    let (old, new) = (keys::show(&files.old)?, keys::show(&files.key)?);
    let out = let_out(body(&old.line)?, body(&new.line)?);
    let done = Told::ask(app, fleet, &clients, args, &files.key, &out)?;
    done.tell(app, "old-key-still-in")?;
    if done.exit != ExitKind::Ok {
        app.tell("the new key works on every server; run `fleet ssh-key rotate` again to let the old one in nowhere\n");
        return Ok(done.exit);
    }
    fs_atomic::remove(&keys::public_path(&files.old))?;
    fs_atomic::remove(&files.old)?;
    if !app.global.json {
        app.out(&new.line)?;
        app.tell(&format!("{}; the old key is in on no server any more\n", new.fingerprint));
    }
    Ok(ExitKind::Ok)
}

fn body(line: &str) -> anyhow::Result<Key<'_>> {
    Key::of(line).ok_or_else(|| refused("the key has no public half that could be let in"))
}

/// What is wrong with a client, and what to do about it.
type Trouble = (String, Option<String>);

/// What every server said to one thing.
struct Told {
    list: Vec<(String, Option<Trouble>)>,
    exit: ExitKind,
}

impl Told {
    fn ask(
        app: &App,
        fleet: &Fleet,
        clients: &[&Client],
        args: &Args,
        key: &Path,
        cmd: &Cmd,
    ) -> anyhow::Result<Told> {
        let target = |client: &&Client| Target { key: key.to_owned(), agent: None, ..fleet.target(client) };
        let questions = clients.iter().map(|client| (target(client), cmd.clone())).collect();
        let answers = app.ask(fleet, "ssh-key", questions, &args.limits)?;
        let wrong = |output: &Output| {
            let said = crate::secret::clean_bytes(&output.stderr);
            said.lines().last().unwrap_or("authorized_keys cannot be changed").to_owned()
        };
        let trouble = |answer: &Answer| match &answer.result {
            Ok(output) => (!output.exit.success()).then(|| (wrong(output), None)),
            Err(outcome) => Some(looking::trouble(outcome)),
        };
        let list: Vec<_> =
            answers.answers.iter().map(|answer| (answer.client.clone(), trouble(answer))).collect();
        let exit = answers.exit(list.iter().any(|(_, trouble)| trouble.is_some()));
        Ok(Told { list, exit })
    }

    /// `state` is the word for where it is not done.
    fn tell(&self, app: &App, state: &str) -> anyhow::Result<()> {
        for (client, fault) in &self.list {
            if app.global.json {
                let state = if fault.is_some() { state } else { "ok" };
                let (message, hint) = fault.clone().unzip();
                app.out(
                    &json!({ "schema": "fleet.ssh-key-rotate/1", "client": client, "state": state,
                        "message": message, "hint": hint.flatten() })
                    .to_string(),
                )?;
            } else if let Some((message, hint)) = fault {
                let hint = hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                app.tell(&format!("{client}: {message}{hint}\n"));
            }
        }
        Ok(())
    }
}
