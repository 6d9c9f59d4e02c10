//! `fleet add`: one more client in clients.toml.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::App;
use super::context::Fleet;
use super::exit::{refused, usage};
use crate::diagnostic::{Diagnostics, Fault, shown};
use crate::event::ExitKind;
use crate::fs_atomic;
use crate::hint::HintExt as _;
use crate::registry::edit::{self, EditError, NewClient};
use crate::registry::values::{Address, Domain, Email, FilePath, Jump, Name, Tag, User};
use crate::registry::{Client, Registry};

/// How long one edit waits for another.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Add a client to clients.toml
///
/// The client's table goes behind the others; comments and order stay as they are. What is not given
/// is left to [defaults]. The whole registry is checked before a byte is written.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet add ville-lyon --domain ville-lyon.example.fr --ip 51.210.42.100
  fleet add --name brest --domain brest.example.fr --host brest.internal --user ubuntu --tags prod,canary
  fleet add nantes --domain nantes.example.fr --ip 51.210.42.101 --dry-run")]
pub struct Args {
    /// Name of the client, such as ville-lyon; the same as --name
    #[arg(value_name = "NAME", value_parser = value(Name::parse))]
    pub positional: Option<Name>,

    #[command(flatten)]
    pub new: NewClientArgs,

    /// Show the lines that would be added and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A client to be added.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "New client")]
pub struct NewClientArgs {
    /// Name of the new client, such as ville-lyon
    #[arg(long, value_name = "NAME", value_parser = value(Name::parse))]
    pub name: Option<Name>,

    /// Domain that it serves, such as ville-lyon.example.fr
    #[arg(long, value_name = "DOMAIN", value_parser = value(Domain::parse))]
    pub domain: Option<Domain>,

    /// Address of its server, such as 51.210.42.100
    #[arg(long, value_name = "IP", value_parser = value(Address::parse_ip))]
    pub ip: Option<Address>,

    /// Name of its server instead of an address, such as vps12.example.net
    #[arg(long, value_name = "HOST", conflicts_with = "ip", value_parser = value(Address::parse_host))]
    pub host: Option<Address>,

    /// Where warnings about its certificate go, such as admin@ville-lyon.fr
    #[arg(long, value_name = "EMAIL", value_parser = value(Email::parse))]
    pub email: Option<Email>,

    /// Login on its server, such as ubuntu
    #[arg(long, value_name = "USER", value_parser = value(User::parse))]
    pub user: Option<User>,

    /// SSH port of its server, such as 2222
    #[arg(long, value_name = "PORT", value_parser = value(port))]
    pub port: Option<u16>,

    /// Host to reach it through, such as admin@bastion.example.fr:22
    #[arg(long, value_name = "HOST", value_parser = value(Jump::parse))]
    pub jump: Option<Jump>,

    /// Tags, such as prod,canary
    #[arg(long, value_name = "TAGS", value_delimiter = ',', value_parser = value(Tag::parse))]
    pub tags: Vec<Tag>,

    /// Another stack than the fleet's, such as assistant-auto or stacks/mine
    #[arg(long, value_name = "STACK", value_parser = value(FilePath::parse))]
    pub stack: Option<FilePath>,
}

/// A parser of the registry as one of clap: the same words for a flag as for the file.
pub fn value<T>(
    parse: fn(&str) -> Result<T, Fault>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    move |text| {
        parse(text).map_err(|fault| match &fault.hint {
            Some(hint) => format!("{fault}\n  hint: {hint}"),
            None => fault.to_string(),
        })
    }
}

fn port(text: &str) -> Result<u16, Fault> {
    let refuse = || Fault::new(format!("{} is no port", shown(text))).expected("a number from 1 to 65535");
    text.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)
}

impl NewClientArgs {
    /// Whether a client is to be added at all.
    #[must_use]
    pub fn given(&self) -> bool {
        self.name.is_some()
    }

