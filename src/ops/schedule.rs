//! What a host does by itself: start the stack at boot, dump every night, look every 5 minutes.

use super::Layout;
use super::files::NewFile;
use super::migration::Server;
use super::postgres::Database;
use crate::secret::Secret;
use crate::shell::quote;

/// What the schedule needs to know about a client's stack.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub layout: Layout,
    pub client: String,
    pub domain: String,
    /// Five cron fields, already validated.
    pub backup_cron: String,
    /// Dumps to keep.
    pub keep: u32,
    /// The one to dump, when there is one.
    pub database: Option<Server>,
    /// Compose volumes whose files go with the dump.
    pub volumes: Vec<String>,
    pub health_url: Option<String>,
    /// Whether the host serves TLS itself.
    pub tls: bool,
    pub compose_file: String,
    pub dotenv: Option<String>,
    /// Percent of the disk that its own watch warns at.
    pub disk_percent: u8,
    /// Address that its own watch tells how it went; a secret.
    pub ping: Option<Secret<String>>,
}

fn file(path: String, mode: &str, content: String) -> NewFile {
    NewFile { path, mode: mode.into(), content: content.into_bytes(), secret: false }
}

impl Schedule {
    #[must_use]
    pub fn unit_name(&self) -> String {
        format!("fleet-{}.service", self.layout.stack)
    }

    #[must_use]
    pub fn files(&self) -> Vec<NewFile> {
        let stack = &self.layout.stack;
        let ping = self.ping.as_ref().map(|url| NewFile {
            secret: true,
            ..file(self.layout.at("check.ping"), "0600", format!("{}\n", url.reveal()))
        });
        let files = vec![
            file(self.layout.at("bin/boot"), "0755", self.boot()),
            file(self.layout.at("bin/backup"), "0755", self.backup()),
            file(self.layout.at("bin/restore-dump"), "0755", self.restore()),
            file(self.layout.at("bin/check"), "0755", self.check()),
            file(format!("/etc/cron.d/fleet-{stack}"), "0644", self.cron()),
            file(format!("/etc/systemd/system/{}", self.unit_name()), "0644", self.unit()),
        ];
        let address = match &self.database {
            Some(Server::Outside(outside)) => Some(NewFile {
                secret: true,
                ..file(self.layout.at("database.env"), "0600", outside.assignments())
            }),
            Some(Server::Inside(_)) | None => None,
        };
        files.into_iter().chain(ping).chain(address).collect()
    }

    fn cron(&self) -> String {
        let base = self.layout.base();
        format!(
            "# Written by fleet: nightly dump, and a look every 5 minutes.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
MAILTO=\"\"
{cron} root {base}/bin/backup >/dev/null 2>&1
*/5 * * * * root {base}/bin/check >/dev/null 2>&1
",
            cron = self.backup_cron
        )
    }

    fn unit(&self) -> String {
        format!(
            "# Written by fleet.
[Unit]
Description=Stack {stack} of {client}
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target
ConditionPathExists={current}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={boot}
TimeoutStartSec=600

[Install]
WantedBy=multi-user.target
",
            stack = self.layout.stack,
            client = self.client,
            current = self.layout.at("current"),
            boot = self.layout.at("bin/boot"),
        )
    }

    fn boot(&self) -> String {
        let stack = &self.layout.stack;
        format!(
            "#!/bin/sh
# Written by fleet. Starts the current release as it is: nothing is built, pulled or changed.
set -eu
dir=$(readlink -f {current})
exec docker compose -p {stack} --project-directory \"$dir\" -f \"$dir/\"{file}{dotenv} up --detach --no-build --no-recreate
",
            current = quote(&self.layout.at("current")),
            file = quote(&self.compose_file),
            dotenv = self.dotenv.as_ref().map_or(String::new(), |name| format!(" --env-file \"$dir/\"{}", quote(name))),
        )
    }

