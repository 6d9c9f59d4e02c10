//! Reads a client's table and lays it over `[defaults]`.
//!
//! A [`Draft`] is a table as it was written, every key optional. `[defaults]` is a draft, each
//! client is a draft, and [`Draft::over`] lays one over the other key by key. Only then is asked
//! what must be there: so a wrong default is told once, where it stands.

use toml::de::DeValue;

use super::client::{Backup, Checks, Client, Keep};
use super::sentry::{SentryDraft, SentryProject};
use super::settings::{TRANSPORTS, Transport};
use super::values::{
    Address, CronLine, Domain, Email, FilePath, HostFolder, Jump, Name, Ours, Swap, Tag, UpdateWindow, User,
    variable,
};
use crate::diagnostic::Fault;
use crate::toml_reader::{
    Place, Placed, Table, Value, boolean, entries, integer, list, one_of, parsed, placed, secret, table,
};

/// The keys of a client, for hints where one of them stands elsewhere.
pub(super) const KEYS: &[&str] = &[
    "domain",
    "aliases",
    "ip",
    "host",
    "port",
    "user",
    "jump",
    "email",
    "tags",
    "sentry",
    "backup",
    "env",
    "checks",
    "update_window",
    "swap",
    "disabled",
];

/// A client's table, or `[defaults]`, as it was written.
#[derive(Default)]
pub(super) struct Draft<'d> {
    domain: Key<'d, Domain>,
    aliases: Key<'d, Vec<Placed<'d, Domain>>>,
    address: Key<'d, Address>,
    port: Option<u16>,
    user: Option<User>,
    /// `jump = "none"` takes an inherited one away.
    jump: Option<Option<Jump>>,
    email: Option<Email>,
    tags: Option<Vec<Tag>>,
    stack: Option<FilePath>,
    sentry: SentryDraft,
    backup: BackupDraft<'d>,
    env: Vec<(String, String)>,
    checks: Checks,
    update_window: Option<UpdateWindow>,
    swap: Option<Swap>,
    transport: Option<Transport>,
    disabled: Option<bool>,
}

/// A key that is needed in the end, or that no two clients may share.
struct Key<'d, T> {
    value: Option<Placed<'d, T>>,
    /// Written, though perhaps wrong: then it is not missing.
    written: bool,
}

impl<T> Default for Key<'_, T> {
    fn default() -> Self {
        Key { value: None, written: false }
    }
}

#[derive(Clone, Default)]
struct BackupDraft<'d> {
    schedule: Option<CronLine>,
    keep: Option<Placed<'d, Keep>>,
    folders: Option<Vec<HostFolder>>,
    before_migrations: Option<bool>,
}

/// A finished client.
pub(super) struct Read<'d> {
    pub client: Client,
    pub places: Places<'d>,
}

/// Where that stands which no other client may share.
pub(super) struct Places<'d> {
    pub domain: Place<'d>,
    pub aliases: Vec<Place<'d>>,
    pub address: Place<'d>,
}

impl<'d> Draft<'d> {
    /// `projects` are those that `sentry` may name.
    pub(super) fn read(client: &mut Table<'d>, projects: &[SentryProject]) -> Self {
        client.elsewhere(super::settings::KEYS, "[fleet]");
        Draft {
            domain: Key::read(client, "domain", parsed(Domain::parse)),
            aliases: Key::read(client, "aliases", list(placed(parsed(Domain::parse)))),
            address: Key::address(client),
            port: client.optional("port", integer(1..=u16::MAX)),
            user: client.optional("user", parsed(User::parse)),
            jump: client.optional("jump", parsed(unless("none", Jump::parse))),
            email: client.optional("email", parsed(Email::parse)),
            tags: client.optional("tags", list(parsed(Tag::parse))),
            stack: client.optional("stack", parsed(FilePath::parse)),
            sentry: client
                .optional("sentry", table(|sentry| SentryDraft::read(sentry, projects)))
                .unwrap_or_default(),
            backup: client.optional("backup", table(BackupDraft::read)).unwrap_or_default(),
            env: client.optional("env", entries(variable, secret(variable_value))).unwrap_or_default(),
            checks: client.optional("checks", table(Checks::read)).unwrap_or_default(),
            update_window: client.optional("update_window", parsed(UpdateWindow::parse)),
            swap: client.optional("swap", parsed(Swap::parse)),
            transport: client.optional("transport", one_of(TRANSPORTS)),
            disabled: client.optional("disabled", boolean),
        }
    }