    /// Flags that were used although they say nothing without a name.
    #[must_use]
    pub fn without_name(&self) -> Option<&'static str> {
        let used = [
            ("--domain", self.domain.is_some()),
            ("--ip", self.ip.is_some()),
            ("--host", self.host.is_some()),
            ("--email", self.email.is_some()),
            ("--user", self.user.is_some()),
            ("--port", self.port.is_some()),
            ("--jump", self.jump.is_some()),
            ("--tags", !self.tags.is_empty()),
            ("--stack", self.stack.is_some()),
        ];
        if self.given() { None } else { used.into_iter().find(|(_, used)| *used).map(|(flag, _)| flag) }
    }

    fn complete(&self) -> anyhow::Result<NewClient> {
        let address = self.ip.as_ref().or(self.host.as_ref());
        let (Some(name), Some(domain), Some(address)) = (&self.name, &self.domain, address) else {
            let missing = [
                ("a name", self.name.is_none()),
                ("--domain", self.domain.is_none()),
                ("--ip or --host", address.is_none()),
            ];
            let missing: Vec<_> =
                missing.iter().filter(|(_, missing)| *missing).map(|(what, _)| *what).collect();
            return Err(usage(format!("a new client needs {}", missing.join(", ")))
                .hint("such as: fleet add ville-lyon --domain ville-lyon.example.fr --ip 51.210.42.100"));
        };
        Ok(NewClient {
            name: name.clone(),
            domain: domain.clone(),
            address: address.clone(),
            port: self.port,
            user: self.user.clone(),
            jump: self.jump.clone(),
            email: self.email.clone(),
            tags: self.tags.clone(),
            stack: self.stack.clone(),
        })
    }
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let mut new = args.new.clone();
    match (&args.positional, &new.name) {
        (Some(one), Some(other)) if one != other => {
            return Err(
                usage(format!("two names were given, {one} and {other}")).hint("one client at a time")
            );
        }
        (Some(one), _) => new.name = Some(one.clone()),
        (None, _) => {}
    }
    let name = add(app, &new, args.dry_run)?;
    if !args.dry_run && !app.global.json {
        app.tell(&format!("next: fleet test-ssh {name}, then fleet provision {name}\n"));
    }
    Ok(ExitKind::Ok)
}

/// Adds the client and returns its name; with `dry_run` the lines are shown and nothing is written.
///
/// # Errors
/// Incomplete arguments (usage); a registry that is or would be wrong, or has this client (refused).
pub fn add(app: &App, new: &NewClientArgs, dry_run: bool) -> anyhow::Result<String> {
    let new = new.complete()?;
    let (dir, file) = locate(app)?;
    let client = if dry_run {
        let text = read(&file)?;
        let (changed, client) = with_client(&text, &file.display().to_string(), &new)?;
        if !app.global.json {
            app.out(added(&text, &changed).trim())?;
        }
        client
    } else {
        write(app, &dir, &file, &new)?
    };
    if app.global.json {
        app.out(&client.to_json(false).to_string())?;
    }
    Ok(new.name.to_string())
}

/// The fleet with the client in it, for a command that goes on with it; with `dry_run` nothing is
/// written. A client that is there already just as described is no error: the same command goes on
/// after it was cut.
///
/// # Errors
/// As [`add`]; a client of this name that is described otherwise.
pub fn with(app: &App, args: &NewClientArgs, dry_run: bool) -> anyhow::Result<(String, Fleet)> {
    let new = args.complete()?;
    let (dir, file) = locate(app)?;
    let text = read(&file)?;
    let name = new.name.to_string();
    let fleet = Fleet::of(&app.global, dir.clone(), file.clone(), text.clone())?;
    if let Some(client) = fleet.registry.client(&name) {
        return match new.differs(client) {
            None => Ok((name, fleet)),
            Some(flag) => Err(refused(format!("there is a client {name} already, with another {flag}"))
                .hint(format!("leave out --name and say `fleet provision {name}`, or change clients.toml"))),
        };
    }
    if dry_run {
        let (changed, _) = with_client(&text, &file.display().to_string(), &new)?;
        return Ok((name, Fleet::of(&app.global, dir, file, changed)?));
    }
    write(app, &dir, &file, &new)?;
    Ok((name, Fleet::open(&app.global)?))
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn write(app: &App, dir: &Path, file: &Path, new: &NewClient) -> anyhow::Result<Client> {
    let shown = file.display().to_string();
    let mut made = None;
    fs_atomic::edit(file, &lock(dir), LOCK_TIMEOUT, |text| {
        let (changed, client) = with_client(text, &shown, new)?;
        made = Some(client);
        anyhow::Ok(changed)
    })?;
    app.tell(&format!("added {} to {shown}\n", new.name));
    made.context("the registry was not edited")
}

impl NewClient {
    /// What a client of this name has otherwise than described, where it is described.
    fn differs(&self, client: &Client) -> Option<&'static str> {
        let tags: Vec<&Tag> = client.tags.iter().collect();
        let described = |tag: &Tag| tags.contains(&tag);
        let other = [
            ("domain", self.domain != client.domain),
            ("address", self.address != client.address),
            ("port", self.port.is_some_and(|port| port != client.port)),
            ("user", self.user.as_ref().is_some_and(|user| *user != client.user)),
            ("jump", self.jump.is_some() && self.jump != client.jump),
            ("email", self.email.is_some() && self.email != client.email),
            ("tags", !self.tags.iter().all(described)),
            ("stack", self.stack.is_some() && self.stack != client.stack),
        ];
        other.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
    }
}