    /// Shell text that sets `$db` to the database's container, or takes the address of one elsewhere
    /// from its file.
    fn find_database(&self) -> String {
        let path = self.layout.at("database.env");
        match &self.database {
            None => String::new(),
            Some(Server::Inside(database)) => format!(
                "rm -f {path}
db=$(docker ps -q --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={} | head -n 1)
[ -n \"$db\" ] || fail 'the database container is not running'
",
                quote(&self.layout.stack),
                quote(&database.service)
            ),
            Some(Server::Outside(outside)) => {
                let has = match outside.image {
                    Some(_) => "",
                    None => {
                        "command -v pg_dump >/dev/null 2>&1 || fail 'this host has no pg_dump, and [database] of the stack names no image with one'\n"
                    }
                };
                format!("while IFS= read -r line; do export \"$line\"; done <{path}\n{has}")
            }
        }
    }

    fn backup(&self) -> String {
        let stack = &self.layout.stack;
        let mut dump = String::new();
        if let Some(server) = &self.database {
            dump = format!(
                "{}{} -Fc </dev/null >\"$part/database.dump\" || fail 'pg_dump failed'
# A dump cut in the middle still lists its contents; reading it to the end does not pass.
{} -f /dev/null <\"$part/database.dump\" || fail 'the dump does not read back'
",
                self.find_database(),
                server.on_database("pg_dump"),
                server.program("pg_restore"),
            );
        }
        for volume in &self.volumes {
            dump.push_str(&format!(
                "mount=$(docker volume inspect --format '{{{{.Mountpoint}}}}' {full}) || fail 'no volume {volume}'
status=0
tar -C \"$mount\" -czf \"$part/{volume}.tar.gz\" . || status=$?
[ \"$status\" -le 1 ] || fail 'tar of {volume} failed'
gzip -t \"$part/{volume}.tar.gz\" || fail 'the archive of {volume} does not read back'
",
                full = quote(&format!("{stack}_{volume}")),
            ));
        }
        format!(
            r#"#!/bin/sh
# Written by fleet. The host's own nightly dump: it works while the operator sleeps or is gone.
# A dump takes its name only when it is whole and reads back.
set -eu
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
dir={backups}
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock -n 9 || {{ echo 'a backup is running already' >&2; exit 75; }}
now=$(date +%Y%m%d-%H%M%S)
part=$dir/.part-$now
rm -rf "$dir"/.part-*
fail() {{
    printf '%s failed %s\n' "$(date +%s)" "$1" >"$dir/last"
    logger -t fleet-{stack} -p user.err "backup failed: $1"
    rm -rf "$part"
    echo "backup failed: $1" >&2
    exit 1
}}
mkdir "$part" || fail 'no space or no right to write'
{dump}readlink -f {current} >"$part/release" 2>/dev/null || true
(cd "$part" && sha256sum -- * >SHA256SUMS) || fail 'no space left'
sync
mv "$part" "$dir/nightly-$now"
# Oldest first; the newest {keep} stay.
ls -1dr "$dir"/nightly-* | tail -n +{beyond} | while IFS= read -r old; do rm -rf -- "$old"; done
printf '%s ok %s %s\n' "$(date +%s)" "nightly-$now" "$(du -sk "$dir/nightly-$now" | cut -f1)" >"$dir/last"
"#,
            backups = quote(&self.layout.at("backups")),
            current = quote(&self.layout.at("current")),
            keep = self.keep,
            beyond = self.keep + 1,
        )
    }

    /// Puts one nightly dump back: into a new database first, swapped in only when it is whole.
    fn restore(&self) -> String {
        let stack = &self.layout.stack;
        let mut body = String::new();
        if let Some(Server::Outside(_)) = &self.database {
            body.push_str("echo \"the database is outside of this stack and is left as it is; put $from/database.dump there with pg_restore\"\n");
        }
        if let Some(Database { user, name, .. }) = self.database.as_ref().and_then(Server::inside) {
            body = format!(
                r#"{find}as="docker exec -i $db psql -U {user} -d postgres -X -q -v ON_ERROR_STOP=1"
new={name}_restored; old={name}_before_$(date +%s)
$as -c "set client_min_messages = warning" -c "drop database if exists \"$new\"" -c "create database \"$new\""
docker exec -i "$db" pg_restore -U {user} -d "$new" --exit-on-error --single-transaction --no-owner <"$from/database.dump" || fail 'pg_restore failed; the database in service was not touched'
$as -c "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()" \
    -c "alter database \"{name}\" rename to \"$old\"" -c "alter database \"$new\" rename to \"{name}\"" >/dev/null
echo "the database is restored; the one before is kept as $old"
"#,
                find = self.find_database(),
                user = quote(user),
            );
        }
        for volume in &self.volumes {
            body.push_str(&format!(
                "mount=$(docker volume inspect --format '{{{{.Mountpoint}}}}' {full})\ntar -C \"$mount\" -xzpf \"$from/{volume}.tar.gz\"\necho 'the files of {volume} are restored'\n",
                full = quote(&format!("{stack}_{volume}")),
            ));
        }
        format!(
            r#"#!/bin/sh
# Written by fleet. Usage: restore-dump [FOLDER], by default the newest nightly dump.
set -eu
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
fail() {{ echo "restore failed: $1" >&2; exit 1; }}
from=${{1:-$(ls -1d {backups}/nightly-* 2>/dev/null | tail -n 1)}}
[ -n "$from" ] && [ -f "$from/SHA256SUMS" ] || fail "no dump at '${{from:-{backups}}}'"
(cd "$from" && sha256sum --quiet -c SHA256SUMS) || fail 'the dump was changed since it was made'
{body}"#,
            backups = self.layout.at("backups"),
        )
    }

    /// The address is read from its file and goes to curl on standard input, so that no list of processes
    /// shows it. Where none is wanted any more, the file goes.
    fn ping_lines(&self) -> String {
        let path = self.layout.at("check.ping");
        let path = quote(&path);
        if self.ping.is_none() {
            return format!("rm -f {path}\n");
        }
        format!(
            r#"code=0; [ "$now" = ok ] || code=1
IFS= read -r url <{path} && printf 'url = "%s/%s"\n' "$url" "$code" | curl -fsS --max-time 10 -o /dev/null --data-raw "$now" --config - 2>/dev/null
"#
        )
    }

    fn check(&self) -> String {
        let stack = &self.layout.stack;
        let mut body = String::new();
        if let Some(url) = &self.health_url {
            body.push_str(&format!(
                "code=$(curl -sk --max-time 15 -o /dev/null -w '%{{http_code}}' --resolve {domain}:443:127.0.0.1 --resolve {domain}:80:127.0.0.1 {url}) || true\n[ \"$code\" = 200 ] || add \"http answers $code\"\n",
                domain = quote(&self.domain),
                url = quote(url),
            ));
        }
        if self.tls {
            body.push_str(&format!(
                "served=$(timeout 5 openssl s_client -connect 127.0.0.1:443 -servername {domain} </dev/null 2>/dev/null | openssl x509 -noout -serial 2>/dev/null) || true
disk=$(openssl x509 -in {tls}/fullchain.pem -noout -serial 2>/dev/null) || true
[ \"$served\" = \"$disk\" ] || add 'the certificate on disk is not the one served'
",
                domain = quote(&self.domain),
                tls = quote(&self.layout.at("tls")),
            ));
        }
        format!(
            r#"#!/bin/sh
# Written by fleet. Looks, restarts nothing; a line in the system log when the answer changes.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
found=
add() {{ found="${{found:+$found; }}$1"; }}
timeout 20 docker version >/dev/null 2>&1 || add 'docker does not answer'
bad=$(timeout 20 docker ps -a --filter label=com.docker.compose.project={stack} --format '{{{{.Label "com.docker.compose.service"}}}} {{{{.State}}}} {{{{.Status}}}}' | awk '$2 != "running" || /unhealthy/ {{ printf "%s%s", sep, $1; sep = "," }}')
[ -z "$bad" ] || add "not well: $bad"
used=$(df -P {base} | awk 'NR == 2 {{ sub("%", "", $5); print $5 }}')
[ "${{used:-0}}" -lt {disk} ] || add "disk $used% full"
{body}
# What waits is counted when something changed, not every 5 minutes: that takes seconds of a processor.
waits={base}/security.updates
if [ ! -e "$waits" ] || [ /var/lib/dpkg/status -nt "$waits" ] || [ /var/lib/apt/lists -nt "$waits" ]; then
    nice -n 19 timeout 120 apt-get -s -qq -o Debug::NoLocking=1 dist-upgrade 2>/dev/null | awk '/^Inst/ && /[Ss]ecurity/ {{ n++ }} END {{ print n + 0 }}' >"$waits.new" && mv -f "$waits.new" "$waits"
fi
state={base}/check.state
now=${{found:-ok}}
before=$(cut -d' ' -f2- "$state" 2>/dev/null)
printf '%s %s\n' "$(date +%s)" "$now" >"$state.new" && mv -f "$state.new" "$state"
[ "$now" = "$before" ] || logger -t fleet-{stack} -- "was: ${{before:-unknown}}; is: $now"
{ping}[ "$now" = ok ]
"#,
            base = quote(&self.layout.base()),
            disk = self.disk_percent,
            ping = self.ping_lines(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::outside::Outside;
    use std::process::Command;

    fn schedule() -> Schedule {
        Schedule {
            layout: Layout::new("demo"),
            client: "ville-lyon".into(),
            domain: "ville-lyon.example.org".into(),
            backup_cron: "0 2 * * *".into(),
            keep: 7,
            database: Some(Server::Inside(Database {
                stack: "demo".into(),
                service: "database".into(),
                user: "demo".into(),
                name: "demo".into(),
            })),
            volumes: vec!["photos".into()],
            health_url: Some("https://ville-lyon.example.org/health".into()),
            tls: true,
            compose_file: "docker-compose.yml".into(),
            dotenv: Some(".env".into()),
            disk_percent: 90,
            ping: None,
        }
    }

    /// Every script parses under the machine's `sh`, with and without a database.
    #[test]
    fn every_script_parses() {
        let bare = Schedule { database: None, volumes: vec![], health_url: None, tls: false, ..schedule() };
        let outside = |image: Option<&str>| {
            let address = "postgresql://neo:p%20w'$x@db.example.net/club";
            let outside = Outside::parse(address, image.map(str::to_owned)).unwrap();
            Schedule { database: Some(Server::Outside(outside)), ..schedule() }
        };
        let pinging = Schedule { ping: Some("https://ping.example.org/x".into()), ..schedule() };
        for schedule in [schedule(), bare, pinging, outside(None), outside(Some("postgres:17"))] {
            for file in schedule.files().iter().filter(|file| file.mode == "0755") {
                let text = String::from_utf8(file.content.clone()).unwrap();
                let output = Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
                assert!(
                    output.status.success(),
                    "{}: {}",
                    file.path,
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }

    #[test]
    fn the_dump_runs_at_the_clients_own_time() {
        assert!(schedule().cron().contains("\n0 2 * * * root /opt/demo/bin/backup "));
    }
}
