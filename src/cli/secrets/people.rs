//! `secrets recipients` and `secrets rekey`: who can read what.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::super::App;
use super::super::context::Fleet;
use super::super::exit::{refused, usage};
use crate::event::ExitKind;
use crate::hint::HintExt as _;
use crate::ui::{Cell, Column, Role, Table};
use crate::vault::{FLEET, Reader, Recipient, Vault};

/// Encrypt every client's secrets to the present recipients
///
/// Needed after a change of recipients. If one file cannot be read, none is touched.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets rekey")]
pub struct RekeyArgs {}

/// Show who can read the secrets, or change who shall
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet secrets recipients
  fleet secrets recipients add age1... --comment 'Bob, desk'
  fleet secrets recipients add \"$(cat ~/.ssh/id_ed25519.pub)\"
  fleet secrets recipients remove 'Bob, desk'")]
pub struct RecipientsArgs {
    #[command(subcommand)]
    command: Option<Change>,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    /// Let someone read: a public key, age1... or ssh-ed25519 AAAA...
    Add {
        /// The public key, such as the whole line of a .pub file
        #[arg(value_name = "KEY", required = true)]
        key: Vec<String>,

        /// Whose key it is, such as 'Bob, desk'
        #[arg(long, value_name = "WHO")]
        comment: Option<String>,
    },
    /// Let someone read no longer: their key, or the name in its comment
    Remove {
        /// The public key, or its comment, such as 'Bob, desk'
        #[arg(value_name = "KEY", required = true)]
        key: Vec<String>,
    },
}

pub fn rekey(app: &App, _args: &RekeyArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let done = fleet.vault()?.rekey(Timestamp::now())?;
    if app.global.json {
        let readers = |list: &[Reader]| -> Vec<_> {
            list.iter().map(|one| json!({ "key": one.key, "comment": one.comment })).collect()
        };
        app.out(
            &json!({ "schema": "fleet.rekey/1", "clients": done.clients, "gained": readers(&done.gained),
                "lost": readers(&done.lost), "known_to_lost": done.known_to_lost, "skipped": done.skipped })
            .to_string(),
        )?;
    }
    let own = done.clients.iter().filter(|name| *name == FLEET).count();
    let more = if own > 0 { " and the fleet's own secrets" } else { "" };
    let mut said = format!("{}{more} re-encrypted\n", counted(done.clients.len() - own, "client"));
    for (word, list) in
        [("can read now", &done.gained), ("can no longer read what is written from now on", &done.lost)]
    {
        for reader in list {
            said.push_str(&format!("  {word}: {}\n", label(reader)));
        }
    }
    for path in &done.skipped {
        said.push_str(&format!("  left as it is, since it cannot be read: {}\n", path.display()));
    }
    if !done.known_to_lost.is_empty() {
        said.push_str(
            "an old copy of a file stays readable to them, so these are to be rotated or set anew:\n",
        );
        for (client, names) in &done.known_to_lost {
            if client == FLEET {
                names.iter().for_each(|name| said.push_str(&format!("  fleet secrets set --fleet {name}\n")));
                continue;
            }
            said.push_str(&format!("  fleet secrets rotate {client} {}\n", names.join(" ")));
        }
    }
    app.tell(&said);
    Ok(ExitKind::Ok)
}

pub fn recipients(app: &App, args: &RecipientsArgs) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let vault = fleet.vault()?;
    match &args.command {
        None => show(app, &vault),
        Some(Change::Add { key, comment }) => add(app, &vault, &key.join(" "), comment.as_deref()),
        Some(Change::Remove { key }) => remove(app, &vault, &key.join(" ")),
    }
}