/// Where the registry is, for those who edit it.
///
/// # Errors
/// No registry.
pub fn locate(app: &App) -> anyhow::Result<(PathBuf, PathBuf)> {
    app.global.locate().hint("run `fleet init` to make a fleet directory, or name one with -C DIR")
}

/// The lock of all who edit the registry.
#[must_use]
pub fn lock(dir: &Path) -> PathBuf {
    dir.join(".fleet/locks/registry.lock")
}

/// The registry's text with one more client, checked as a whole, and the client as it reads there.
fn with_client(text: &str, file: &str, new: &NewClient) -> anyhow::Result<(String, Client)> {
    // What was wrong before is told as it is; what is wrong after is the new client's.
    let before = Registry::parse(text, file)?;
    let changed = edit::add_client(text, new).map_err(|error| match error {
        EditError::Exists(name) => refused(format!("there is a client {name} already"))
            .hint(format!("`fleet show {name}` shows it; give the new one another name")),
        other => refused(format!("{file}: {other}")),
    })?;
    let after = Registry::parse(&changed, file).map_err(|found| unfit(found, new))?;
    // Whatever an edit does, it must add this client and touch no other.
    let others = after.clients.iter().filter(|client| client.name != new.name);
    let client = after.client(&new.name).cloned().filter(|_| others.eq(before.clients.iter()));
    let client =
        client.context("the edited registry does not read back as it should; nothing was written")?;
    Ok((changed, client))
}

/// Findings in the new client's table, told by the flags that they came from.
fn unfit(found: Diagnostics, new: &NewClient) -> anyhow::Error {
    let table = format!("clients.{}", new.name);
    let mut said: Vec<String> = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for one in &found.0 {
        let Some(key) = one.key.strip_prefix(&table) else { return anyhow::Error::new(found) };
        let flag = match key.trim_start_matches('.').split(['.', '[']).next().unwrap_or_default() {
            "" => "the new client".to_owned(),
            key => format!("--{key}"),
        };
        said.push(format!("{flag}: {}", one.fault));
        hints.extend(one.fault.hint.clone());
    }
    hints.dedup();
    hints.into_iter().fold(refused(said.join("\n")), |error, hint| error.hint(hint))
}

/// The lines that only the new text has.
fn added(before: &str, after: &str) -> String {
    let start = before.lines().zip(after.lines()).take_while(|(old, new)| old == new).count();
    let new: Vec<_> = after.lines().collect();
    let more = new.len().saturating_sub(before.lines().count());
    new.iter().skip(start).take(more).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[fleet]\nname = \"f\"\nstack = \"geoclic\"\n\n[clients.a]\ndomain = \"a.example.fr\"\nip = \
                       \"192.0.2.1\"\n";

    fn new(name: &str, domain: &str, ip: &str) -> NewClient {
        let args = NewClientArgs {
            name: Some(Name::parse(name).unwrap()),
            domain: Some(Domain::parse(domain).unwrap()),
            ip: Some(Address::parse_ip(ip).unwrap()),
            ..NewClientArgs::default()
        };
        args.complete().unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_by_its_flag() {
        let refuse = |new: &NewClient| with_client(ONE, "clients.toml", new).unwrap_err().to_string();
        insta::assert_snapshot!(refuse(&new("b", "a.example.fr", "192.0.2.1")), @"
            --domain: the domain a.example.fr is already that of a, line 6
            --ip: the address 192.0.2.1 port 22 is already that of a, line 7
            ");
        insta::assert_snapshot!(refuse(&new("a", "b.example.fr", "192.0.2.2")), @"there is a client a already");
    }

    #[test]
    fn the_lines_shown_are_the_lines_added() {
        let (text, client) =
            with_client(ONE, "clients.toml", &new("b", "b.example.fr", "192.0.2.2")).unwrap();
        insta::assert_snapshot!(added(ONE, &text), @r#"
        [clients.b]
        domain = "b.example.fr"
        ip = "192.0.2.2"
        "#);
        assert_eq!(client.name, "b");
    }
}
