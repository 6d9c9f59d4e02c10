//! Stage "migrate", and the beginning of stage "rollout": the database comes up to the release.

use super::{Change, Desired, Refusal, SAFETY, Step};
use crate::facts::Facts;
use crate::ops::migration::Migration;

/// Pending migrations alone.
pub(super) fn plan(desired: &Desired, facts: &Facts) -> Result<Vec<Step>, Refusal> {
    if desired.release.database.is_some() && facts.migrations.is_none() {
        return Err(Refusal {
            message: "the database does not answer, so nobody knows what was applied".into(),
            hint: format!("fleet status {}; fleet logs {}", desired.client, desired.client),
        });
    }
    let mut steps = Vec::new();
    pending(desired, facts, &mut steps)?;
    Ok(steps)
}

/// What is pending, behind the backups that it waits for.
pub(super) fn pending(desired: &Desired, facts: &Facts, steps: &mut Vec<Step>) -> Result<(), Refusal> {
    let Some(database) = &desired.release.database else { return Ok(()) };
    let none = Default::default();
    let applied = facts.migrations.as_ref().unwrap_or(&none);
    let mut pending: Vec<&Migration> = Vec::new();
    for migration in &desired.release.migrations {
        match applied.get(&migration.name) {
            None => pending.push(migration),
            Some(hash) if *hash == migration.sha256 => {}
            Some(_) => {
                return Err(Refusal {
                    message: format!("migration {} was edited after it was applied here", migration.name),
                    hint: "put the file back as it was and write the change as a new migration".into(),
                });
            }
        }
    }
    if pending.is_empty() {
        return Ok(());
    }
    // While the database does not answer nobody knows: this is planned again once it does.
    let known = facts.migrations.is_some();
    if known && saved_first(desired, facts) {
        steps.extend(desired.backup_first.as_ref().map(|hooks| {
            let hint = "nothing was migrated; `before_migrations = false` in the client's table `backup` does without";
            Step::save(SAFETY, hooks, hint)
        }));
    }
    // Where a release serves there may be data, whoever made its tables.
    if known && (facts.state.is_some() || !applied.is_empty()) {
        steps.push(Step::run(
            "dump the database first",
            Change::Create,
            database.dump_before(&desired.layout, &desired.run),
        ));
    }
    for migration in pending {
        // Planned again once the database answers, so this shows in a preview only.
        let unsure = match (&facts.migrations, &desired.restore) {
            (None, Some(_)) => Some("unless the snapshot has it"),
            (None, None) if facts.state.is_some() => {
                Some("unless it is applied: the database does not answer now")
            }
            _ => None,
        };
        steps.push(
            Step::run(
                format!("migrate {}", migration.name),
                Change::Modify,
                database.migrate(migration, &desired.who),
            )
            .details(unsure.map(str::to_owned))
            .hint("the migration was undone as a whole; the release before still serves"),
        );
    }
    Ok(())
}

/// Whether migrations may be applied, as far as can be known now, to a client whom `fleet backup` can save: one
/// whose release serves.
pub fn saved_first(desired: &Desired, facts: &Facts) -> bool {
    let wanted = &desired.release.migrations;
    desired.release.database.is_some()
        && desired.restore.is_none()
        && facts.state.is_some()
        && match &facts.migrations {
            Some(applied) => wanted.iter().any(|migration| !applied.contains_key(&migration.name)),
            None => !wanted.is_empty(),
        }
}