fn show(app: &App, vault: &Vault) -> anyhow::Result<ExitKind> {
    // The secrets of the fleet itself have a file, too, and are no client's.
    let files = vault.list()?;
    let clients: Vec<&String> = files.iter().filter(|name| *name != FLEET).collect();
    // Those that files were written to, whether they still shall read or not.
    let mut reads: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for file in &files {
        for reader in vault.who_can_read(file)?.readers {
            let entry = reads.entry(reader.key).or_insert_with(|| (reader.comment, Vec::new()));
            entry.1.push(file.clone());
        }
    }
    let of_fleet = |known: &[String]| {
        files.iter().any(|name| name == FLEET).then(|| known.iter().any(|name| name == FLEET))
    };
    let of_clients =
        |known: &[String]| -> Vec<String> { known.iter().filter(|name| *name != FLEET).cloned().collect() };
    let count = |known: &[String]| {
        let more = if of_fleet(known) == Some(true) { " and the fleet's own" } else { "" };
        format!("{} of {}{more}", of_clients(known).len(), counted(clients.len(), "client"))
    };
    let mut table = Table::new([Column::new("who").at_least(12), Column::new("kind"), Column::new("reads")]);
    let mut outdated = false;
    for recipient in vault.recipients()? {
        let (_, known) = reads.remove(&recipient.key).unwrap_or_default();
        outdated |= known.len() != files.len();
        if app.global.json {
            app.out(
                &json!({ "schema": "fleet.recipient/1", "key": recipient.key, "comment": recipient.comment,
                    "kind": recipient.kind.to_string(), "recipient": true, "clients": of_clients(&known), "fleet": of_fleet(&known) })
                .to_string(),
            )?;
        }
        table.row([
            Cell::new(Role::Strong, &recipient.label()),
            recipient.kind.to_string().into(),
            count(&known).into(),
        ]);
    }
    for (key, (comment, known)) in reads {
        outdated = true;
        if app.global.json {
            app.out(
                &json!({ "schema": "fleet.recipient/1", "key": key, "comment": comment, "recipient": false,
                    "clients": of_clients(&known), "fleet": of_fleet(&known) })
                .to_string(),
            )?;
        }
        let who = label(&Reader { key, comment });
        let cells =
            [Cell::new(Role::Bad, &who), Cell::new(Role::Bad, "no recipient any more"), count(&known).into()];
        table.row(cells);
    }
    if !app.global.json {
        app.table(&table)?;
    }
    if outdated {
        app.tell("files and recipients differ; `fleet secrets rekey` puts that right\n");
    }
    Ok(ExitKind::Ok)
}

fn add(app: &App, vault: &Vault, line: &str, comment: Option<&str>) -> anyhow::Result<ExitKind> {
    let mut recipient =
        Recipient::parse(line).map_err(|problem| usage(problem.message).hint(problem.hint))?;
    if let Some(comment) = comment {
        recipient.comment = crate::secret::clean(comment).replace('\n', " ").trim().to_owned();
    }
    let new = vault.add_recipient(&recipient)?;
    changed(app, &recipient, new, "added")?;
    app.tell(&match new {
        true => format!("added {}; `fleet secrets rekey` lets them read what there is\n", recipient.label()),
        false => format!("{} is a recipient already\n", recipient.label()),
    });
    Ok(ExitKind::Ok)
}

fn remove(app: &App, vault: &Vault, who: &str) -> anyhow::Result<ExitKind> {
    let known = vault.recipients()?;
    let key = Recipient::parse(who).ok().map(|recipient| recipient.key);
    let found: Vec<&Recipient> =
        known.iter().filter(|one| key.as_ref().map_or(one.comment == who, |key| one.key == *key)).collect();
    let recipient = match found.as_slice() {
        [one] => *one,
        [] => {
            let all: Vec<String> = known.iter().map(Recipient::label).collect();
            return Err(refused("no recipient has this key or comment")
                .hint(format!("recipients are {}", all.join(", "))));
        }
        many => {
            return Err(refused(format!("{} recipients have this comment", many.len()))
                .hint("name the key itself; secrets/recipients.txt shows it"));
        }
    };
    if !vault.remove_recipient(&recipient.key)? {
        return Err(refused(format!("{} is not in secrets/recipients.txt", recipient.label()))
            .hint("take it out of `recipients` under [fleet] in clients.toml"));
    }
    changed(app, recipient, true, "removed")?;
    app.tell(&format!(
        "removed {}; `fleet secrets rekey` takes their access away and names what they knew\n",
        recipient.label()
    ));
    Ok(ExitKind::Ok)
}

fn changed(app: &App, recipient: &Recipient, changed: bool, word: &str) -> anyhow::Result<()> {
    if !app.global.json {
        return Ok(());
    }
    app.out(
        &json!({ "schema": "fleet.recipient/1", "key": recipient.key, "comment": recipient.comment,
            "kind": recipient.kind.to_string(), word: changed })
        .to_string(),
    )
}

fn label(reader: &Reader) -> String {
    match Recipient::parse(&reader.key) {
        Ok(recipient) => Recipient { comment: reader.comment.clone(), ..recipient }.label(),
        Err(_) => crate::secret::clean(&reader.comment).into_owned(),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
