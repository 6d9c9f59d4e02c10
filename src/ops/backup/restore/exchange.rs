//! The exchange of what serves with what a snapshot had, and the way back from it.

use super::super::super::Layout;
use super::super::super::postgres::Database;
use super::super::super::sql::{identifier, literal};
use super::super::Folder;
use super::{EXCHANGE, Names, psql};
use crate::shell::{Cmd, quote};

/// Shell text that sets `$at` to a folder's real path and `$stage` to where its files wait: beside it,
/// where no container reaches, unless that is another file system.
pub(super) fn stage(layout: &Layout, folder: &Folder, run: &str) -> String {
    format!(
        "{find}parent=$(dirname \"$at\")
if [ \"$(stat -c %d \"$parent\")\" = \"$(stat -c %d \"$at\")\" ]; then stages=$parent/.fleet-restore-$(basename \"$at\"); else stages=$at/.fleet-restore; fi
stage=$stages/{run}
",
        find = folder.find(layout),
        run = quote(run),
    )
}

/// Functions of the scripts that follow. `place ROOT FROM ASIDE` moves everything below FROM to its
/// place below ROOT; what is replaced stays below ASIDE by a second name. Nothing that runs meanwhile can
/// lead it out of ROOT: the containers stand still.
pub(super) const PLACE: &str = r#"keep='r=$1 a=$2; shift 2; n=$#
for f; do b=${f##*/}; if [ -e "$r/$b" ] || [ -L "$r/$b" ]; then set -- "$@" "$r/$b"; fi; done
shift "$n"; [ $# -eq 0 ] || exec ln -P -t "$a" -- "$@"'
aside='root=$1 aside=$2; shift 2
for d; do
    [ -d "$root/$d" ] || continue
    mkdir -p -- "$aside/$d"
    chown --reference="$root/$d" -- "$aside/$d"; chmod --reference="$root/$d" -- "$aside/$d"; touch -r "$root/$d" -- "$aside/$d"
    find "$d" -mindepth 1 -maxdepth 1 ! -type d -exec sh -c "eval \"\$keep\"" sh "$root/$d" "$aside/$d" {} + || exit
done'
# Of what was never replaced, the second name is all there is to take away.
same='root=$1; shift
for f; do [ "$(stat -c %d:%i -- "$f")" != "$(stat -c %d:%i -- "$root/$f" 2>/dev/null)" ] || rm -f -- "$f" || exit; done'
bring='root=$1; shift
for d; do find "$d" -mindepth 1 -maxdepth 1 ! -type d -exec mv -f -t "$root/$d" -- {} + || exit; done'
folders='root=$1; shift
for d; do if [ -L "$root/$d" ] || { [ -e "$root/$d" ] && [ ! -d "$root/$d" ]; }; then
    printf "fleet: %s is a folder in the snapshot and something else there: move it away first\n" "$d" >&2; exit 1; fi; done'
others='root=$1; shift
for f; do if [ -d "$root/$f" ] && [ ! -L "$root/$f" ]; then
    printf "fleet: %s is a file in the snapshot and a folder there: move it away first\n" "$f" >&2; exit 1; fi; done'
export keep aside same bring folders others
fits() { (cd "$2" && find . -mindepth 1 -type d -exec sh -c 'eval "$folders"' sh "$1" {} + && find . ! -type d -exec sh -c 'eval "$others"' sh "$1" {} +); }
place() {
    fits "$1" "$2" || exit 1
    if [ -n "$3" ]; then
        (cd "$2" && find . -type d -exec sh -c 'eval "$aside"' sh "$1" "$3" {} +)
    else
        (cd "$2" && find . ! -type d -links +1 -exec sh -c 'eval "$same"' sh "$1" {} +)
    fi
    chown --reference="$1" -- "$2"; chmod --reference="$1" -- "$2"; touch -r "$1" -- "$2"
    rsync -a --numeric-ids --no-D -f '+ */' -f '- *' "$2/" "$1/"
    (cd "$2" && find . -type d -exec sh -c 'eval "$bring"' sh "$1" {} +)
    rsync -a --numeric-ids --no-D --existing -f '+ */' -f '- *' "$2/" "$1/"
}
"#;

/// One exchange of what serves with what a snapshot had.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    pub layout: &'a Layout,
    pub run: &'a str,
    /// The database with the names that take part.
    pub database: Option<(&'a Database, &'a Names)>,
    pub folders: &'a [Folder],
    /// Nothing serves there yet: nothing is started afterwards.
    pub fresh: bool,
}

impl Exchange<'_> {
    /// Shell text that makes the client stand still, and start again however the script ends; that nobody is
    /// left to hear of it does not end it. With a
    /// database every other service is stopped: none may go on with what it knows of the one before.
    fn still(&self) -> String {
        let project = quote(&self.layout.stack);
        let all = format!(
            "docker ps -q --no-trunc --filter status=running --filter label=com.docker.compose.project={project}"
        );
        let Some((database, _)) = self.database else {
            return format!(
                "ids=$({all})
again() {{ [ -z \"$ids\" ] || docker unpause $ids >/dev/null 2>&1 || true; }}
trap again EXIT; trap 'exit 1' INT TERM; trap '' HUP PIPE
[ -z \"$ids\" ] || docker pause $ids >/dev/null
"
            );
        };
        let boot = quote(&self.layout.at("bin/boot")).into_owned();
        let again = if self.fresh {
            ":".to_owned()
        } else {
            format!("{boot} >/dev/null 2>&1 || docker start $ids >/dev/null 2>&1 || true")
        };
        format!(
            "{find}db=$(docker inspect --format '{{{{.Id}}}}' \"$db\")
ids=$({all} | grep -vxF \"$db\" || true)
again() {{ {again}; }}
trap again EXIT; trap 'exit 1' INT TERM; trap '' HUP PIPE
[ -z \"$ids\" ] || docker stop $ids >/dev/null
",
            find = database.container(),
        )
    }

    /// Puts what was restored in the place of what serves.
    #[must_use]
    pub fn swap(&self) -> Cmd {
        let mut text = format!("set -eu\nexport LC_ALL=C\n{PLACE}{}", self.still());
        for folder in self.folders {
            text.push_str(&stage(self.layout, folder, self.run));
            text.push_str(
                "[ -e \"$stage/whole\" ] || { echo 'fleet: the files are not beside their folder any more' >&2; exit 65; }
fits \"$at\" \"$stage/new\"\n",
            );
        }
        for folder in self.folders {
            text.push_str(&stage(self.layout, folder, self.run));
            text.push_str("mkdir -p \"$stage/before\"\nplace \"$at\" \"$stage/new\" \"$stage/before\"\n");
        }
        if let Some((database, names)) = self.database {
            // Both names change in one transaction: there is one database of this name at any instant.
            text.push_str(&rename(database, &database.name, &names.before, &names.filling, false));
        }
        Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(EXCHANGE)
    }

    /// Puts back what served before, as far as it was replaced. May be run at any point of a swap that failed.
    #[must_use]
    pub fn back(&self) -> Cmd {
        let mut text = format!("set -eu\nexport LC_ALL=C\n{PLACE}{}", self.still());
        if let Some((database, names)) = self.database {
            text.push_str(&rename(database, &database.name, &names.filling, &names.before, true));
            text.push_str(&format!(
                "{} -c {} </dev/null >/dev/null\n",
                psql(database, &database.name),
                quote(&format!("drop database if exists {} with (force)", identifier(&names.filling)))
            ));
        }
        for folder in self.folders {
            text.push_str(&stage(self.layout, folder, self.run));
            text.push_str("[ ! -d \"$stage/before\" ] || place \"$at\" \"$stage/before\" ''\nrm -rf -- \"$stage\"\nrmdir -- \"$stages\" 2>/dev/null || true\n");
        }
        Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(EXCHANGE)
    }

    /// Removes what was before. `left` are databases and runs of earlier restores that were cut, whose
    /// content is in a backup.
    #[must_use]
    pub fn clean(&self, left: &[String], runs: &[String]) -> Cmd {
        let mut text = "set -eu\nexport LC_ALL=C\n".to_owned();
        if let Some((database, names)) = self.database {
            text.push_str(&database.container());
            for name in std::iter::once(&names.before).chain(left) {
                text.push_str(&format!(
                    "{} -c 'set client_min_messages = warning' -c {} </dev/null >/dev/null\n",
                    psql(database, &database.name),
                    quote(&format!("drop database if exists {} with (force)", identifier(name)))
                ));
            }
        }
        for folder in self.folders {
            text.push_str(&stage(self.layout, folder, self.run));
            text.push_str("rm -rf -- \"$stage\"\n");
            if !runs.is_empty() {
                text.push_str(&format!(
                    "for old in \"$stages\"/*; do case {} in *\" ${{old##*/}} \"*) rm -rf -- \"$old\" ;; esac; done\n",
                    quote(&format!(" {} ", runs.join(" ")))
                ));
            }
            text.push_str("rmdir -- \"$stages\" 2>/dev/null || true\n");
        }
        Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(EXCHANGE)
    }
}

/// Shell text: in one transaction `from` is called `aside` and `to` is called `from`. Without `to` there is
/// nothing to do where `perhaps`, and a fault otherwise.
fn rename(database: &Database, from: &str, aside: &str, to: &str, perhaps: bool) -> String {
    let missing = match perhaps {
        true => "",
        false => {
            "\\warn fleet: the restored database is not there any more\ndo $$ begin raise exception 'gone'; end $$;\n"
        }
    };
    let sql = format!(
        "set client_min_messages = warning;
select exists (select from pg_database where datname = {there}) as there \\gset
\\if :there
select pg_terminate_backend(pid) from pg_stat_activity where datname in ({a}, {there}) and pid <> pg_backend_pid();
begin;
alter database {from} rename to {aside};
alter database {to} rename to {from};
commit;
\\else
{missing}\\endif
",
        there = literal(to),
        a = literal(from),
        from = identifier(from),
        aside = identifier(aside),
        to = identifier(to),
    );
    format!("printf '%s' {} | {} >/dev/null\n", quote(&sql), psql(database, "template1"))
}