    /// Lays this draft over the defaults: what is written here wins, tables merge key by key.
    fn over(self, base: &Draft<'d>, here: &Place<'d>) -> Self {
        let mut env = base.env.clone();
        env.extend(self.env);
        Draft {
            domain: self.domain.over(&base.domain, here),
            aliases: self.aliases.over(&base.aliases, here),
            address: self.address.over(&base.address, here),
            port: self.port.or(base.port),
            user: or(self.user, &base.user),
            jump: or(self.jump, &base.jump),
            email: or(self.email, &base.email),
            tags: or(self.tags, &base.tags),
            stack: or(self.stack, &base.stack),
            sentry: self.sentry.over(&base.sentry),
            backup: self.backup.over(&base.backup),
            env,
            checks: self.checks.over(&base.checks),
            update_window: or(self.update_window, &base.update_window),
            swap: self.swap.or(base.swap),
            transport: self.transport.or(base.transport),
            disabled: self.disabled.or(base.disabled),
        }
    }

    /// The client that a table describes.
    pub(super) fn finish(
        self,
        name: Name,
        base: &Draft<'d>,
        table: &Table<'d>,
        transport: Transport,
    ) -> Option<Read<'d>> {
        let draft = self.over(base, table.place());
        if !draft.domain.written {
            table.missing::<()>(
                "domain",
                Fault::new("is missing").expected("a domain name such as ville-lyon.example.fr"),
            );
        }
        if !draft.address.written {
            table.missing::<()>(
                "ip",
                Fault::new("is missing").expected("the server's address as `ip`, or its name as `host`"),
            );
        }
        let domain = draft.domain.value?;
        let address = draft.address.value?;
        let (aliases, alias_places) = draft.aliases.value.map(split).unwrap_or_default();
        let client = Client {
            domain: domain.value,
            aliases,
            address: address.value,
            port: draft.port.unwrap_or(22),
            user: draft.user.unwrap_or_else(|| User::from(Ours("root"))),
            jump: draft.jump.flatten(),
            email: draft.email,
            tags: draft.tags.unwrap_or_default().into_iter().collect(),
            stack: draft.stack,
            sentry: draft.sentry.finish(&name),
            backup: draft.backup.finish(),
            env: draft.env.into_iter().collect(),
            checks: draft.checks,
            update_window: draft.update_window,
            swap: draft.swap.unwrap_or_default(),
            transport: draft.transport.unwrap_or(transport),
            disabled: draft.disabled.unwrap_or(false),
            name,
        };
        let places = Places { domain: domain.place, aliases: alias_places, address: address.place };
        Some(Read { client, places })
    }
}

impl<'d, T> Key<'d, T> {
    fn read(table: &mut Table<'d>, key: &'static str, kind: impl Fn(Value<'d>) -> Option<T>) -> Self {
        let value = table.take(key);
        Key { written: value.is_some(), value: value.and_then(placed(kind)) }
    }
}

impl<'d, T: Clone> Key<'d, T> {
    /// An inherited value stands, for whoever complains about it, where the client is named.
    fn over(self, base: &Self, here: &Place<'d>) -> Self {
        if self.written {
            return self;
        }
        let inherit =
            |inherited: &Placed<'d, T>| Placed { value: inherited.value.clone(), place: here.clone() };
        Key { value: base.value.as_ref().map(inherit), written: base.written }
    }
}

impl<'d> Key<'d, Address> {
    /// `ip` or `host`, never both.
    fn address(table: &mut Table<'d>) -> Self {
        let ip = Key::read(table, "ip", parsed(Address::parse_ip));
        match table.take("host") {
            Some(host) if ip.written => {
                let fault = Fault::new("`ip` is written too").expected("either `ip` or `host`");
                host.label().fault::<()>(fault.hint("leave one of the two out"));
                ip
            }
            Some(host) => Key { written: true, value: placed(parsed(Address::parse_host))(host) },
            None => ip,
        }
    }
}

impl<'d> BackupDraft<'d> {
    fn read(backup: &mut Table<'d>) -> Option<Self> {
        Some(BackupDraft {
            schedule: backup.optional("schedule", parsed(CronLine::parse)),
            keep: backup.optional("keep", placed(table(Keep::read))),
            folders: backup.optional("folders", list(parsed(HostFolder::parse))),
            before_migrations: backup.optional("before_migrations", boolean),
        })
    }

    fn over(self, base: &Self) -> Self {
        let keep = match (self.keep, &base.keep) {
            (Some(own), Some(base)) => Some(Placed { value: own.value.over(base.value), place: own.place }),
            (own, base) => or(own, base),
        };
        BackupDraft {
            schedule: or(self.schedule, &base.schedule),
            keep,
            folders: or(self.folders, &base.folders),
            before_migrations: self.before_migrations.or(base.before_migrations),
        }
    }

    /// Without a word on keeping, the usual is kept; nothing but zeros is refused.
    fn finish(self) -> Backup {
        let keep = match self.keep {
            Some(Placed { value, .. }) if value == Keep::default() => Keep::USUAL,
            Some(Placed { value, place }) => {
                if !value.keeps_something() {
                    let fault = Fault::new("keeps no backup at all");
                    place.fault::<()>(fault.expected("a count above 0, such as daily = 7"));
                }
                Keep { last: value.last.or(Keep::USUAL.last), ..value }
            }
            None => Keep::USUAL,
        };
        let schedule = self.schedule.unwrap_or_else(|| CronLine::from(Ours("0 2 * * *")));
        let folders = self.folders.unwrap_or_default();
        Backup { schedule, keep, folders, before_migrations: self.before_migrations }
    }
}

impl Keep {
    fn read(keep: &mut Table<'_>) -> Option<Self> {
        let mut count = |kind| keep.optional(kind, integer(0..=9999_u32));
        Some(Keep {
            last: count("last"),
            hourly: count("hourly"),
            daily: count("daily"),
            weekly: count("weekly"),
            monthly: count("monthly"),
            yearly: count("yearly"),
        })
    }

    fn over(self, base: Keep) -> Keep {
        Keep {
            last: self.last.or(base.last),
            hourly: self.hourly.or(base.hourly),
            daily: self.daily.or(base.daily),
            weekly: self.weekly.or(base.weekly),
            monthly: self.monthly.or(base.monthly),
            yearly: self.yearly.or(base.yearly),
        }
    }

    fn keeps_something(self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        counts.iter().any(|count| count.is_some_and(|count| count > 0))
    }
}

fn or<T: Clone>(own: Option<T>, inherited: &Option<T>) -> Option<T> {
    own.or_else(|| inherited.clone())
}

/// A text that may also be the word which says that there is none.
pub(super) fn unless<T>(
    word: &'static str,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> impl Fn(&str) -> Result<Option<T>, Fault> {
    move |text| if text == word { Ok(None) } else { parse(text).map(Some) }
}

fn split<'d, T>(placed: Placed<'d, Vec<Placed<'d, T>>>) -> (Vec<T>, Vec<Place<'d>>) {
    placed.value.into_iter().map(|one| (one.value, one.place)).unzip()
}

/// The value of an environment variable: text of one line, or a number or boolean as its text. It
/// may be a secret, so no message quotes it.
fn variable_value(value: Value<'_>) -> Option<String> {
    match value.item() {
        DeValue::String(text) => match text.chars().find(|c| c.is_control()) {
            None => Some(text.clone().into_owned()),
            Some('\n' | '\r') => value.fault(
                Fault::new("holds a line end").expected("one line").hint("encode it, for example as base64"),
            ),
            Some(_) => {
                value.fault(Fault::new("holds a control character").expected("visible characters only"))
            }
        },
        DeValue::Boolean(answer) => Some(answer.to_string()),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Some(n.to_string()),
            Err(_) => value.fault(Fault::new("is out of range").expected("an integer of 64 bits")),
        },
        DeValue::Float(n) if n.as_str().parse::<f64>().is_ok_and(f64::is_finite) => {
            Some(n.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Float(_) => {
            value.fault(Fault::new("is no number to count with").expected("a finite number"))
        }
        _ => value.wrong_type("a string, a number or a boolean"),
    }
}
